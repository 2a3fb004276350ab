//! An index that goes on where another one was.

use super::*;
use crate::index::Change;
use crate::index::record::Table;

const MINUTE: Duration = Duration::from_secs(60);

/// A world whose index is kept.
fn kept() -> World {
    let mut world = World::new();
    world.index.keep_journal();
    world
}

/// Replaces the index by one that knows only what was kept of it. Nothing is due yet.
fn restart(world: &mut World) {
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    world.index.keep_all();
    keep_rows(&mut rows, world.index.changes());
    let mut index = Index::new(Arc::clone(&world.catalog), Settings::default());
    index.keep_journal();
    index.stand_still(world.now);
    let restored = index.restore(world.now, &mut |table, each| {
        for (key, value) in rows.iter().filter(|(key, _)| key.first() == Some(&table)) {
            each(key, value);
        }
    });
    assert_eq!(restored.unreadable, 0);
    world.index = index;
    world.wake_at = None;
    while world.index.is_resuming() {
        for effect in world.index.resume(world.now, 1) {
            if let Some(fact) = world.carry_out(effect) {
                world.observe(fact);
            }
        }
    }
}

/// The lists are complete.
fn go_on(world: &mut World) {
    world.index.go_on();
    world.observe(Fact::Tick);
}

fn pod(uid: &str, end: Option<u64>) -> Value {
    object(
        "Pod",
        uid,
        Some(("Job", "job")),
        json!({"start": 3, "end": end}),
    )
}

#[test]
fn a_circle_is_broken_where_it_was_before() {
    let run = |uid: &str, owner: &str, end: Option<u64>| {
        object("Run", uid, Some(("Run", owner)), json!({"end": end}))
    };
    let mut world = kept();
    world.apply(&run("a", "c", None));
    world.apply(&run("b", "a", None));
    world.apply(&run("c", "b", Some(9)));
    world.pass(MINUTE);
    assert_eq!(world.span("c").parent, Some(SpanId::of("b", "", "")));
    world.apply(&version(run("a", "c", Some(9)), 2));
    world.apply(&version(run("b", "a", Some(9)), 2));
    world.hold_mappings = true;
    restart(&mut world);
    go_on(&mut world);
    // The first of them is mapped while it is not known yet where the second hangs.
    let first = |request: &MapRequest| matches!(&request.ticket.subject, crate::index::SubjectId::Object(uid) if **uid == *"a");
    let place = world.mappings.iter().position(first).unwrap();
    let request = world.mappings.remove(place).unwrap();
    world.answer(request);
    world.pass(MINUTE);
    world.hold_mappings = false;
    while let Some(request) = world.mappings.pop_front() {
        world.answer(request);
    }
    world.pass(MINUTE);
    assert_eq!(world.span("a").parent, None);
    assert_eq!(world.span("b").parent, Some(SpanId::of("a", "", "")));
}

#[test]
fn what_was_gone_before_is_exported_with_all_that_was_known() {
    let mut world = kept();
    world.webhook("g");
    world.apply(&object("Job", "job", None, json!({"guid": "g"})));
    world.apply(&event("scheduled", "pod", 5));
    world.apply(&pod("pod", None));
    world.delete(&pod("pod", None));
    restart(&mut world);
    // No list tells of the Pod, nor of its Event.
    world.observe(Fact::Relisted(
        world.source(&pod("pod", None)),
        Default::default(),
    ));
    go_on(&mut world);
    world.pass(MINUTE);
    let span = world.span("pod").clone();
    assert_eq!((span.start, span.end), (at(3), at(5)));
    assert_eq!(span.parent, Some(SpanId::of("job", "", "")));
    let child = SpanId::of("pod", "", "scheduled");
    assert!(world.exported.iter().any(|span| span.span_id == child));
}

#[test]
fn what_was_exported_is_not_again_and_is_still_a_parent() {
    let mut world = kept();
    world.webhook("g");
    let job = object("Job", "job", None, json!({"guid": "g", "end": 9}));
    world.apply(&job);
    world.pass(MINUTE);
    world.root("g");
    restart(&mut world);
    world.apply(&job);
    world.webhook("g");
    go_on(&mut world);
    world.pass(MINUTE);
    world.root("g");
    world.span("job");
    world.apply(&pod("late", Some(80)));
    world.pass(MINUTE);
    assert_eq!(world.span("late").parent, Some(SpanId::of("job", "", "")));
}

