//! Mappers of which more is wanted than they can do.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn job(uid: &str, end: Option<u64>) -> Value {
    let spec = json!({"guid": "g", "start": 1, "end": end, "safe": true});
    object("Job", uid, None, spec)
}

#[test]
fn of_one_mapper_the_rest_waits_and_is_mapped_as_it_is_by_then() {
    let mut world = World::new();
    world.index.asking.limit = 2;
    world.hold_mappings = true;
    let uids = ["a", "b", "c", "d", "e"];
    for uid in uids {
        world.apply(&job(uid, None));
    }
    assert_eq!(world.maps, 2);
    for (uid, number) in uids.into_iter().zip(2..) {
        if number > 3 {
            world.apply(&version(job(uid, Some(10 * number)), number));
        }
    }
    while let Some(request) = world.mappings.pop_front() {
        assert!(world.mappings.len() < 2);
        world.answer(request);
    }
    // Those that have changed while they waited were asked for once.
    assert_eq!(world.maps, 5);
    world.hold_mappings = false;
    world.pass(MINUTE);
    assert_eq!(world.span("e").end, at(60));
}

#[test]
fn an_answer_that_comes_twice_or_of_something_gone_lets_the_next_go_on() {
    let mut world = World::new();
    world.index.asking.limit = 1;
    world.hold_mappings = true;
    world.webhook("g");
    let webhook = world.mappings.pop_front().unwrap();
    world.answer(webhook);
    for uid in ["a", "b", "c"] {
        world.apply(&job(uid, Some(10)));
    }
    let first = world.mappings.pop_front().unwrap();
    world.delete(&version(job("a", Some(10)), 2));
    world.delete(&version(job("b", Some(11)), 2));
    world.answer(first.clone());
    world.answer(first);
    while let Some(request) = world.mappings.pop_front() {
        world.answer(request);
    }
    world.hold_mappings = false;
    world.pass(MINUTE);
    for uid in ["a", "b", "c"] {
        world.span(uid);
    }
    assert_eq!(world.root("g").end, at(11));
}

#[test]
fn a_root_waits_for_a_job_whose_turn_has_not_come() {
    let mut world = World::new();
    world.webhook("g");
    world.apply(&job("a", Some(10)));
    world.index.asking.limit = 1;
    world.hold_mappings = true;
    world.apply(&object("Pod", "slow", None, json!({"start": 1})));
    world.apply(&job("b", Some(20)));
    let slow = world.mappings.pop_front().unwrap();
    assert!(world.mappings.is_empty(), "one at a time");
    world.pass(MINUTE);
    let root = TraceKey::event(&event_key("g")).root_span_id();
    assert!(world.exported.iter().all(|span| span.span_id != root));
    world.hold_mappings = false;
    world.answer(slow);
    world.pass(MINUTE);
    assert_eq!(world.root("g").end, at(20));
}
