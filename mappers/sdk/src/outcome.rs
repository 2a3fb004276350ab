//! What a mapper makes of a subject: the outcome of `wit/v0.1.0/mapper.wit` with texts that may be borrowed. Most are parts of
//! the JSON that the mapper reads, or keys that are constant; they reach the host without having been copied.

use std::borrow::Cow;

use crate::contract::{Diagnostic, LinkTarget, Parent, SpanKind, Timestamp};

/// What a mapper makes of a subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// Nothing to do with this mapper.
    NotOurs,
    /// Too early; the reason in kebab-case.
    Wait(Cow<'a, str>),
    /// One tree a run.
    Spans(Vec<SpanTree<'a>>),
}

/// The spans of one run of a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTree<'a> {
    /// Identity of the run within the subject; empty for an object that runs once.
    pub run: Cow<'a, str>,
    /// `service.name`.
    pub service: Cow<'a, str>,
    /// Attributes of the OpenTelemetry resource beside the service name.
    pub resource_attributes: Vec<Attribute<'a>>,
    /// Candidates, best first.
    pub parents: Vec<Parent>,
    /// The run's own span; with an end, the run is finished.
    pub main: Span<'a>,
    /// Spans below it.
    pub children: Vec<Child<'a>>,
    /// The subject's controller has taken it over; annotations may be patched.
    pub may_annotate: bool,
    /// What was odd about the subject.
    pub diagnostics: Vec<Diagnostic>,
}

/// A span below the main span.
#[derive(Clone, Debug, PartialEq)]
pub struct Child<'a> {
    /// Index of an earlier child to nest under; none: the main span.
    pub under: Option<u32>,
    /// The span.
    pub span: Span<'a>,
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// Identity within the tree; empty for the main span.
    pub key: Cow<'a, str>,
    /// Name, of low cardinality.
    pub name: Cow<'a, str>,
    /// Kind.
    pub kind: SpanKind,
    /// Start.
    pub start: Timestamp,
    /// End; none while it runs.
    pub end: Option<Timestamp>,
    /// Status.
    pub status: SpanStatus<'a>,
    /// Attributes.
    pub attributes: Vec<Attribute<'a>>,
    /// Events.
    pub events: Vec<SpanEvent<'a>>,
    /// Links.
    pub links: Vec<Link<'a>>,
}

/// Status of a span.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanStatus<'a> {
    /// Nothing said; what success leaves.
    Unset,
    /// Said to be well.
    Ok,
    /// Failed, with a description.
    Error(Cow<'a, str>),
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// Key.
    pub key: Cow<'a, str>,
    /// Value.
    pub value: AttributeValue<'a>,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Boolean.
    Boolean(bool),
    /// Signed integer.
    Integer(i64),
    /// Finite number.
    Number(f64),
    /// List of texts.
    Texts(Vec<Cow<'a, str>>),
    /// List of booleans.
    Booleans(Vec<bool>),
    /// List of integers.
    Integers(Vec<i64>),
    /// List of finite numbers.
    Numbers(Vec<f64>),
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// When.
    pub time: Timestamp,
    /// Attributes.
    pub attributes: Vec<Attribute<'a>>,
}

/// A link of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Link<'a> {
    /// Where to.
    pub to: LinkTarget,
    /// Attributes.
    pub attributes: Vec<Attribute<'a>>,
}
