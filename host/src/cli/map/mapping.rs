//! Objects through catalog, index and mappers, with virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lighthouse_telemetry_core::catalog::{Catalog, group_version, owners};
use lighthouse_telemetry_core::index::{
    ATTACHED_INTERVAL, Annotated, Effect, Fact, Fetched, Index, MapRequest, MappingFailure,
    Settings, SubjectId,
};
use lighthouse_telemetry_core::mapping::{Outcome, Subject};
use lighthouse_telemetry_core::object::{
    Object, ObjectReference, Owner, SourceId, SubjectName, Uid,
};
use lighthouse_telemetry_core::span::Span;
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

use super::input::{Input, Origin};

/// What became of all objects.
#[derive(Debug)]
pub struct Mapped {
    /// In the order of the files.
    pub objects: Vec<ObjectReport>,
    /// The spans as they would be exported.
    pub spans: Vec<Span>,
}

impl Mapped {
    /// Whether every object could be used and no mapping failed.
    pub fn is_clean(&self) -> bool {
        self.objects.iter().all(|object| match &object.role {
            Role::Unusable(_) => false,
            Role::Subject(answers) => answers.iter().all(|answer| answer.outcome.is_ok()),
            Role::Attached | Role::Unclaimed | Role::Unwanted => true,
        })
    }
}

/// What became of an object.
#[derive(Debug)]
pub struct ObjectReport {
    /// Where it stands.
    pub origin: Origin,
    /// Kind, namespace and name, as far as they are known.
    pub name: String,
    /// What it is to the mappers.
    pub role: Role,
}

/// What an object is to the mappers.
#[derive(Debug)]
pub enum Role {
    /// It cannot be used, and why.
    Unusable(String),
    /// No mapper wants its kind.
    Unwanted,
    /// It comes along with an object that is there.
    Attached,
    /// It comes along with an object that is not there.
    Unclaimed,
    /// It is mapped.
    Subject(Vec<Answer>),
}

/// What a mapper says of an object.
#[derive(Debug)]
pub struct Answer {
    /// Name and version of the mapper.
    pub mapper: String,
    /// What it says.
    pub outcome: Result<Outcome, String>,
    /// How many objects came along.
    pub attached: usize,
}

/// Maps the objects with `map`.
pub fn map(
    catalog: &Arc<Catalog>,
    inputs: Vec<Input>,
    map: impl Fn(&MapRequest) -> Result<Outcome, MappingFailure>,
) -> Mapped {
    let mut run = Run {
        catalog: Arc::clone(catalog),
        index: Index::new(
            Arc::clone(catalog),
            Settings {
                // However old the objects are.
                replay_window: Duration::MAX,
                ..Settings::default()
            },
        ),
        map,
        now: inputs
            .iter()
            .map(|input| latest(&input.value))
            .max()
            .unwrap_or_default(),
        wake: None,
        owners: inputs
            .iter()
            .filter_map(|input| owners_of(&input.value))
            .collect(),
        answers: BTreeMap::new(),
        record: true,
        spans: Vec::new(),
    };
    let mut taken = Vec::new();
    let mut reports = Vec::new();
    for input in inputs {
        let objects = run.take(&input.value);
        let name = name(&input.value);
        reports.push((input.origin, name, objects));
    }
    for (_, _, objects) in &reports {
        if let Ok(objects) = objects {
            taken.extend(objects.iter().cloned());
        }
    }
    run.feed(&taken);
    let given = Given::of(&taken);
    let objects = reports
        .into_iter()
        .map(|(origin, name, objects)| ObjectReport {
            origin,
            name,
            role: match objects {
                Err(error) => Role::Unusable(error),
                Ok(objects) => run.role(&objects, &given),
            },
        })
        .collect();
    Mapped {
        objects,
        spans: run.spans,
    }
}

type Sourced = (SourceId, Object);

struct Run<M> {
    catalog: Arc<Catalog>,
    index: Index,
    map: M,
    now: Time,
    wake: Option<Time>,
    /// Owners of all objects that are there, by uid: what a look-up would find.
    owners: BTreeMap<Uid, Vec<Owner>>,
    answers: BTreeMap<Uid, Vec<Answer>>,
    record: bool,
    spans: Vec<Span>,
}

impl<M: Fn(&MapRequest) -> Result<Outcome, MappingFailure>> Run<M> {
    /// The object as each source of its kind gives it. Selectors are taken to match.
    fn take(&self, value: &Value) -> Result<Vec<Sourced>, String> {
        let text = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let (group, _) = group_version(text("apiVersion"));
        if text("kind").is_empty() || text("apiVersion").is_empty() {
            return Err("it has no kind or no apiVersion: give whole objects".to_owned());
        }
        let sources = self.catalog.sources();
        sources
            .filter(|(_, source)| source.group == group && source.kind == text("kind"))
            .map(|(id, _)| match self.catalog.object(id, value) {
                Ok(object) => Ok((id, object)),
                Err(error) => Err(error.to_string()),
            })
            .collect()
    }

