//! The store and the thread: on files, on files that somebody has spoiled, on a disk that fails.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{self, Change};
use lighthouse_telemetry_core::time::Time;
use proptest::prelude::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::leader::Term;
use crate::run::State;

const PLENTY: u64 = 1 << 30;

fn open(directory: &Path) -> Store {
    Store::open(directory, PLENTY).unwrap()
}

fn webhook(body: &str) -> WebhookRecord {
    WebhookRecord {
        kind: "push".to_owned(),
        received: 7,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn parcel(size: usize) -> ParcelRecord {
    ParcelRecord {
        spans: 3,
        lines: String::new(),
        bytes: vec![1; size].into(),
    }
}

fn numbers(store: &Store) -> Vec<u64> {
    let parcels = store.parcels().unwrap();
    assert!(parcels.unreadable.is_empty(), "parcels that make no sense");
    parcels.rows.iter().map(|kept| kept.number).collect()
}

fn put(key: &str, value: &str) -> Row {
    Row::Index(Change::Put(key.into(), value.into()))
}

/// All rows of the index.
fn index(store: &Store) -> Vec<(String, String)> {
    store.index_rows().unwrap()
}

fn text(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    let rows = rows.iter();
    rows.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn what_was_written_is_there_after_a_restart_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state/of/mine");
    let mut store = open(&state);
    store
        .commit([
            Row::Webhook(4, webhook("{}").write()),
            Row::Webhook(5, webhook("[]").write()),
            Row::Parcel(8, parcel(10).write()),
            Row::Parcel(9, parcel(20).write()),
            put("sa", "1"),
            put("sb", "2"),
            put("t", "3"),
        ])
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("journal.redb")), 0o600);
    store
        .commit([
            Row::Index(Change::WebhookDone(5)),
            Row::ParcelDone(9),
            Row::Index(Change::RemoveAll("s".into())),
        ])
        .unwrap();
    let bytes = store.bytes();
    drop(store);
    let store = open(&state);
    assert_eq!(store.bytes(), bytes);
    assert_eq!(store.webhooks().unwrap().rows, [(4, webhook("{}"))]);
    assert_eq!(numbers(&store), [8]);
    assert_eq!(store.parcel(8).unwrap(), Some(parcel(10)));
    assert_eq!(store.parcel(9).unwrap(), None);
    assert_eq!(index(&store), text(&[("t", "3")]));
    // Those that are gone are not given again.
    assert_eq!((store.last_webhook, store.last_parcel), (Some(5), Some(9)));
}

#[test]
fn the_last_term_is_known_after_a_restart_and_an_index_anew_leaves_all_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    assert_eq!(store.led, None);
    let record = webhook("{}");
    let first = Term {
        lease: u64::MAX,
        number: 3,
    };
    store
        .commit([
            Row::Led(first),
            put("a", "1"),
            Row::Webhook(4, record.write()),
        ])
        .unwrap();
    let last = Term { number: 5, ..first };
    store.commit([Row::Anew, Row::Led(last)]).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.led, Some(last));
    assert_eq!(index(&store), []);
    assert_eq!(store.webhook(4).unwrap(), Some(record));
    assert_eq!(store.webhook(5).unwrap(), None);
}

#[test]
fn a_directory_serves_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let error = Store::open(directory.path(), PLENTY).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("--state-dir"), "{error}");
    drop(first);
    open(directory.path());
}

#[test]
fn a_file_of_another_user_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal.redb");
    fs::write(&file, "").unwrap();
    if let Err(error) = chown(&file, Some(12_345), None) {
        // Only root can give a file away.
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        return;
    }
    let error = Store::open(directory.path(), PLENTY).unwrap_err();
    assert!(
        matches!(error, StoreError::Foreign { owner: 12_345, .. }),
        "{error}"
    );
}

#[test]
fn a_later_format_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    store.commit([put("s", "1")]).unwrap();
    store.write_format("index", 99).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(index(&store), []);
    let aside = directory.path().join("journal.redb.unreadable-1");
    assert!(fs::metadata(aside).unwrap().len() > 0);
}

