//! What the index wants done.

use std::sync::Arc;

use super::fact::MapRequest;
use crate::object::ObjectReference;
use crate::span::Span;
use crate::time::Time;

/// Something to be done outside. The I/O rooms carry it out; where an effect names a fact, they feed the
/// outcome back.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask a mapper; answer with [`Fact::Mapped`](super::Fact::Mapped).
    Map(MapRequest),
    /// Set annotations on an object; answer with [`Fact::Annotated`](super::Fact::Annotated).
    Annotate(Annotate),
    /// Send these spans. They are finished and will not be given again.
    Export(Vec<Span>),
    /// Look up the owners of an object that no mapper watches; answer with
    /// [`Fact::Fetched`](super::Fact::Fetched).
    Fetch(ObjectReference),
    /// Send a fact, [`Fact::Tick`](super::Fact::Tick) if there is no other, at this time or later. A newer
    /// one replaces an older one.
    WakeAt(Time),
}

/// Annotations to be set on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotate {
    /// The object.
    pub object: ObjectReference,
    /// Keys and values.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
    /// Whether others wait to read it: goes before those that nobody waits for.
    pub urgent: bool,
}
