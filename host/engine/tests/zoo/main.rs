//! Hostile mappers. Each hurts only itself, is told by the type of its error, and an innocent mapper that shares its engine
//! goes on as if nothing had been.
//!
//! Here are those that answer what is no answer; `greedy` has those that want more than their limits, `ungranted` those that are
//! refused at once, `versions` those of another version of the contract. `refused.rs` has files that are no mappers at all; what a mapper of the SDK can do wrong is in the host's
//! `tests/hostile_mapper.rs`.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod greedy;
mod guest;
mod ungranted;
mod versions;
mod wasi;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guest::{Guest, Watch, outcome, pair, record};
use lighthouse_telemetry_core::mapping::{ObjectSubject, Outcome, Subject};
use lighthouse_telemetry_engine::{Code, Engine, Limits, LoadError, MapError, Mapper};

/// Enough for what is done in good faith, and soon used up.
const FUEL: u64 = 5_000_000;

fn limits() -> Limits {
    Limits {
        fuel: FUEL,
        // Never the reason why a test fails.
        deadline: Duration::from_secs(3_600),
        ..Limits::default()
    }
}

/// Shared by all animals.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(limits()).unwrap());

static INNOCENT: LazyLock<Mapper> = LazyLock::new(|| {
    let innocent = Guest::returning(|guest| outcome(1, guest.text("fine")));
    load(&innocent).unwrap()
});

fn load(guest: &Guest) -> Result<Mapper, LoadError> {
    ENGINE.load("animal", Code::Component(&guest.component()), "")
}

fn subject(name: &str) -> Subject {
    Subject::Object(ObjectSubject {
        watch: 0,
        json: format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"creationTimestamp":"2026-03-02T09:00:00Z","name":"{name}","namespace":"jx","uid":"ab"}}}}"#
        )
        .into(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    })
}

/// The innocent mapper maps.
fn nobody_else_is_hurt() {
    let outcome = INNOCENT.map(&subject("innocent"));
    assert!(
        matches!(&outcome, Ok(Outcome::Wait(reason)) if reason == "fine"),
        "{outcome:?}"
    );
}

/// Why an animal that loads cannot map: the same each time.
fn fails(guest: &Guest) -> MapError {
    let mapper = load(guest).unwrap_or_else(|error| panic!("{error}"));
    let fail = || {
        let error = mapper
            .map(&subject("p"))
            .expect_err("it should have failed");
        nobody_else_is_hurt();
        error
    };
    let first = fail();
    assert_eq!(fail().to_string(), first.to_string());
    first
}

fn is_refused(guest: &Guest) -> LoadError {
    let error = load(guest).expect_err("it should have been refused");
    nobody_else_is_hurt();
    error
}

#[test]
fn traps_at_once() {
    let error = is_refused(&Guest::new().always("(unreachable)"));
    assert!(
        matches!(error, LoadError::Smoke(MapError::Trap(_))),
        "{error}"
    );
    for map in [
        "(unreachable)",
        "(i32.div_u (i32.const 1) (i32.const 0))",
        "(i32.load (i32.const -4))",
    ] {
        let error = fails(&Guest::that("", map));
        assert!(matches!(error, MapError::Trap(_)), "{error}");
    }
}

#[test]
fn every_tenth_call_traps_by_what_is_mapped_and_not_by_counting() {
    let by_subject = "(i32.eqz (i32.rem_u (local.get $length) (i32.const 10)))";
    let by_count = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.eq (global.get $calls) (i32.const 10))";
    let traps = |when: &str| {
        let mut guest = Guest::new();
        guest.parts = "(global $calls (mut i32) (i32.const 0))".to_owned();
        let not_ours = guest.put(&[0; 24]);
        guest.answer(&format!(
            "(if (block (result i32) {when}) (then (unreachable))) (i32.const {not_ours})"
        ));
        let mapper = load(&guest).unwrap();
        let names = (0..40).map(|length| "n".repeat(length));
        let outcomes: Vec<bool> = names
            .map(|name| {
                let failed = mapper.map(&subject(&name)).is_err();
                nobody_else_is_hurt();
                failed
            })
            .collect();
        outcomes
    };
    assert!(!traps(by_count).contains(&true));
    let traps = traps(by_subject);
    assert_eq!(traps.iter().filter(|failed| **failed).count(), 4);
    assert_eq!(traps[..30], traps[10..]);
}

