//! One case each of what can happen to an object.

use super::*;
use crate::mapping::AttributeValue;
use crate::marks;

const MINUTE: Duration = Duration::from_secs(60);

fn job(uid: &str, guid: &str, end: Option<u64>) -> Value {
    object(
        "Job",
        uid,
        None,
        json!({"guid": guid, "start": 1, "end": end, "safe": true}),
    )
}

#[test]
fn a_webhook_and_what_it_set_off_become_one_trace() {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&job("job", "g", None));
    world.apply(&object(
        "Run",
        "run",
        Some(("Job", "job")),
        json!({"start": 2}),
    ));
    world.apply(&object(
        "Pod",
        "pod",
        Some(("Run", "run")),
        json!({"start": 3, "end": 8}),
    ));
    world.apply(&event("event", "pod", 4));
    world.apply(&version(
        object(
            "Run",
            "run",
            Some(("Job", "job")),
            json!({"start": 2, "end": 9}),
        ),
        2,
    ));
    world.apply(&version(job("job", "g", Some(10)), 2));
    assert!(world.exported.is_empty(), "nothing before it has settled");
    world.pass(MINUTE);
    let trace = TraceKey::event(&event_key("g")).trace_id();
    assert_eq!(world.exported.len(), 5);
    assert!(world.exported.iter().all(|span| span.trace_id == trace));
    assert_eq!(world.root("g").parent, None);
    assert_eq!(
        (world.root("g").start, world.root("g").end),
        (at(0), at(10))
    );
    assert_eq!(world.span("job").parent, Some(world.root("g").span_id));
    assert_eq!(world.span("run").parent, Some(world.span("job").span_id));
    assert_eq!(world.span("pod").parent, Some(world.span("run").span_id));
    assert_eq!(world.index.counts().spans_exported, 5);
}

#[test]
fn a_job_is_annotated_with_its_own_context_once_it_is_safe() {
    let mut world = World::new();
    world.webhook("g");
    let mut object = job("job", "g", None);
    object["spec"]["safe"] = false.into();
    world.apply(&object);
    assert!(world.annotated.is_empty());
    object["spec"]["safe"] = true.into();
    world.apply(&version(object.clone(), 2));
    world.pass(MINUTE);
    assert_eq!(world.annotated.len(), 1);
    let own = context("job", &TraceKey::event(&event_key("g")));
    let annotate = &world.annotated[0];
    assert!(annotate.urgent);
    assert_eq!(*annotate.annotations[0].1, own.traceparent());
    assert_eq!(*annotate.annotations[1].1, own.tracestate(Some(at(0))));
    for (key, value) in &annotate.annotations.clone() {
        object["metadata"]["annotations"][&**key] = (**value).into();
    }
    world.apply(&version(object, 3));
    world.pass(MINUTE);
    assert_eq!(world.annotated.len(), 1, "it is there already");
}

#[test]
fn what_had_ended_when_it_was_first_seen_is_exported_once_but_not_annotated() {
    let mut world = World::new();
    let object = job("job", "g", Some(5));
    world.apply(&object);
    world.pass(MINUTE);
    world.apply(&object);
    let source = world.source(&object);
    let present = [Arc::from("job")].into();
    world.observe(Fact::Relisted(source, present));
    world.pass(MINUTE);
    assert_eq!(world.span("job").end, at(5));
    assert!(world.annotated.is_empty());
    assert_eq!(
        attribute(world.root("g"), marks::SYNTHESISED),
        Some(&true.into())
    );
}

#[test]
fn a_trace_that_ended_before_the_replay_window_is_left_alone() {
    let mut world = World::new();
    world.now = at(7200);
    world.apply(&job("job", "g", Some(5)));
    world.apply(&object(
        "Pod",
        "pod",
        Some(("Job", "job")),
        json!({"start": 3, "end": 4}),
    ));
    world.pass(MINUTE);
    assert!(world.exported.is_empty());
    assert_eq!(world.index.counts().too_old, 2);
}

#[test]
fn a_pod_of_nobody_belongs_to_no_trace() {
    let mut world = World::new();
    world.owners.insert(
        "rs".to_owned(),
        object("ReplicaSet", "rs", Some(("Deployment", "d")), json!({})),
    );
    let pod = object(
        "Pod",
        "pod",
        Some(("ReplicaSet", "rs")),
        json!({"start": 3, "end": 8}),
    );
    world.apply(&pod);
    world.apply(&object("Pod", "bare", None, json!({"start": 3, "end": 8})));
    world.pass(MINUTE);
    let looked_up: Vec<&str> = world.fetched.iter().map(|found| &*found.name).collect();
    assert_eq!(looked_up, ["rs", "d"]);
    assert!(world.exported.is_empty());
    assert_eq!(world.index.counts().unrelated, 2);
    assert_eq!(world.index.counts().orphans, 0);
}

