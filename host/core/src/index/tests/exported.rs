//! What a job says of its trace once that is exported, and what an index makes of it that knows no more.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn job(uid: &str, safe: bool, end: Option<u64>, annotations: &Value) -> Value {
    let mut spec = json!({"guid": "g", "safe": safe});
    if let Some(end) = end {
        spec["end"] = end.into();
    }
    let mut job = object("Job", uid, None, spec);
    job["metadata"]["annotations"] = annotations.clone();
    job
}

/// The annotations that were set on an object, in the order in which they were.
fn set(world: &World, uid: &str) -> Value {
    let of = world
        .annotated
        .iter()
        .filter(|annotate| *annotate.object.uid == *uid);
    let pairs = of.flat_map(|annotate| &annotate.annotations);
    pairs
        .map(|(key, value)| (key.to_string(), Value::from(&**value)))
        .collect()
}

fn traced() -> World {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&job("a", true, None, &json!({})));
    world.apply(&job("b", true, None, &json!({})));
    world.apply(&version(job("a", true, Some(9), &set(&world, "a")), 2));
    world.pass(MINUTE);
    world
}

#[test]
fn jobs_say_so_once_all_of_their_event_is_exported() {
    let mut world = traced();
    let own = SpanId::of("a", "", "").to_string();
    assert_eq!(
        set(&world, "a")["exported"],
        Value::Null,
        "there is another job"
    );
    world.apply(&version(job("b", true, Some(70), &set(&world, "b")), 2));
    world.pass(MINUTE);
    assert_eq!(set(&world, "a")["exported"], own);
    assert_ne!(set(&world, "b")["exported"], Value::Null);
    // One that is late says so too.
    world.apply(&job("c", true, None, &json!({})));
    world.apply(&version(job("c", true, Some(130), &set(&world, "c")), 2));
    world.pass(MINUTE);
    assert_ne!(set(&world, "c")["exported"], Value::Null);
}

#[test]
fn what_was_not_annotated_before_is_not_now() {
    let mut world = World::new();
    world.apply(&job("a", true, Some(9), &json!({})));
    world.pass(MINUTE);
    assert!(!world.exported.is_empty());
    assert_eq!(set(&world, "a"), json!({}));
}

#[test]
fn a_tree_whose_job_says_so_is_left_alone_and_what_is_late_joins_it() {
    let mut before = traced();
    before.apply(&version(job("b", true, Some(70), &set(&before, "b")), 2));
    before.pass(MINUTE);

    let mut world = World::new();
    world.now = before.now;
    let pod = |uid: &str, job: &str| object("Pod", uid, Some(("Job", job)), json!({"end": 9}));
    world.apply(&pod("pod-of-a", "a"));
    world.apply(&version(job("a", true, Some(9), &set(&before, "a")), 3));
    world.pass(2 * MINUTE);
    assert_eq!(world.exported, [], "all of it was exported before");
    // A job that was not there before.
    world.apply(&job("late", true, None, &json!({})));
    world.apply(&version(
        job("late", true, Some(300), &set(&world, "late")),
        2,
    ));
    world.pass(MINUTE);
    assert_eq!(world.exported.len(), 1, "no second root");
    let root = TraceKey::event(&event_key("g")).root_span_id();
    assert_eq!(world.span("late").parent, Some(root));
    assert_eq!(world.index.counts().late_jobs, 1);
}

#[test]
fn a_root_is_rebuilt_from_what_its_jobs_say() {
    let before = traced();
    let mut world = World::new();
    world.now = before.now;
    for (uid, end) in [("a", 9), ("b", 70)] {
        world.apply(&version(job(uid, true, Some(end), &set(&before, uid)), 3));
    }
    world.pass(MINUTE);
    let root = world.root("g");
    assert_eq!(attribute(root, crate::marks::REBUILT), Some(&true.into()));
    // The webhook was received before the first job was made.
    assert_eq!(root.start, at(0));
    // Who has the webhook need not rebuild anything.
    let mut world = World::new();
    world.webhook("g");
    world.apply(&version(job("a", true, Some(9), &set(&before, "a")), 3));
    world.pass(MINUTE);
    assert_eq!(attribute(world.root("g"), crate::marks::REBUILT), None);
}

#[test]
fn the_mark_of_another_job_is_none() {
    let mut before = traced();
    before.apply(&version(job("b", true, Some(70), &set(&before, "b")), 2));
    before.pass(MINUTE);
    let mut world = World::new();
    let mut copy = set(&before, "a");
    copy.as_object_mut().unwrap().remove("traceparent");
    world.apply(&job("rerun", true, Some(9), &copy));
    world.pass(MINUTE);
    world.span("rerun");
}
