//! Two mappers of plain Rust that share the kind Run and the webhooks: what is to be made of an object stands in its
//! `spec`.

use serde::{Deserialize, Serialize};

use super::super::{kind, span};
use super::*;
use crate::mapping::{LabelMatch, LinkTarget, MappedLink};

/// `spec` of every object that a mapper is asked about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) says: Says,
    /// Number of the mapper that claims the object; the other declines.
    pub(super) claimed_by: u32,
    pub(super) safe: bool,
    pub(super) parents: Vec<Candidate>,
    pub(super) runs: Vec<RunSpec>,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Says {
    #[default]
    Spans,
    Wait,
    NotOurs,
    Nonsense,
}

/// A candidate for the parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Candidate {
    /// The context in the object's annotations, if there is one.
    Remote,
    Event(Key),
    Owner {
        span: String,
    },
    Named {
        kind: String,
        name: String,
        uid: Option<String>,
        span: String,
    },
    Labelled {
        kind: String,
        value: String,
    },
    Root,
}

/// Key of a git event, in all its forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Key {
    Delivery(String, String),
    Push(String, String, String),
    Change(String, u64, String),
}

/// A run of an object.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RunSpec {
    pub(super) run: String,
    pub(super) start: u64,
    pub(super) end: Option<u64>,
    pub(super) failed: bool,
    pub(super) children: Vec<ChildSpec>,
    /// Names of Runs.
    pub(super) links: Vec<String>,
}

/// A span below that of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChildSpec {
    pub(super) key: String,
    pub(super) under: Option<u32>,
    pub(super) start: u64,
    pub(super) end: Option<u64>,
}

/// Body of a webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) key: Key,
    pub(super) claimed_by: u32,
    pub(super) title: String,
}

/// The label by which objects are found.
pub(super) const LABEL: &str = "id";