#[test]
fn an_owner_that_no_mapper_watches_is_passed_through() {
    let mut world = World::new();
    world.owners.insert(
        "rs".to_owned(),
        object("ReplicaSet", "rs", Some(("Job", "job")), json!({})),
    );
    world.apply(&object(
        "Pod",
        "pod",
        Some(("ReplicaSet", "rs")),
        json!({"start": 3, "end": 8}),
    ));
    world.apply(&job("job", "g", Some(9)));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").parent, Some(SpanId::of("job", "", "")));
}

#[test]
fn an_orphan_is_exported_under_a_root_that_stands_for_its_parent() {
    let mut world = World::new();
    world.apply(&object(
        "Pod",
        "pod",
        Some(("Run", "run")),
        json!({"start": 3, "end": 8}),
    ));
    world.apply(&object(
        "Pod",
        "two",
        Some(("Run", "run")),
        json!({"start": 4, "end": 9}),
    ));
    world.pass(MINUTE);
    assert!(world.exported.is_empty());
    assert_eq!(world.index.counts().orphans, 2);
    world.pass(10 * MINUTE);
    let parent = world.span("run");
    assert_eq!((parent.start, parent.end), (at(0), at(9)));
    assert_eq!(parent.name, "Run");
    assert_eq!(world.span("pod").parent, Some(parent.span_id));
    assert_eq!(world.span("pod").trace_id, parent.trace_id);
    assert_eq!(
        attribute(world.span("pod"), marks::ORPHAN),
        Some(&true.into())
    );
    assert_eq!(world.index.counts().orphans_exported, 2);
    assert_eq!(world.index.counts().orphans, 0);
}

#[test]
fn owners_in_a_circle_end_in_a_trace_of_their_own() {
    let mut world = World::new();
    world.apply(&object(
        "Run",
        "a",
        Some(("Run", "b")),
        json!({"start": 3, "end": 8}),
    ));
    world.apply(&object(
        "Run",
        "b",
        Some(("Run", "a")),
        json!({"start": 3, "end": 8}),
    ));
    world.apply(&object(
        "Run",
        "c",
        Some(("Run", "c")),
        json!({"start": 3, "end": 8}),
    ));
    world.pass(20 * MINUTE);
    for uid in ["a", "b"] {
        assert_eq!(world.span(uid).end, at(8));
    }
}

#[test]
fn a_deleted_object_ends_at_the_latest_time_known() {
    let mut world = World::new();
    let pod = object("Pod", "pod", Some(("Job", "job")), json!({"start": 3}));
    world.apply(&job("job", "g", Some(9)));
    world.apply(&pod);
    world.apply(&event("event", "pod", 7));
    world.delete(&version(pod, 2));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").end, at(7));
    assert_eq!(
        attribute(world.span("pod"), marks::END),
        Some(&"deleted".into())
    );
}

#[test]
fn absence_from_a_list_is_a_deletion() {
    let mut world = World::new();
    let pod = object("Pod", "pod", Some(("Job", "job")), json!({"start": 3}));
    world.apply(&job("job", "g", Some(9)));
    world.apply(&pod);
    let source = world.source(&pod);
    world.observe(Fact::Relisted(source, [].into()));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").end, at(3));
}

#[test]
fn an_object_that_cannot_be_mapped_is_a_plain_span() {
    let mut world = World::new();
    let pod = object("Pod", "pod", Some(("Job", "job")), json!({"fails": true}));
    world.apply(&job("job", "g", Some(9)));
    world.apply(&pod);
    world.delete(&version(pod, 2));
    world.pass(MINUTE);
    let span = world.span("pod");
    assert_eq!(attribute(span, marks::MAPPING), Some(&"failed".into()));
    assert_eq!(span.parent, Some(SpanId::of("job", "", "")));
    assert!(world.index.counts().mapping_failures > 0);
}

