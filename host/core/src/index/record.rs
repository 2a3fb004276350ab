//! How what must survive a restart is written: keys, values, and their form.
//!
//! Values are in the format of `postcard` (<https://postcard.jamesmunns.com/wire-format>), which has no names of fields: any
//! change of a record is a new [`FORMAT`].

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attached::{AttachedKey, SmallUid};
use super::event::Job;
use super::resolve::Missing;
use super::subject::{Adopter, FinishedRun, Silence};
use crate::context::SpanContext;
use crate::identity::{SpanId, TraceId, TraceKey};
use crate::object::{GroupKind, ObjectReference, Owner, Uid, WatchId};
use crate::time::Time;

/// Version of the form of all records. Another one is not read.
pub const FORMAT: u32 = 1;

/// What a row is of: the first byte of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    /// An attached object; what the index calls its subject, a zero byte, and which one.
    Attached = b'a',
    /// A git event; the trace key.
    Event = b'e',
    /// A git event that is over, and until when it is remembered; the trace id.
    Over = b'o',
    /// The owners of an object that no mapper watches; its uid.
    Lookup = b'l',
    /// A subject; what the index calls it, mostly its uid.
    Subject = b's',
    /// What numbers of watches and sources mean; one row.
    Catalog = b'c',
}

impl Table {
    /// The key of a row.
    pub(super) fn key(self, name: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + name.len());
        key.push(self as u8);
        key.extend_from_slice(name.as_bytes());
        key
    }

    /// What all keys of a subject's attached objects begin with.
    pub(super) fn attached_to(uid: &str) -> Vec<u8> {
        let mut key = Self::Attached.key(uid);
        key.push(0);
        key
    }

    /// The key of an attached object.
    pub(super) fn attached(uid: &str, attached: &AttachedKey) -> Vec<u8> {
        let mut key = Self::attached_to(uid);
        for number in [
            attached.watch.mapper,
            attached.watch.watch,
            attached.attachment,
        ] {
            key.extend_from_slice(&number.to_be_bytes());
        }
        key.extend_from_slice(attached.uid.to_string().as_bytes());
        key
    }

    /// The rest of a key that is text.
    pub(super) fn name(key: &[u8]) -> Option<&str> {
        std::str::from_utf8(key.get(1..)?).ok()
    }

    /// The subject that an attached object belongs to.
    pub(super) fn subject(key: &[u8]) -> Option<&str> {
        let rest = key.get(1..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }
}

/// Writes a record. One that cannot be written, which only a text of more than the address space could cause, is empty and
/// so not read again.
pub(super) fn write(record: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(record).unwrap_or_default()
}

/// Reads a record; none if it is no such.
pub(super) fn read<R: DeserializeOwned>(bytes: &[u8]) -> Option<R> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Some(record),
        _ => None,
    }
}

/// Mapper and place of a watch.
pub(super) type WatchNumber = (u32, u32);

