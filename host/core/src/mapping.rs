//! What goes to a mapper and what comes back: the plain-Rust form of the `map-subject` half of
//! `wit/v0.1.0/mapper.wit`, whose text says what each part means. The engine converts between the two, so that
//! every version of the contract ends here.

use std::sync::Arc;

use serde::Serialize;
use smol_str::SmolStr;

pub use crate::key::Key;
use crate::time::Time;
pub use crate::time::{Precision, Timestamp};

/// A text of a span: up to 23 bytes are kept in place, and copies of a longer one share it. There are hundreds in a tree.
pub type Text = SmolStr;

/// What is to be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An object of the cluster.
    Object(ObjectSubject),
    /// A webhook.
    Webhook(WebhookSubject),
}

/// An object as its mapper sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSubject {
    /// Index into [`crate::description::Description::watches`].
    pub watch: u32,
    /// The selected fields as compact JSON.
    pub json: Arc<str>,
    /// The object is gone; `json` is its last state.
    pub deleted: bool,
    /// Ordered by attachment, creation and uid.
    pub attached: Vec<Attached>,
    /// How many more there were than the host keeps.
    pub omitted: u32,
}

/// An object that came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Index into [`crate::description::Watch::attachments`].
    pub attachment: u32,
    /// The selected fields as compact JSON.
    pub json: Arc<str>,
}

/// A webhook as its mapper sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSubject {
    /// Index into [`crate::description::Description::watches`].
    pub watch: u32,
    /// Lighthouse's kind: `push`, `pull_request`, …
    pub kind: String,
    /// The provider's id of the delivery, where it has one.
    pub guid: Option<String>,
    /// When the webhook was first received.
    pub received: Time,
    /// The selected fields as compact JSON.
    pub json: Arc<str>,
}

/// What a mapper makes of a subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing to do with this mapper.
    NotOurs,
    /// Too early; the reason in kebab-case.
    Wait(String),
    /// One tree a run.
    Spans(Vec<SpanTree>),
}

/// The spans of one run of a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTree {
    /// Identity of the run within the subject; empty for an object that runs once.
    pub run: String,
    /// `service.name`.
    pub service: String,
    /// Attributes of the OpenTelemetry resource beside the service name.
    pub resource_attributes: Vec<Attribute>,
    /// Candidates, best first.
    pub parents: Vec<Parent>,
    /// The run's own span; with an end, the run is finished.
    pub main: MappedSpan,
    /// Spans below it.
    pub children: Vec<Child>,
    /// The subject's controller has taken it over; annotations may be patched.
    pub may_annotate: bool,
    /// What was odd about the subject.
    pub diagnostics: Vec<Diagnostic>,
}

/// A candidate for the parent of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Start of a trace.
    Root(TraceStart),
    /// The root span of a git event.
    Event(EventKey),
    /// The controller owner.
    Owner(OwnerParent),
    /// A context found on the subject.
    Remote(Remote),
    /// An object by name.
    Target(Target),
    /// An object by its labels.
    Labelled(LabelMatch),
}

/// What a trace id derives from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceStart {
    /// The subject's uid.
    Subject,
    /// A git event.
    Event(EventKey),
    /// A pull request.
    PullRequest(PullRequest),
}

/// How a webhook and the jobs it triggered find each other. Repositories are `owner/name` in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKey {
    /// A provider's id of one delivery.
    Delivery {
        /// `owner/name`.
        repository: String,
        /// The provider's id.
        guid: String,
    },
    /// A push without such an id.
    Push {
        /// `owner/name`.
        repository: String,
        /// Name of the branch or tag, without `refs/heads/`: a LighthouseJob knows no more of it.
        reference: String,
        /// Head commit.
        revision: String,
    },
    /// A change to a pull request without such an id.
    Change {
        /// `owner/name`.
        repository: String,
        /// Number of the pull request.
        number: u64,
        /// Head commit.
        revision: String,
    },
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullRequest {
    /// `github`, `gitlab`, …
    pub provider: String,
    /// `owner/name`.
    pub repository: String,
    /// Its number.
    pub number: u64,
}

/// The controller owner as a parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerParent {
    /// Only an owner of this group; none: of any.
    pub group: Option<String>,
    /// Only an owner of this kind; none: of any.
    pub kind: Option<String>,
    /// Key of a child span of the owner; empty, or unknown there: its main span.
    pub span: String,
}

/// A W3C trace context as it stands in annotations, unparsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// W3C `traceparent`.
    pub traceparent: String,
    /// W3C `tracestate`.
    pub tracestate: Option<String>,
}

/// An object by name, as a parent or the target of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// None: the subject's namespace, or a cluster-wide kind.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Key of a child span; empty, or unknown there: the main span.
    pub span: String,
}

/// An object in the subject's namespace by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMatch {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// All of these labels.
    pub labels: Vec<(String, String)>,
    /// Key of a child span; empty, or unknown there: the main span.
    pub span: String,
}

/// A span below the main span.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Index of an earlier child to nest under; none: the main span.
    pub under: Option<u32>,
    /// The span.
    pub span: MappedSpan,
}

/// A span as a mapper gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedSpan {
    /// Identity within the tree; empty for the main span.
    pub key: Text,
    /// Name, of low cardinality.
    pub name: Text,
    /// Kind.
    pub kind: SpanKind,
    /// Start.
    pub start: Timestamp,
    /// End; none while it runs.
    pub end: Option<Timestamp>,
    /// Status.
    pub status: SpanStatus,
    /// Attributes.
    pub attributes: Vec<Attribute>,
    /// Events.
    pub events: Vec<MappedEvent>,
    /// Links.
    pub links: Vec<MappedLink>,
}

/// Kind of a span, as OpenTelemetry defines it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanKind {
    /// Inside one service.
    #[default]
    Internal,
    /// Serves a request.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

/// Status of a span, as OpenTelemetry defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanStatus {
    /// Nothing said; what success leaves.
    #[default]
    Unset,
    /// Said to be well.
    Ok,
    /// Failed, with a description.
    Error(String),
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Key.
    pub key: Key,
    /// Value.
    pub value: AttributeValue,
}

impl Attribute {
    /// An attribute from a key and anything that makes a value.
    pub fn new(key: impl Into<Key>, value: impl Into<AttributeValue>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// Text.
    Text(Text),
    /// Boolean.
    Boolean(bool),
    /// Signed integer.
    Integer(i64),
    /// Finite number.
    Number(f64),
    /// List of texts.
    Texts(Vec<Text>),
    /// List of booleans.
    Booleans(Vec<bool>),
    /// List of integers.
    Integers(Vec<i64>),
    /// List of finite numbers.
    Numbers(Vec<f64>),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for AttributeValue {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<i64> for AttributeValue {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedEvent {
    /// Name.
    pub name: Text,
    /// When.
    pub time: Timestamp,
    /// Attributes.
    pub attributes: Vec<Attribute>,
}

/// A link of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedLink {
    /// Where to.
    pub to: LinkTarget,
    /// Attributes.
    pub attributes: Vec<Attribute>,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTarget {
    /// The root span of a git event.
    Event(EventKey),
    /// An object's span.
    Target(Target),
    /// A pull request's trace.
    PullRequest(PullRequest),
    /// A W3C traceparent from outside.
    Traceparent(String),
}

/// Something odd about a subject that did not prevent mapping it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// JSON pointer to the field.
    pub pointer: String,
    /// What is odd.
    pub message: String,
}
