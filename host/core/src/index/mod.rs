//! Facts in, effects out.
//!
//! A reader who follows one object goes: [`intake`] takes it in, [`lifecycle`] has it mapped, [`resolve`] finds its
//! parent, [`annotate`] says so on the object, [`export`] waits for its end, [`hold`] for what may still change it, [`assemble`]
//! makes it spans. Two objects with one uid are told apart in [`twins`]. What of it all must survive a restart is told by
//! [`journal`] and taken back by [`restore`]. Git events, which are no objects, are in [`event`]. [`succession`] is about mappers
//! that are replaced, [`asking`] about those that keep others waiting.

mod annotate;
mod asking;
mod assemble;
mod attached;
mod effect;
mod event;
mod export;
mod fact;
mod few;
mod hold;
mod intake;
mod journal;
mod lifecycle;
mod names;
mod over;
mod packed;
mod record;
mod resolve;
mod restore;
mod run;
mod schedule;
mod subject;
mod succession;
mod texts;
mod twins;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use effect::{Annotate, Effect};
pub use fact::{Annotated, Fact, Fetched, MapRequest, MappingFailure, SubjectId, Ticket, Webhook};
pub use journal::Change;
pub use lifecycle::ATTACHED_INTERVAL;
pub use record::FORMAT;
pub use restore::{Restored, Scan};

use self::asking::Asking;
use self::event::Event;
use self::hold::Held;
use self::intake::Unclaimed;
use self::journal::Changed;
use self::names::Names;
use self::over::Over;
use self::packed::Samples;
use self::schedule::{Deadline, Schedule};
use self::subject::Subject;
use self::succession::Awaiting;
use self::texts::Texts;
use self::twins::Twins;
use crate::catalog::Catalog;
use crate::identity::TraceKey;
use crate::object::{Owner, SourceId, Uid};
use crate::time::Time;

/// How long the index waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// After an object has ended: for its late Events; after the last job of an event has: for another one.
    pub settle: Duration,
    /// For the parent of an object, and for a job of a webhook.
    pub orphan_deadline: Duration,
    /// A trace that had ended longer ago than this when it was first seen is left alone.
    pub replay_window: Duration,
    /// `k8s.cluster.name` of every span.
    pub cluster_name: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(5),
            orphan_deadline: Duration::from_secs(600),
            replay_window: Duration::from_secs(3600),
            cluster_name: None,
        }
    }
}

/// How often what happened, from the start of the index; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Subjects in the index (now, not in total).
    pub subjects: u64,
    /// Subjects whose parent is not known yet (now, not in total).
    pub orphans: u64,
    /// Attached objects that wait for their subject (now, not in total).
    pub waiting_attachments: u64,
    /// Spans exported.
    pub spans_exported: u64,
    /// Runs exported under a synthesised parent because theirs did not turn up.
    pub orphans_exported: u64,
    /// Webhooks that no job ever belonged to.
    pub webhooks_without_job: u64,
    /// Jobs that arrived after the root of their trace was exported.
    pub late_jobs: u64,
    /// Attached objects, such as Events, that arrived after their subject was exported.
    pub late_attachments: u64,
    /// Attached objects whose subject never turned up.
    pub unclaimed_attachments: u64,
    /// Objects whose uid an older object has.
    pub shared_uids: u64,
    /// Runs that belong to no trace.
    pub unrelated: u64,
    /// Mappings that failed.
    pub mapping_failures: u64,
    /// Runs that had ended too long ago when they were first seen.
    pub too_old: u64,
    /// Objects that were annotated.
    pub annotated: u64,
    /// Objects that could not be annotated.
    pub not_annotated: u64,
}

