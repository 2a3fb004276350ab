//! The election against an API server that does what the test says, and the forwarder against such a leader.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::StatusCode;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{self, Change, Index};
use lighthouse_telemetry_core::time::Time;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::config::Verification;
use crate::journal::{self, Journal, Row, Store, WebhookRecord, Written};
use crate::testing::{Asked, api, status};
use crate::webhook::{self, forwarded};

/// An API server with at most one Lease.
#[derive(Default)]
struct Server {
    lease: Mutex<Option<Value>>,
    /// Answers everything with this status.
    failing: Mutex<Option<u16>>,
    /// Tells of each write.
    writes: watch::Sender<u64>,
}

impl Server {
    fn answer(&self, asked: &Asked) -> Response {
        if let Some(code) = *self.failing.lock().expect("a lock") {
            return status(code, "as the test wants it");
        }
        let mut lease = self.lease.lock().expect("a lock");
        if asked.method == "GET" {
            return match &*lease {
                Some(lease) => axum::Json(lease.clone()).into_response(),
                None => not_found(),
            };
        }
        let version = |lease: &Value| lease.pointer("/metadata/resourceVersion").cloned();
        let known = lease.as_ref().and_then(version);
        if known != version(&asked.body) {
            return status(409, "the object has been modified");
        }
        let mut written = asked.body.clone();
        renumber(&mut written);
        *lease = Some(written.clone());
        drop(lease);
        self.writes.send_modify(|writes| *writes += 1);
        axum::Json(written).into_response()
    }

    fn edit(&self, patch: &Value) {
        let mut lease = self.lease.lock().expect("a lock");
        let lease = lease.as_mut().expect("a Lease");
        json_patch::merge(lease, patch);
        renumber(lease);
    }

    fn get(&self, pointer: &str) -> Value {
        let lease = self.lease.lock().expect("a lock");
        let found = lease.as_ref().and_then(|lease| lease.pointer(pointer));
        found.cloned().unwrap_or_default()
    }
}

fn not_found() -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404,
    });
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

fn renumber(lease: &mut Value) {
    let version = lease.pointer("/metadata/resourceVersion");
    let version = version.and_then(|version| version.as_str()?.parse().ok());
    let next = version.unwrap_or(0_u64) + 1;
    let metadata = json!({"uid": "uid-1", "resourceVersion": next.to_string()});
    json_patch::merge(lease, &json!({"metadata": metadata}));
}

