//! The sorts of facts that are measured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lighthouse_telemetry_core::index::{Effect, Fact};
use serde_json::{Value, json};

use crate::pipeline::objects::{self, Pipeline};
use crate::pipeline::{World, mapped};

/// Objects of the kind that is relisted: few, whatever else there is.
const RARE: usize = 10;

/// What a fact is about.
#[derive(Clone, Copy)]
pub struct Target {
    /// Of the fact; none comes twice.
    pub number: usize,
    pub pipeline: Pipeline,
    pub task: usize,
}

/// A sort of facts.
pub struct Sort {
    pub name: &'static str,
    /// Brings about all that comes before the facts, and gives them.
    pub prepare: fn(&mut World, &[Target]) -> anyhow::Result<Vec<Fact>>,
    /// Whether the facts did what they are about.
    pub check: fn(&World) -> bool,
}

/// A world with so many pipelines and a few objects of a rare kind.
pub fn world(pipelines: usize) -> anyhow::Result<World> {
    let mut world = World::with(pipelines)?;
    for number in 0..RARE {
        let fact = world.applied(&rare(number))?;
        world.observe(fact);
    }
    Ok(world)
}

pub const SORTS: [Sort; 13] = [
    Sort {
        name: "object applied anew",
        prepare: |world, targets| each(targets, |target| world.applied(&target.new_pod())),
        check: |world| world.index.counts().orphans == 0,
    },
    Sort {
        name: "mapping of a new object returned",
        prepare: |world, targets| {
            each(targets, |target| {
                let fact = world.applied(&target.new_pod())?;
                mapping(world, fact)
            })
        },
        check: |world| world.index.counts().orphans == 0,
    },
    Sort {
        name: "Event attached",
        prepare: |world, targets| {
            world.pass(Duration::from_secs(6));
            each(targets, |target| {
                let pod = target.pipeline.pod(target.task, false);
                world.applied(&target.event_on(&pod))
            })
        },
        check: |world| world.index.counts().waiting_attachments == 0,
    },
    Sort {
        name: "Event of an unknown object",
        prepare: |world, targets| {
            each(targets, |target| {
                world.applied(&target.event_on(&target.new_pod()))
            })
        },
        check: |world| world.index.counts().waiting_attachments > 0,
    },
    Sort {
        name: "object changed",
        prepare: |world, targets| {
            world.pass(Duration::from_secs(2));
            each(targets, |target| world.applied(&target.changed_task()))
        },
        check: |world| world.index.counts().orphans == 0,
    },
    Sort {
        name: "mapping of a changed object returned",
        prepare: |world, targets| {
            world.pass(Duration::from_secs(2));
            each(targets, |target| {
                let fact = world.applied(&target.changed_task())?;
                mapping(world, fact)
            })
        },
        check: |world| world.index.counts().orphans == 0,
    },
    Sort {
        name: "webhook received",
        prepare: |world, targets| each(targets, |target| Ok(target.webhook(world))),
        check: |world| world.index.counts().mapping_failures == 0,
    },
    Sort {
        name: "mapping of a webhook returned",
        prepare: |world, targets| {
            each(targets, |target| {
                let fact = target.webhook(world);
                mapping(world, fact)
            })
        },
        check: |world| world.index.counts().mapping_failures == 0,
    },
    Sort {
        name: "relist of ten unchanged objects",
        prepare: |world, targets| {
            let source = world.source(&rare(0))?;
            let uid = |number| {
                let object = rare(number);
                object.pointer("/metadata/uid")?.as_str().map(Arc::from)
            };
            let present: BTreeSet<Arc<str>> = (0..RARE).filter_map(uid).collect();
            each(targets, |_| Ok(Fact::Relisted(source, present.clone())))
        },
        check: |world| world.index.counts().orphans == 0,
    },
    Sort {
        name: "tick with nothing due",
        prepare: |_, targets| each(targets, |_| Ok(Fact::Tick)),
        check: |world| world.exported == 0,
    },
    Sort {
        name: "child of an unknown parent",
        prepare: |world, targets| {
            each(targets, |target| {
                let fact = world.applied(&target.orphan())?;
                mapping(world, fact)
            })
        },
        check: |world| world.index.counts().orphans > 0,
    },
    Sort {
        name: "object deleted",
        prepare: |world, targets| {
            for target in targets {
                let fact = world.applied(&target.new_pod())?;
                world.observe(fact);
            }
            world.pass(Duration::from_secs(2));
            each(targets, |target| world.deleted(&target.new_pod()))
        },
        check: |world| world.index.counts().orphans == 0,
    },
    Sort {
        name: "ended object exported",
        prepare: |world, targets| {
            for target in targets {
                let pod = target.new_pod();
                let fact = world.applied(&pod)?;
                world.observe(fact);
                let fact = world.deleted(&pod)?;
                world.observe(fact);
            }
            // A late Event has it mapped once more; that mapping returns when the settle window has passed.
            world.pass(Duration::from_secs(2));
            for target in targets {
                let fact = world.applied(&target.event_on(&target.new_pod()))?;
                world.observe(fact);
            }
            world.now = world.now.plus(Duration::from_secs(6));
            let (requests, others): (Vec<_>, Vec<_>) = world
                .index
                .observe(world.now, Fact::Tick)
                .into_iter()
                .partition(|effect| matches!(effect, Effect::Map(_)));
            world.carry_out(others);
            let answered = requests.into_iter().filter_map(|effect| match effect {
                Effect::Map(request) => Some(mapped(request)),
                _ => None,
            });
            Ok(answered.collect())
        },
        check: |world| world.exported > 0,
    },
];

