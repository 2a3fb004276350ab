//! A mapper that does its worst: it hurts itself, says why, and the next call is as good as new.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;
use std::time::Duration;

use lighthouse_telemetry::health::Watches;
use lighthouse_telemetry::mappers::{Mappers, Report, builtin};
use lighthouse_telemetry::mapping::Mapping;
use lighthouse_telemetry::metrics::Metrics;
use lighthouse_telemetry_core::index::{Fact, MapRequest, SubjectId, Ticket};
use lighthouse_telemetry_core::mapping::{AttributeValue, ObjectSubject, Outcome, Subject};
use lighthouse_telemetry_core::object::WatchId;
use lighthouse_telemetry_engine::{
    BadDescription, BadOutput, Code, Engine, Limits, LoadError, MapError, Mapper, Rejection,
    precompile,
};
use tokio::sync::mpsc::unbounded_channel;

const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));

/// Compiled once for all tests.
static COMPILED: LazyLock<Vec<u8>> = LazyLock::new(|| precompile(HOSTILE, None).unwrap());

fn limits() -> Limits {
    Limits {
        // Enough for what it does in good faith; a debug build of the host runs guests as fast as any.
        fuel: 50_000_000,
        // Never the reason why a test fails.
        deadline: Duration::from_secs(3600),
        ..Limits::default()
    }
}

fn load(text: &str) -> Result<Mapper, LoadError> {
    Engine::new(limits())
        .unwrap()
        .load("hostile", Code::Precompiled(&COMPILED), text)
}

