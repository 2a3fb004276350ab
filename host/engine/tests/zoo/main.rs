//! Hostile mappers. Each hurts only itself, is told by the type of its error, and an innocent mapper that shares its engine
//! goes on as if nothing had been.
//!
//! `refused.rs` has files that are no mappers at all; what a mapper of the SDK can do wrong is in the host's
//! `tests/hostile_mapper.rs`.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod guest;
mod wasi;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guest::{Guest, Watch, outcome, pair, record};
use lighthouse_telemetry_core::mapping::{ObjectSubject, Outcome, Subject};
use lighthouse_telemetry_engine::{
    BadDescription, Code, Engine, Limits, LoadError, MapError, Mapper,
};

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

const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";

#[test]
fn what_never_ends_is_ended_by_its_fuel() {
    let endless = |error: &MapError| matches!(error, MapError::OutOfFuel { fuel: FUEL });
    for map in [
        ENDLESS,
        // A single instruction can do much.
        "(loop $again (memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 0xf0000)) (br $again)) (unreachable)",
        "(loop $again (memory.copy (i32.const 0x100000) (i32.const 0x100001) (i32.const 0xf0000)) (br $again))
            (unreachable)",
    ] {
        let error = fails(&Guest::that("", map));
        assert!(endless(&error), "{map}: {error}");
    }
    let mut configures = Guest::new();
    configures.configure(ENDLESS);
    let mut allocates = Guest::new();
    allocates.realloc(ENDLESS);
    let mut starts = Guest::new();
    starts.parts = "(func $start (loop $again (br $again))) (start $start)".to_owned();
    for guest in [configures, allocates, starts] {
        let error = is_refused(&guest);
        assert!(
            matches!(&error, LoadError::Configure(error) if endless(error)),
            "{error}"
        );
    }
    let mut cleans_up = Guest::new();
    cleans_up.parts =
        r#"(func (export "cabi_post_MAPPER#map-subject") (param i32) (loop $again (br $again)))"#
            .to_owned();
    for error in [
        is_refused(&cleans_up),
        is_refused(&Guest::new().always(ENDLESS)),
    ] {
        assert!(
            matches!(&error, LoadError::Smoke(error) if endless(error)),
            "{error}"
        );
    }
}

#[test]
fn an_endless_loop_at_the_limits_that_a_host_has() {
    let limits = Limits::default();
    let engine = Engine::new(limits.clone()).unwrap();
    let guest = Guest::that("", ENDLESS).component();
    let mapper = engine.load("animal", Code::Component(&guest), "").unwrap();
    let error = mapper.map(&subject("p")).unwrap_err();
    assert!(
        matches!(error, MapError::OutOfFuel { fuel } if fuel == limits.fuel),
        "{error}"
    );
}

#[test]
fn endless_recursion() {
    let guest = Guest::that(
        "(func $deeper (call $deeper))",
        "(call $deeper) (unreachable)",
    );
    let error = fails(&guest);
    assert!(matches!(error, MapError::StackOverflow), "{error}");
}

/// Grows until it is refused, and then does this.
fn growing(grow: &str, then: &str) -> String {
    format!(
        "(block $no (loop $more (br_if $no (i32.eq ({grow}) (i32.const -1))) (br $more))) {then}"
    )
}

