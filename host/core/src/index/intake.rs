//! Takes in what is told of objects and webhooks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Index;
use super::attached::{AttachedKey, AttachedObject, SmallUid, Version};
use super::effect::Effect;
use super::event::Receipt;
use super::fact::{Fetched, MapRequest, SubjectId, Ticket, Webhook};
use super::names::shrink;
use super::resolve::Want;
use super::schedule::Deadline;
use super::subject::Life;
use crate::identity::TraceKey;
use crate::mapping::{Outcome, Parent, Subject as MapperSubject, TraceStart, WebhookSubject};
use crate::object::{
    AttachedTo, Mention, Object, ObjectReference, SourceId, SubjectName, Uid, WatchId,
};
use crate::time::Time;

/// Attached objects that wait for their subjects, in all.
const UNCLAIMED_LIMIT: usize = 50_000;

/// The owners of an object that no mapper watches are looked up again after this time.
pub(super) const LOOKUP_MEMORY: Duration = Duration::from_secs(3600);

/// Attached objects whose subject is not known yet.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    by_subject: BTreeMap<SubjectName, BTreeMap<AttachedKey, AttachedObject>>,
    count: usize,
}

impl Unclaimed {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Forgets those that do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&AttachedKey) -> bool) {
        for objects in self.by_subject.values_mut() {
            objects.retain(|key, _| stays(key));
        }
        self.by_subject.retain(|_, objects| !objects.is_empty());
        self.count = self.by_subject.values().map(BTreeMap::len).sum();
    }
}

impl Index {
    /// An object exists, or did until now.
    pub(super) fn object_seen(
        &mut self,
        now: Time,
        source: SourceId,
        mut object: Object,
        deleted: bool,
    ) {
        if !self.catalog.is_watched(source) {
            // Who watched it has not been stopped yet.
            return;
        }
        object
            .subject_of
            .retain(|(watch, _)| self.catalog.knows(*watch));
        let attached = std::mem::take(&mut object.attached_to);
        for attached_to in attached {
            self.attached_seen(now, &object, attached_to);
        }
        if object.subject_of.is_empty() {
            return;
        }
        self.texts.sweep(self.subjects.len());
        for (watch, json) in &object.subject_of {
            self.samples.see(*watch, None, json);
        }
        let (labels, annotations) = self.texts.share_object(&mut object);
        let (uid, is_new) = self.claim_uid(now, &object);
        let deleted = self.note_source(source, &uid, deleted);
        let Some(subject) = self.subjects.get_mut(&uid) else {
            return;
        };
        let is_back = subject.deleted && !deleted && subject.is_seen(source);
        if matches!(subject.life, Life::Finished(_)) {
            // It was but out of sight.
            if is_back {
                subject.deleted = false;
                self.changed.subject(&uid);
            }
            if deleted && !subject.deleted {
                subject.deleted = true;
                self.changed.subject(&uid);
                self.forget_later(now, &uid);
            } else if !deleted {
                self.mark_again(&uid, &annotations);
            }
            return;
        }
        let is_newest = subject.is_newest(&object);
        if is_new || !subject.is_same(&object) {
            self.changed.subject(&uid);
        }
        let moved = is_newest && *subject.owners != *object.owners;
        // Those of a label are kept in the order in which they were made.
        let relabelled =
            is_newest && (subject.labels != labels || subject.created != object.created);
        let mut waiting = if relabelled {
            self.drop_labels(&uid)
        } else {
            Vec::new()
        };
        let Some(subject) = self.subjects.get_mut(&uid) else {
            return;
        };
        let seen_by: Vec<WatchId> = object.subject_of.iter().map(|(watch, _)| *watch).collect();
        let catalog = &self.catalog;
        let mut changed = subject.update(object, labels, annotations, catalog, &self.samples);
        if is_back || (deleted && !subject.deleted) {
            self.unwatched.remove(&uid);
            subject.set_deleted(deleted);
            self.changed.subject_for_good(&uid);
            changed = true;
        }
        if changed {
            // The same version may be seen in another way.
            self.changed.subject(&uid);
        }
        changed |= self.seen_by_successors(&uid, &seen_by);
        if is_new || relabelled {
            waiting.extend(self.note_names(&uid));
        }
        if moved && !is_new {
            // Mappers need not read the owners.
            waiting.push(Uid::clone(&uid));
            waiting.extend(self.names.waiting_for(&Want::Uid(Uid::clone(&uid))));
        }
        if is_new {
            self.schedule.add(
                now.plus(self.settings.orphan_deadline),
                Deadline::Orphan(Uid::clone(&uid)),
            );
            self.claim(&uid);
        }
        if changed {
            self.map_soon(now, &uid);
        } else {
            // The annotations may have changed, which mappers need not read.
            self.annotate(&uid);
        }
        self.place_all(now, waiting);
    }

