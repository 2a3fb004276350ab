//! The exporter with a journal: through outages and restarts.

use std::collections::BTreeSet;
use std::path::Path;

use tonic::Code;

use super::*;
use crate::export::start;
use crate::journal::{self, Store, Written};

/// Opens the journal of a directory, once the thread that had it has let go.
async fn open(directory: &Path, max_size: u64) -> (Journal, Vec<journal::Kept>) {
    let settings = journal::Settings {
        directory: directory.to_owned(),
        max_size,
    };
    let opening = async {
        loop {
            match Store::open(directory, max_size) {
                Ok(store) => return store,
                Err(journal::StoreError::InUse(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let store = soon(opening).await;
    let parcels = store.parcels().unwrap().rows;
    (Journal::start(settings, Ok(store)).unwrap(), parcels)
}

/// An exporter to this receiver, with what the journal has kept for it.
fn sending(
    receiver: &Receiver,
    protocol: Protocol,
    journal: &Journal,
    kept: Vec<journal::Kept>,
) -> Handle {
    let settings = settings(vec![otlp(receiver, protocol)]);
    start(settings, journal.clone(), kept).unwrap()
}

/// Keeps spans and gives them to the exporter, as the host does.
async fn export(handle: &Handle, journal: &Journal, names: &[&str]) {
    for name in names {
        let parcels = handle.encode(vec![span(name, "Pod")]);
        let rows = parcels.iter().filter_map(Parcel::row).collect();
        assert_eq!(journal.write(rows).await, Ok(Written::Durably));
        handle.push(parcels);
    }
}

fn refused(pause: Option<Duration>) -> Answer {
    Answer::Refuse {
        grpc: Code::Unavailable,
        http: ::http::StatusCode::SERVICE_UNAVAILABLE,
        pause,
    }
}

#[tokio::test]
async fn what_nobody_acknowledged_is_sent_after_a_restart_in_the_same_bytes() {
    for protocol in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        receiver.script(vec![refused(None); 1_000]);
        let (journal, kept) = open(directory.path(), 1 << 30).await;
        let handle = sending(&receiver, protocol, &journal, kept);
        export(&handle, &journal, &["a", "b"]).await;
        let error = handle.flush(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!((error.queued, error.lost), (2, 0), "both are on disk");
        assert_eq!(receiver.spans(), []);
        drop((handle, journal));

        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        let (journal, kept) = open(directory.path(), 1 << 30).await;
        let handle = sending(&receiver, protocol, &journal, kept);
        assert_eq!(handle.counts().queued, 2);
        handle.flush(LONG).await.unwrap();
        let expected: Vec<_> = ["a", "b"]
            .into_iter()
            .flat_map(|name| encode(&[span(name, "Pod")]).resource_spans)
            .collect();
        assert_eq!(receiver.spans(), expected, "{protocol}");
        drop((handle, journal));
        let (_, kept) = open(directory.path(), 1 << 30).await;
        assert_eq!(kept, [], "what was acknowledged is not sent again");
    }
}

#[tokio::test]
async fn a_backlog_is_sent_in_order_and_does_not_hold_up_what_is_fresh() {
    let directory = tempfile::tempdir().unwrap();
    let old = ["1", "2", "3", "4", "5", "6"];
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    receiver.script(vec![refused(None); 1_000]);
    let mut settings = settings(vec![otlp(&receiver, Protocol::Grpc)]);
    settings.batching.batch = 1;
    settings.batching.delay = Duration::ZERO;
    let (journal, kept) = open(directory.path(), 1 << 30).await;
    let handle = start(settings.clone(), journal.clone(), kept).unwrap();
    export(&handle, &journal, &old).await;
    drop((handle, journal));

    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    settings.destinations = vec![Destination::Otlp(Box::new(otlp(&receiver, Protocol::Grpc)))];
    let (journal, kept) = open(directory.path(), 1 << 30).await;
    let handle = start(settings, journal, kept).unwrap();
    handle.send(vec![span("fresh", "Pod")]);
    handle.flush(LONG).await.unwrap();
    let order = names(&receiver.spans());
    let backlog: Vec<_> = order.iter().filter(|name| *name != "fresh").collect();
    assert_eq!(backlog, old.iter().collect::<Vec<_>>());
    let fresh = order.iter().position(|name| name == "fresh");
    assert!(fresh.is_some_and(|place| place <= 1), "{order:?}");
}

#[tokio::test]
async fn an_outage_longer_than_the_disk_drops_the_oldest_and_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, kept) = open(directory.path(), 4_000).await;
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    receiver.script(vec![refused(None); 100_000]);
    let handle = sending(&receiver, Protocol::Grpc, &journal, kept);
    let many: Vec<String> = (0..100).map(|number| format!("span {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    export(&handle, &journal, &many).await;
    assert!(journal.counts().parcels_dropped > 50);
    drop((handle, journal));

    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    let (journal, kept) = open(directory.path(), 4_000).await;
    let kept_spans = kept.len();
    let handle = sending(&receiver, Protocol::Grpc, &journal, kept);
    handle.flush(LONG).await.unwrap();
    let arrived: BTreeSet<String> = names(&receiver.spans()).into_iter().collect();
    let newest = many.iter().rev().take(kept_spans);
    assert_eq!(arrived, newest.map(|name| (*name).to_owned()).collect());
    assert!(arrived.len() > 5, "{arrived:?}");
}
