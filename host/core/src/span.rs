//! A finished span, as it is exported: ids, times and parent decided, nothing left to resolve.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::identity::{SpanId, TraceId};
pub use crate::mapping::{Attribute, AttributeValue, SpanKind, SpanStatus, Text};
use crate::time::Time;

/// A finished span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// Its parent; none for the root of a trace.
    pub parent: Option<SpanId>,
    /// Name.
    pub name: Text,
    /// Kind.
    pub kind: SpanKind,
    /// Start.
    pub start: Time,
    /// End; never before the start.
    pub end: Time,
    /// Status.
    pub status: SpanStatus,
    /// Attributes; no key occurs twice.
    #[serde(serialize_with = "as_map")]
    pub attributes: Vec<Attribute>,
    /// Events, in order of time.
    pub events: Vec<SpanEvent>,
    /// Links.
    pub links: Vec<Link>,
    /// How many attributes, events and links were cut.
    pub dropped: Dropped,
    /// What the span is about: the OpenTelemetry resource.
    pub resource: Arc<Resource>,
    /// Who made it: the OpenTelemetry instrumentation scope.
    pub scope: Arc<Scope>,
}

/// How many parts of a span were cut to keep within limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Attributes.
    pub attributes: u32,
    /// Events.
    pub events: u32,
    /// Links.
    pub links: u32,
}

/// An OpenTelemetry resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resource {
    /// `service.name`.
    pub service: String,
    /// All other attributes.
    #[serde(serialize_with = "as_map")]
    pub attributes: Vec<Attribute>,
}

/// An OpenTelemetry instrumentation scope: the mapper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Name of the mapper.
    pub name: String,
    /// Version of the mapper.
    pub version: String,
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpanEvent {
    /// Name.
    pub name: Text,
    /// When.
    pub time: Time,
    /// Attributes.
    #[serde(serialize_with = "as_map")]
    pub attributes: Vec<Attribute>,
}

/// A link to another span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Trace of the other span.
    pub trace_id: TraceId,
    /// Id of the other span.
    pub span_id: SpanId,
    /// Attributes.
    #[serde(serialize_with = "as_map")]
    pub attributes: Vec<Attribute>,
}

/// Attributes read best as an object, in the order they were given.
fn as_map<S: Serializer>(attributes: &[Attribute], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    for attribute in attributes {
        map.serialize_entry(&attribute.key, &attribute.value)?;
    }
    map.end()
}
