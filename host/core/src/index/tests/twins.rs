//! Objects that have one uid between them.

use super::*;

/// A Pod or Run of a name, a creation time and a uid that it shares.
fn twin(kind: &str, name: &str, created: u64) -> Value {
    let mut twin = object(
        kind,
        "shared",
        None,
        json!({"start": created, "end": created + 5, "root": true}),
    );
    twin["metadata"]["name"] = name.into();
    twin["metadata"]["creationTimestamp"] = at(created).to_string().into();
    twin
}

/// What a reader of `docs/spans.md` computes.
const YOUNGER: &str = "shared:test:Run:jx:younger";

fn about(uid: &str, kind: &str, name: &str) -> Value {
    let mut event = event(uid, "shared", 3);
    event["involvedObject"] = json!({"uid": "shared", "kind": kind, "name": name});
    event
}

#[test]
fn the_oldest_has_the_uid_in_whatever_order_they_are_seen() {
    let (older, younger) = (twin("Pod", "older", 0), twin("Run", "younger", 2));
    for order in [[&older, &younger], [&younger, &older]] {
        let mut world = World::new();
        world.now = at(10);
        world.apply(order[0]);
        world.pass(Duration::from_secs(1));
        world.apply(order[1]);
        world.pass(Duration::from_secs(20));
        assert_eq!(world.span("shared").name, "Pod");
        assert_eq!(
            attribute(world.span("shared"), crate::marks::IDENTITY),
            None
        );
        assert_eq!(world.span(YOUNGER).name, "Run");
        assert_eq!(
            attribute(world.span(YOUNGER), crate::marks::IDENTITY),
            Some(&YOUNGER.into())
        );
        assert_eq!(
            world.span(YOUNGER).trace_id,
            TraceKey::object(YOUNGER).trace_id()
        );
        assert_eq!(world.exported.len(), 2);
        assert_eq!(world.index.counts().shared_uids, 1);
    }
}

#[test]
fn a_mapping_that_was_asked_for_one_is_no_answer_for_the_other() {
    let mut world = World::new();
    world.now = at(10);
    world.hold_mappings = true;
    world.apply(&twin("Run", "younger", 2));
    world.apply(&twin("Run", "older", 0));
    let requests: Vec<MapRequest> = world.mappings.drain(..).collect();
    world.hold_mappings = false;
    for request in requests {
        world.answer(request);
    }
    world.pass(Duration::from_secs(20));
    assert_eq!(world.span("shared").start, at(0));
    assert_eq!(world.span(YOUNGER).start, at(2));
}

#[test]
fn what_comes_along_goes_to_the_one_that_it_names() {
    let events = [
        about("of-older", "Run", "older"),
        about("of-younger", "Run", "younger"),
        about("of-pod", "Pod", "older"),
    ];
    let twins = [
        twin("Run", "younger", 2),
        twin("Pod", "older", 1),
        twin("Run", "older", 0),
    ];
    for events_first in [true, false] {
        let mut world = World::new();
        world.now = at(10);
        let (first, second): (&[Value], &[Value]) = if events_first {
            (&events, &twins)
        } else {
            (&twins, &events)
        };
        for value in first.iter().chain(second) {
            world.apply(value);
        }
        world.pass(Duration::from_secs(20));
        let has = |identity: &str, event: &str| {
            let id = SpanId::of(identity, "", event);
            world.exported.iter().any(|span| span.span_id == id)
        };
        assert!(has("shared", "of-older"));
        assert!(has(YOUNGER, "of-younger"));
        assert!(has("shared::Pod:jx:older", "of-pod"));
        assert_eq!(world.exported.len(), 6);
    }
}

#[test]
fn a_child_hangs_from_the_one_that_it_names() {
    let mut child = object("Pod", "child", Some(("Run", "shared")), json!({"end": 4}));
    child["metadata"]["ownerReferences"][0]["name"] = "younger".into();
    let twins = [twin("Run", "older", 0), twin("Run", "younger", 2)];
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new();
        world.now = at(10);
        world.apply(&child);
        for place in order {
            world.apply(&twins[place]);
        }
        world.pass(Duration::from_secs(20));
        assert_eq!(
            world.span("child").parent,
            Some(SpanId::of(YOUNGER, "", ""))
        );
    }
}

#[test]
fn a_span_that_has_left_keeps_its_id() {
    let mut world = World::new();
    world.now = at(10);
    world.apply(&twin("Run", "younger", 2));
    world.pass(Duration::from_secs(20));
    world.apply(&twin("Run", "older", 0));
    // A list tells of both again.
    world.apply(&twin("Run", "younger", 2));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.span("shared").start, at(2));
    assert_eq!(world.span("shared:test:Run:jx:older").start, at(0));
    assert_eq!(world.exported.len(), 2);
}

#[test]
fn each_has_versions_and_an_end_of_its_own() {
    let mut world = World::new();
    world.now = at(10);
    let open = |name: &str, created: u64, number: u64| {
        let mut open = version(twin("Run", name, created), number);
        open["spec"]["end"] = Value::Null;
        open
    };
    world.apply(&open("older", 0, 900));
    world.apply(&open("younger", 2, 5));
    world.delete(&open("younger", 2, 6));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.span(YOUNGER).start, at(2));
    assert_eq!(world.exported.len(), 1);
    world.delete(&open("older", 0, 901));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.exported.len(), 2);
    // Nothing is remembered of them in the end.
    world.pass(Duration::from_secs(2_000));
    assert_eq!(world.index.counts().subjects, 0);
    world.apply(&twin("Run", "third", 40));
    world.pass(Duration::from_secs(20));
    assert_eq!(
        world
            .exported
            .iter()
            .filter(|span| span.start == at(40))
            .map(|span| span.span_id)
            .collect::<Vec<_>>(),
        [SpanId::of("shared", "", "")]
    );
}