pub(super) fn number(watch: WatchId) -> WatchNumber {
    (watch.mapper, watch.watch)
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CatalogRecord {
    /// Watches: number, name of the mapper, group and kind.
    pub(super) watches: Vec<(WatchNumber, String, String, String)>,
    /// Sources: number, and what they select.
    pub(super) sources: Vec<(u32, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KindRecord(Arc<str>, Arc<str>);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReferenceRecord {
    kind: KindRecord,
    version: Arc<str>,
    namespace: Option<Arc<str>>,
    name: Arc<str>,
    uid: Uid,
}

impl ReferenceRecord {
    /// The object's uid.
    pub(super) fn uid(&self) -> Uid {
        Uid::clone(&self.uid)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnerRecord {
    kind: KindRecord,
    version: Arc<str>,
    name: Arc<str>,
    uid: Uid,
    controller: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SubjectRecord {
    /// What the index calls it, if that is not its uid.
    pub(super) key: Option<Uid>,
    pub(super) reference: ReferenceRecord,
    pub(super) version: Option<u64>,
    pub(super) created: Option<u64>,
    pub(super) owners: Vec<OwnerRecord>,
    pub(super) labels: Vec<(Arc<str>, Arc<str>)>,
    pub(super) first_seen: u64,
    pub(super) deleted: bool,
    pub(super) sources: Vec<u32>,
    pub(super) out_of_sight: Vec<u32>,
    pub(super) life: LifeRecord,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LifeRecord {
    Live {
        annotations: Vec<(Arc<str>, Arc<str>)>,
        inputs: Vec<(WatchNumber, Arc<str>)>,
        /// Runs that are exported, of an object that has others.
        exported: Vec<RunRecord>,
    },
    Finished {
        runs: Vec<RunRecord>,
        /// The watch whose annotations it has.
        annotated: Option<WatchNumber>,
        silence: Option<SilenceRecord>,
        latest_attached: Option<u64>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SilenceRecord {
    NotOurs,
    Waited,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunRecord {
    run: Box<str>,
    start: u64,
    adopter: Option<AdopterRecord>,
    event: Option<String>,
    parent: Option<Uid>,
    children: Vec<[u8; 8]>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AdopterRecord {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    depth: u32,
    too_old: bool,
    by_deadline: bool,
    received: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AttachedRecord {
    pub(super) watch: WatchNumber,
    pub(super) attachment: u32,
    pub(super) created: Option<u64>,
    pub(super) uid: Box<str>,
    pub(super) version: Option<u64>,
    pub(super) json: Arc<str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventRecord {
    pub(super) exported: bool,
    /// Jobs that are exported: uid, run, and what the root needs of them.
    pub(super) jobs: Vec<(Uid, String, JobRecord)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobRecord {
    created: u64,
    error_type: Option<Arc<str>>,
    end: Option<u64>,
    missing: Option<MissingRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MissingRecord {
    kind: KindRecord,
    namespace: Option<Arc<str>>,
    name: Arc<str>,
    uid: Option<Uid>,
    label: Option<(Arc<str>, Arc<str>)>,
}

/// The owners of an object that no mapper watches.
pub(super) type LookupRecord = Vec<OwnerRecord>;

fn time(time: Time) -> u64 {
    time.nanoseconds()
}

impl From<&GroupKind> for KindRecord {
    fn from(kind: &GroupKind) -> Self {
        Self(Arc::clone(&kind.group), Arc::clone(&kind.kind))
    }
}

impl From<KindRecord> for GroupKind {
    fn from(KindRecord(group, kind): KindRecord) -> Self {
        Self { group, kind }
    }
}

impl From<&ObjectReference> for ReferenceRecord {
    fn from(reference: &ObjectReference) -> Self {
        Self {
            kind: (&reference.kind).into(),
            version: Arc::clone(&reference.version),
            namespace: reference.namespace.clone(),
            name: Arc::clone(&reference.name),
            uid: Uid::clone(&reference.uid),
        }
    }
}

impl From<ReferenceRecord> for ObjectReference {
    fn from(record: ReferenceRecord) -> Self {
        Self {
            kind: record.kind.into(),
            version: record.version,
            namespace: record.namespace,
            name: record.name,
            uid: record.uid,
        }
    }
}

impl From<&Owner> for OwnerRecord {
    fn from(owner: &Owner) -> Self {
        Self {
            kind: (&owner.kind).into(),
            version: Arc::clone(&owner.version),
            name: Arc::clone(&owner.name),
            uid: Uid::clone(&owner.uid),
            controller: owner.controller,
        }
    }
}

impl From<OwnerRecord> for Owner {
    fn from(record: OwnerRecord) -> Self {
        Self {
            kind: record.kind.into(),
            version: record.version,
            name: record.name,
            uid: record.uid,
            controller: record.controller,
        }
    }
}

impl From<Silence> for SilenceRecord {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NotOurs => Self::NotOurs,
            Silence::Waited => Self::Waited,
        }
    }
}

impl From<SilenceRecord> for Silence {
    fn from(record: SilenceRecord) -> Self {
        match record {
            SilenceRecord::NotOurs => Self::NotOurs,
            SilenceRecord::Waited => Self::Waited,
        }
    }
}

impl From<&FinishedRun> for RunRecord {
    fn from(run: &FinishedRun) -> Self {
        Self {
            run: run.run.clone(),
            start: time(run.start),
            adopter: run.adopter.map(|adopter| AdopterRecord {
                trace_id: adopter.context.trace_id.bytes(),
                span_id: adopter.context.span_id.bytes(),
                depth: adopter.depth,
                too_old: adopter.too_old,
                by_deadline: adopter.by_deadline,
                received: adopter.received.map(time),
            }),
            event: run.event.as_ref().map(TraceKey::to_string),
            parent: run.parent.clone(),
            children: run.children.iter().map(SpanId::bytes).collect(),
        }
    }
}

impl From<RunRecord> for FinishedRun {
    fn from(record: RunRecord) -> Self {
        Self {
            run: record.run,
            start: Time::from_nanoseconds(record.start),
            adopter: record.adopter.and_then(|adopter| {
                Some(Adopter {
                    context: SpanContext {
                        trace_id: TraceId::from_bytes(adopter.trace_id)?,
                        span_id: SpanId::from_bytes(adopter.span_id)?,
                    },
                    depth: adopter.depth,
                    too_old: adopter.too_old,
                    by_deadline: adopter.by_deadline,
                    received: adopter.received.map(Time::from_nanoseconds),
                })
            }),
            event: record.event.as_deref().map(TraceKey::from_text),
            parent: record.parent,
            children: record
                .children
                .into_iter()
                .filter_map(SpanId::from_bytes)
                .collect(),
        }
    }
}

impl From<&Job> for JobRecord {
    fn from(job: &Job) -> Self {
        Self {
            created: time(job.created),
            error_type: job.error_type.clone(),
            end: job.end.map(time),
            missing: job.missing.as_deref().map(|missing| MissingRecord {
                kind: (&missing.kind).into(),
                namespace: missing.namespace.clone(),
                name: Arc::clone(&missing.name),
                uid: missing.uid.clone(),
                label: missing.label.clone(),
            }),
        }
    }
}

impl From<JobRecord> for Job {
    fn from(record: JobRecord) -> Self {
        Self {
            created: Time::from_nanoseconds(record.created),
            error_type: record.error_type,
            end: record.end.map(Time::from_nanoseconds),
            missing: record.missing.map(|missing| {
                Box::new(Missing {
                    kind: missing.kind.into(),
                    namespace: missing.namespace,
                    name: missing.name,
                    uid: missing.uid,
                    label: missing.label,
                })
            }),
        }
    }
}

impl AttachedRecord {
    /// The key of the attached object, where `watch` is what its watch is called now.
    pub(super) fn key(&self, watch: WatchId) -> AttachedKey {
        AttachedKey {
            watch,
            attachment: self.attachment,
            created: self.created.map(Time::from_nanoseconds),
            uid: SmallUid::new(&self.uid),
        }
    }
}
