//! What the index is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::mapping::{Outcome, Subject};
use crate::object::{Object, ObjectReference, Owner, SourceId, Uid, WatchId};
use crate::time::Time;

/// Something that happened. The index takes facts in any order, and the same fact any number of times.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A verified webhook.
    Webhook(Webhook),
    /// An object exists and is like this.
    Applied(SourceId, Box<Object>),
    /// An object is gone; this was its last state.
    Deleted(SourceId, Box<Object>),
    /// A list of a source is complete: these objects exist, all others of the source are gone.
    Relisted(SourceId, BTreeSet<Uid>),
    /// A mapper has answered [`Effect::Map`](super::Effect::Map).
    Mapped(Ticket, Result<Outcome, MappingFailure>),
    /// A look-up has answered [`Effect::Fetch`](super::Effect::Fetch).
    Fetched(ObjectReference, Fetched),
    /// Other mappers are in use from now on, whose catalog comes after the one before. Behind these of their watches are
    /// others than before. What watches tell from now on is as this catalog wants it.
    Replaced(Arc<Catalog>, BTreeSet<WatchId>),
    /// An [`Effect::Annotate`](super::Effect::Annotate) was carried out, or will never be.
    Annotated(Uid, Annotated),
    /// Nothing but that time has passed.
    Tick,
}

/// A verified webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Lighthouse's kind: `push`, `pull_request`, …
    pub kind: String,
    /// The provider's id of the delivery.
    pub guid: Option<String>,
    /// When it was received.
    pub received: Time,
    /// Under which it is kept; [`Change::WebhookDone`](super::Change::WebhookDone) says when it need not be any more.
    pub number: Option<u64>,
    /// What each watch that wants it reads of it.
    pub subject_of: Vec<(WatchId, Arc<str>)>,
}

/// Names a mapping that was asked for; comes back with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// What is mapped.
    pub subject: SubjectId,
    /// Which input of it: a newer one has a greater number.
    pub revision: u64,
    /// The mapper's watch.
    pub watch: WatchId,
}

/// Names a subject within one index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectId {
    /// An object.
    Object(Uid),
    /// A webhook, by number.
    Webhook(u64),
}

/// Why a mapping gave nothing. The text is for people; the index falls back to a plain span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingFailure {
    /// What went wrong, in one line.
    pub message: String,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The object's own owners.
    Found(Vec<Owner>),
    /// There is no such object.
    Missing,
    /// It cannot be told: no permission, no such kind, or the API server did not answer in time.
    Unknown,
}

/// What became of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotated {
    /// It is set.
    Done,
    /// The object is gone or the API server refused for good.
    Impossible,
}

/// A mapping that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// To be returned with the result.
    pub ticket: Ticket,
    /// What to map.
    pub subject: Subject,
}
