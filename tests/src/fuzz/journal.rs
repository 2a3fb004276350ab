//! What lies in a state directory when a process starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lighthouse_telemetry::journal::{ParcelRecord, Row, Store, WebhookRecord};
use lighthouse_telemetry::run::State;
use lighthouse_telemetry_core::index::{Change, Settings};
use lighthouse_telemetry_core::time::Time;
use tempfile::TempDir;

use super::MAPPERS;
use crate::pure::Pure;
use crate::scenario::{ANYWHERE, Scenario, What};

/// The first byte of an input says what the rest is: a file,
const FILE: u8 = b'f';
/// where and how one is spoiled that a process has left which was told to end,
const SPOILED_AFTER_END: u8 = b'e';
/// or which was killed,
const SPOILED_AFTER_KILL: u8 = b'k';
/// rows that are all there is,
const ROWS: u8 = b'r';
/// or that come after good ones, and may take their places.
const ROWS_AFTER_OTHERS: u8 = b'o';

/// What a row is of, beside the tables of the index.
const WEBHOOK: u8 = b'w';
const PARCEL: u8 = b'p';

const PLENTY: u64 = 1 << 30;
/// A spoiled file is no longer than this: what follows is worth no time.
const LONGEST: usize = 1 << 20;

const SCENARIO: &str = "pull-request";
/// After so many of its steps things are written: the last time half-way, when a part of them has ended.
const STEPS: [usize; 3] = [8, 16, 24];
/// When all that was left is read: long after it was written, as it is if nobody has run meanwhile.
const NOW: u64 = 1_772_445_600;

/// What processes have left.
struct Left {
    /// What was written, one after the other.
    transactions: Vec<Vec<Row>>,
    /// What is known after the last of them, and after the one before.
    known: [Known; 2],
    ended: Vec<u8>,
    killed: Vec<u8>,
}

/// What a process knows that goes on from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    index: BTreeMap<Vec<u8>, Vec<u8>>,
    webhooks: Vec<(u64, WebhookRecord)>,
    parcels: Vec<(u64, Option<ParcelRecord>)>,
    unreadable: usize,
}

static LEFT: LazyLock<Left> = LazyLock::new(left);

/// Opens what lies in the directory as a start does. All that one transaction has left is read, and nothing that none has,
/// or the file is set aside; what makes no sense is counted, and costs nothing else; and one goes on from there.
pub fn journal(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let directory = directory();
    let directory = directory.path();
    match *mode {
        FILE => {
            fs::write(file(directory), rest).expect("it is written");
            let (known, _) = opened(directory);
            go_on(directory, known.unreadable);
        }
        SPOILED_AFTER_END => spoil(directory, &LEFT.ended, rest),
        SPOILED_AFTER_KILL => spoil(directory, &LEFT.killed, rest),
        ROWS => {
            write(directory, &[rows(rest)]);
            let (known, is_aside) = opened(directory);
            assert!(!is_aside, "good pages were set aside");
            go_on(directory, known.unreadable);
        }
        ROWS_AFTER_OTHERS => {
            let rows = rows(rest);
            write(directory, &LEFT.transactions);
            write(directory, std::slice::from_ref(&rows));
            let (known, is_aside) = opened(directory);
            assert!(!is_aside, "good pages were set aside");
            keeps_others(&known, &rows);
            go_on(directory, known.unreadable);
        }
        _ => {}
    }
}

fn spoil(directory: &Path, good: &[u8], how: &[u8]) {
    let spoiled = spoiled(good, how);
    fs::write(file(directory), &spoiled).expect("it is written");
    let (known, is_aside) = opened(directory);
    if is_aside {
        assert!(spoiled != good, "a good one was set aside");
    } else if !spoiled.is_empty() {
        // Where the last transaction alone is damaged, it looks like one that a kill has cut short.
        let [last, before] = &LEFT.known;
        assert!(
            known == *last || (known == *before && spoiled != good),
            "nobody has written what is read: {known:?}"
        );
    }
}

/// In memory where there is such a place: it is not the disk that is tested.
fn directory() -> TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    directory.expect("a directory")
}

fn file(directory: &Path) -> PathBuf {
    directory.join("journal.redb")
}

fn now() -> Time {
    Time::from_nanoseconds(NOW * 1_000_000_000)
}

fn open(directory: &Path) -> Store {
    Store::open(directory, PLENTY).expect("a store")
}

fn write(directory: &Path, transactions: &[Vec<Row>]) {
    let mut store = open(directory);
    for rows in transactions {
        store.commit(rows.iter().cloned()).expect("it is written");
    }
}

/// What is known from a file, and whether it was set aside. It can be written, and what is written is there.
fn opened(directory: &Path) -> (Known, bool) {
    let mut store = open(directory);
    let is_aside = directory.join("journal.redb.unreadable-1").exists();
    let before = known(&store);
    let mark = Row::Index(Change::Put(vec![0], vec![1; 1_000]));
    store.commit([mark]).expect("it can be written");
    store.compact().expect("it can be made smaller");
    drop(store);
    let mut store = open(directory);
    let unmark = Row::Index(Change::Remove(vec![0]));
    store.commit([unmark]).expect("it can be written");
    assert_eq!(known(&store), before, "it is not the same any more");
    assert!(
        is_aside == directory.join("journal.redb.unreadable-1").exists()
            && !directory.join("journal.redb.unreadable-2").exists(),
        "it could be read and then not"
    );
    (before, is_aside)
}