fn pod(name: &str) -> Subject {
    Subject::Object(ObjectSubject {
        watch: 0,
        json: format!(r#"{{"metadata":{{"name":"{name}"}}}}"#).into(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    })
}

fn map(mapper: &Mapper, what: &str) -> Result<Outcome, MapError> {
    mapper.map(&pod(what))
}

#[test]
fn every_limit_holds_and_is_named() {
    let mapper = load("").unwrap();
    let fails = |what: &str| map(&mapper, what).expect_err(what);
    assert!(matches!(
        fails("loop"),
        MapError::OutOfFuel { fuel: 50_000_000 }
    ));
    assert!(matches!(fails("log"), MapError::OutOfFuel { .. }));
    // The guest's own stack of 128 KiB ends first: it lies at the start of its memory, so that it traps.
    let error = fails("recursion");
    assert!(
        matches!(error, MapError::StackOverflow | MapError::Trap(_)),
        "{error}"
    );
    assert!(matches!(
        fails("memory"),
        MapError::OutOfMemory { limit: 33_554_432 }
    ));
    assert!(matches!(fails("trap"), MapError::Trap(_)));
    assert!(matches!(
        fails("long text"),
        MapError::TooMuchOutput { limit: 16_777_216 }
    ));
    assert!(matches!(
        fails("refuse"),
        MapError::Rejected(Rejection::Other(reason)) if reason == "I will not"
    ));
    assert!(matches!(map(&mapper, "nothing"), Ok(Outcome::NotOurs)));
}

#[test]
fn results_that_break_the_contract_are_worth_nothing() {
    let mapper = load("").unwrap();
    let breaks = |what: &str| match map(&mapper, what) {
        Err(MapError::BadOutput(rule)) => rule,
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(
        breaks("not finite"),
        BadOutput::NotFinite("ratio".to_owned())
    );
    assert_eq!(breaks("circle"), BadOutput::Under { child: 0, under: 0 });
    assert_eq!(breaks("no parent"), BadOutput::NoParent(String::new()));
}

#[test]
fn what_is_merely_too_much_is_cut_and_said() {
    let mapper = load("").unwrap();
    let Ok(Outcome::Spans(trees)) = map(&mapper, "many spans") else {
        panic!("no spans")
    };
    let limit = limits().output.spans as usize;
    assert_eq!(trees[0].children.len(), limit - 1);
    let said = trees[0]
        .main
        .attributes
        .iter()
        .find(|attribute| attribute.key == "span_mapper.cut.spans");
    let cut = i64::try_from(5_000 - (limit - 1)).unwrap();
    assert_eq!(
        said.map(|attribute| &attribute.value),
        Some(&AttributeValue::Integer(cut))
    );
}

#[test]
fn no_call_remembers_another() {
    let mapper = load("").unwrap();
    for _ in 0..3 {
        assert_eq!(
            map(&mapper, "memory of earlier calls").unwrap(),
            Outcome::Wait(String::new())
        );
    }
    let mapper = load("keeps state").unwrap();
    for _ in 0..3 {
        assert_eq!(
            map(&mapper, "memory of earlier calls").unwrap(),
            Outcome::Wait("keeps state.".to_owned())
        );
    }
}

#[test]
fn calls_at_the_same_time_do_not_meet() {
    let mapper = load("").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..24 {
            let mapper = &mapper;
            scope.spawn(move || {
                for _ in 0..10 {
                    if thread % 2 == 0 {
                        assert_eq!(
                            map(mapper, "memory of earlier calls").unwrap(),
                            Outcome::Wait(String::new())
                        );
                    } else {
                        map(mapper, "trap").unwrap_err();
                    }
                }
            });
        }
    });
}

#[test]
fn a_mapper_that_asks_for_too_much_is_not_loaded() {
    assert!(matches!(
        load("loop"),
        Err(LoadError::Configure(MapError::OutOfFuel { .. }))
    ));
    assert!(matches!(
        load("secrets"),
        Err(LoadError::Description(BadDescription::Secrets))
    ));
    assert!(matches!(
        load("annotation"),
        Err(LoadError::Description(BadDescription::Annotation { .. }))
    ));
    assert!(matches!(
        load("feature"),
        Err(LoadError::Description(BadDescription::Feature(_)))
    ));
    let error = load("error").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the mapper refuses its configuration: configuration: line 3, column 7: no such thing"
    );
}

#[test]
fn the_deadline_is_a_backstop() {
    let engine = Engine::new(Limits {
        fuel: u64::MAX,
        deadline: Duration::from_millis(1),
        ..Limits::default()
    })
    .unwrap();
    let loaded = engine.load("hostile", Code::Precompiled(&COMPILED), "loop");
    assert!(matches!(
        loaded,
        Err(LoadError::Configure(MapError::Deadline(_)))
    ));
}

#[test]
fn a_machine_without_room_for_a_pool_maps_all_the_same() {
    // More sandboxes than any address space has room for.
    let engine = Engine::new(Limits {
        concurrent_calls: 1 << 20,
        ..limits()
    })
    .unwrap();
    assert!(!engine.pooled());
    let mapper = engine
        .load("hostile", Code::Component(HOSTILE), "")
        .unwrap();
    assert!(matches!(map(&mapper, "nothing"), Ok(Outcome::NotOurs)));
    assert!(matches!(
        map(&mapper, "memory"),
        Err(MapError::OutOfMemory { .. })
    ));
}

#[tokio::test]
async fn one_that_burns_all_its_fuel_does_not_keep_the_built_in_ones_from_mapping() {
    const OF_EACH: u64 = 20;
    let engine = Engine::new(Limits {
        fuel: 5_000_000,
        ..limits()
    })
    .unwrap();
    let mut all = builtin(&engine).unwrap();
    let hostile = engine.load("hostile", Code::Precompiled(&COMPILED), "");
    all.push(hostile.unwrap());
    let mappers = Mappers::new(all).unwrap();
    let watch_of = |mapper: &str| mappers.catalog.watches_of(mapper).next().unwrap();
    let (hostile, kubernetes) = (watch_of("hostile"), watch_of("kubernetes"));
    let (results, mut answers) = unbounded_channel();
    let metrics = Metrics::default();
    let mapping = Mapping::start(mappers.clone().into(), results, metrics.clone()).unwrap();
    let ask = |watch: WatchId, number: u64, name: &str| {
        mapping.push(MapRequest {
            ticket: Ticket {
                subject: SubjectId::Webhook(number),
                revision: 0,
                watch,
            },
            subject: pod(name),
        });
    };
    for number in 0..OF_EACH {
        ask(hostile, number, "loop");
    }
    for number in 0..OF_EACH {
        ask(kubernetes, number, "innocent");
    }
    let mut answered = [0, 0];
    while answered != [OF_EACH; 2] {
        let Some(Fact::Mapped(ticket, result)) = answers.recv().await else {
            panic!("{answered:?}");
        };
        // Each is really tried, sooner or later, and says itself what becomes of it.
        assert_eq!(result.is_err(), ticket.watch == hostile, "{result:?}");
        answered[usize::from(ticket.watch == hostile)] += 1;
    }
    let calls = metrics.calls("hostile");
    assert_eq!((calls.calls, calls.failures), (OF_EACH, OF_EACH));
    assert!(calls.rests && calls.times_ill == 1, "{calls:?}");
    let calls = metrics.calls("kubernetes");
    assert_eq!((calls.calls, calls.failures), (OF_EACH, 0));
    assert!(!calls.rests && calls.times_ill == 0, "{calls:?}");
    let report = Report::of(&mappers).to_json(&metrics, &Watches::default());
    let shown = |name: &str| {
        let mut mappers = report["mappers"].as_array().unwrap().iter();
        mappers.find(|mapper| mapper["name"] == name).unwrap()["resting"].clone()
    };
    assert_eq!(
        (shown("hostile"), shown("kubernetes")),
        (true.into(), false.into())
    );
}
