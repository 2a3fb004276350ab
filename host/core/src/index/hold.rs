//! What was told before a deadline counts, even if its mapping comes back after it: what is due waits for the
//! mappings that may still change it.

use std::collections::{BTreeMap, BTreeSet};

use super::Index;
use super::resolve::Want;
use super::run::Run;
use super::schedule::Deadline;
use super::subject::{Life, Subject};
use crate::identity::TraceKey;
use crate::mapping::LinkTarget;
use crate::object::Uid;
use crate::time::Time;

/// What waits for what.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Objects that wait for the mapping, or the look-up, of one above them.
    objects: BTreeMap<Uid, BTreeSet<Uid>>,
    /// Roots that wait for all that had been told when they were due: a job of theirs may be among it.
    roots: BTreeMap<TraceKey, Barrier>,
    /// Objects whose newest input is not mapped.
    unmapped: BTreeSet<Uid>,
}

/// What was not mapped yet when a root was due.
#[derive(Debug)]
struct Barrier {
    since: Time,
    /// By number.
    webhooks: BTreeSet<u64>,
    /// With the revision that must be mapped.
    objects: BTreeMap<Uid, u64>,
}

impl Barrier {
    fn is_open(&self) -> bool {
        self.webhooks.is_empty() && self.objects.is_empty()
    }
}

impl Index {
    /// Notes whether the newest input of an object is mapped.
    pub(super) fn note_mapped(&mut self, uid: &Uid) {
        let unmapped = self.subjects.get(uid).is_some_and(|subject| {
            !subject.is_mapped() && !matches!(subject.life, Life::Finished(_))
        });
        if !unmapped {
            self.held.unmapped.remove(uid);
        } else if !self.held.unmapped.contains(uid) {
            self.held.unmapped.insert(Uid::clone(uid));
        }
    }

    /// Whether a run of an object has to wait before it is exported. If so, sees to it that it does not wait for long.
    pub(super) fn hold_object(&mut self, now: Time, uid: &Uid) -> bool {
        let Some(above) = self
            .subjects
            .get(uid)
            .and_then(|subject| self.unsettled_for(subject))
        else {
            return false;
        };
        let waiting = self.held.objects.entry(Uid::clone(&above)).or_default();
        waiting.insert(Uid::clone(uid));
        self.map_now(now, &above);
        true
    }

    /// An object that decides what is exported of this one, and that is not settled itself.
    fn unsettled_for(&self, subject: &Subject) -> Option<Uid> {
        let Life::Runs(runs) = &subject.life else {
            return None;
        };
        let above = self.unsettled(uids(&subject.waits_for), false);
        above.or_else(|| {
            let links = runs.iter().flat_map(linked);
            let targets = links.filter_map(|to| self.target(subject, to));
            let targets = targets.map(|target| Uid::clone(&target.key));
            self.unsettled(targets.collect(), true)
        })
    }

    /// The first of these and of what they wait for that is not mapped, or not looked up.
    fn unsettled(&self, mut stack: Vec<Uid>, lookups: bool) -> Option<Uid> {
        let mut visited = BTreeSet::new();
        while let Some(uid) = stack.pop() {
            match self.subjects.get(&uid) {
                Some(above) if matches!(above.life, Life::Finished(_)) => {}
                Some(above) if !above.is_mapped() => return Some(uid),
                Some(above) if visited.insert(Uid::clone(&uid)) => {
                    stack.extend(uids(&above.waits_for));
                }
                Some(_) => {}
                None if lookups && matches!(self.lookups.get(&uid), Some(None)) => {
                    return Some(uid);
                }
                None => {}
            }
        }
        None
    }

    /// Whether a root has to wait for mappings of what was told before it was due.
    pub(super) fn hold_root(&mut self, now: Time, key: &TraceKey) -> bool {
        let patience = self.settings.orphan_deadline;
        if let Some(barrier) = self.held.roots.get(key) {
            // An answer that never comes must not hold it for ever.
            let over = barrier.is_open() || barrier.since.plus(patience) <= now;
            if over {
                self.held.roots.remove(key);
            }
            return !over;
        }
        let objects = self.held.unmapped.iter().filter_map(|uid| {
            let subject = self.subjects.get(uid)?;
            Some((Uid::clone(uid), subject.mapping.revision))
        });
        let barrier = Barrier {
            since: now,
            webhooks: self.webhooks.keys().copied().collect(),
            objects: objects.collect(),
        };
        if barrier.is_open() {
            return false;
        }
        self.held.roots.insert(key.clone(), barrier);
        self.schedule
            .add(now.plus(patience), Deadline::Event(key.clone()));
        true
    }

    /// An object was mapped or looked up: what has waited for it may go on.
    pub(super) fn release(&mut self, now: Time, uid: &Uid) {
        self.note_mapped(uid);
        for waiting in self.held.objects.remove(uid).unwrap_or_default() {
            self.export_ended(now, &waiting, false);
        }
        let subjects = &self.subjects;
        let is_mapped = |revision: &u64| {
            subjects
                .get(uid)
                .is_none_or(|subject| subject.has_mapped(*revision))
        };
        let mut open = Vec::new();
        for (key, barrier) in &mut self.held.roots {
            if barrier.objects.get(uid).is_some_and(is_mapped) {
                barrier.objects.remove(uid);
                if barrier.is_open() {
                    open.push(key.clone());
                }
            }
        }
        for key in open {
            self.event_due(now, &key);
        }
    }

    /// A webhook was mapped.
    pub(super) fn release_webhook(&mut self, now: Time, number: u64) {
        let mut open = Vec::new();
        for (key, barrier) in &mut self.held.roots {
            if barrier.webhooks.remove(&number) && barrier.is_open() {
                open.push(key.clone());
            }
        }
        for key in open {
            self.event_due(now, &key);
        }
    }
}

fn uids(wants: &[Want]) -> Vec<Uid> {
    let uids = wants.iter().filter_map(|want| match want {
        Want::Uid(uid) => Some(Uid::clone(uid)),
        Want::Name(..) | Want::Label(..) => None,
    });
    uids.collect()
}

/// Where the links of a run lead.
fn linked(run: &Run) -> impl Iterator<Item = &LinkTarget> {
    run.tree.iter().flat_map(|tree| {
        let children = tree.children.iter().map(|child| &child.span);
        let spans = std::iter::once(&tree.main).chain(children);
        spans.flat_map(|span| span.links.iter().map(|link| &link.to))
    })
}