#[test]
fn no_call_finds_what_another_left() {
    let mut guest = Guest::new();
    guest.parts = "(global $calls (mut i32) (i32.const 0))".to_owned();
    let digits = guest.text("0123456789");
    let at = u32::from_le_bytes(digits[..4].try_into().unwrap());
    let result = outcome(1, pair(at, 1));
    let result = guest.put(&result);
    // In a global and in memory: each call makes the text of its answer the digit after it.
    let map = format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store (i32.const {place}) (i32.add (i32.load (i32.const {place})) (global.get $calls)))
        (i32.const {result})",
        place = result + 8
    );
    guest.answer(&map);
    // What `configure` does is forgotten too, and to say otherwise is no use: it is done again for each call.
    for keeps_state in [false, true] {
        let pod = Watch::of("Pod").put(&mut guest);
        let description = guest.description("1", &[pod], keeps_state);
        guest.configure(&format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 3))) (i32.const {description})"
        ));
        let mapper = load(&guest).unwrap();
        for _ in 0..5 {
            let digit = if keeps_state { "4" } else { "1" };
            let outcome = mapper.map(&subject("p")).unwrap();
            assert_eq!(outcome, Outcome::Wait(digit.to_owned()));
        }
    }
}

#[test]
fn a_configure_that_wants_to_say_something_else_each_time_cannot() {
    let mut guest = Guest::new();
    guest.parts = "(global $calls (mut i32) (i32.const 0))".to_owned();
    let descriptions: Vec<u32> = ["1", "2"]
        .map(|version| {
            let pod = Watch::of("Pod").put(&mut guest);
            guest.description(version, &[pod], false)
        })
        .into();
    guest.configure(&format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (select (i32.const {}) (i32.const {}) (i32.eq (global.get $calls) (i32.const 1)))",
        descriptions[0], descriptions[1]
    ));
    for _ in 0..3 {
        assert_eq!(load(&guest).unwrap().description().version, "1");
    }
}

#[test]
fn garbage_is_called_unreadable() {
    let mut bytes = Vec::new();
    for result in [
        // No such case of the result, of the outcome, of an error.
        record(24, &[(0, &[2])]),
        outcome(3, [0; 8]),
        record(24, &[(0, &[1]), (4, &[9])]),
        record(24, &[(0, &[0xff; 24])]),
        // Addresses that are none, lengths that go beyond, and both so that their sum begins anew.
        outcome(1, pair(u32::MAX, 1)),
        outcome(1, pair(0, u32::MAX)),
        outcome(1, pair(u32::MAX - 7, u32::MAX)),
        outcome(2, pair(0, 1 << 31)),
        // A text of 100 MB, in a memory of 2.
        outcome(1, pair(1024, 100 << 20)),
    ] {
        bytes.push(Guest::returning(|_| result));
    }
    bytes.push(Guest::returning(|guest| {
        let at = guest.put(b"no \xff text");
        outcome(1, pair(at, 9))
    }));
    bytes.push(Guest::that("", "(i32.const -8)"));
    bytes.push(Guest::that("", "(i32.const 1025)"));
    for guest in bytes {
        let error = fails(&guest);
        assert!(matches!(error, MapError::Unreadable(_)), "{error:?}");
    }
    let mut configures = Guest::new();
    let at = configures.put(&record(32, &[(4, &pair(u32::MAX, 3))]));
    configures.configure(&format!("(i32.const {at})"));
    let mut allocates = Guest::new();
    allocates.realloc("(i32.const -16)");
    for guest in [configures, allocates] {
        let error = is_refused(&guest);
        assert!(
            matches!(error, LoadError::Configure(MapError::Unreadable(_))),
            "{error:?}"
        );
    }
}

#[test]
fn on_a_machine_with_too_much_to_do_the_innocent_map() {
    nobody_else_is_hurt();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for _ in 0..200 {
            nobody_else_is_hurt();
        }
        stop.store(true, Ordering::Relaxed);
    });
}
