//! A mapper that is a text: sandboxes that have mapped before give what new ones give, and what goes wrong in one is gone with it.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use lighthouse_telemetry_core::mapping::{ObjectSubject, Outcome, Subject};
use lighthouse_telemetry_engine::{Code, Engine, Limits, LoadError, MapError, Mapper, Rejection};
use serde_json::{Value, json};

const INTERPRETER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/declarative.compiled"));
const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/declarative.wasm"));

const TEXT: &str = r"
kind: Thing
group: example.com
service: Thing
let:
  ready: object.status.conditions.filter(c, c.type == 'Ready')[0]
skip: object.spec.skip
wait: {not-started: '!has(object.status.started)'}
name: thing ${object.metadata.name}
start: object.status.started
end: ready.lastTransitionTime
error: {when: ready.status == 'False', type: ready.reason}
attributes:
  labels: object.metadata.labels.map(l, l)
  sum: object.status.list.map(a, a * 2)
  much: object.status.list.map(a, object.status.list.map(b, object.status.list.map(c, object.status.list.map(d, a + b + c + d)))) == []
spans:
- {forEach: object.status.steps, key: '${item.name}', name: step, start: item.at}
";

fn mapper(text: &str, kept_sandboxes: usize) -> Result<Mapper, LoadError> {
    let engine = Engine::new(Limits {
        kept_sandboxes,
        fuel: 50_000_000,
        // Never the reason why a test fails.
        deadline: Duration::from_secs(3600),
        ..Limits::default()
    });
    let interpreter = engine.unwrap().interpreter(Code::Precompiled(INTERPRETER));
    interpreter.unwrap().mapper("thing", text)
}

fn map(mapper: &Mapper, object: &Value) -> Result<Outcome, MapError> {
    mapper.map(&Subject::Object(ObjectSubject {
        watch: 0,
        json: object.to_string().into(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    }))
}

fn thing(number: usize) -> Value {
    let list: Vec<usize> = (0..number % 5).collect();
    let steps: Vec<Value> = list
        .iter()
        .map(|step| json!({"name": format!("step-{step}"), "at": "2026-01-01T00:00:03Z"}))
        .collect();
    let mut thing = json!({
        "metadata": {"name": format!("thing-{number}"), "labels": {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}},
        "spec": {"skip": number % 7 == 3},
        "status": {
            "started": "2026-01-01T00:00:01Z", "list": list, "steps": steps,
            "conditions": [{"type": "Ready", "status": "False", "reason": "Broken", "lastTransitionTime": "2026-01-01T00:00:09Z"}],
        },
    });
    match number % 11 {
        // Refused: the condition is no condition.
        5 => thing["spec"]["skip"] = "maybe".into(),
        6 => thing["status"]["started"] = Value::Null,
        7 => thing["status"]["conditions"] = json!([1, null, {}]),
        _ => {}
    }
    thing
}

#[test]
fn a_sandbox_that_has_mapped_before_gives_what_a_new_one_gives() {
    let (warm, fresh) = (mapper(TEXT, 8).unwrap(), mapper(TEXT, 0).unwrap());
    let things: Vec<Value> = (0..24).map(thing).collect();
    let said = |mapped: Result<Outcome, MapError>| mapped.map_err(|error| error.to_string());
    let expected: Vec<_> = things
        .iter()
        .map(|thing| said(map(&fresh, thing)))
        .collect();
    assert!(expected.iter().any(Result::is_err) && expected.contains(&Ok(Outcome::NotOurs)));
    // More calls than a sandbox lives for.
    for round in 0..25 {
        for (number, thing) in things.iter().enumerate() {
            assert_eq!(
                said(map(&warm, thing)),
                expected[number],
                "{round} {number}"
            );
        }
    }
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (warm, things, expected) = (&warm, &things, &expected);
            scope.spawn(move || {
                for (number, thing) in things.iter().enumerate().skip(thread) {
                    assert_eq!(said(map(warm, thing)), expected[number]);
                }
            });
        }
    });
}

#[test]
fn a_comprehension_without_end_runs_into_the_limit_and_the_next_call_is_as_good_as_new() {
    let mapper = mapper(TEXT, 8).unwrap();
    let good = map(&mapper, &thing(1)).unwrap();
    let mut endless = thing(1);
    endless["status"]["list"] = (0..200).collect();
    for _ in 0..2 {
        let error = map(&mapper, &endless).unwrap_err();
        assert!(
            matches!(
                error,
                MapError::OutOfFuel { .. } | MapError::OutOfMemory { .. }
            ),
            "{error}"
        );
        assert_eq!(map(&mapper, &thing(1)).unwrap(), good);
    }
}

#[test]
fn a_type_that_an_expression_cannot_take_is_said_with_its_place() {
    let error = map(&mapper(TEXT, 8).unwrap(), &thing(5)).unwrap_err();
    let MapError::Rejected(Rejection::Evaluation(at)) = error else {
        panic!("{error}");
    };
    assert_eq!((at.line, at.column), (7, 7));
    assert!(at.message.contains("object.spec.skip"), "{}", at.message);
}

#[test]
fn texts_that_eat_the_stack_or_the_time_are_refused() {
    let expression = |expression: &str| {
        TEXT.replace(
            "start: object.status.started",
            &format!("start: >-\n  {expression}"),
        )
    };
    let nested =
        |open: &str, close: &str| expression(&(open.repeat(1_000) + "1" + &close.repeat(1_000)));
    let deep = "[".repeat(100_000);
    for text in [
        nested("(", ")"),
        nested("[", "]"),
        nested("-", ""),
        nested("!", ""),
        nested("true ? ", " : 1"),
        expression(&("object".to_owned() + &".a".repeat(1_500))),
        expression(&"1 + ".repeat(900).replace("+ ", "+\n  ")),
        deep.clone(),
        format!("a: {deep}"),
        "- ".repeat(50_000),
        "? ".repeat(50_000),
    ] {
        match mapper(&text, 8) {
            // Whichever limit it meets first.
            Err(LoadError::ConfigureFailed(_) | LoadError::Configure(_) | LoadError::Smoke(_)) => {}
            // What it gives is no time.
            Ok(mapper) => assert!(map(&mapper, &thing(1)).is_err()),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_interpreter_is_small_and_asks_for_nothing_but_the_log() {
    assert!(COMPONENT.len() <= 2 << 20, "{}", COMPONENT.len());
    // A component that imports anything else is not loaded.
    let engine = Engine::new(Limits::default()).unwrap();
    assert!(engine.interpreter(Code::Precompiled(INTERPRETER)).is_ok());
}
