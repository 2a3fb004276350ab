//! The index with a mapper made of plain Rust, in virtual time.

mod asking;
mod confluence;
mod exported;
mod lifecycle;
mod marks;
mod properties;
mod restarts;
mod selectors;
mod succession;
mod twins;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Annotate, Annotated, Change, Effect, Fact, Fetched, Index, MapRequest, MappingFailure, Settings,
};
use crate::catalog::Catalog;
use crate::context::SpanContext;
use crate::description::{
    Annotation, AnnotationValue, Attachment, Description, ObjectSource, Relation, Source, Watch,
};
use crate::identity::{SpanId, TraceKey};
use crate::mapping::{
    Attribute, Child, EventKey, LabelMatch, MappedSpan, Outcome, OwnerParent, Parent, Remote,
    SpanKind, SpanStatus, SpanTree, Subject, Target, Timestamp, TraceStart,
};
use crate::object::{ObjectReference, SourceId};
use crate::span::Span;
use crate::time::{Precision, Time};

/// Writes changes as a journal does.
fn keep_rows(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        match change {
            Change::Put(key, value) => {
                rows.insert(key, value);
            }
            Change::Remove(key) => {
                rows.remove(&key);
            }
            Change::RemoveAll(prefix) => rows.retain(|key, _| !key.starts_with(&prefix)),
            Change::WebhookDone(_) => {}
        }
    }
}

/// When the tests start: some time in 2026.
const START: u64 = 1_780_000_000;

fn at(seconds: u64) -> Time {
    Time::from_nanoseconds((START + seconds) * 1_000_000_000)
}

fn kind(kind: &str) -> ObjectSource {
    let is_core = kind == "Pod" || kind == "Event";
    ObjectSource::of(if is_core { "" } else { "test" }, "v1", kind)
}

fn catalog() -> Catalog {
    let watch = |name: &str| Watch {
        source: Source::Objects(kind(name)),
        fields: Vec::new(),
        attachments: vec![Attachment {
            source: kind("Event"),
            relation: Relation::Involved,
            fields: Vec::new(),
        }],
        annotations: vec![
            Annotation {
                key: "traceparent".to_owned(),
                value: AnnotationValue::Traceparent,
            },
            Annotation {
                key: "tracestate".to_owned(),
                value: AnnotationValue::Tracestate,
            },
            Annotation {
                key: "exported".to_owned(),
                value: AnnotationValue::Exported,
            },
        ],
    };
    let webhooks = Watch {
        source: Source::Webhooks(Vec::new()),
        fields: Vec::new(),
        attachments: Vec::new(),
        annotations: Vec::new(),
    };
    let mut watches: Vec<Watch> = ["Job", "Run", "Pod"].into_iter().map(watch).collect();
    watches.push(webhooks);
    let description = Description {
        version: "1".to_owned(),
        watches,
        ..Description::default()
    };
    let other = description.clone();
    Catalog::new([
        ("test".to_owned(), description),
        ("other".to_owned(), other),
    ])
    .unwrap()
}

fn time(seconds: u64) -> Timestamp {
    Timestamp {
        time: at(seconds),
        precision: Precision::Second,
    }
}

