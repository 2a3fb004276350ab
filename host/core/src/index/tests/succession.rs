//! Mappers that take over while objects are under way.

use super::*;
use crate::index::{SubjectId, Ticket};
use crate::marks;

const MINUTE: Duration = Duration::from_secs(60);

fn watch(name: &str, fields: &[&str]) -> Watch {
    Watch {
        source: Source::Objects(kind(name)),
        fields: fields.iter().map(ToString::to_string).collect(),
        attachments: vec![Attachment {
            source: kind("Event"),
            relation: Relation::Involved,
            fields: Vec::new(),
        }],
        annotations: Vec::new(),
    }
}

/// A watch of the jobs with this label.
fn watch_labelled(label: &str) -> Watch {
    let source = ObjectSource {
        label_selector: Some(label.to_owned()),
        ..kind("Job")
    };
    Watch {
        source: Source::Objects(source),
        ..watch("Job", &[])
    }
}

fn mapper(name: &str, watches: &[Watch]) -> (String, Description) {
    let description = Description {
        version: "1".to_owned(),
        watches: watches.to_vec(),
        ..Description::default()
    };
    (name.to_owned(), description)
}

fn world(mappers: &[(String, Description)]) -> World {
    let mut world = World::new();
    world.catalog = Arc::new(Catalog::new(mappers.to_vec()).unwrap());
    world.index = Index::new(Arc::clone(&world.catalog), Settings::default());
    world.now = at(10);
    world
}

impl World {
    /// These mappers take over; behind the watches of some there are others than before.
    fn replace(&mut self, mappers: &[(String, Description)], others: &[&str]) {
        let catalog = Arc::new(Catalog::after(&self.catalog, mappers.to_vec()).unwrap());
        let others = others.iter().flat_map(|name| catalog.watches_of(name));
        let fact = Fact::Replaced(Arc::clone(&catalog), others.collect());
        self.catalog = Arc::clone(&catalog);
        self.observe(fact);
        self.resume();
    }

    fn resume(&mut self) {
        while self.index.is_resuming() {
            for effect in self.index.resume(self.now, 1) {
                if let Some(fact) = self.carry_out(effect) {
                    self.observe(fact);
                }
            }
        }
    }

    /// The name of the mapper that is asked first of those that were not answered.
    fn asked(&self) -> Option<&str> {
        let request = self.mappings.front()?;
        let scope = self.catalog.scope(request.ticket.watch)?;
        Some(&scope.name)
    }
}

fn job(end: Option<u64>) -> Value {
    object(
        "Job",
        "j",
        None,
        json!({"root": true, "start": 3, "end": end}),
    )
}

#[test]
fn what_nobody_watches_any_more_is_finished_by_the_mapper_that_it_had() {
    let mut world = world(&[
        mapper("jobs", &[watch("Job", &[])]),
        mapper("runs", &[watch("Run", &[])]),
    ]);
    world.apply(&job(None));
    world.apply(&event("e", "j", 7));
    let told = world.fact(&job(Some(50)), false);
    world.replace(&[mapper("runs", &[watch("Run", &[])])], &[]);
    assert_eq!(world.index.older().len(), 1);
    world.pass(MINUTE);
    let span = world.span("j");
    assert_eq!(attribute(span, marks::END), Some(&"unwatched".into()));
    assert_eq!((span.scope.name.as_str(), span.end), ("jobs", at(7)));
    assert_eq!(world.exported.len(), 2, "its Event is with it");
    world.pass(2 * MINUTE);
    assert_eq!(world.index.older().len(), 0);
    // Who watched it may not have been stopped in time.
    world.observe(told);
    world.pass(MINUTE);
    assert_eq!(world.exported.len(), 2);
    // If somebody watches it again, it is known for what it is.
    world.replace(&[mapper("jobs", &[watch("Job", &[])])], &[]);
    world.apply(&version(job(Some(50)), 2));
    world.pass(MINUTE);
    assert_eq!(world.exported.len(), 2);
}

#[test]
fn a_mapping_that_is_in_flight_comes_from_the_mapper_that_was_asked() {
    let mut world = world(&[mapper("jobs", &[watch("Job", &[])])]);
    world.hold_mappings = true;
    world.apply(&job(Some(9)));
    let request = world.mappings.pop_front().unwrap();
    world.hold_mappings = false;
    world.replace(&[], &[]);
    world.answer(request);
    world.pass(MINUTE);
    assert_eq!(world.span("j").scope.name, "jobs");
}