#[derive(Deserialize)]
struct Mapped {
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Happened {
    metadata: Identity,
    at: u64,
    count: i64,
}

#[derive(Deserialize)]
struct Identity {
    uid: String,
}

impl Key {
    pub(super) fn event_key(&self) -> EventKey {
        match self.clone() {
            Self::Delivery(repository, guid) => EventKey::Delivery { repository, guid },
            Self::Push(repository, reference, revision) => EventKey::Push {
                repository,
                reference,
                revision,
            },
            Self::Change(repository, number, revision) => EventKey::Change {
                repository,
                number,
                revision,
            },
        }
    }
}

/// What the two mappers want to see.
pub(super) fn catalog() -> Catalog {
    Catalog::new(descriptions(&[])).unwrap()
}

/// A mapper that declines whatever it is asked about. It shares a kind and its Events with the others.
pub(super) fn onlooker() -> (String, Description) {
    let watch = |name: &str| Watch {
        source: Source::Objects(kind(name)),
        fields: vec!["/metadata/labels".to_owned()],
        attachments: vec![Attachment {
            source: kind("Event"),
            relation: Relation::Involved,
            fields: Vec::new(),
        }],
        annotations: Vec::new(),
    };
    let description = Description {
        version: "1".to_owned(),
        watches: vec![watch("Other"), watch("Run")],
        ..Description::default()
    };
    ("onlooker".to_owned(), description)
}

/// The descriptions of the two mappers, the first to be asked first. `more`: what they read to no purpose.
pub(super) fn descriptions(more: &[&str]) -> [(String, Description); 2] {
    let attachment = |name: &str, relation| Attachment {
        source: kind(name),
        relation,
        fields: ["/at", "/count", "/metadata/uid"]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect(),
    };
    let annotation = |key: &str, value| Annotation {
        key: key.to_owned(),
        value,
    };
    let watch = |name: &str| {
        let mut watch = Watch {
            source: Source::Objects(kind(name)),
            fields: ["/spec"]
                .iter()
                .chain(more)
                .map(ToString::to_string)
                .collect(),
            attachments: vec![attachment("Event", Relation::Involved)],
            annotations: vec![
                annotation("traceparent", AnnotationValue::Traceparent),
                annotation("tracestate", AnnotationValue::Tracestate),
            ],
        };
        if name == "Job" {
            watch.fields.push("/metadata/annotations".to_owned());
        }
        if name == "Run" {
            let relation = Relation::Labelled("about".to_owned());
            watch.attachments.push(attachment("Note", relation));
        }
        watch
    };
    let webhooks = || Watch {
        source: Source::Webhooks(Vec::new()),
        fields: Vec::new(),
        attachments: Vec::new(),
        annotations: Vec::new(),
    };
    let mapper = |kinds: &[&str]| {
        let watches = kinds.iter().map(|kind| watch(kind));
        Description {
            version: "1".to_owned(),
            watches: watches.chain([webhooks()]).collect(),
            ..Description::default()
        }
    };
    let first = mapper(&["Job", "Run", "Task", "Pod"]);
    let second = mapper(&["Run"]);
    [("first".to_owned(), first), ("second".to_owned(), second)]
}

/// What the mapper of a request answers.
pub(super) fn map(request: &MapRequest) -> Result<Outcome, MappingFailure> {
    let mapper = request.ticket.watch.mapper;
    if mapper > 1 {
        return Ok(Outcome::NotOurs);
    }
    let object = match &request.subject {
        Subject::Object(object) => object,
        Subject::Webhook(webhook) => {
            let body: Body = serde_json::from_str(&webhook.json).unwrap();
            if body.claimed_by != mapper {
                return Ok(Outcome::NotOurs);
            }
            let mut tree = super::super::tree(span("", &body.title, 0, None));
            tree.main.start.time = webhook.received;
            tree.parents = vec![Parent::Root(TraceStart::Event(body.key.event_key()))];
            return Ok(Outcome::Spans(vec![tree]));
        }
    };
    let value: Mapped = serde_json::from_str(&object.json).unwrap();
    let spec = &value.spec;
    match spec.says {
        Says::Spans => {}
        Says::Wait => return Ok(Outcome::Wait("told-to".to_owned())),
        Says::NotOurs => return Ok(Outcome::NotOurs),
        Says::Nonsense => {
            return Err(MappingFailure {
                message: "told to".to_owned(),
            });
        }
    }
    if spec.claimed_by != mapper {
        return Ok(Outcome::NotOurs);
    }
    let mut attached = Vec::with_capacity(object.attached.len());
    for object in &object.attached {
        let happened: Happened = serde_json::from_str(&object.json).unwrap();
        let uid = happened.metadata.uid;
        let mut span = span(&uid, "event", happened.at, Some(happened.at));
        span.attributes
            .push(Attribute::new("count", happened.count));
        attached.push(Child { under: None, span });
    }
    let parents: Vec<Parent> = spec
        .parents
        .iter()
        .filter_map(|candidate| candidate.parent(&value.metadata))
        .collect();
    let tree = |run: &RunSpec| {
        let mut main = span("", &value.kind, run.start, run.end);
        if run.failed {
            main.status = SpanStatus::Error("told to".to_owned());
        }
        main.links = run.links.iter().map(|name| link(name)).collect();
        let mut tree = super::super::tree(main);
        tree.run = run.run.clone();
        tree.parents.clone_from(&parents);
        tree.may_annotate = spec.safe;
        tree.children = run.children.iter().map(ChildSpec::child).collect();
        tree.children.extend(attached.iter().cloned());
        tree
    };
    Ok(Outcome::Spans(spec.runs.iter().map(tree).collect()))
}

impl ChildSpec {
    fn child(&self) -> Child {
        Child {
            under: self.under,
            span: span(&self.key, "child", self.start, self.end),
        }
    }
}

impl Candidate {
    fn parent(&self, metadata: &Metadata) -> Option<Parent> {
        let annotation = |key: &str| metadata.annotations.get(key).cloned();
        Some(match self {
            Self::Remote => Parent::Remote(Remote {
                traceparent: annotation("traceparent")?,
                tracestate: annotation("tracestate"),
            }),
            Self::Event(key) => Parent::Event(key.event_key()),
            Self::Owner { span } => Parent::Owner(OwnerParent {
                span: span.clone(),
                ..OwnerParent::default()
            }),
            Self::Named {
                kind,
                name,
                uid,
                span,
            } => Parent::Target(target(kind, name, uid.clone(), span)),
            Self::Labelled { kind, value } => Parent::Labelled(LabelMatch {
                group: "test".to_owned(),
                kind: kind.clone(),
                labels: vec![(LABEL.to_owned(), value.clone())],
                span: String::new(),
            }),
            Self::Root => Parent::Root(TraceStart::Subject),
        })
    }
}

fn target(kind: &str, name: &str, uid: Option<String>, span: &str) -> Target {
    Target {
        group: "test".to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        name: name.to_owned(),
        uid,
        span: span.to_owned(),
    }
}

fn link(name: &str) -> MappedLink {
    MappedLink {
        to: LinkTarget::Target(target("Run", name, None, "")),
        attributes: Vec::new(),
    }
}