fn span(key: &str, name: &str, start: u64, end: Option<u64>) -> MappedSpan {
    MappedSpan {
        key: key.into(),
        name: name.into(),
        kind: SpanKind::Internal,
        start: time(start),
        end: end.map(time),
        status: SpanStatus::Unset,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

fn event_key(guid: &str) -> EventKey {
    EventKey::Delivery {
        repository: "o/r".to_owned(),
        guid: guid.to_owned(),
    }
}

/// The two mappers: `spec` says what to make of an object, and which of them shall do so if it is not the first.
fn map(request: &MapRequest) -> Result<Outcome, MappingFailure> {
    let by = |value: &Value| value["by"].as_u64().unwrap_or(0);
    let mapper = u64::from(request.ticket.watch.mapper);
    let subject = &request.subject;
    let failure = |message: &str| MappingFailure {
        message: message.to_owned(),
    };
    let object = match subject {
        Subject::Webhook(webhook) => {
            let body: Value = serde_json::from_str(&webhook.json).unwrap();
            if by(&body) != mapper {
                return Ok(Outcome::NotOurs);
            }
            let guid = body["GUID"].as_str().ok_or(failure("no GUID"))?;
            let mut tree = tree(span("", "LighthouseEvent", 0, None));
            tree.main.start = Timestamp {
                time: webhook.received,
                precision: Precision::Nanosecond,
            };
            tree.parents = vec![Parent::Root(TraceStart::Event(event_key(guid)))];
            return Ok(Outcome::Spans(vec![tree]));
        }
        Subject::Object(object) => object,
    };
    let value: Value = serde_json::from_str(&object.json).unwrap();
    let spec = &value["spec"];
    if spec["fails"] == true {
        return Err(failure("told to"));
    }
    if spec["ours"] == false || by(spec) != mapper {
        return Ok(Outcome::NotOurs);
    }
    if spec["wait"] == true {
        return Ok(Outcome::Wait("told-to".to_owned()));
    }
    let start = spec["start"].as_u64().unwrap_or(0);
    let mut tree = tree(span(
        "",
        value["kind"].as_str().unwrap(),
        start,
        spec["end"].as_u64(),
    ));
    if spec["error"] == true {
        tree.main.status = SpanStatus::Error("told to".to_owned());
    }
    if let Some(class) = spec["errorType"].as_str() {
        tree.main.status = SpanStatus::Error("told to".to_owned());
        let attribute = Attribute::new("error.type", class);
        tree.main.attributes.push(attribute);
    }
    let annotation = |key: &str| value["metadata"]["annotations"][key].as_str();
    if let Some(guid) = spec["guid"].as_str() {
        if let Some(traceparent) = annotation("traceparent") {
            tree.parents.push(Parent::Remote(Remote {
                traceparent: traceparent.to_owned(),
                tracestate: annotation("tracestate").map(str::to_owned),
            }));
        }
        tree.parents.push(Parent::Event(event_key(guid)));
    } else if let Some(value) = spec["labelled"].as_str() {
        tree.parents.push(Parent::Labelled(LabelMatch {
            group: "test".to_owned(),
            kind: "Job".to_owned(),
            labels: vec![("id".to_owned(), value.to_owned())],
            span: String::new(),
        }));
    } else if let Some(name) = spec["parent"].as_str() {
        tree.parents.push(Parent::Target(Target {
            group: "test".to_owned(),
            kind: "Job".to_owned(),
            namespace: None,
            name: name.to_owned(),
            uid: None,
            span: String::new(),
        }));
    } else {
        tree.parents.push(Parent::Owner(OwnerParent {
            span: spec["under"].as_str().unwrap_or_default().to_owned(),
            ..OwnerParent::default()
        }));
    }
    if spec["root"] == true {
        tree.parents.push(Parent::Root(TraceStart::Subject));
    }
    for key in spec["children"].as_array().into_iter().flatten() {
        tree.children.push(Child {
            under: None,
            span: span(key.as_str().unwrap(), "child", start, spec["end"].as_u64()),
        });
    }
    for attached in &object.attached {
        let event: Value = serde_json::from_str(&attached.json).unwrap();
        let second = event["at"].as_u64().unwrap();
        let mut child = span(
            event["metadata"]["uid"].as_str().unwrap(),
            "event",
            second,
            Some(second),
        );
        child.attributes.push(Attribute::new(
            "count",
            event["count"].as_i64().unwrap_or(1),
        ));
        tree.children.push(Child {
            under: None,
            span: child,
        });
    }
    tree.may_annotate = spec["safe"] == true;
    let Some(runs) = spec["runs"].as_array() else {
        return Ok(Outcome::Spans(vec![tree]));
    };
    let run = |run: &Value| {
        let mut tree = tree.clone();
        tree.run = run["run"].as_str().unwrap().to_owned();
        tree.main.start = time(run["start"].as_u64().unwrap());
        tree.main.end = run["end"].as_u64().map(time);
        tree
    };
    Ok(Outcome::Spans(runs.iter().map(run).collect()))
}

fn tree(main: MappedSpan) -> SpanTree {
    SpanTree {
        run: String::new(),
        service: "test".to_owned(),
        resource_attributes: Vec::new(),
        parents: Vec::new(),
        main,
        children: Vec::new(),
        may_annotate: false,
        diagnostics: Vec::new(),
    }
}

/// An object of the cluster. `owner` is a kind and a uid.
fn object(kind: &str, uid: &str, owner: Option<(&str, &str)>, spec: Value) -> Value {
    let group = |kind: &str| match kind {
        "Pod" | "Event" => "v1",
        "ReplicaSet" | "Deployment" => "apps/v1",
        _ => "test/v1",
    };
    let mut object = json!({
        "apiVersion": group(kind),
        "kind": kind,
        "metadata": {
            "name": uid, "namespace": "jx", "uid": uid, "resourceVersion": "1",
            "creationTimestamp": at(0).to_string(),
        },
        "spec": spec,
    });
    if let Some((kind, uid)) = owner {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": group(kind), "kind": kind, "name": uid, "uid": uid, "controller": true,
        }]);
    }
    object
}

