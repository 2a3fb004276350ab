//! The first ground: the pure index and the real mappers, with virtual time and no input or output.
//!
//! Plays the part of everything around the index: an API server that keeps annotations, a mapper that answers at
//! once, and a clock that jumps to whatever the index waits for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lighthouse_telemetry::export;
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry_core::catalog::{group_version, owners};
use lighthouse_telemetry_core::description::ObjectSource;
use lighthouse_telemetry_core::index::{
    Annotate, Annotated, Effect, Fact, Fetched, Index, Settings,
};
use lighthouse_telemetry_core::object::{ObjectReference, SourceId};
use lighthouse_telemetry_core::span::Span;
use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Value, json};

use crate::outcome::{Outcome, added_annotations, counted, title};
use crate::scenario::{Step, What};

/// More steps than any scenario needs: an index that wants to be woken for ever is caught.
const WAKES: usize = 10_000;
/// Longer than the orphan deadline and the settle windows after it: all that will be exported has been.
const AFTERWARDS: Duration = Duration::from_secs(3_600);
/// Resource versions between two steps, for annotations.
const VERSIONS_A_STEP: u64 = 1_000;

/// An index and all that it needs.
#[derive(Debug)]
pub struct Pure<'mappers> {
    mappers: &'mappers Mappers,
    index: Index,
    now: Time,
    wake: Option<Time>,
    /// By uid, kind, namespace and name: a uid may be that of two objects.
    objects: BTreeMap<[String; 4], Stored>,
    spans: Vec<Span>,
}

#[derive(Debug)]
struct Stored {
    version: u64,
    /// With the annotations that the index had set.
    object: Value,
    /// As the scenario gave it.
    given: Value,
    set: BTreeMap<String, String>,
    deleted: bool,
}

/// Plays the steps in their order and gives what came of them.
///
/// # Errors
/// If a step cannot be played.
pub fn play(mappers: &Mappers, steps: &[Step]) -> Result<Outcome> {
    taken(mappers, steps)?.finish()
}

/// Plays the steps in their order and gives the spans that came of them, as a receiver gets them.
///
/// # Errors
/// If a step cannot be played.
pub fn exported(mappers: &Mappers, steps: &[Step]) -> Result<Vec<ResourceSpans>> {
    taken(mappers, steps)?.exported()
}

/// The ground after these steps.
fn taken<'mappers>(mappers: &'mappers Mappers, steps: &[Step]) -> Result<Pure<'mappers>> {
    let mut ground = Pure::new(mappers);
    for (step, place) in steps.iter().zip(1..) {
        ground.step_to(step.at)?;
        ground.take(&step.what, place)?;
    }
    Ok(ground)
}

/// How many spans are exported when the time comes of the step after these.
///
/// # Errors
/// If a step cannot be played.
pub fn exported_until(mappers: &Mappers, steps: &[Step], time: Time) -> Result<usize> {
    let mut ground = taken(mappers, steps)?;
    ground.step_to(time)?;
    Ok(ground.spans.len())
}

impl<'mappers> Pure<'mappers> {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(mappers: &'mappers Mappers) -> Self {
        Self {
            mappers,
            index: Index::new(Arc::clone(&mappers.catalog), Settings::default()),
            now: Time::EPOCH,
            wake: None,
            objects: BTreeMap::new(),
            spans: Vec::new(),
        }
    }

    /// Goes on from an index that has taken over what was kept, with the webhooks that were, once all lists are complete.
    ///
    /// # Errors
    /// If something that was kept cannot be used.
    pub fn going_on(
        mappers: &'mappers Mappers,
        index: Index,
        webhooks: Vec<Fact>,
        now: Time,
    ) -> Result<Self> {
        let mut ground = Self {
            index,
            now,
            ..Self::new(mappers)
        };
        for webhook in webhooks {
            ground.observe(webhook)?;
        }
        while ground.index.is_resuming() {
            let effects = ground.index.resume(now, usize::MAX);
            ground.carry_out(effects.into())?;
        }
        ground.index.go_on();
        ground.observe(Fact::Tick)?;
        Ok(ground)
    }