#[test]
fn a_foreign_context_takes_a_job_into_its_trace_and_a_copied_one_makes_a_link() {
    let mut world = World::new();
    world.apply(&job("first", "g", Some(5)));
    let foreign = SpanContext {
        trace_id: TraceKey::object("elsewhere").trace_id(),
        span_id: SpanId::of("elsewhere", "", ""),
    };
    let mut outside = job("outside", "h", None);
    outside["metadata"]["annotations"] = json!({"traceparent": foreign.traceparent()});
    outside["spec"]["safe"] = true.into();
    world.apply(&outside);
    let own = SpanContext {
        trace_id: foreign.trace_id,
        span_id: SpanId::of("outside", "", ""),
    };
    let [annotate] = world.annotated.as_slice() else {
        panic!("{:?}", world.annotated);
    };
    let set: Vec<&str> = annotate
        .annotations
        .iter()
        .map(|(_, value)| &**value)
        .collect();
    // What named the parent is not lost.
    let expected = [
        own.traceparent(),
        own.tracestate_in_place_of(Some(foreign), None),
    ];
    assert_eq!(set, expected);
    outside["spec"]["end"] = 5.into();
    world.apply(&version(outside, 2));
    let first = context("first", &TraceKey::event(&event_key("g")));
    let mut rerun = job("rerun", "g", Some(6));
    rerun["metadata"]["annotations"] = json!({
        "traceparent": first.traceparent(), "tracestate": first.tracestate(None),
    });
    world.apply(&rerun);
    world.pass(MINUTE);
    assert_eq!(world.span("outside").trace_id, foreign.trace_id);
    assert_eq!(world.span("outside").parent, Some(foreign.span_id));
    assert_eq!(world.span("rerun").parent, None);
    assert_eq!(
        world.span("rerun").trace_id,
        TraceKey::object("rerun").trace_id()
    );
    assert_eq!(world.span("rerun").links[0].span_id, first.span_id);
    assert_eq!(
        world.root("g").end,
        at(5),
        "the rerun is no job of the event"
    );
}

#[test]
fn an_exported_event_is_remembered_for_a_day_and_its_jobs_are_not() {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&job("job", "g", Some(5)));
    // Long after what is remembered of the jobs.
    world.pass(20 * 60 * MINUTE);
    for (uid, end) in [("late", 20 * 3600), ("later", 21 * 3600)] {
        world.apply(&job(uid, "g", Some(end)));
        world.pass(60 * MINUTE);
        assert_eq!(world.span(uid).parent, Some(world.root("g").span_id));
    }
    assert_eq!(world.index.counts().late_jobs, 2);
    let roots = world.exported.iter().filter(|span| span.parent.is_none());
    assert_eq!(roots.count(), 1);
}

#[test]
fn a_job_after_its_root_hangs_from_it_and_is_counted() {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&job("job", "g", Some(5)));
    world.pass(MINUTE);
    world.apply(&job("late", "g", Some(70)));
    world.pass(MINUTE);
    assert_eq!(world.span("late").parent, Some(world.root("g").span_id));
    assert_eq!(world.index.counts().late_jobs, 1);
}

#[test]
fn a_webhook_that_comes_again_after_its_root_is_not_when_the_event_was_received() {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&job("job", "g", Some(5)));
    world.pass(MINUTE);
    let exported = world.exported.len();
    world.webhook("g");
    let mut late = job("late", "g", None);
    late["spec"]["safe"] = true.into();
    world.apply(&late);
    world.pass(MINUTE);
    let own = context("late", &TraceKey::event(&event_key("g")));
    let annotate = world.annotated.last().unwrap();
    assert_eq!(*annotate.annotations[0].1, own.traceparent());
    assert_eq!(*annotate.annotations[1].1, own.tracestate(None));
    assert_eq!(world.exported.len(), exported);
    assert_eq!(world.index.counts().webhooks_without_job, 0);
}

#[test]
fn a_webhook_without_a_job_makes_no_trace() {
    let mut world = World::new();
    world.webhook("g");
    world.pass(20 * MINUTE);
    assert!(world.exported.is_empty());
    assert_eq!(world.index.counts().webhooks_without_job, 1);
}

#[test]
fn a_failed_job_fails_the_root() {
    let mut world = World::new();
    world.apply(&job("good", "g", Some(5)));
    let mut bad = job("bad", "g", Some(5));
    bad["spec"]["error"] = true.into();
    world.apply(&bad);
    world.pass(MINUTE);
    assert_eq!(
        world.root("g").status,
        SpanStatus::Error("1 of 2 jobs failed".to_owned())
    );
}