    fn feed(&mut self, objects: &[Sourced]) {
        for (source, object) in objects {
            self.observe(Fact::Applied(*source, Box::new(object.clone())));
        }
        let sources: Vec<_> = self.catalog.sources().map(|(id, _)| id).collect();
        for source in sources {
            let present: BTreeSet<_> = objects
                .iter()
                .filter(|(of, _)| *of == source)
                .map(|(_, object)| Uid::clone(&object.reference.uid))
                .collect();
            self.observe(Fact::Relisted(source, present));
        }
        // What came while a mapping was young is mapped again some seconds later.
        self.now = self.now.plus(ATTACHED_INTERVAL);
        self.observe(Fact::Tick);
        // What still runs is shown as if it ended here; what a mapper says of that is not reported.
        self.record = false;
        for (source, object) in objects {
            let answers = self.answers.get(&object.reference.uid);
            if answers.is_some_and(|answers| answers.iter().any(Answer::is_open)) {
                self.observe(Fact::Deleted(*source, Box::new(object.clone())));
            }
        }
        while let Some(wake) = self.wake.take() {
            self.now = self.now.max(wake);
            self.observe(Fact::Tick);
        }
        let effects = self.index.drain(self.now);
        self.carry_out(effects);
    }

    fn observe(&mut self, fact: Fact) {
        let effects = self.index.observe(self.now, fact);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            let fact = match effect {
                Effect::Export(spans) => {
                    self.spans.extend(spans);
                    continue;
                }
                Effect::WakeAt(time) => {
                    self.wake = Some(time);
                    continue;
                }
                Effect::Map(request) => {
                    let result = (self.map)(&request);
                    self.note(&request, &result);
                    Fact::Mapped(request.ticket, result)
                }
                Effect::Fetch(reference) => {
                    let found = match self.owners.get(&reference.uid) {
                        Some(owners) => Fetched::Found(owners.clone()),
                        None => Fetched::Missing,
                    };
                    Fact::Fetched(reference, found)
                }
                Effect::Annotate(annotate) => Fact::Annotated(annotate.object.uid, Annotated::Done),
            };
            left.extend(self.index.observe(self.now, fact));
        }
    }

    fn note(&mut self, request: &MapRequest, result: &Result<Outcome, MappingFailure>) {
        let (SubjectId::Object(uid), true) = (&request.ticket.subject, self.record) else {
            return;
        };
        let scope = self.catalog.scope(request.ticket.watch);
        let mapper = scope.map_or_else(String::new, |scope| {
            format!("{} {}", scope.name, scope.version)
        });
        let answer = Answer {
            outcome: result.clone().map_err(|failure| failure.message),
            attached: match &request.subject {
                Subject::Object(subject) => subject.attached.len(),
                Subject::Webhook(_) => 0,
            },
            mapper,
        };
        let answers = self.answers.entry(Uid::clone(uid)).or_default();
        // The newest of each mapper: it has seen the most of what comes along.
        answers.retain(|known| known.mapper != answer.mapper);
        answers.push(answer);
    }

    fn role(&mut self, objects: &[Sourced], given: &Given) -> Role {
        let Some((_, first)) = objects.first() else {
            return Role::Unwanted;
        };
        if objects
            .iter()
            .any(|(_, object)| !object.subject_of.is_empty())
        {
            let answers = self.answers.remove(&first.reference.uid);
            return Role::Subject(answers.unwrap_or_default());
        }
        let claimed = objects
            .iter()
            .flat_map(|(_, object)| &object.attached_to)
            .any(|attached| given.has(&attached.subject));
        if claimed {
            Role::Attached
        } else {
            Role::Unclaimed
        }
    }
}

impl Answer {
    /// Whether it tells of something that goes on.
    pub fn is_open(&self) -> bool {
        match &self.outcome {
            Ok(Outcome::Spans(trees)) => trees.iter().any(|tree| tree.main.end.is_none()),
            _ => false,
        }
    }
}

/// The subjects that are there.
#[derive(Default)]
struct Given {
    names: BTreeSet<SubjectName>,
    by_uid: BTreeMap<Uid, Vec<ObjectReference>>,
}

impl Given {
    fn of(objects: &[Sourced]) -> Self {
        let mut given = Self::default();
        for (_, object) in objects {
            if object.subject_of.is_empty() {
                continue;
            }
            let reference = &object.reference;
            let twins = given.by_uid.entry(Uid::clone(&reference.uid));
            twins.or_default().push(reference.clone());
            given.names.insert(SubjectName::Name(
                reference.kind.clone(),
                reference.namespace.clone(),
                Arc::clone(&reference.name),
            ));
        }
        given
    }

    fn has(&self, name: &SubjectName) -> bool {
        match name {
            SubjectName::Uid(mention) => self
                .by_uid
                .get(&mention.uid)
                .into_iter()
                .flatten()
                .any(|reference| mention.agrees_with(reference)),
            SubjectName::Name(..) => self.names.contains(name),
        }
    }
}

fn owners_of(value: &Value) -> Option<(Uid, Vec<Owner>)> {
    let uid = value.pointer("/metadata/uid")?.as_str()?;
    Some((uid.into(), owners(value)))
}

/// Kind, namespace and name for people.
fn name(value: &Value) -> String {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or("object");
    let name = text("/metadata/name").unwrap_or("without a name");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The latest time that an object speaks of: it was written then or later.
fn latest(value: &Value) -> Time {
    match value {
        Value::String(text) => Time::parse(text).unwrap_or_default(),
        Value::Array(values) => values.iter().map(latest).max().unwrap_or_default(),
        Value::Object(members) => members.values().map(latest).max().unwrap_or_default(),
        _ => Time::EPOCH,
    }
}