    /// The index, which notes what is to be kept if it is told to.
    pub fn index(&mut self) -> &mut Index {
        &mut self.index
    }

    /// Lets time pass. Wakes the index as often as it wants to be.
    ///
    /// # Errors
    /// If it wants to be woken without end.
    pub fn step_to(&mut self, time: Time) -> Result<()> {
        for _ in 0..WAKES {
            match self.wake {
                Some(wake) if wake <= time => {
                    self.wake = None;
                    self.now = self.now.max(wake);
                    self.observe(Fact::Tick)?;
                }
                _ => {
                    self.now = self.now.max(time);
                    return Ok(());
                }
            }
        }
        bail!(
            "the index still wants to be woken after {WAKES} times, at {}",
            self.now
        )
    }

    /// Takes one thing that happens, now. `place` is its place in the scenario, from 1: of two states of an object the
    /// one with the greater place is the newer, in whatever order they are taken.
    ///
    /// # Errors
    /// If an object cannot be used.
    pub fn take(&mut self, what: &What, place: u64) -> Result<()> {
        match what {
            What::Webhook {
                kind,
                body,
                received,
            } => {
                let webhook = self.mappers.catalog.webhook(kind, *received, body);
                self.observe(Fact::Webhook(webhook))
            }
            What::Applied(object) => self.applied(object, place * VERSIONS_A_STEP, false),
            What::Deleted(object) => self.applied(object, place * VERSIONS_A_STEP, true),
        }
    }

    /// Lets the time pass that everything waits for, and gives what came of it all.
    ///
    /// # Errors
    /// If the index wants to be woken without end.
    pub fn finish(mut self) -> Result<Outcome> {
        let spans = self.exported()?;
        let annotations = self
            .objects
            .values()
            .filter(|stored| !stored.deleted)
            .map(|stored| {
                let added = added_annotations(&stored.given, &stored.object);
                (title(&stored.object), added)
            })
            .filter(|(_, added)| !added.is_empty())
            .collect();
        let counted = counted(&self.index.counts());
        Ok(Outcome::new(&spans, annotations, counted))
    }

    /// Lets the time pass that everything waits for, and gives all spans.
    fn exported(&mut self) -> Result<Vec<ResourceSpans>> {
        self.step_to(self.now.plus(AFTERWARDS))?;
        Ok(export::encode(&self.spans).resource_spans)
    }

    fn applied(&mut self, given: &Value, version: u64, deleted: bool) -> Result<()> {
        let uid = text(given, "/metadata/uid").context("an object of a scenario has no uid")?;
        let part = |pointer| text(given, pointer).unwrap_or_default().to_owned();
        let key = [
            uid.to_owned(),
            part("/kind"),
            part("/metadata/namespace"),
            part("/metadata/name"),
        ];
        let earlier = self.objects.get(&key);
        let mut stored = Stored {
            version,
            object: given.clone(),
            given: given.clone(),
            set: earlier
                .map(|earlier| earlier.set.clone())
                .unwrap_or_default(),
            deleted,
        };
        stored.render();
        let fact = stored.object.clone();
        if earlier.is_none_or(|earlier| earlier.version < version) {
            self.objects.insert(key, stored);
        }
        self.observe_object(&fact, deleted)
    }

    fn observe_object(&mut self, object: &Value, deleted: bool) -> Result<()> {
        let catalog = Arc::clone(&self.mappers.catalog);
        for (id, source) in catalog.sources() {
            if selects(source, object)? {
                self.observe(fact(id, catalog.object(id, object)?, deleted))?;
            }
        }
        Ok(())
    }

    fn observe(&mut self, fact: Fact) -> Result<()> {
        let effects = self.index.observe(self.now, fact);
        self.carry_out(effects.into())
    }