fn version(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

/// An Event on an object.
fn event(uid: &str, involved: &str, second: u64) -> Value {
    let mut event = object("Event", uid, None, Value::Null);
    event["involvedObject"] = json!({"uid": involved});
    event["at"] = second.into();
    event
}

/// The index and all that it acts on.
struct World {
    catalog: Arc<Catalog>,
    index: Index,
    now: Time,
    wake_at: Option<Time>,
    /// Mappings that were asked for, where they are not answered at once.
    mappings: VecDeque<MapRequest>,
    hold_mappings: bool,
    exported: Vec<Span>,
    annotated: Vec<Annotate>,
    owners: BTreeMap<String, Value>,
    fetched: Vec<ObjectReference>,
    maps: usize,
}

impl World {
    fn new() -> Self {
        let catalog = Arc::new(catalog());
        Self {
            index: Index::new(Arc::clone(&catalog), Settings::default()),
            catalog,
            now: at(0),
            wake_at: None,
            mappings: VecDeque::new(),
            hold_mappings: false,
            exported: Vec::new(),
            annotated: Vec::new(),
            owners: BTreeMap::new(),
            fetched: Vec::new(),
            maps: 0,
        }
    }

    fn source(&self, value: &Value) -> SourceId {
        let kind = value["kind"].as_str().unwrap();
        let mut sources = self.catalog.sources();
        sources.find(|(_, source)| source.kind == kind).unwrap().0
    }

    fn fact(&self, value: &Value, deleted: bool) -> Fact {
        let source = self.source(value);
        let object = Box::new(self.catalog.object(source, value).unwrap());
        if deleted {
            Fact::Deleted(source, object)
        } else {
            Fact::Applied(source, object)
        }
    }

    fn webhook_fact(&self, guid: &str, received: Time) -> Fact {
        let body = json!({"GUID": guid});
        Fact::Webhook(self.catalog.webhook("push", received, &body))
    }

    fn apply(&mut self, value: &Value) {
        let fact = self.fact(value, false);
        self.observe(fact);
    }

    fn delete(&mut self, value: &Value) {
        let fact = self.fact(value, true);
        self.observe(fact);
    }

    fn webhook(&mut self, guid: &str) {
        let fact = self.webhook_fact(guid, self.now);
        self.observe(fact);
    }

    fn observe(&mut self, fact: Fact) {
        let mut facts = VecDeque::from([fact]);
        while let Some(fact) = facts.pop_front() {
            for effect in self.index.observe(self.now, fact) {
                facts.extend(self.carry_out(effect));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Fact> {
        match effect {
            Effect::Map(request) => {
                self.maps += 1;
                if self.hold_mappings {
                    self.mappings.push_back(request);
                    return None;
                }
                let result = map(&request);
                Some(Fact::Mapped(request.ticket, result))
            }
            Effect::Annotate(annotate) => {
                let uid = Arc::clone(&annotate.object.uid);
                self.annotated.push(annotate);
                Some(Fact::Annotated(uid, Annotated::Done))
            }
            Effect::Export(spans) => {
                self.exported.extend(spans);
                None
            }
            Effect::Fetch(reference) => {
                let found = self.owners.get(&*reference.uid);
                let fetched = found.map_or(Fetched::Missing, |object| {
                    Fetched::Found(crate::catalog::owners(object))
                });
                self.fetched.push(reference.clone());
                Some(Fact::Fetched(reference, fetched))
            }
            Effect::WakeAt(at) => {
                self.wake_at = Some(at);
                None
            }
        }
    }

    /// Answers a mapping that was held back.
    fn answer(&mut self, request: MapRequest) {
        let result = map(&request);
        self.observe(Fact::Mapped(request.ticket, result));
    }

    /// Lets time pass, waking the index whenever it asked for it.
    fn pass(&mut self, duration: Duration) {
        let until = self.now.plus(duration);
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.wake_at = None;
            self.now = self.now.max(at);
            self.observe(Fact::Tick);
        }
        self.now = until;
        self.observe(Fact::Tick);
    }

    fn span(&self, uid: &str) -> &Span {
        let id = SpanId::of(uid, "", "");
        let mut spans = self.exported.iter().filter(|span| span.span_id == id);
        let span = spans.next().unwrap_or_else(|| panic!("no span of {uid}"));
        assert_eq!(spans.next(), None, "{uid} was exported twice");
        span
    }

    fn root(&self, guid: &str) -> &Span {
        let id = TraceKey::event(&event_key(guid)).root_span_id();
        let mut spans = self.exported.iter().filter(|span| span.span_id == id);
        let span = spans.next().unwrap_or_else(|| panic!("no root of {guid}"));
        assert_eq!(spans.next(), None, "the root of {guid} was exported twice");
        span
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a crate::mapping::AttributeValue> {
    let mut attributes = span.attributes.iter();
    attributes
        .find(|attribute| attribute.key == key)
        .map(|attribute| &attribute.value)
}

fn context(uid: &str, trace: &TraceKey) -> SpanContext {
    SpanContext {
        trace_id: trace.trace_id(),
        span_id: SpanId::of(uid, "", ""),
    }
}