#[test]
fn other_code_maps_what_is_under_way_again() {
    let jobs = [mapper("jobs", &[watch("Job", &[])])];
    let mut world = world(&jobs);
    world.apply(&job(None));
    let maps = world.maps;
    world.replace(&jobs, &[]);
    assert_eq!(world.maps, maps, "nothing has changed");
    world.replace(&jobs, &["jobs"]);
    assert_eq!(world.maps, maps + 1);
    assert_eq!(world.index.older().len(), 0);
    world.apply(&version(job(Some(20)), 2));
    world.pass(MINUTE);
    assert_eq!(world.span("j").end, at(20));
}

#[test]
fn who_reads_other_fields_maps_what_it_has_seen() {
    let mut world = world(&[mapper("jobs", &[watch("Job", &["/spec/root"])])]);
    world.apply(&job(Some(40)));
    world.pass(Duration::from_secs(2));
    let maps = world.maps;
    world.replace(
        &[mapper(
            "jobs",
            &[watch("Job", &["/spec/root", "/spec/end"])],
        )],
        &["jobs"],
    );
    // Whatever is told meanwhile.
    world.apply(&event("e", "j", 7));
    world.pass(MINUTE);
    assert_eq!((world.maps, world.exported.len()), (maps, 0));
    world.apply(&job(Some(40)));
    assert_eq!(world.maps, maps + 1);
    world.pass(MINUTE);
    assert_eq!(world.span("j").end, at(40));
}

#[test]
fn who_is_not_seen_for_too_long_is_mapped_as_it_was_seen() {
    let mut world = world(&[mapper("jobs", &[watch("Job", &[])])]);
    world.apply(&job(None));
    world.replace(&[mapper("jobs", &[watch("Job", &["/spec"])])], &["jobs"]);
    let maps = world.maps;
    world.pass(11 * MINUTE);
    assert_eq!(world.maps, maps + 1);
}

#[test]
fn who_is_named_first_is_asked_first() {
    let (first, second) = (
        mapper("first", &[watch("Job", &[])]),
        mapper("second", &[watch("Job", &[])]),
    );
    let mut world = world(&[first.clone(), second.clone()]);
    world.apply(&job(None));
    world.hold_mappings = true;
    world.replace(&[second.clone(), first.clone()], &[]);
    assert_eq!(world.asked(), Some("second"));
    let request = world.mappings.pop_front().unwrap();
    assert_eq!(request.ticket.watch.mapper, 1);
    world.answer(request);
    // It declines, and the other one has it as before.
    assert_eq!(world.asked(), Some("first"));
    let request = world.mappings.pop_front().unwrap();
    world.answer(request);
    let third = mapper("third", &[watch("Job", &[])]);
    world.replace(&[third, first], &[]);
    assert_eq!(world.asked(), None);
    world.apply(&job(None));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.asked(), Some("third"));
}

#[test]
fn another_mapper_that_sees_it_takes_over_from_one_that_is_gone() {
    let (first, second) = (
        mapper("first", &[watch("Job", &[])]),
        mapper("second", &[watch("Job", &[])]),
    );
    let mut world = world(&[first, second.clone()]);
    world.apply(&job(None));
    world.hold_mappings = true;
    world.replace(&[second], &[]);
    let request = world.mappings.pop_front().unwrap();
    assert_eq!(request.ticket.watch.mapper, 1);
    assert_eq!(world.index.older().len(), 0);
    let Ticket {
        subject: SubjectId::Object(uid),
        ..
    } = request.ticket
    else {
        panic!("an object");
    };
    assert_eq!(&*uid, "j");
}

#[test]
fn whose_turn_had_not_come_at_one_that_is_gone_is_asked_of_the_first_that_is_left() {
    let [gone, jobs, last] =
        ["gone", "jobs", "last"].map(|name| mapper(name, &[watch("Job", &[])]));
    let mut world = world(&[gone, jobs.clone(), last.clone()]);
    world.index.asking.limit = 1;
    world.hold_mappings = true;
    let other = object("Job", "other", None, json!({"root": true, "end": 9}));
    world.apply(&other);
    let mut of_jobs = job(Some(9));
    of_jobs["spec"]["by"] = 1.into();
    world.apply(&of_jobs);
    assert_eq!(world.mappings.len(), 1, "one at a time");
    world.replace(&[jobs, last], &["last"]);
    world.hold_mappings = false;
    while let Some(request) = world.mappings.pop_front() {
        world.answer(request);
    }
    world.pass(MINUTE);
    assert_eq!(world.span("j").scope.name, "jobs");
}

