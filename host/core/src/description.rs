//! What a mapper declares when it is configured: what it wants watched, which fields it reads, which
//! annotations the host shall set. The plain-Rust form of the `describe` half of `wit/v0.1.0/mapper.wit`; the
//! contract's text there says what each part means.

use serde::{Deserialize, Serialize};

/// What `configure` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Version of the mapper, for people.
    pub version: String,
    /// What it wants to see. A subject names its watch by its place in this list.
    pub watches: Vec<Watch>,
    /// Optional features of the host that the mapper uses.
    pub features: Vec<String>,
    /// Whether mapping needs what `configure` left in memory.
    pub keeps_state: bool,
}

/// One kind of subject, and what comes along with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Where the subjects come from.
    pub source: Source,
    /// JSON pointers, `*` for every element; empty for the whole object.
    pub fields: Vec<String>,
    /// Objects handed over together with the subject.
    pub attachments: Vec<Attachment>,
    /// Annotations that the host sets on the subject.
    pub annotations: Vec<Annotation>,
}

/// Where subjects come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Objects of a kind.
    Objects(ObjectSource),
    /// Webhooks of these kinds; none means all.
    Webhooks(Vec<String>),
}

/// A kind of Kubernetes object, and which of its objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectSource {
    /// API group; empty for the core group.
    pub group: String,
    /// The first of these that the cluster serves is watched.
    pub versions: Vec<String>,
    /// Kind, as written in objects.
    pub kind: String,
    /// Label selector in the syntax of the Kubernetes API.
    pub label_selector: Option<String>,
    /// Field selector in the syntax of the Kubernetes API.
    pub field_selector: Option<String>,
}

impl ObjectSource {
    /// All objects of a kind in one version.
    #[must_use]
    pub fn of(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            versions: vec![version.to_owned()],
            kind: kind.to_owned(),
            label_selector: None,
            field_selector: None,
        }
    }
}

/// Objects handed over together with the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which objects.
    pub source: ObjectSource,
    /// How such an object names its subject.
    pub relation: Relation,
    /// JSON pointers, as for the subject.
    pub fields: Vec<String>,
}

/// How an attached object names its subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// `involvedObject.uid` is the subject's uid.
    Involved,
    /// An owner reference has the subject's uid.
    Owned,
    /// The label of this key has the subject's name, in the subject's namespace.
    Labelled(String),
}

/// An annotation that the host sets on a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// Annotation key.
    pub key: String,
    /// What of the subject's own context it holds.
    pub value: AnnotationValue,
}

/// What an annotation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnotationValue {
    /// The W3C `traceparent` of the main span.
    Traceparent,
    /// The W3C `tracestate` that says whose context it is.
    Tracestate,
    /// The trace id, 32 lower-case hexadecimal digits.
    TraceId,
    /// The span id of the main span, once the whole trace of the event was exported.
    Exported,
}
