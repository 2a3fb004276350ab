//! One case each of what the order, the repetition or the lateness of facts must not decide. Random schedules found them.

use super::*;
use crate::marks;

const MINUTE: Duration = Duration::from_secs(60);

fn job(uid: &str, spec: Value) -> Value {
    let mut all = json!({"guid": "g", "start": 1, "end": 90, "safe": true});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    object("Job", uid, None, all)
}

fn pod(uid: &str, owner: (&str, &str), end: u64) -> Value {
    object(
        "Pod",
        uid,
        Some(owner),
        json!({"start": 3, "end": end, "under": "attempt"}),
    )
}

/// The object as it is after our patches.
fn patched(world: &World, mut object: Value) -> Value {
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    for annotate in &world.annotated {
        for (key, value) in &annotate.annotations {
            if *annotate.object.uid == *uid {
                object["metadata"]["annotations"][&**key] = (**value).into();
            }
        }
    }
    version(object, 2)
}

#[test]
fn a_foreign_context_outlives_the_annotation_that_replaces_it() {
    let foreign = context("elsewhere", &TraceKey::object("elsewhere"));
    let mut open = job("job", json!({"end": null}));
    open["metadata"]["annotations"] = json!({"traceparent": foreign.traceparent()});
    let mut world = World::new();
    world.apply(&open);
    let mut ended = patched(&world, open);
    assert_ne!(
        ended["metadata"]["annotations"]["traceparent"],
        foreign.traceparent()
    );
    ended["spec"]["end"] = 90.into();
    for mut world in [world, World::new()] {
        world.apply(&ended);
        world.pass(MINUTE);
        assert_eq!(world.span("job").trace_id, foreign.trace_id);
        assert_eq!(world.span("job").parent, Some(foreign.span_id));
        let again = world.annotated.iter().filter(|annotate| annotate.urgent);
        assert!(again.count() <= 1, "it is there already");
    }
}

#[test]
fn a_rerun_keeps_its_link_after_it_was_annotated() {
    let first = context("first", &TraceKey::event(&event_key("g")));
    let mut open = job("rerun", json!({"end": null}));
    open["metadata"]["annotations"] = json!({
        "traceparent": first.traceparent(), "tracestate": first.tracestate(None),
    });
    let mut world = World::new();
    world.apply(&open);
    let mut ended = patched(&world, open);
    ended["spec"]["end"] = 90.into();
    for mut world in [world, World::new()] {
        world.apply(&ended);
        world.pass(MINUTE);
        let rerun = world.span("rerun");
        assert_eq!(rerun.trace_id, TraceKey::object("rerun").trace_id());
        assert_eq!(rerun.links[0].span_id, first.span_id);
    }
}

#[test]
fn an_answer_that_comes_twice_is_the_answer_of_one_mapper() {
    let mut world = World::new();
    world.hold_mappings = true;
    let body = json!({"GUID": "g", "by": 1});
    let webhook = world.catalog.webhook("push", at(0), &body);
    world.observe(Fact::Webhook(webhook));
    let mut object = pod("pod", ("Job", "job"), 8);
    object["spec"]["by"] = 1.into();
    world.apply(&object);
    world.apply(&job("job", json!({})));
    while let Some(request) = world.mappings.pop_front() {
        world.answer(request.clone());
        world.answer(request);
    }
    world.pass(MINUTE);
    assert_eq!(world.root("g").scope.name, "other");
    assert_eq!(world.span("pod").scope.name, "other");
}

#[test]
fn the_first_mapper_that_claims_the_last_version_maps_it() {
    let mut world = World::new();
    let mut object = pod("pod", ("Job", "job"), 8);
    object["spec"]["by"] = 1.into();
    world.apply(&object);
    object["spec"]["by"] = 0.into();
    world.apply(&version(object, 2));
    world.apply(&job("job", json!({})));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").scope.name, "test");
}

#[test]
fn a_version_that_cannot_be_mapped_leaves_nothing_behind() {
    let runs = json!([{"run": "a", "start": 1, "end": 5}]);
    let fails = json!({"fails": true});
    for (early, late, count) in [
        (&fails, json!({"runs": runs}), 1),
        (&json!({"runs": runs}), fails.clone(), 0),
    ] {
        let mut world = World::new();
        world.apply(&job("job", early.clone()));
        world.apply(&version(job("job", late), 2));
        world.pass(MINUTE);
        let jobs = world.exported.iter().filter(|span| span.name == "Job");
        assert_eq!(jobs.count(), count, "{:?}", world.exported);
    }
}

