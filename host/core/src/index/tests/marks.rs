//! What the host says about times and parents that are not as they should be.

use super::*;
use crate::mapping::AttributeValue;
use crate::marks;

const MINUTE: Duration = Duration::from_secs(60);

fn skew<'w>(world: &'w World, uid: &str) -> Option<&'w AttributeValue> {
    attribute(world.span(uid), marks::SKEW)
}

#[test]
fn a_child_that_starts_before_its_parent_says_by_how_much() {
    let job = |start: u64| {
        let spec = json!({"guid": "g", "start": start, "end": 20});
        object("Job", "job", None, spec)
    };
    let pod = |uid: &str, start: u64, end: u64| {
        let spec = json!({"start": start, "end": end});
        object("Pod", uid, Some(("Job", "job")), spec)
    };
    let mut world = World::new();
    world.apply(&job(10));
    world.apply(&pod("before", 7, 20));
    world.apply(&pod("with", 10, 20));
    world.apply(&pod("after", 12, 20));
    world.pass(MINUTE);
    // The parent is exported.
    world.apply(&pod("late", 5, 80));
    world.pass(2 * MINUTE);
    assert_eq!(skew(&world, "before"), Some(&AttributeValue::Number(3.0)));
    assert_eq!(skew(&world, "late"), Some(&AttributeValue::Number(5.0)));
    assert_eq!(skew(&world, "with"), None);
    assert_eq!(skew(&world, "after"), None);
    // Neither time was changed.
    assert_eq!(world.span("before").start, at(7));
    assert_eq!(world.span("job").start, at(10));
}

#[test]
fn spans_that_are_known_to_the_second_say_so() {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&object("Job", "job", None, json!({"guid": "g", "end": 9})));
    world.pass(MINUTE);
    let precision = |span: &Span| attribute(span, marks::PRECISION).cloned();
    assert_eq!(precision(world.span("job")), Some("second".into()));
    // The receipt of a webhook is known to the nanosecond.
    assert_eq!(precision(world.root("g")), None);
}

#[test]
fn an_owner_in_another_namespace_is_none() {
    let mut world = World::new();
    world.apply(&object("Job", "job", None, json!({"guid": "g", "end": 9})));
    let mut pod = object("Pod", "pod", Some(("Job", "job")), json!({"end": 9}));
    pod["metadata"]["namespace"] = json!("other");
    world.apply(&pod);
    world.pass(20 * MINUTE);
    let span = world.span("pod");
    assert_eq!(attribute(span, marks::ORPHAN), Some(&true.into()));
    assert_ne!(span.trace_id, world.span("job").trace_id);
    assert_eq!(world.index.counts().orphans_exported, 1);
}

#[test]
fn a_circle_stays_broken_where_it_was_when_the_others_are_exported() {
    let run = |uid: &str, owner: &str, end: Option<u64>| {
        object("Run", uid, Some(("Run", owner)), json!({"end": end}))
    };
    let mut world = World::new();
    world.apply(&run("a", "c", None));
    world.apply(&run("b", "a", Some(9)));
    world.apply(&run("c", "b", Some(9)));
    world.pass(MINUTE);
    assert_eq!(world.span("c").parent, Some(SpanId::of("b", "", "")));
    world.apply(&version(run("a", "c", Some(9)), 2));
    world.pass(MINUTE);
    assert_eq!(world.span("a").parent, None);
}