#[test]
fn hogs_of_memory_and_of_tables() {
    let grow = "memory.grow (i32.const 16)";
    let error = fails(&Guest::that("", &growing(grow, "(unreachable)")));
    assert!(
        matches!(error, MapError::OutOfMemory { limit: 0x200_0000 }),
        "{error}"
    );
    let table = "(table $t 1 funcref)";
    let grow = "table.grow $t (ref.null func) (i32.const 64)";
    let error = fails(&Guest::that(table, &growing(grow, "(unreachable)")));
    assert!(
        matches!(error, MapError::TableTooLarge { limit: 20_000 }),
        "{error}"
    );

    let mut large = Guest::new();
    large.pages = 513;
    let error = is_refused(&large);
    let LoadError::TooLarge { wanted, limit, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((wanted, limit), (513 << 16, 32 << 20));
    let mut large = Guest::new();
    large.parts = "(table 20001 funcref)".to_owned();
    let error = is_refused(&large);
    assert!(
        matches!(error, LoadError::TooLarge { wanted: 20_001, .. }),
        "{error}"
    );
}

#[test]
fn one_that_does_without_what_it_is_refused_may_go_on() {
    let mut guest = Guest::new();
    let answer = outcome(1, guest.text("enough"));
    let answer = guest.put(&answer);
    let map = growing(
        "memory.grow (i32.const 16)",
        &format!("(i32.const {answer})"),
    );
    guest.answer(&map);
    let outcome = load(&guest).unwrap().map(&subject("p")).unwrap();
    assert_eq!(outcome, Outcome::Wait("enough".to_owned()));
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

/// A million spans in a few kilobytes: a thousand trees share a thousand children.
fn million_spans() -> Guest {
    Guest::returning(|guest| {
        let name = guest.text("one of many");
        let span = record(104, &[(0, &name), (8, &name)]);
        let children = guest.list(&vec![record(112, &[(8, &span)]); 1_000]);
        let tree = guest.tree([0; 8], children);
        let trees = guest.list(&vec![tree; 1_000]);
        outcome(2, trees)
    })
}

/// So many texts of this length, all of them the same memory.
fn aliases(texts: usize, length: u32) -> Guest {
    Guest::returning(|guest| {
        let texts = guest.list(&vec![pair(1 << 20, length).to_vec(); texts]);
        let key = guest.text("texts");
        let attribute = record(24, &[(0, &key), (8, &[4]), (16, &texts)]);
        let attributes = guest.list(&[attribute]);
        let tree = guest.tree(attributes, [0; 8]);
        outcome(2, guest.list(&[tree]))
    })
}

/// A text of 20 MB, which is all there.
fn long_text() -> Guest {
    let mut guest = Guest::returning(|_| outcome(1, pair(1 << 20, 20 << 20)));
    guest.pages = 400;
    guest
}

#[test]
fn more_than_the_host_takes_over() {
    for guest in [million_spans(), aliases(1_000, 1 << 20), long_text()] {
        let error = fails(&guest);
        assert!(
            matches!(error, MapError::TooMuchOutput { limit: 0x100_0000 }),
            "{error}"
        );
    }
    // A description counts too.
    let mut guest = Guest::new();
    let pod = Watch::of("Pod").put(&mut guest);
    guest.describe("1", &vec![pod; 2_000], false);
    let error = is_refused(&guest);
    let too_many = matches!(
        error,
        LoadError::Description(BadDescription::TooMany { found: 2_000, .. })
    );
    assert!(too_many, "{error}");
    // What shares memory within the limit is taken, each for itself.
    let mapper = load(&aliases(1_000, 4)).unwrap();
    assert!(matches!(mapper.map(&subject("p")), Ok(Outcome::Spans(trees)) if trees.len() == 1));
}

/// The most memory that the process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() << 10
}

#[test]
fn the_greedy_cost_the_host_no_more_than_their_limits() {
    // Grows, and writes into each page.
    let touch = "(loop $more
            (if (i32.ge_u (global.get $at) (i32.shl (memory.size) (i32.const 16)))
                (then (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))))
            (i32.store8 (global.get $at) (i32.const 1))
            (global.set $at (i32.add (global.get $at) (i32.const 4096)))
            (br $more))
        (unreachable)";
    let greedy = [
        Guest::that("(global $at (mut i32) (i32.const 0x100000))", touch),
        million_spans(),
        aliases(1_000, 1 << 20),
        long_text(),
    ];
    let mappers: Vec<Mapper> = greedy.iter().map(|guest| load(guest).unwrap()).collect();
    let before = peak();
    for _ in 0..10 {
        for mapper in &mappers {
            mapper.map(&subject("p")).unwrap_err();
        }
    }
    nobody_else_is_hurt();
    // One alone would want gigabytes; other tests run meanwhile.
    let grown = peak() - before;
    assert!(grown < 256 << 20, "{grown}");
}