#[test]
fn more_than_there_may_be_drops_the_oldest_spans_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), 10_000).unwrap();
    store.commit([put("s", "1")]).unwrap();
    let rows = (0..4).map(|number| Row::Parcel(number, parcel(3_000).write()));
    let evicted = store.commit(rows).unwrap();
    assert_eq!((evicted.parcels, numbers(&store)), (1, vec![1, 2, 3]));
    let rows = [Row::Parcel(4, parcel(9_000).write())];
    assert_eq!(store.commit(rows).unwrap().parcels, 3);
    assert_eq!(numbers(&store), [4]);
    assert!(store.bytes() <= 10_000);
    let large = "x".repeat(20_000);
    let error = store.commit([put("s", &large)]).unwrap_err();
    assert!(matches!(error, StoreError::Full(10_000)), "{error}");
    assert!(error.to_string().contains("--state-max-size"), "{error}");
    // All or nothing.
    drop(store);
    let store = Store::open(directory.path(), 10_000).unwrap();
    assert_eq!(index(&store), text(&[("s", "1")]));
    assert_eq!(numbers(&store), [4]);
}

#[test]
fn a_file_that_was_big_is_made_small() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    for number in 0..60 {
        store
            .commit([Row::Parcel(number, parcel(1 << 20).write())])
            .unwrap();
    }
    let before = store.file_bytes();
    assert!(!store.compact().unwrap(), "it is full of what is needed");
    store.commit((0..60).map(Row::ParcelDone)).unwrap();
    assert!(store.compact().unwrap());
    assert!(store.file_bytes() < before / 10, "{before}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut short, or with some bytes changed, a file is read as it was or set aside: nothing in between, and no panic.
    #[test]
    fn a_spoiled_file_is_whole_or_set_aside(
        cut in any::<Option<prop::sample::Index>>(),
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let rows = [("s1", "one"), ("s2", "two")];
        let mut store = open(directory.path());
        store.commit(rows.map(|(key, value)| put(key, value))).unwrap();
        drop(store);
        let file = directory.path().join("journal.redb");
        let mut bytes = fs::read(&file).unwrap();
        // Most of a small file is unused.
        let used = bytes.len().min(64 << 10);
        for (place, byte) in spoiled {
            bytes[place.index(used)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&file, bytes).unwrap();
        let mut store = open(directory.path());
        let there = index(&store);
        prop_assert!(there == text(&rows) || there.is_empty(), "{there:?}");
        store.commit([put("s3", "three")]).unwrap();
    }
}

/// A disk that can be made to fail.
#[derive(Debug, Default)]
struct Disk {
    memory: InMemoryBackend,
    /// Nothing can be written.
    full: Arc<AtomicBool>,
    /// What is read is not what was written.
    worn: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.memory.read(offset, out)?;
        if self.worn.load(Ordering::Relaxed) {
            out.reverse();
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        max_size: PLENTY,
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let full = Arc::clone(&disk.full);
    let store = Store::on(disk, PLENTY);
    let journal = Journal::start(settings(directory.path()), store).unwrap();
    let mut health = journal.health();
    assert_eq!(
        journal.write(vec![put("s1", "1")]).await,
        Ok(Written::Durably)
    );
    full.store(true, Ordering::Relaxed);
    assert_eq!(journal.write(vec![put("s2", "2")]).await, Ok(Written::Not));
    assert!(matches!(&*health.borrow(), Health::Failing(_)));
    assert_eq!(journal.write(vec![put("s3", "3")]).await, Ok(Written::Not));
    // The directory can be written.
    let empty = health.wait_for(|health| *health == Health::Empty);
    tokio::time::timeout(Duration::from_secs(60), empty)
        .await
        .unwrap()
        .unwrap();
    // A part of what there is would be worse than nothing.
    assert_eq!(journal.write(vec![put("s4", "4")]).await, Ok(Written::Not));
    let rows = vec![Row::Anew, put("s5", "5")];
    assert_eq!(journal.write(rows).await, Ok(Written::Durably));
    assert_eq!(*health.borrow(), Health::Good);
    assert_eq!(journal.counts().failures, 1);
    drop(journal);
    assert_eq!(reopen(directory.path()).await, text(&[("s5", "5")]));
}

#[tokio::test]
async fn a_disk_that_gives_back_something_else_is_said_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let worn = Arc::clone(&disk.worn);
    let store = Store::on(disk, PLENTY);
    let journal = Journal::start(settings(directory.path()), store).unwrap();
    let mut health = journal.health();
    // More than is kept in memory.
    for number in 0..20 {
        let rows = vec![Row::Parcel(number, parcel(1 << 20).write())];
        assert_eq!(journal.write(rows).await, Ok(Written::Durably));
    }
    worn.store(true, Ordering::Relaxed);
    assert_eq!(journal.parcel(0).await, None);
    assert!(matches!(&*health.borrow(), Health::Failing(_)));
    let empty = health.wait_for(|health| *health == Health::Empty);
    tokio::time::timeout(Duration::from_secs(60), empty)
        .await
        .unwrap()
        .unwrap();
    let rows = vec![Row::Anew, put("s1", "1")];
    assert_eq!(journal.write(rows).await, Ok(Written::Durably));
    drop(journal);
    assert_eq!(reopen(directory.path()).await, text(&[("s1", "1")]));
}

#[test]
fn rows_that_make_no_sense_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    let more_spans_than_bytes = ParcelRecord {
        spans: u64::MAX,
        ..parcel(10)
    };
    let cut = |mut value: Vec<u8>| {
        value.pop();
        value
    };
    store
        .commit([
            Row::Webhook(1, webhook("{}").write()),
            Row::Webhook(2, cut(webhook("{}").write())),
            Row::Parcel(3, parcel(10).write()),
            Row::Parcel(4, cut(parcel(10).write())),
            Row::Parcel(5, more_spans_than_bytes.write()),
        ])
        .unwrap();
    let webhooks = store.webhooks().unwrap();
    assert_eq!(webhooks.rows, [(1, webhook("{}"))]);
    assert_eq!(webhooks.unreadable, [2]);
    let parcels = store.parcels().unwrap();
    let numbers: Vec<_> = parcels.rows.iter().map(|kept| kept.number).collect();
    assert_eq!((numbers, parcels.unreadable), (vec![3], vec![4, 5]));
    assert_eq!(store.parcel(4).unwrap(), None);
}