#[test]
fn a_mark_that_was_lost_is_set_again() {
    let job = |end: Option<u64>| {
        object(
            "Job",
            "job",
            None,
            json!({"guid": "g", "safe": true, "end": end}),
        )
    };
    let marks = |world: &World| {
        let pairs = world
            .annotated
            .iter()
            .flat_map(|annotate| &annotate.annotations);
        pairs.filter(|(key, _)| **key == *"exported").count()
    };
    let mut world = kept();
    world.apply(&job(None));
    world.apply(&version(job(Some(9)), 2));
    world.pass(MINUTE);
    assert_eq!(marks(&world), 1);
    restart(&mut world);
    // The list shows the job without it.
    let mut listed = version(job(Some(9)), 2);
    world.apply(&listed);
    assert_eq!(marks(&world), 2);
    listed["metadata"]["annotations"] = json!({"exported": SpanId::of("job", "", "").to_string()});
    world.apply(&version(listed, 3));
    assert_eq!(marks(&world), 2);
}

#[test]
fn nothing_is_given_up_before_the_lists_are_complete() {
    let mut world = kept();
    world.apply(&pod("pod", Some(9)));
    restart(&mut world);
    world.pass(60 * MINUTE);
    assert_eq!(world.exported, []);
    let job = object("Job", "job", None, json!({"guid": "g", "end": 9}));
    world.apply(&job);
    go_on(&mut world);
    world.pass(MINUTE);
    assert_eq!(world.span("pod").parent, Some(SpanId::of("job", "", "")));
}

#[test]
fn of_an_event_that_is_over_one_row_is_kept_for_a_day() {
    let mut world = kept();
    world.webhook("g");
    world.apply(&object("Job", "job", None, json!({"guid": "g", "end": 9})));
    world.pass(MINUTE);
    world.delete(&object("Job", "job", None, json!({"guid": "g", "end": 9})));
    world.pass(60 * MINUTE);
    let tables = |world: &mut World| {
        let mut rows = BTreeMap::new();
        world.index.keep_all();
        keep_rows(&mut rows, world.index.changes());
        let tables = rows.keys().map(|key| key[0]);
        tables
            .filter(|table| *table != Table::Catalog as u8)
            .collect::<Vec<_>>()
    };
    assert_eq!(tables(&mut world), [Table::Over as u8]);
    restart(&mut world);
    go_on(&mut world);
    // Neither a webhook that comes again nor a late job exports the root again.
    world.webhook("g");
    world.apply(&object(
        "Job",
        "late",
        None,
        json!({"guid": "g", "end": 3600}),
    ));
    world.pass(60 * MINUTE);
    assert_eq!(world.index.counts().late_jobs, 1);
    let root = world.root("g").span_id;
    assert_eq!(world.span("late").parent, Some(root));
    world.delete(&object(
        "Job",
        "late",
        None,
        json!({"guid": "g", "end": 3600}),
    ));
    world.pass(24 * 60 * MINUTE);
    assert!(tables(&mut world).is_empty());
}

#[test]
fn of_what_had_ended_long_before_there_is_no_record() {
    let mut world = kept();
    world.now = at(7200);
    let job = object("Job", "job", None, json!({"guid": "g", "end": 9}));
    // Its parent is not known yet, so that it is kept for as long.
    world.apply(&pod("pod", Some(9)));
    let subjects = |world: &mut World| {
        let changes = world.index.changes();
        let keys = changes.into_iter().filter_map(|change| match change {
            Change::Put(key, _) => Some((true, key)),
            Change::Remove(key) => Some((false, key)),
            _ => None,
        });
        keys.filter(|(_, key)| key.first() == Some(&(Table::Subject as u8)))
            .map(|(is_there, _)| is_there)
            .collect::<Vec<_>>()
    };
    assert_eq!(subjects(&mut world), [true]);
    world.apply(&job);
    assert_eq!(world.index.counts().too_old, 2);
    assert!(!world.index.must_be_kept());
    assert_eq!(subjects(&mut world), [false]);
    // Whatever becomes of the parent meanwhile.
    restart(&mut world);
    go_on(&mut world);
    world.apply(&pod("pod", Some(9)));
    world.pass(60 * MINUTE);
    assert_eq!(world.exported, []);
}

#[test]
fn what_ended_within_the_window_is_left_alone_though_its_parent_is_gone() {
    let mut world = kept();
    world.now = at(7200);
    world.apply(&object("Job", "job", None, json!({"guid": "g", "end": 9})));
    world.apply(&pod("pod", Some(7000)));
    assert_eq!(world.index.counts().too_old, 2);
    restart(&mut world);
    go_on(&mut world);
    world.apply(&pod("pod", Some(7000)));
    world.pass(60 * MINUTE);
    assert_eq!(world.exported, []);
}