#[test]
fn other_imports_are_refused() {
    for import in [
        "wasi:filesystem/preopens@0.3.0",
        "wasi:clocks/monotonic-clock@0.1.0",
        "acme:host/everything",
    ] {
        let text = format!(
            r#"(component
                (import "{import}" (instance))
                (instance $i)
                (export "lighthouse:span-mapper/mapper@{}" (instance $i)))"#,
            INNOCENT.contract()
        );
        let error = ENGINE
            .load(
                "animal",
                Code::Component(&wat::parse_str(text).unwrap()),
                "",
            )
            .unwrap_err();
        assert!(
            matches!(&error, LoadError::ForeignImport(name) if name == import),
            "{error}"
        );
    }
}

#[test]
fn files_that_were_mappers_once() {
    let guest = Guest::new();
    let module = guest.module();
    let error = ENGINE.load("animal", Code::Component(&module), "");
    assert!(
        matches!(
            error,
            Err(LoadError::NotAComponent {
                found: "a core module"
            })
        ),
        "{error:?}"
    );
    let whole = guest.component();
    let half = &whole[..whole.len() / 2];
    let error = ENGINE.load("animal", Code::Component(half), "");
    assert!(
        matches!(error, Err(LoadError::Truncated { .. })),
        "{error:?}"
    );
    // Of a contract to come: as long, so that the file is valid with it in its place.
    let spoken = INNOCENT.contract();
    let future = spoken.replacen('0', "7", 1);
    let mut later = whole.clone();
    for at in 0..=later.len() - spoken.len() {
        if later[at..].starts_with(spoken.as_bytes()) {
            later[at..at + future.len()].copy_from_slice(future.as_bytes());
        }
    }
    let error = ENGINE.load("animal", Code::Component(&later), "");
    let unknown =
        matches!(&error, Err(LoadError::UnknownContract { found, .. }) if *found == future);
    assert!(unknown, "{error:?}");
    nobody_else_is_hurt();
}

#[test]
fn more_than_is_granted() {
    let asking = |watches: usize, watch: &Watch<'_>| {
        let mut guest = Guest::new();
        let watch = watch.put(&mut guest);
        guest.describe("1", &vec![watch; watches], false);
        match is_refused(&guest) {
            LoadError::Description(error) => error,
            other => panic!("{other}"),
        }
    };
    let pod = || Watch::of("Pod");
    assert_eq!(asking(1, &Watch::of("Secret")), BadDescription::Secrets);
    assert!(matches!(
        asking(1, &Watch::of("../../api/v1/secrets")),
        BadDescription::NotAName { what: "kind", .. }
    ));
    let foreign = Watch {
        annotations: &["iam.amazonaws.com/role"],
        ..pod()
    };
    assert!(matches!(
        asking(1, &foreign),
        BadDescription::Annotation { .. }
    ));
    let too_many = [
        (33, pod(), "watches"),
        (
            1,
            Watch {
                fields: 257,
                ..pod()
            },
            "fields in a watch",
        ),
        (
            1,
            Watch {
                attachments: 9,
                ..pod()
            },
            "attachments in a watch",
        ),
        (
            1,
            Watch {
                versions: 65,
                ..pod()
            },
            "versions of a kind",
        ),
        (
            1,
            Watch {
                annotations: &["lighthouse.jenkins-x.io/a"; 17],
                ..pod()
            },
            "annotations in a watch",
        ),
    ];
    for (watches, watch, wanted) in too_many {
        let error = asking(watches, &watch);
        assert!(
            matches!(error, BadDescription::TooMany { what, .. } if what == wanted),
            "{error}"
        );
    }
    let mut guest = Guest::new();
    guest.describe(&"1".repeat(2_000), &[], false);
    let error = is_refused(&guest);
    assert!(
        matches!(
            error,
            LoadError::Description(BadDescription::TooLong {
                what: "version",
                ..
            })
        ),
        "{error}"
    );
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