#[test]
fn a_run_is_not_exported_again_when_its_object_has_been_silent() {
    let mut world = World::new();
    let runs = json!({"runs": [{"run": "a", "start": 1, "end": 5}]});
    world.apply(&job("job", runs.clone()));
    world.pass(MINUTE);
    world.apply(&version(job("job", json!({"wait": true})), 2));
    world.pass(MINUTE);
    world.apply(&version(job("job", runs), 3));
    world.pass(MINUTE);
    let jobs = world.exported.iter().filter(|span| span.name == "Job");
    assert_eq!(jobs.count(), 1);
}

#[test]
fn each_run_of_an_object_is_a_job_of_its_event() {
    let mut world = World::new();
    let runs = json!({"runs": [
        {"run": "a", "start": 1, "end": 5}, {"run": "b", "start": 6, "end": null},
    ]});
    world.apply(&job("job", runs.clone()));
    world.pass(MINUTE);
    let mut last = runs;
    last["runs"][1]["end"] = 50.into();
    world.apply(&version(job("job", last), 2));
    world.pass(MINUTE);
    assert_eq!(world.root("g").end, at(50));
}

#[test]
fn what_is_below_a_run_stays_there_when_its_object_is_gone() {
    let mut world = World::new();
    let runs = json!({"runs": [
        {"run": "a", "start": 1, "end": 5}, {"run": "b", "start": 6, "end": 9},
    ]});
    let object = job("job", runs);
    world.apply(&object);
    world.delete(&version(object, 2));
    world.pass(MINUTE);
    world.apply(&pod("pod", ("Job", "job"), 8));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").parent, Some(SpanId::of("job", "a", "")));
}

#[test]
fn a_parent_is_found_by_a_label_that_comes_late_or_is_told_again() {
    let mut world = World::new();
    let spec = json!({"start": 3, "end": 8, "labelled": "x"});
    world.apply(&object("Run", "before", None, spec.clone()));
    let mut parent = job("job", json!({}));
    world.apply(&parent);
    parent["metadata"]["labels"] = json!({"id": "x"});
    let parent = version(parent, 2);
    world.apply(&parent);
    world.pass(MINUTE);
    world.apply(&parent);
    world.apply(&object("Run", "after", None, spec));
    world.pass(MINUTE);
    for uid in ["before", "after"] {
        assert_eq!(world.span(uid).parent, Some(SpanId::of("job", "", "")));
    }
}

#[test]
fn a_span_waits_for_the_mapping_of_its_parent() {
    let mut world = World::new();
    let mut parent = job("job", json!({"end": null}));
    world.apply(&parent);
    world.pass(MINUTE);
    world.apply(&pod("pod", ("Job", "job"), 8));
    world.hold_mappings = true;
    parent["spec"]["children"] = json!(["attempt"]);
    world.apply(&version(parent, 2));
    world.pass(MINUTE);
    world.hold_mappings = false;
    while let Some(request) = world.mappings.pop_front() {
        world.answer(request);
    }
    let attempt = SpanId::of("job", "", "attempt");
    assert_eq!(world.span("pod").parent, Some(attempt));
}

#[test]
fn a_root_waits_for_the_mapping_of_what_was_told_before_it_was_due() {
    let mut world = World::new();
    world.apply(&job("first", json!({})));
    world.hold_mappings = true;
    world.webhook("g");
    world.apply(&job("second", json!({"end": 95})));
    world.pass(MINUTE);
    assert_eq!(world.exported.len(), 1, "{:?}", world.exported);
    world.hold_mappings = false;
    while let Some(request) = world.mappings.pop_front() {
        world.answer(request);
    }
    world.pass(MINUTE);
    assert_eq!(world.root("g").end, at(95));
    assert_eq!(attribute(world.root("g"), marks::SYNTHESISED), None);
}

#[test]
fn a_mapping_that_never_comes_back_does_not_hold_a_root_for_ever() {
    let mut world = World::new();
    world.apply(&job("job", json!({})));
    world.hold_mappings = true;
    world.webhook("g");
    world.pass(20 * MINUTE);
    assert_eq!(world.root("g").end, at(90));
}

