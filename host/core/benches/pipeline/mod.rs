//! An index that is told of many pipelines, with a mapper of plain Rust, in virtual time.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::indexing_slicing, reason = "what JSON has not is null")]

pub mod mapper;
pub mod objects;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::description::{
    Annotation, AnnotationValue, Attachment, Description, ObjectSource, Relation, Source, Watch,
};
use lighthouse_telemetry_core::index::{
    Annotated, Effect, Fact, Fetched, Index, MapRequest, Settings,
};
use lighthouse_telemetry_core::object::SourceId;
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

use self::objects::Pipeline;

/// What the built-in mappers read of an Event.
const EVENT_FIELDS: [&str; 13] = [
    "/involvedObject/fieldPath",
    "/reason",
    "/message",
    "/source/component",
    "/source/host",
    "/reportingComponent",
    "/reportingInstance",
    "/firstTimestamp",
    "/lastTimestamp",
    "/eventTime",
    "/series",
    "/count",
    "/type",
];

/// What they read of the labels.
const LABELS: [&str; 12] = [
    "/metadata/labels/branch",
    "/metadata/labels/build",
    "/metadata/labels/context",
    "/metadata/labels/event-GUID",
    "/metadata/labels/lighthouse.jenkins-x.io~1buildNum",
    "/metadata/labels/lighthouse.jenkins-x.io~1id",
    "/metadata/labels/lighthouse.jenkins-x.io~1job",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.pull",
    "/metadata/labels/owner",
    "/metadata/labels/repository",
    "/metadata/labels/tekton.dev~1pipeline",
    "/metadata/labels/tekton.dev~1pipelineTask",
];

/// When all begins.
fn start() -> Time {
    Time::parse("2026-03-02T09:00:00Z").unwrap_or_default()
}

/// Events about one kind are a source of their own, as with the built-in mappers.
fn events_about(kind: &str) -> ObjectSource {
    ObjectSource {
        field_selector: Some(format!("involvedObject.kind={kind}")),
        ..ObjectSource::of("", "v1", "Event")
    }
}

fn catalog() -> anyhow::Result<Catalog> {
    let annotation = |key: &str, value| Annotation {
        key: format!("lighthouse.jenkins-x.io/{key}"),
        value,
    };
    let watch = |group: &str, version: &str, kind: &str| {
        let fields = LABELS.iter().filter(|_| kind != "Pod");
        Watch {
            source: Source::Objects(ObjectSource::of(group, version, kind)),
            fields: ["/spec", "/status"]
                .iter()
                .chain(fields)
                .map(|field| (*field).to_owned())
                .collect(),
            attachments: vec![Attachment {
                source: events_about(kind),
                relation: Relation::Involved,
                fields: EVENT_FIELDS.map(str::to_owned).to_vec(),
            }],
            annotations: vec![
                annotation("traceparent", AnnotationValue::Traceparent),
                annotation("tracestate", AnnotationValue::Tracestate),
            ],
        }
    };
    let webhooks = Watch {
        source: Source::Webhooks(Vec::new()),
        fields: Vec::new(),
        attachments: Vec::new(),
        annotations: Vec::new(),
    };
    let description = Description {
        version: "0.1.0".to_owned(),
        watches: vec![
            webhooks,
            watch("lighthouse.jenkins.io", "v1alpha1", "LighthouseJob"),
            watch("tekton.dev", "v1", "PipelineRun"),
            watch("tekton.dev", "v1", "TaskRun"),
            watch("tekton.dev", "v1beta1", "CustomRun"),
            watch("", "v1", "Pod"),
            watch("jenkins.io", "v1", "PipelineActivity"),
        ],
        ..Description::default()
    };
    Ok(Catalog::new([("all".to_owned(), description)])?)
}

/// The index and what acts on its effects.
pub struct World {
    pub catalog: Arc<Catalog>,
    pub index: Index,
    pub now: Time,
    pub exported: usize,
    wake_at: Option<Time>,
}

impl World {
    pub fn new() -> anyhow::Result<Self> {
        let catalog = Arc::new(catalog()?);
        Ok(Self {
            index: Index::new(Arc::clone(&catalog), Settings::default()),
            catalog,
            now: start(),
            exported: 0,
            wake_at: None,
        })
    }

    /// A world in which so many pipelines are under way.
    pub fn with(pipelines: usize) -> anyhow::Result<Self> {
        let mut world = Self::new()?;
        for number in 0..pipelines {
            world.begin(Pipeline(number))?;
        }
        world.pass(Duration::from_secs(10));
        Ok(world)
    }

    /// A pipeline is triggered, and comes as far as it does without ending.
    pub fn begin(&mut self, pipeline: Pipeline) -> anyhow::Result<()> {
        self.observe(self.webhook(pipeline));
        for object in pipeline.objects(false) {
            self.observe(self.applied(&object)?);
        }
        for event in pipeline.events() {
            self.observe(self.applied(&event)?);
        }
        Ok(())
    }

    pub fn webhook(&self, pipeline: Pipeline) -> Fact {
        let body = pipeline.webhook();
        Fact::Webhook(self.catalog.webhook("pull_request", self.now, &body))
    }

    pub fn source(&self, object: &Value) -> anyhow::Result<SourceId> {
        let kind = object["kind"].as_str();
        let selector = object["involvedObject"]["kind"]
            .as_str()
            .map(|kind| format!("involvedObject.kind={kind}"));
        let mut sources = self.catalog.sources();
        let found = sources.find(|(_, source)| {
            Some(source.kind.as_str()) == kind && source.field_selector == selector
        });
        Ok(found.context("a kind that nobody watches")?.0)
    }

    pub fn applied(&self, object: &Value) -> anyhow::Result<Fact> {
        let source = self.source(object)?;
        let object = Box::new(self.catalog.object(source, object)?);
        Ok(Fact::Applied(source, object))
    }

    pub fn deleted(&self, object: &Value) -> anyhow::Result<Fact> {
        let source = self.source(object)?;
        let object = Box::new(self.catalog.object(source, object)?);
        Ok(Fact::Deleted(source, object))
    }

    /// Tells the index, and carries out what it wants done.
    pub fn observe(&mut self, fact: Fact) {
        let effects = self.index.observe(self.now, fact);
        self.carry_out(effects);
    }

    /// Carries out effects, and those of the facts that come of them.
    pub fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let fact = match effect {
                Effect::Map(request) => mapped(request),
                Effect::Annotate(annotate) => Fact::Annotated(annotate.object.uid, Annotated::Done),
                Effect::Fetch(reference) => Fact::Fetched(reference, Fetched::Missing),
                Effect::Export(spans) => {
                    self.exported += spans.len();
                    continue;
                }
                Effect::WakeAt(at) => {
                    self.wake_at = Some(at);
                    continue;
                }
            };
            effects.extend(self.index.observe(self.now, fact));
        }
    }

    /// Lets time pass, waking the index whenever it asked for it.
    pub fn pass(&mut self, duration: Duration) {
        let until = self.now.plus(duration);
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.wake_at = None;
            self.now = self.now.max(at);
            self.observe(Fact::Tick);
        }
        self.now = until;
        self.observe(Fact::Tick);
    }
}

/// The answer to a request for a mapping.
pub fn mapped(request: MapRequest) -> Fact {
    let outcome = mapper::map(&request.subject);
    Fact::Mapped(request.ticket, Ok(outcome))
}