/// What is known about a cluster, and what follows from it.
#[derive(Debug)]
pub struct Index {
    catalog: Arc<Catalog>,
    /// Catalogs before it, the newest last, by whose mappers some objects are mapped to their end.
    older: Vec<Arc<Catalog>>,
    /// Objects that are not mapped until they are seen as their mappers want them now.
    awaiting: HashMap<Uid, Awaiting>,
    /// Objects that are there, but that no mapper watches any more; until they are finished.
    unwatched: BTreeSet<Uid>,
    settings: Settings,
    now: Time,
    subjects: HashMap<Uid, Box<Subject>>,
    twins: Twins,
    texts: Texts,
    samples: Samples,
    by_source: BTreeMap<SourceId, BTreeSet<Uid>>,
    names: Names,
    /// Subjects whose parent is not known yet.
    pending: BTreeSet<Uid>,
    unclaimed: Unclaimed,
    /// Events that are not over.
    events: HashMap<TraceKey, Event>,
    over: Over,
    /// Webhooks that are being mapped, by number.
    webhooks: BTreeMap<u64, Webhook>,
    webhooks_seen: u64,
    /// Owners of objects that no mapper watches; none while they are looked up.
    lookups: HashMap<Uid, Option<Vec<Owner>>>,
    held: Held,
    asking: Asking,
    schedule: Schedule,
    /// When the outside was last asked to wake the index.
    wake_at: Option<Time>,
    counts: Counts,
    effects: Vec<Effect>,
    changed: Changed,
    /// Objects whose mapping is wanted, but was not asked for yet, since there are many at once: those that were restored,
    /// and those whose mapper was replaced.
    to_map: Vec<Uid>,
    /// Nothing is due: the lists are not complete.
    stands_still: bool,
    /// The end has come: nothing is begun that needs time.
    drains: bool,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, settings: Settings) -> Self {
        Self {
            catalog,
            older: Vec::new(),
            awaiting: HashMap::new(),
            unwatched: BTreeSet::new(),
            settings,
            now: Time::EPOCH,
            subjects: HashMap::new(),
            twins: Twins::default(),
            texts: Texts::default(),
            samples: Samples::default(),
            by_source: BTreeMap::new(),
            names: Names::default(),
            pending: BTreeSet::new(),
            unclaimed: Unclaimed::default(),
            events: HashMap::new(),
            over: Over::default(),
            webhooks: BTreeMap::new(),
            webhooks_seen: 0,
            lookups: HashMap::new(),
            held: Held::default(),
            asking: Asking::default(),
            schedule: Schedule::default(),
            wake_at: None,
            counts: Counts::default(),
            effects: Vec::new(),
            changed: Changed::default(),
            to_map: Vec::new(),
            stands_still: false,
            drains: false,
        }
    }

    /// Takes a fact in, observed at `now`, and gives what is to be done, in this order. A `now` before that of an
    /// earlier fact counts as that.
    pub fn observe(&mut self, now: Time, fact: Fact) -> Vec<Effect> {
        let now = self.advance(now);
        match fact {
            Fact::Webhook(webhook) => self.webhook_seen(webhook),
            Fact::Applied(source, object) => self.object_seen(now, source, *object, false),
            Fact::Deleted(source, object) => self.object_seen(now, source, *object, true),
            Fact::Relisted(source, present) => self.relisted(now, source, &present),
            Fact::Mapped(ticket, result) => {
                let outcome = result.ok();
                match ticket.subject {
                    SubjectId::Object(uid) => {
                        self.object_mapped(now, &uid, ticket.revision, ticket.watch, outcome);
                        self.has_answered(now, ticket.watch.mapper);
                    }
                    SubjectId::Webhook(number) => {
                        if outcome.is_none() {
                            self.counts.mapping_failures += 1;
                        }
                        self.webhook_mapped(now, number, ticket.watch, outcome);
                        if !self.webhooks.contains_key(&number) {
                            self.release_roots(now);
                        }
                    }
                }
            }
            Fact::Fetched(reference, fetched) => self.fetched(now, &reference, fetched),
            Fact::Replaced(catalog, others) => self.replaced(now, catalog, &others),
            Fact::Annotated(_, annotated) => self.annotated(annotated),
            Fact::Tick => {}
        }
        self.fire(now);
        self.ask_to_be_woken();
        std::mem::take(&mut self.effects)
    }

    /// Exports what has ended and has a place in a trace, as it was last mapped, without waiting any longer: for the
    /// shutdown.
    pub fn drain(&mut self, now: Time) -> Vec<Effect> {
        let now = self.advance(now);
        self.drains = true;
        let mut uids: Vec<Uid> = self.subjects.keys().cloned().collect();
        uids.sort();
        for uid in uids {
            self.export_ended(now, &uid, true);
        }
        self.events_over(now);
        std::mem::take(&mut self.effects)
    }

    /// How often what happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            subjects: self.subjects.len() as u64,
            orphans: self.pending.len() as u64,
            waiting_attachments: self.unclaimed.count() as u64,
            ..self.counts
        }
    }

    fn advance(&mut self, now: Time) -> Time {
        if !self.stands_still {
            self.now = self.now.max(now);
        }
        self.now
    }

    fn fire(&mut self, now: Time) {
        while let Some(deadline) = self.schedule.due(now) {
            match deadline {
                Deadline::Map(uid) => self.map_soon(now, &uid),
                Deadline::Settle(uid) => self.export_ended(now, &uid, false),
                Deadline::Silent(uid) => self.silent_due(now, &uid),
                Deadline::Orphan(uid) => self.orphan_due(now, &uid),
                Deadline::Event(key) => self.event_due(now, &key),
                Deadline::Jobless(key) => self.jobless_due(&key),
                Deadline::Unclaimed(name) => self.unclaimed_due(&name),
                Deadline::Forget(uid) => self.forget_due(now, &uid),
                Deadline::ForgetEvents => self.forget_events_due(now),
                Deadline::ForgetJobs(key) => self.forget_jobs_due(now, &key),
                Deadline::ForgetLookup(uid) => {
                    self.lookups.remove(&uid);
                    self.changed.lookup(&uid);
                }
                Deadline::LetGo(uid) => {
                    self.let_go(&uid);
                    self.map_soon(now, &uid);
                }
                Deadline::Replaced => self.drop_older(now),
            }
        }
    }

    fn ask_to_be_woken(&mut self) {
        let next = self.schedule.next();
        if let Some(at) = next
            && self.wake_at != next
        {
            self.effects.push(Effect::WakeAt(at));
        }
        self.wake_at = next;
    }
}

#[cfg(test)]
mod tests;
