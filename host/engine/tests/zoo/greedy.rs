//! Mappers that want more than there is: time, depth, memory, tables, and what they make the host take over.

use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_engine::{
    BadDescription, Code, Engine, Limits, LoadError, MapError, Mapper,
};

use super::guest::{Guest, Watch, outcome, pair, record};
use super::{FUEL, fails, is_refused, load, nobody_else_is_hurt, subject};

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
