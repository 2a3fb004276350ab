//! One kind that is watched by two sources of different selectors.

use std::collections::BTreeSet;

use super::*;
use crate::object::{Object, SourceId};

const SOURCES: [SourceId; 2] = [SourceId(0), SourceId(1)];

/// A world in which two mappers want Jobs, each those of a label.
fn world() -> World {
    let of = |label: &str| {
        let mut source = kind("Job");
        source.label_selector = Some(label.to_owned());
        Description {
            version: "1".to_owned(),
            watches: vec![Watch {
                source: Source::Objects(source),
                fields: Vec::new(),
                attachments: Vec::new(),
                annotations: Vec::new(),
            }],
            ..Description::default()
        }
    };
    let catalog = Catalog::new([("test".to_owned(), of("a")), ("other".to_owned(), of("b"))]);
    let catalog = Arc::new(catalog.unwrap());
    let mut world = World::new();
    world.index = Index::new(Arc::clone(&catalog), Settings::default());
    world.catalog = catalog;
    world.now = at(10);
    world
}

impl World {
    fn of(&self, source: SourceId, value: &Value) -> Box<Object> {
        Box::new(self.catalog.object(source, value).unwrap())
    }
}

fn job() -> Value {
    object("Job", "j", None, json!({"root": true}))
}

/// Both ways in which a source tells that it does not see the job any more.
fn gone(world: &mut World, source: SourceId, by_list: bool) {
    let fact = if by_list {
        Fact::Relisted(source, BTreeSet::new())
    } else {
        Fact::Deleted(source, world.of(source, &job()))
    };
    world.observe(fact);
}

fn seen(world: &mut World, source: SourceId) {
    let object = world.of(source, &job());
    world.observe(Fact::Applied(source, object));
}

#[test]
fn what_one_source_does_not_see_any_more_the_other_still_does() {
    for by_list in [true, false] {
        for [first, second] in [[SOURCES[0], SOURCES[1]], [SOURCES[1], SOURCES[0]]] {
            let mut world = world();
            seen(&mut world, first);
            seen(&mut world, second);
            gone(&mut world, first, by_list);
            // What it tells late is no news.
            seen(&mut world, first);
            world.pass(Duration::from_secs(60));
            assert_eq!(world.exported, [], "{by_list} {first:?}");
            gone(&mut world, second, by_list);
            world.pass(Duration::from_secs(60));
            let end = attribute(world.span("j"), crate::marks::END);
            assert_eq!(end, Some(&"deleted".into()));
        }
    }
}

#[test]
fn what_goes_over_to_another_source_is_not_gone() {
    for by_list in [true, false] {
        for [first, second] in [[SOURCES[0], SOURCES[1]], [SOURCES[1], SOURCES[0]]] {
            let mut world = world();
            seen(&mut world, first);
            gone(&mut world, first, by_list);
            world.pass(Duration::from_secs(2));
            seen(&mut world, second);
            world.pass(Duration::from_secs(60));
            assert_eq!(world.exported, [], "{by_list} {first:?}");
            gone(&mut world, second, by_list);
            world.pass(Duration::from_secs(60));
            assert_eq!(world.exported.len(), 1);
        }
    }
}

#[test]
fn an_exported_object_is_remembered_while_a_source_sees_it() {
    let mut world = world();
    seen(&mut world, SOURCES[0]);
    gone(&mut world, SOURCES[0], false);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.exported.len(), 1);
    seen(&mut world, SOURCES[1]);
    world.pass(Duration::from_secs(4_000));
    assert_eq!(world.index.counts().subjects, 1);
    seen(&mut world, SOURCES[1]);
    gone(&mut world, SOURCES[1], true);
    world.pass(Duration::from_secs(4_000));
    assert_eq!(world.exported.len(), 1);
    assert_eq!(world.index.counts().subjects, 0);
}