#[test]
fn orphans_of_one_parent_share_its_root_whenever_they_were_seen() {
    let mut world = World::new();
    world.apply(&pod("one", ("Run", "run"), 8));
    world.pass(5 * MINUTE);
    world.apply(&pod("two", ("Run", "run"), 20));
    world.pass(20 * MINUTE);
    assert_eq!(world.span("run").end, at(20));
}

#[test]
fn an_orphan_that_finds_another_place_does_not_hold_the_root_of_the_others() {
    let mut world = World::new();
    world.apply(&pod("one", ("Run", "run"), 8));
    world.pass(5 * MINUTE);
    let mut other = pod("two", ("Run", "run"), 20);
    world.apply(&other);
    world.pass(6 * MINUTE);
    other["spec"]["ours"] = false.into();
    world.apply(&version(other, 2));
    world.pass(20 * MINUTE);
    assert_eq!(world.span("run").end, at(8));
}

#[test]
fn a_circle_is_seen_through_what_is_exported() {
    let mut world = World::new();
    let run = |uid: &str, owner: &str, end: Option<u64>| {
        let spec = json!({"start": 3, "end": end});
        object("Run", uid, Some(("Run", owner)), spec)
    };
    world.apply(&run("b", "a", Some(8)));
    world.apply(&run("a", "b", None));
    world.pass(MINUTE);
    world.apply(&version(run("a", "b", Some(9)), 2));
    world.pass(MINUTE);
    assert_eq!(world.span("a").parent, None);
    assert_eq!(world.span("b").parent, Some(world.span("a").span_id));
}

#[test]
fn a_parent_is_remembered_as_long_as_something_hangs_from_it() {
    let mut world = World::new();
    let parent = job("job", json!({}));
    world.apply(&parent);
    let mut child = pod("pod", ("Job", "job"), 8);
    child["spec"]["end"] = Value::Null;
    world.apply(&child);
    world.pass(MINUTE);
    world.delete(&version(parent, 2));
    world.pass(60 * MINUTE);
    child["spec"]["end"] = 9.into();
    world.apply(&version(child, 2));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").trace_id, world.span("job").trace_id);
    assert_eq!(attribute(world.span("pod"), marks::ORPHAN), None);
}

#[test]
fn what_is_nobodys_passes_its_children_on_after_it_is_gone() {
    let mut world = World::new();
    let run = object("Run", "run", Some(("Job", "job")), json!({"ours": false}));
    world.apply(&run);
    world.delete(&version(run, 2));
    world.pass(MINUTE);
    world.apply(&job("job", json!({})));
    world.apply(&pod("pod", ("Run", "run"), 8));
    world.pass(MINUTE);
    assert_eq!(world.span("pod").parent, Some(SpanId::of("job", "", "")));
}

#[test]
fn the_last_version_may_be_told_after_the_deletion() {
    let mut world = World::new();
    let waiting = job("job", json!({"wait": true}));
    world.apply(&waiting);
    let source = world.source(&waiting);
    world.observe(Fact::Relisted(source, [].into()));
    world.pass(Duration::from_secs(2));
    world.apply(&version(job("job", json!({})), 2));
    world.pass(MINUTE);
    assert_eq!(world.span("job").end, at(90));
}

#[test]
fn an_event_that_says_again_what_it_said_before_is_newer_than_what_was_between() {
    let mut world = World::new();
    world.apply(&job("job", json!({})));
    let counted = |count: u64, number: u64| {
        let mut event = event("event", "job", 4);
        event["count"] = count.into();
        // The version is no field that a mapper reads.
        let mut object = version(event, number);
        object["spec"] = Value::Null;
        object
    };
    let told = [counted(1, 1), counted(1, 3), counted(2, 2)];
    for event in &told {
        let mut fact = world.fact(event, false);
        if let Fact::Applied(_, object) = &mut fact {
            for attached in &mut object.attached_to {
                let mut value: Value = serde_json::from_str(&attached.json).unwrap();
                value["metadata"]["resourceVersion"] = Value::Null;
                attached.json = value.to_string().into();
            }
        }
        world.observe(fact);
    }
    world.pass(MINUTE);
    let id = SpanId::of("job", "", "event");
    let span = world.exported.iter().find(|span| span.span_id == id);
    assert_eq!(attribute(span.unwrap(), "count"), Some(&1.into()));
}
