//! Objects that have one uid between them. No API server hands out a uid twice, but a restored backup, another server
//! behind the same address or somebody of ill will may.
//!
//! The oldest of them has the uid: its ids derive from that alone, as those of any object do. The ids of the others
//! derive from their whole identity. Whichever is seen first, the outcome is the same, unless the younger has been
//! exported before the older was seen: a span that has left keeps its id.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Index;
use super::schedule::Deadline;
use super::subject::{Life, Subject};
use crate::object::{GroupKind, Mention, Object, ObjectReference, Uid};
use crate::time::Time;

/// By uid: what the index calls the objects that came later to a uid that another one had.
#[derive(Debug, Default)]
pub(super) struct Twins(HashMap<Uid, BTreeSet<Uid>>);

impl Index {
    /// What the index calls an object, and whether it is new: its uid, unless that is another one's. A new one is
    /// added.
    pub(super) fn claim_uid(&mut self, now: Time, object: &Object) -> (Uid, bool) {
        let reference = &object.reference;
        let uid = &reference.uid;
        let mut revision = 0;
        let key = match self.subjects.get(uid) {
            Some(holder) if is_same(&holder.reference, reference) => {
                return (Uid::clone(&holder.key), false);
            }
            None if !self.twins.0.contains_key(uid) => Uid::clone(uid),
            holder => {
                let identity = identity(reference);
                if self.subjects.contains_key(&identity) {
                    return (identity, false);
                }
                match holder {
                    None => Uid::clone(uid),
                    Some(holder) => {
                        revision = holder.mapping.revision;
                        let is_older = order(object.created, reference)
                            < order(holder.created, &holder.reference);
                        let may_yield = !has_left(holder);
                        self.counts.shared_uids += 1;
                        if is_older && may_yield {
                            self.displace(now, uid);
                            Uid::clone(uid)
                        } else {
                            self.note_twin(uid, &identity);
                            identity
                        }
                    }
                }
            }
        };
        let mut subject = Subject::new(Uid::clone(&key), object, now);
        // An answer to what was asked about another object of this uid is not about this one.
        subject.mapping.revision = revision;
        self.subjects.insert(Uid::clone(&key), Box::new(subject));
        (key, true)
    }

    pub(super) fn note_twin(&mut self, uid: &Uid, key: &Uid) {
        let twins = self.twins.0.entry(Uid::clone(uid)).or_default();
        twins.insert(Uid::clone(key));
    }

    /// An object is forgotten.
    pub(super) fn drop_twin(&mut self, reference: &ObjectReference, key: &Uid) {
        if let Some(twins) = self.twins.0.get_mut(&reference.uid) {
            twins.remove(key);
            if twins.is_empty() {
                self.twins.0.remove(&reference.uid);
            }
        }
    }

    /// An object turns out to be younger than another one of its uid: it begins anew under its whole identity.
    fn displace(&mut self, now: Time, uid: &Uid) {
        self.drop_names(uid);
        let Some(mut subject) = self.subjects.remove(uid) else {
            return;
        };
        if let Life::Runs(runs) = std::mem::replace(&mut subject.life, Life::Unknown) {
            self.drop_runs(now, uid, &runs);
        }
        self.pending.remove(uid);
        self.awaiting.remove(uid);
        self.unwatched.remove(uid);
        let key = identity(&subject.reference);
        for known in self.by_source.values_mut() {
            if known.remove(uid) {
                known.insert(Uid::clone(&key));
            }
        }
        self.note_twin(uid, &key);
        let deadline = subject.first_seen.plus(self.settings.orphan_deadline);
        self.schedule
            .add(deadline, Deadline::Orphan(Uid::clone(&key)));
        subject.begin_anew(Uid::clone(&key));
        self.changed.renamed(uid, &key, subject.attached.keys());
        self.renamed(&subject.mapping, &key);
        self.subjects.insert(Uid::clone(&key), subject);
        let waiting = self.note_names(&key);
        self.map_soon(now, &key);
        self.place_all(now, waiting);
    }

    /// All objects of a uid, the one that has it first.
    fn of_uid<'a, 'u>(&'a self, uid: &'u Uid) -> impl Iterator<Item = &'a Subject> + use<'a, 'u> {
        let holder = self.subjects.get(uid);
        let twins = self.twins.0.get(uid).into_iter().flatten();
        let twins = twins.filter_map(|key| self.subjects.get(key));
        holder.into_iter().chain(twins).map(Box::as_ref)
    }

    /// The object that is meant; none unless it is all that is said of it.
    pub(super) fn mentioned(&self, mention: &Mention) -> Option<&Subject> {
        self.of_uid(&mention.uid)
            .find(|subject| mention.agrees_with(&subject.reference))
    }

    /// The object of a uid; of several, the one of this kind, namespace and name, else the one that has the uid.
    pub(super) fn owner_of(
        &self,
        uid: &Uid,
        kind: &GroupKind,
        namespace: Option<&Arc<str>>,
        name: &Arc<str>,
    ) -> Option<&Subject> {
        let is_meant = |subject: &&Subject| {
            let reference = &subject.reference;
            let near = reference.namespace.is_none() || reference.namespace.as_ref() == namespace;
            near && reference.kind == *kind && reference.name == *name
        };
        if self.twins.0.contains_key(uid) {
            let meant = self.of_uid(uid).find(is_meant);
            return meant.or_else(|| self.of_uid(uid).next());
        }
        self.subjects.get(uid).map(Box::as_ref)
    }
}

/// What the ids of an object derive from whose uid is another one's.
fn identity(reference: &ObjectReference) -> Uid {
    let GroupKind { group, kind } = &reference.kind;
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let (uid, name) = (&reference.uid, &reference.name);
    format!("{uid}:{group}:{kind}:{namespace}:{name}").into()
}

/// Whether two references, which may be of different versions of a group, name one object.
fn is_same(one: &ObjectReference, other: &ObjectReference) -> bool {
    one.name == other.name && one.namespace == other.namespace && one.kind == other.kind
}

/// Which of several objects of a uid is the first.
fn order(
    created: Option<Time>,
    reference: &ObjectReference,
) -> (Option<Time>, &GroupKind, Option<&str>, &str) {
    let ObjectReference {
        kind,
        namespace,
        name,
        ..
    } = reference;
    (created, kind, namespace.as_deref(), name)
}

/// Whether spans of an object may have been exported.
fn has_left(subject: &Subject) -> bool {
    match &subject.life {
        Life::Unknown | Life::NotOurs => false,
        Life::Runs(runs) => runs.iter().any(|run| run.exported),
        Life::Finished(_) => true,
    }
}