    fn carry_out(&mut self, mut effects: VecDeque<Effect>) -> Result<()> {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Map(request) => {
                    let answer = self.mappers.map(&request);
                    let fact = Fact::Mapped(request.ticket, answer);
                    effects.extend(self.index.observe(self.now, fact));
                }
                Effect::Annotate(annotate) => {
                    for fact in self.annotate(&annotate)? {
                        effects.extend(self.index.observe(self.now, fact));
                    }
                }
                Effect::Export(spans) => self.spans.extend(spans),
                Effect::Fetch(reference) => {
                    let found = self.fetch(&reference);
                    effects.extend(
                        self.index
                            .observe(self.now, Fact::Fetched(reference, found)),
                    );
                }
                Effect::WakeAt(time) => self.wake = Some(time),
            }
        }
        Ok(())
    }

    /// Sets the annotations, which makes a new version of the object, which the watches see.
    fn annotate(&mut self, annotate: &Annotate) -> Result<Vec<Fact>> {
        let uid = &annotate.object.uid;
        let Some(stored) = self
            .objects
            .get_mut(&key(&annotate.object, annotate.object.namespace.as_deref()))
            .filter(|stored| !stored.deleted)
        else {
            return Ok(vec![Fact::Annotated(
                Arc::clone(uid),
                Annotated::Impossible,
            )]);
        };
        let set = annotate.annotations.iter();
        stored
            .set
            .extend(set.map(|(key, value)| (key.to_string(), value.to_string())));
        stored.version += 1;
        stored.render();
        let catalog = &self.mappers.catalog;
        let mut facts = Vec::new();
        for (id, source) in catalog.sources() {
            if selects(source, &stored.object)? {
                facts.push(fact(id, catalog.object(id, &stored.object)?, false));
            }
        }
        facts.push(Fact::Annotated(Arc::clone(uid), Annotated::Done));
        Ok(facts)
    }

    fn fetch(&self, reference: &ObjectReference) -> Fetched {
        let namespaces = [reference.namespace.as_deref(), None];
        let mut found = namespaces
            .into_iter()
            .filter_map(|namespace| self.objects.get(&key(reference, namespace)));
        match found.next() {
            Some(stored) if !stored.deleted => Fetched::Found(owners(&stored.object)),
            _ => Fetched::Missing,
        }
    }
}

fn key(reference: &ObjectReference, namespace: Option<&str>) -> [String; 4] {
    [
        reference.uid.to_string(),
        reference.kind.kind.to_string(),
        namespace.unwrap_or_default().to_owned(),
        reference.name.to_string(),
    ]
}

impl Stored {
    /// Writes what the API server adds.
    fn render(&mut self) {
        let Some(metadata) = self.object.pointer_mut("/metadata") else {
            return;
        };
        let mut addition = json!({"resourceVersion": self.version.to_string()});
        if !self.set.is_empty() {
            json_patch::merge(&mut addition, &json!({"annotations": self.set}));
        }
        json_patch::merge(metadata, &addition);
    }
}

fn fact(id: SourceId, object: lighthouse_telemetry_core::object::Object, deleted: bool) -> Fact {
    if deleted {
        Fact::Deleted(id, Box::new(object))
    } else {
        Fact::Applied(id, Box::new(object))
    }
}

/// Whether a watch of this source sees the object.
fn selects(source: &ObjectSource, object: &Value) -> Result<bool> {
    let (group, _) = group_version(text(object, "/apiVersion").unwrap_or_default());
    if source.group != group || Some(source.kind.as_str()) != text(object, "/kind") {
        return Ok(false);
    }
    let selector = lighthouse_telemetry::embedded::Selector::parse(
        source.label_selector.as_deref().unwrap_or_default(),
        source.field_selector.as_deref().unwrap_or_default(),
        &source.kind,
    )?;
    Ok(selector.selects(object))
}

fn text<'object>(object: &'object Value, pointer: &str) -> Option<&'object str> {
    object.pointer(pointer).and_then(Value::as_str)
}