    /// A list of a source is complete.
    pub(super) fn relisted(&mut self, now: Time, source: SourceId, present: &BTreeSet<Uid>) {
        let Some(known) = self.by_source.get_mut(&source) else {
            return;
        };
        let subjects = &self.subjects;
        let is_there = |key: &Uid| {
            let uid = || Some(&subjects.get(key)?.reference.uid);
            present.contains(key) || uid().is_some_and(|uid| present.contains(uid))
        };
        let gone: Vec<Uid> = known.iter().filter(|key| !is_there(key)).cloned().collect();
        for uid in gone {
            if !self.note_source(source, &uid, true) {
                continue;
            }
            let Some(subject) = self.subjects.get_mut(&uid) else {
                continue;
            };
            if subject.deleted {
                continue;
            }
            self.changed.subject(&uid);
            if matches!(subject.life, Life::Finished(_)) {
                subject.deleted = true;
                self.forget_later(now, &uid);
            } else {
                subject.set_deleted(true);
                self.awaiting.remove(&uid);
                self.map_soon(now, &uid);
            }
        }
    }

    /// Notes that a source tells of an object, or of its end; says whether no source sees it any more. Of two sources of a kind, with
    /// different selectors, each tells the end of what it does not select any more.
    fn note_source(&mut self, source: SourceId, uid: &Uid, deleted: bool) -> bool {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return deleted;
        };
        let known = self.by_source.entry(source).or_default();
        if deleted {
            known.remove(uid);
            subject.lose_sight(source);
            let mut sources = self.by_source.values();
            return !sources.any(|known| known.contains(uid));
        }
        // What a source tells after the end is old: a uid does not come back.
        if subject.is_seen(source) {
            known.insert(Uid::clone(uid));
        }
        false
    }

    /// An object that comes along with a subject exists, or did until now.
    fn attached_seen(&mut self, now: Time, object: &Object, attached_to: AttachedTo) {
        if !self.catalog.knows(attached_to.watch) {
            return;
        }
        let key = AttachedKey {
            watch: attached_to.watch,
            attachment: attached_to.attachment,
            created: object.created,
            uid: SmallUid::new(&object.reference.uid),
        };
        let attached = AttachedObject {
            version: Version::new(&object.resource_version),
            json: attached_to.json,
        };
        self.samples
            .see(key.watch, Some(key.attachment), &attached.json);
        let mapped_kind = self.catalog.subject_kind(key.watch);
        let known = match &attached_to.subject {
            SubjectName::Uid(mention) => self.mentioned(mention),
            SubjectName::Name(kind, namespace, name) => self.named(kind, namespace.as_ref(), name),
        };
        let Some(known) = known else {
            self.keep_unclaimed(now, attached_to.subject, key, attached);
            return;
        };
        // One source of Events may serve the watches of several kinds.
        if mapped_kind != Some(&known.reference.kind) {
            return;
        }
        let uid = Uid::clone(&known.key);
        self.attach(now, &uid, key, attached);
    }

    fn attach(&mut self, now: Time, uid: &Uid, key: AttachedKey, attached: AttachedObject) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if let Life::Finished(finished) = &subject.life {
            // A list tells of all Events again; only what is newer than the export is late.
            let is_exported = finished.runs.iter().any(|run| run.adopter.is_some());
            if is_exported && finished.latest_attached < key.created {
                self.counts.late_attachments += 1;
            }
            return;
        }
        let changed = &mut self.changed;
        if subject.attach(key, attached, &self.samples, |key| {
            changed.attached(uid, key)
        }) {
            self.map_soon(now, uid);
        }
    }

    fn keep_unclaimed(
        &mut self,
        now: Time,
        subject: SubjectName,
        key: AttachedKey,
        attached: AttachedObject,
    ) {
        let is_first = !self.unclaimed.by_subject.contains_key(&subject);
        if self.unclaimed.count >= UNCLAIMED_LIMIT {
            self.counts.unclaimed_attachments += 1;
            return;
        }
        let objects = self
            .unclaimed
            .by_subject
            .entry(subject.clone())
            .or_default();
        match objects.get_mut(&key) {
            Some(known) => {
                if !attached.version.is_older_than(known.version) {
                    *known = attached;
                }
            }
            None => {
                objects.insert(key, attached);
                self.unclaimed.count += 1;
            }
        }
        if is_first {
            self.schedule.add(
                now.plus(self.settings.orphan_deadline),
                Deadline::Unclaimed(Box::new(subject)),
            );
        }
    }

    /// Gives a new subject what has waited for it.
    fn claim(&mut self, uid: &Uid) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let reference = &subject.reference;
        let by_uid = SubjectName::Uid(Mention::of(Uid::clone(&reference.uid)));
        let mut names: Vec<SubjectName> = self
            .unclaimed
            .by_subject
            .range(by_uid..)
            .map(|(name, _)| name)
            .take_while(
                |name| matches!(name, SubjectName::Uid(mention) if mention.uid == reference.uid),
            )
            .filter(
                |name| matches!(name, SubjectName::Uid(mention) if mention.agrees_with(reference)),
            )
            .cloned()
            .collect();
        names.push(SubjectName::Name(
            reference.kind.clone(),
            reference.namespace.clone(),
            Arc::clone(&reference.name),
        ));
        for name in names {
            let Some(objects) = self.unclaimed.by_subject.remove(&name) else {
                continue;
            };
            self.unclaimed.count = self.unclaimed.count.saturating_sub(objects.len());
            for (key, attached) in objects {
                if self.catalog.subject_kind(key.watch) == Some(&subject.reference.kind) {
                    let changed = &mut self.changed;
                    subject.attach(key, attached, &self.samples, |key| {
                        changed.attached(uid, key);
                    });
                }
            }
        }
    }

    /// Attached objects have waited for their subject long enough.
    pub(super) fn unclaimed_due(&mut self, name: &SubjectName) {
        if let Some(objects) = self.unclaimed.by_subject.remove(name) {
            self.unclaimed.count = self.unclaimed.count.saturating_sub(objects.len());
            self.counts.unclaimed_attachments += objects.len() as u64;
        }
    }

    /// A look-up was answered. An object that is not there or cannot be told of has no owners: the chain ends.
    pub(super) fn fetched(&mut self, now: Time, reference: &ObjectReference, fetched: Fetched) {
        let uid = &reference.uid;
        if !matches!(self.lookups.get(uid), Some(None)) {
            return;
        }
        let owners = match fetched {
            Fetched::Found(owners) => owners,
            Fetched::Missing | Fetched::Unknown => Vec::new(),
        };
        self.lookups.insert(Uid::clone(uid), Some(owners));
        self.changed.lookup(uid);
        self.schedule.add(
            now.plus(LOOKUP_MEMORY),
            Deadline::ForgetLookup(Uid::clone(uid)),
        );
        let want = Want::Uid(Uid::clone(uid));
        let waiting = self.names.waiting_for(&want).collect();
        self.place_all(now, waiting);
        self.release(now, uid);
    }

    /// An exported object that is gone is remembered for as long as others wait for their parents: it may be that of one that
    /// is told of late, and a watch that is resumed may tell of its end again.
    pub(super) fn forget_later(&mut self, now: Time, uid: &Uid) {
        let at = now.plus(self.settings.orphan_deadline);
        self.schedule.add(at, Deadline::Forget(Uid::clone(uid)));
    }

    /// An exported object that is gone need not be remembered.
    pub(super) fn forget_due(&mut self, now: Time, uid: &Uid) {
        let finished = self
            .subjects
            .get(uid)
            .is_some_and(|subject| subject.deleted && matches!(subject.life, Life::Finished(_)));
        let want = Want::Uid(Uid::clone(uid));
        if finished && self.names.waiting_for(&want).next().is_some() {
            // What hangs from it would not find its parent any more.
            self.forget_later(now, uid);
        } else if finished {
            self.drop_names(uid);
            if let Some(subject) = self.subjects.remove(uid) {
                self.drop_twin(&subject.reference, uid);
            }
            self.changed.subject(uid);
            shrink(&mut self.subjects);
            self.texts.sweep(self.subjects.len());
            for known in self.by_source.values_mut() {
                known.remove(uid);
            }
        }
    }

    /// A verified webhook.
    pub(super) fn webhook_seen(&mut self, webhook: Webhook) {
        let number = self.webhooks_seen;
        self.webhooks_seen += 1;
        if let Some(number) = webhook.number {
            self.changed.use_webhook(number);
        }
        let mut webhook = webhook;
        webhook
            .subject_of
            .retain(|(watch, _)| self.catalog.knows(*watch));
        self.webhooks.insert(number, webhook);
        self.map_webhook(number);
    }

    /// Asks the first mapper that has not declined.
    fn map_webhook(&mut self, number: u64) {
        let Some(webhook) = self.webhooks.get(&number) else {
            return;
        };
        let first = webhook.subject_of.first();
        let first = first.and_then(|(watch, json)| {
            let place = self.catalog_of(*watch).place(*watch)?;
            Some((watch, place, json))
        });
        let Some((watch, place, json)) = first else {
            self.webhook_over(number);
            return;
        };
        self.effects.push(Effect::Map(MapRequest {
            ticket: Ticket {
                subject: SubjectId::Webhook(number),
                revision: 0,
                watch: *watch,
            },
            subject: MapperSubject::Webhook(WebhookSubject {
                watch: place,
                kind: webhook.kind.clone(),
                guid: webhook.guid.clone(),
                received: webhook.received,
                json: Arc::clone(json),
            }),
        }));
    }

    /// A webhook was mapped.
    pub(super) fn webhook_mapped(
        &mut self,
        now: Time,
        number: u64,
        asked: WatchId,
        outcome: Option<Outcome>,
    ) {
        let Some(webhook) = self.webhooks.get_mut(&number) else {
            return;
        };
        // The same answer may come twice.
        if webhook.subject_of.first().map(|(watch, _)| *watch) != Some(asked) {
            return;
        }
        let (watch, json) = webhook.subject_of.remove(0);
        let trees = match outcome {
            Some(Outcome::Spans(trees)) => trees,
            Some(Outcome::Wait(_)) => Vec::new(),
            Some(Outcome::NotOurs) | None => {
                self.map_webhook(number);
                return;
            }
        };
        let receipt = Receipt {
            received: webhook.received,
            number: webhook.number,
            json,
        };
        let scope = self.catalog_of(watch).scope(watch).cloned();
        for tree in trees {
            let root = tree.parents.iter().find_map(|parent| match parent {
                Parent::Root(TraceStart::Event(key)) => Some(TraceKey::event(key)),
                _ => None,
            });
            if let (Some(key), Some(scope)) = (root, &scope) {
                self.root_mapped(now, key, receipt.clone(), tree, Arc::clone(scope));
            }
        }
        self.webhook_over(number);
    }

    /// A webhook has become roots, or nothing.
    fn webhook_over(&mut self, number: u64) {
        let webhook = self.webhooks.remove(&number);
        if let Some(number) = webhook.and_then(|webhook| webhook.number) {
            self.changed.webhook_unused(number);
        }
    }
}