impl Target {
    /// A Pod that no pipeline has yet.
    fn new_pod(self) -> Value {
        let name = format!("retry-{}", self.number);
        let task = self.pipeline.task_uid(self.task);
        let uid = new_uid(2 * self.number);
        self.pipeline.pod_of(uid, self.task, &name, task, false)
    }

    /// A Pod of a TaskRun that nobody knows.
    fn orphan(self) -> Value {
        let name = format!("unknown-{}", self.number);
        let task = new_uid(2 * self.number + 1);
        let uid = new_uid(2 * self.number);
        self.pipeline.pod_of(uid, self.task, &name, task, false)
    }

    fn changed_task(self) -> Value {
        changed(self.pipeline.task(self.task, false), self.number)
    }

    fn event_on(self, object: &Value) -> Value {
        self.pipeline
            .event(1000 + self.number, self.number % 28, object)
    }

    /// The webhook of a pipeline that is not there yet.
    fn webhook(self, world: &World) -> Fact {
        world.webhook(Pipeline(1_000_000 + self.number))
    }
}

fn each(
    targets: &[Target],
    fact: impl FnMut(&Target) -> anyhow::Result<Fact>,
) -> anyhow::Result<Vec<Fact>> {
    targets.iter().map(fact).collect()
}

/// The answer to the mapping that a fact asks for.
fn mapping(world: &mut World, fact: Fact) -> anyhow::Result<Fact> {
    let mut effects = world.index.observe(world.now, fact);
    let place = effects
        .iter()
        .position(|effect| matches!(effect, Effect::Map(_)));
    let request = match effects.remove(place.context("nothing is to be mapped")?) {
        Effect::Map(request) => request,
        other => anyhow::bail!("not a mapping: {other:?}"),
    };
    world.carry_out(effects);
    Ok(mapped(request))
}

/// A uid that no object of a pipeline has.
fn new_uid(number: usize) -> String {
    objects::uid(1 << 30, number)
}

/// One of a few objects of a kind that is rare.
fn rare(number: usize) -> Value {
    json!({
        "apiVersion": "tekton.dev/v1beta1",
        "kind": "CustomRun",
        "metadata": Pipeline(number).metadata(&format!("approval-{number}"), objects::uid(1 << 31, number), Value::Null, None),
    })
}

/// A newer version of an object, changed in something that its mapper reads.
fn changed(mut object: Value, version: usize) -> Value {
    let mut set = |part: &str, key: &str, value: Value| {
        let part = object.get_mut(part).and_then(Value::as_object_mut);
        part.map(|part| part.insert(key.to_owned(), value))
    };
    set(
        "metadata",
        "resourceVersion",
        (1_000_000_000 + version).to_string().into(),
    );
    set("status", "changed", version.into());
    object
}