/// `error.type` of the root of an event with jobs that fail so.
fn error_type_of_the_root(classes: &[Option<&str>]) -> Vec<AttributeValue> {
    let mut world = World::new();
    for (number, class) in classes.iter().enumerate() {
        let mut bad = job(&format!("bad-{number}"), "g", Some(5));
        bad["spec"]["error"] = true.into();
        if let Some(class) = class {
            bad["spec"]["errorType"] = (*class).into();
        }
        world.apply(&bad);
    }
    world.apply(&job("good", "g", Some(5)));
    world.pass(MINUTE);
    let root = world.root("g");
    let attributes = root.attributes.iter();
    attributes
        .filter(|attribute| attribute.key == "error.type")
        .map(|attribute| attribute.value.clone())
        .collect()
}

#[test]
fn a_root_fails_with_the_class_of_its_jobs() {
    let class = |classes: &[Option<&str>]| error_type_of_the_root(classes);
    assert_eq!(class(&[]), []);
    assert_eq!(class(&[Some("failure")]), ["failure".into()]);
    assert_eq!(
        class(&[Some("failure"), Some("failure")]),
        ["failure".into()]
    );
    assert_eq!(class(&[Some("failure"), Some("error")]), ["_OTHER".into()]);
    assert_eq!(class(&[None]), ["_OTHER".into()]);
}

#[test]
fn a_child_hangs_under_the_span_that_it_names() {
    let mut world = World::new();
    let pod = json!({"start": 3, "end": 8, "under": "attempt"});
    world.apply(&object("Pod", "pod", Some(("Job", "job")), pod));
    let mut parent = job("job", "g", Some(9));
    world.apply(&parent);
    parent["spec"]["children"] = json!(["attempt"]);
    world.apply(&version(parent, 2));
    world.pass(MINUTE);
    assert_eq!(
        world.span("pod").parent,
        Some(SpanId::of("job", "", "attempt"))
    );
}

#[test]
fn a_parent_is_found_by_name_before_and_after_it_is_seen() {
    let mut world = World::new();
    let spec = json!({"start": 3, "end": 8, "parent": "job"});
    world.apply(&object("Run", "before", None, spec.clone()));
    world.apply(&job("job", "g", Some(9)));
    world.apply(&object("Run", "after", None, spec));
    world.pass(MINUTE);
    for uid in ["before", "after"] {
        assert_eq!(world.span(uid).parent, Some(SpanId::of("job", "", "")));
    }
}

#[test]
fn many_events_cost_few_mappings_and_are_bounded() {
    let mut world = World::new();
    world.apply(&job("job", "g", None));
    world.apply(&object(
        "Pod",
        "pod",
        Some(("Job", "job")),
        json!({"start": 3, "end": 8}),
    ));
    for number in 0..10_000 {
        world.apply(&event(&format!("event-{number:05}"), "pod", 5));
    }
    world.pass(MINUTE);
    assert!(world.maps < 10, "{} mappings", world.maps);
    let dropped = attribute(world.span("pod"), marks::OMITTED);
    assert_eq!(dropped, Some(&(10_000 - 512).into()));
    world.apply(&event("late", "pod", 6));
}

#[test]
fn a_late_mapping_is_taken_and_a_stale_one_repeated() {
    let mut world = World::new();
    world.hold_mappings = true;
    world.apply(&job("job", "g", None));
    world.apply(&version(job("job", "g", Some(7)), 2));
    let first = world.mappings.pop_front().unwrap();
    assert!(world.mappings.is_empty(), "one at a time");
    world.answer(first);
    world.pass(2 * MINUTE);
    let second = world.mappings.pop_front().unwrap();
    world.answer(second);
    world.pass(MINUTE);
    assert_eq!(world.span("job").end, at(7));
}

#[test]
fn draining_exports_what_has_ended_and_nothing_else() {
    let mut world = World::new();
    world.apply(&job("ended", "g", Some(5)));
    world.apply(&job("open", "h", None));
    let now = world.now;
    for effect in world.index.drain(now) {
        world.carry_out(effect);
    }
    assert_eq!(world.span("ended").end, at(5));
    assert_eq!(world.root("g").end, at(5));
    assert_eq!(world.exported.len(), 2);
}

#[test]
fn memory_is_given_back_when_objects_are_gone() {
    let mut world = World::new();
    let jobs: Vec<Value> = (0..100)
        .map(|n| job(&format!("job-{n}"), "g", Some(5)))
        .collect();
    for job in &jobs {
        world.apply(job);
    }
    world.pass(MINUTE);
    for job in &jobs {
        world.delete(&version(job.clone(), 2));
    }
    world.pass(20 * MINUTE);
    assert_eq!(world.index.counts().subjects, 0);
    world.pass(48 * 60 * MINUTE);
    assert!(world.index.events.is_empty());
}