fn known(store: &Store) -> Known {
    let (state, numbers) = taken_over(store);
    let mut index = state.index;
    index.keep_all();
    let index = index
        .changes()
        .into_iter()
        .filter_map(|change| match change {
            Change::Put(key, value) => Some((key, value)),
            _ => None,
        });
    let webhooks = store.webhooks().expect("webhooks");
    let parcel = |number| (number, store.parcel(number).expect("a parcel"));
    Known {
        index: index.collect(),
        parcels: numbers.into_iter().map(parcel).collect(),
        unreadable: usize::try_from(state.restored.unreadable).expect("a number")
            + webhooks.unreadable.len(),
        webhooks: webhooks.rows,
    }
}

/// The state as at a start, and the numbers of the parcels.
fn taken_over(store: &Store) -> (State, Vec<u64>) {
    let mut state = State::none(&MAPPERS.catalog, Settings::default(), now());
    state.index.keep_journal();
    let parcels = state.take_over(store, now()).expect("it can be read");
    // What is shown adds them up.
    let _: u64 = parcels.iter().map(|kept| kept.spans).sum();
    (state, parcels.iter().map(|kept| kept.number).collect())
}

/// Maps what was under way, ends what is due, and keeps what becomes of it.
fn go_on(directory: &Path, unreadable: usize) {
    let mut store = open(directory);
    let (state, _) = taken_over(&store);
    let facts = state.facts(&MAPPERS.catalog);
    let mut ground = Pure::going_on(&MAPPERS, state.index, facts, now()).expect("it goes on");
    ground.step_to(now()).expect("what is due happens");
    let changes = ground.index().changes();
    store
        .commit(changes.into_iter().map(Row::Index))
        .expect("it is written");
    ground.finish().expect("an end");
    let after = known(&store).unreadable;
    assert!(after <= unreadable, "what we write makes no sense");
}

/// Good rows whose place no other one has taken are still known.
fn keeps_others(known: &Known, rows: &[Row]) {
    let [last, _] = &LEFT.known;
    for webhook in &last.webhooks {
        let is_taken = rows
            .iter()
            .any(|row| matches!(row, Row::Webhook(number, _) if *number == webhook.0));
        assert!(is_taken || known.webhooks.contains(webhook), "a webhook");
    }
    for parcel in &last.parcels {
        let is_taken = rows
            .iter()
            .any(|row| matches!(row, Row::Parcel(number, _) if *number == parcel.0));
        assert!(is_taken || known.parcels.contains(parcel), "a parcel");
    }
}

/// Four bytes say at which length the file is cut, or to which it is stretched; then, each time, four where it is changed,
/// one how many bytes are, and these.
fn spoiled(good: &[u8], how: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let mut how = Cursor(how);
    let length = how.number(4);
    if length > 0 {
        bytes.resize(length % LONGEST, 0);
    }
    while !how.0.is_empty() {
        let place = how.number(4).checked_rem(bytes.len()).unwrap_or_default();
        let length = how.number(1);
        let changes = how.take(length);
        for (byte, change) in bytes.iter_mut().skip(place).zip(changes) {
            *byte = *change;
        }
    }
    bytes
}

/// Each time: a byte that says what it is of; the length of the key, in a byte, and the rest of it; the length of the value, in
/// two, and it.
fn rows(data: &[u8]) -> Vec<Row> {
    let mut data = Cursor(data);
    let mut rows = Vec::new();
    while let [table, rest @ ..] = data.0 {
        data.0 = rest;
        let length = data.number(1);
        let key = data.take(length);
        let length = data.number(2);
        let value = data.take(length).to_vec();
        let number = || {
            key.iter()
                .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte))
        };
        rows.push(match *table {
            WEBHOOK => Row::Webhook(number(), value),
            PARCEL => Row::Parcel(number(), value),
            _ => Row::Index(Change::Put([&[*table], key].concat(), value)),
        });
    }
    rows
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// So many bytes, or as many as there are.
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Of so many bytes, the lowest first.
    fn number(&mut self, length: usize) -> usize {
        let bytes = self.take(length).iter().rev();
        bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    }
}

fn left() -> Left {
    let transactions = transactions();
    let (ended, killed) = (directory(), directory());
    write(ended.path(), &transactions);
    let mut store = open(killed.path());
    let mut known = Vec::new();
    for rows in &transactions {
        store.commit(rows.iter().cloned()).expect("it is written");
        known.push(self::known(&store));
    }
    let mut last = || known.pop().expect("a transaction");
    let known = [last(), last()];
    Left {
        known,
        ended: fs::read(file(ended.path())).expect("a file"),
        killed: fs::read(file(killed.path())).expect("a file"),
        transactions,
    }
}

/// Of a process that is in the middle of the scenario.
fn transactions() -> Vec<Vec<Row>> {
    let scenarios = Scenario::all(ANYWHERE).expect("scenarios").into_iter();
    let mut scenarios = scenarios.filter(|scenario| scenario.name == SCENARIO);
    let steps = scenarios.next().expect("the scenario").steps();
    let steps = steps.expect("steps");
    let mut ground = Pure::new(&MAPPERS);
    ground.index().keep_journal();
    let mut transactions = Vec::new();
    let mut rows = Vec::new();
    for (number, step) in (1..).zip(&steps) {
        ground.step_to(step.at).expect("a time");
        ground.take(&step.what, number).expect("a step");
        if let What::Webhook {
            kind,
            body,
            received,
        } = &step.what
        {
            let record = WebhookRecord {
                kind: kind.clone(),
                received: received.nanoseconds(),
                body: body.to_string().into(),
            };
            rows.push(Row::Webhook(number, record.write()));
        }
        if STEPS.iter().any(|step| *step as u64 == number) {
            let changes = ground.index().changes().into_iter().map(Row::Index);
            rows.extend(changes);
            let record = ParcelRecord {
                spans: 2,
                lines: String::new(),
                bytes: vec![7; 64].into(),
            };
            rows.push(Row::Parcel(number, record.write()));
            transactions.push(std::mem::take(&mut rows));
        }
    }
    transactions
}