#[tokio::test]
async fn rows_that_make_no_sense_are_removed_at_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    let (good, bad) = (webhook("{}").write(), vec![255]);
    store
        .commit([
            Row::Webhook(1, good),
            Row::Webhook(2, bad.clone()),
            Row::Parcel(3, parcel(10).write()),
            Row::Parcel(4, bad),
        ])
        .unwrap();
    drop(store);
    let catalog = Arc::new(Catalog::new([]).unwrap());
    let (index, settings) = (index::Settings::default(), settings(directory.path()));
    let (state, parcels) = State::open(settings, &catalog, index, Time::EPOCH).unwrap();
    assert_eq!(parcels.len(), 1);
    drop(state);
    let store = again(directory.path()).await;
    let webhooks = store.webhooks().unwrap();
    assert_eq!((webhooks.rows.len(), webhooks.unreadable), (1, Vec::new()));
    assert_eq!(numbers(&store), [3]);
}

/// The index in a directory that a thread is about to let go of.
async fn reopen(directory: &Path) -> Vec<(String, String)> {
    index(&again(directory).await)
}

/// The store in a directory that a thread is about to let go of.
async fn again(directory: &Path) -> Store {
    let opening = async {
        loop {
            match Store::open(directory, PLENTY) {
                Ok(store) => return store,
                Err(StoreError::InUse(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(60), opening).await;
    opened.unwrap()
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), PLENTY);
    let journal = Journal::start(settings(directory.path()), store).unwrap();
    journal.note(vec![put("s1", "1")]);
    drop(journal);
    assert_eq!(reopen(directory.path()).await, text(&[("s1", "1")]));
}

#[tokio::test]
async fn many_that_wait_are_written_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), PLENTY);
    let journal = Journal::start(settings(directory.path()), store).unwrap();
    let waiting: Vec<_> = (0..500)
        .map(|number| journal.write(vec![put(&format!("s{number}"), "1")]))
        .collect();
    for written in waiting {
        assert_eq!(written.await, Ok(Written::Durably));
    }
    let commits = journal.counts().commits;
    assert!(commits < 250, "{commits} transactions for 500 rows");
}