#[test]
fn what_one_that_is_gone_says_too_late_does_not_stand() {
    let [gone, jobs] = ["gone", "jobs"].map(|name| mapper(name, &[watch("Job", &[])]));
    let mut world = world(&[gone, jobs.clone()]);
    world.hold_mappings = true;
    world.apply(&job(Some(9)));
    let request = world.mappings.pop_front().unwrap();
    world.replace(&[jobs], &[]);
    world.hold_mappings = false;
    world.answer(request);
    world.pass(MINUTE);
    assert_eq!(world.exported, [], "it is nobody's any more");
}

#[test]
fn what_another_selector_may_select_is_waited_for() {
    let labelled = |label: &str| [mapper("jobs", &[watch_labelled(label)])];
    for is_seen in [true, false] {
        let mut world = world(&labelled("a"));
        world.apply(&job(None));
        world.replace(&labelled("b"), &[]);
        world.pass(MINUTE);
        if is_seen {
            world.apply(&job(None));
        }
        world.pass(11 * MINUTE);
        assert_eq!(world.exported.is_empty(), is_seen);
        if is_seen {
            world.apply(&version(job(Some(90)), 2));
            world.pass(MINUTE);
        }
        let end = attribute(world.span("j"), marks::END);
        assert_eq!(end, (!is_seen).then_some(&"unwatched".into()));
        assert_eq!(world.index.older().len(), 0);
    }
}

#[test]
fn events_for_a_watch_that_does_not_select_the_object_do_not_hold_it_up() {
    let mut world = world(&[
        mapper("first", &[watch_labelled("a")]),
        mapper("second", &[watch_labelled("b")]),
    ]);
    let job = object(
        "Job",
        "j",
        None,
        json!({"root": true, "by": 1, "start": 3, "end": 30}),
    );
    let mut sources = world.catalog.sources();
    let selects = |source: &ObjectSource| source.label_selector.as_deref() == Some("b");
    let source = sources.find(|(_, source)| selects(source)).unwrap().0;
    drop(sources);
    let seen = Box::new(world.catalog.object(source, &job).unwrap());
    world.observe(Fact::Applied(source, seen));
    world.apply(&event("e", "j", 7));
    world.pass(MINUTE);
    assert_eq!(world.exported.len(), 2);
}

#[test]
fn numbers_of_before_a_restart_are_not_taken_for_those_of_now() {
    let (ends, starts) = (
        mapper("ends", &[watch("Job", &["/spec/end"])]),
        mapper("starts", &[watch("Job", &["/spec/start"])]),
    );
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut keep = |index: &mut Index| {
        keep_rows(&mut rows, index.changes());
        rows.clone()
    };
    let mut world = world(&[ends.clone(), starts.clone()]);
    world.index.keep_journal();
    world.apply(&job(Some(40)));
    world.apply(&event("e", "j", 7));
    let more = mapper("more", &[watch("Run", &[])]);
    for order in [
        vec![more.clone(), starts.clone(), ends.clone()],
        vec![starts.clone(), ends.clone()],
        vec![ends.clone(), more.clone(), starts.clone()],
    ] {
        let rows = keep(&mut world.index);
        world.catalog = Arc::new(Catalog::new(order).unwrap());
        let mut index = Index::new(Arc::clone(&world.catalog), Settings::default());
        index.keep_journal();
        let restored = index.restore(world.now, &mut |table, each| {
            for (key, value) in rows.iter().filter(|(key, _)| key.first() == Some(&table)) {
                each(key, value);
            }
        });
        assert_eq!((restored.live, restored.unreadable), (1, 0));
        world.index = index;
        world.hold_mappings = true;
        world.resume();
        let request = world.mappings.pop_front().unwrap();
        let Subject::Object(subject) = &request.subject else {
            panic!("an object");
        };
        let scope = world.catalog.scope(request.ticket.watch).unwrap();
        let read = match scope.name.as_str() {
            "ends" => "\"end\":40",
            _ => "\"start\":3",
        };
        assert!(
            subject.json.contains(read),
            "{}: {}",
            scope.name,
            subject.json
        );
        assert_eq!(subject.attached.len(), 1);
    }
}