async fn election(server: &Arc<Server>, identity: &str) -> (Election, Standing) {
    let answering = Arc::clone(server);
    let client = api(move |asked| answering.answer(asked)).await;
    let settings = Settings {
        namespace: "jx".to_owned(),
        name: "lease".to_owned(),
        duration: Duration::from_secs(2),
        identity: identity.to_owned(),
        advertised: Advertised::Host("fd00::7".to_owned()),
    };
    let standing = Standing::follower();
    let election = Election::new(&settings, 8080, client, standing.clone());
    (election, standing)
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_lost_before_it_has_run_out() {
    let server = Arc::new(Server::default());
    let (election, standing) = election(&server, "one").await;
    let begun = Instant::now();
    let mut tenure = election.win().await;
    assert_eq!(standing.role(), Role::Leader);
    assert!(tenure.permit.holds());
    assert_eq!(
        server.get("/metadata/annotations/lighthouse-telemetry~1webhooks-at"),
        "[fd00::7]:8080"
    );
    *server.failing.lock().expect("a lock") = Some(500);
    let why = tenure.lost().await;
    assert!(why.contains("could not be renewed in time"), "{why}");
    assert!(!tenure.permit.holds());
    // Two thirds of it, and what a slow machine takes.
    assert!(begun.elapsed() >= Duration::from_millis(1_300));
    assert_eq!(server.get("/spec/holderIdentity"), "one");
}

#[tokio::test]
async fn a_lease_that_somebody_has_labelled_is_renewed_with_its_label() {
    let server = Arc::new(Server::default());
    let (election, _) = election(&server, "one").await;
    let mut writes = server.writes.subscribe();
    let tenure = election.win().await;
    server.edit(&json!({"metadata": {"labels": {"team": "ci"}}}));
    writes
        .wait_for(|writes| *writes >= 2)
        .await
        .expect("a server");
    assert_eq!(server.get("/metadata/labels/team"), "ci");
    tenure.release().await;
    assert_eq!(server.get("/spec/holderIdentity"), Value::Null);
    assert_eq!(server.get("/metadata/labels/team"), "ci");
}

#[tokio::test]
async fn one_that_was_given_up_is_won_by_the_follower_in_the_next_term() {
    let server = Arc::new(Server::default());
    let (first, _) = election(&server, "one").await;
    let (second, standing) = election(&server, "two").await;
    let tenure = first.win().await;
    let winning = tokio::spawn(async move { second.win().await });
    let mut holder = standing.holder();
    let known = holder.wait_for(Option::is_some).await.expect("an election");
    let known = known.clone().expect("a holder");
    assert_eq!(known.identity, "one");
    assert_eq!(known.address.as_deref(), Some("[fd00::7]:8080"));
    let term = tenure.term;
    tenure.release().await;
    let next = winning.await.expect("a leader").term;
    assert_eq!(next.number, term.number + 1);
    assert_eq!(standing.role(), Role::Leader);
}

#[tokio::test]
async fn a_right_that_is_missing_is_said_and_waited_for() {
    let server = Arc::new(Server::default());
    *server.failing.lock().expect("a lock") = Some(403);
    let (election, standing) = election(&server, "one").await;
    let mut role = standing.role.subscribe();
    let winning = tokio::spawn(async move { election.win().await.term });
    let said = |role: &Role| match role {
        Role::Follower { trouble, .. } => trouble
            .as_ref()
            .is_some_and(|trouble| trouble.contains("create and update on leases")),
        _ => false,
    };
    role.wait_for(said).await.expect("an election");
    *server.failing.lock().expect("a lock") = None;
    assert_eq!(winning.await.expect("a leader").number, 0);
}

fn record() -> WebhookRecord {
    WebhookRecord {
        kind: "push".to_owned(),
        received: 5,
        body: "{}".into(),
    }
}

fn journal(directory: &std::path::Path) -> Journal {
    let settings = journal::Settings {
        directory: directory.to_owned(),
        max_size: 1 << 30,
    };
    let store = Store::open(directory, settings.max_size);
    Journal::start(settings, store).expect("a journal")
}

/// A leader that answers the first requests so, and all others with 202; and the headers of those.
async fn leader(answers: &[u16]) -> (Holder, mpsc::UnboundedReceiver<http::HeaderMap>) {
    let answers = Arc::new(Mutex::new(answers.to_vec()));
    let (sender, taken) = mpsc::unbounded_channel();
    let answer = move |request: Request| {
        let mut answers = answers.lock().expect("a lock");
        let code = if answers.is_empty() {
            let _ = sender.send(request.headers().clone());
            202
        } else {
            answers.remove(0)
        };
        std::future::ready(StatusCode::from_u16(code).expect("a status"))
    };
    let router = Router::new().route(webhook::PATH, post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let holder = Holder {
        identity: "one".to_owned(),
        address: Some(address.to_string()),
    };
    (holder, taken)
}

#[tokio::test]
async fn a_webhook_is_forwarded_until_the_leader_has_it_and_kept_for_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = journal(directory.path());
    let number = journal.webhook_number().expect("a journal");
    let row = Row::Webhook(number, record().write());
    assert_eq!(journal.write(vec![row]).await, Ok(Written::Durably));
    let (holder, mut forwarded) = leader(&[503, 401]).await;
    let standing = Standing::follower();
    let (_sender, taken) = mpsc::channel(1);
    let count = Arc::new(AtomicU64::new(0));
    let key = Verification::Key("a token".into());
    let mut forwarder = Forwarder::start(
        key.clone(),
        journal,
        standing.holder(),
        taken,
        vec![number],
        Arc::clone(&count),
    )
    .expect("a forwarder");
    standing.follows(Some(holder), None);
    let headers = forwarded.recv().await.expect("a webhook");
    assert_eq!(headers[forwarded::RECEIVED], "5");
    assert_eq!(
        forwarded::receipt(&key, &headers, b"{}"),
        forwarded::Receipt::At(Time::from_nanoseconds(5))
    );
    forwarder.settle().await;
    let left = forwarder.stop().await.expect("a forwarder");
    assert_eq!(left.kept, [number]);
    assert!(left.unkept.is_empty());
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_webhook_that_the_journal_could_not_keep_is_left_to_whoever_leads() {
    let catalog = Arc::new(Catalog::new([]).expect("a catalog"));
    let (sender, taken) = mpsc::channel(1);
    let standing = Standing::follower();
    let count = Arc::new(AtomicU64::new(0));
    let forwarder = Forwarder::start(
        Verification::None,
        Journal::off(),
        standing.holder(),
        taken,
        Vec::new(),
        Arc::clone(&count),
    )
    .expect("a forwarder");
    let webhook = catalog.webhook("push", Time::from_nanoseconds(5), &json!({}));
    let unkept = webhook::Taken {
        webhook,
        unkept: Some(record()),
    };
    sender.send(unkept.clone()).await.expect("a forwarder");
    // There is room again once it was taken.
    let _ = sender.reserve().await.expect("a forwarder");
    let left = forwarder.stop().await.expect("a forwarder");
    assert_eq!(left.unkept, [unkept]);
    assert!(left.kept.is_empty());
}

#[tokio::test]
async fn without_a_journal_and_a_leader_only_so_many_webhooks_are_taken() {
    let catalog = Arc::new(Catalog::new([]).expect("a catalog"));
    let (sender, taken) = mpsc::channel(1);
    let forwarder = Forwarder::start(
        Verification::None,
        Journal::off(),
        Standing::follower().holder(),
        taken,
        Vec::new(),
        Arc::default(),
    )
    .expect("a forwarder");
    let webhook = catalog.webhook("push", Time::from_nanoseconds(5), &json!({}));
    let unkept = webhook::Taken {
        webhook,
        unkept: Some(record()),
    };
    for _ in 0..=forward::UNKEPT {
        sender.send(unkept.clone()).await.expect("a forwarder");
    }
    let room = tokio::time::timeout(Duration::from_millis(200), sender.reserve()).await;
    assert!(room.is_err(), "there is room for more");
    let mut left = forwarder.stop().await.expect("a forwarder");
    assert_eq!(left.unkept.len(), forward::UNKEPT);
    assert_eq!(left.taken.try_recv(), Ok(unkept));
}

/// What is left of an index in a journal after a replica has begun a term.
async fn left_after(term: Term) -> usize {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(directory.path(), 1 << 30).expect("a store");
    let led = Term {
        lease: 7,
        number: 3,
    };
    let row = Row::Index(Change::Put(b"x".to_vec(), b"y".to_vec()));
    let webhook = Row::Webhook(4, record().write());
    store.commit([Row::Led(led), row, webhook]).expect("a disk");
    drop(store);
    let settings = journal::Settings {
        directory: directory.path().to_owned(),
        max_size: 1 << 30,
    };
    let catalog = Arc::new(Catalog::new([]).expect("a catalog"));
    let patience = index::Settings::default();
    let (mut state, _) = crate::run::State::open(settings, &catalog, patience.clone(), Time::EPOCH)
        .expect("a state");
    let left = Left {
        taken: mpsc::channel(1).1,
        kept: vec![4],
        unkept: Vec::new(),
        is_anew: false,
    };
    let anew = Index::new(catalog, patience);
    state.begin(term, left, anew, Time::EPOCH).await;
    assert!(state.journal.webhook(4).await.is_some());
    drop(state);
    // The thread of the journal ends soon.
    let store = loop {
        if let Ok(store) = Store::open(directory.path(), 1 << 30) {
            break store;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(store.led, Some(term));
    store.index_rows().expect("a disk").len()
}

#[tokio::test]
async fn a_replica_goes_on_from_its_journal_unless_another_has_led() {
    let lease = 7;
    assert_eq!(left_after(Term { lease, number: 4 }).await, 1);
    assert_eq!(left_after(Term { lease, number: 5 }).await, 0);
}
