//! What was told before a deadline counts, even if its mapping comes back after it: what is due waits for the
//! mappings that may still change it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU64;

use super::Index;
use super::resolve::Want;
use super::run::Run;
use super::schedule::Deadline;
use super::subject::{Life, MappingState, Subject};
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
    roots: HashMap<TraceKey, Barrier>,
    /// Those roots, in the order in which they were due. What opens the barrier of one has opened those before it.
    queue: VecDeque<TraceKey>,
    /// Objects that are not mapped, by the number of the first of their changes that is not.
    unmapped: BTreeMap<NonZeroU64, Uid>,
    /// How many changes there were: the number of the last.
    changes: u64,
}

/// What must be mapped before a root is exported: all that came before these.
#[derive(Clone, Copy, Debug)]
struct Barrier {
    since: Time,
    change: u64,
    webhook: u64,
}

/// Which changes of an object are not mapped, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unmapped {
    first: Option<NonZeroU64>,
    /// The first that came after the mapping that is under way had been asked for.
    next: Option<NonZeroU64>,
}

impl Held {
    /// The number of one more change.
    fn next_change(&mut self) -> Option<NonZeroU64> {
        self.changes += 1;
        NonZeroU64::new(self.changes)
    }

    /// The first change of an object that is not mapped is another one.
    fn moved(&mut self, uid: &Uid, before: Option<NonZeroU64>, after: Option<NonZeroU64>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.unmapped.remove(&before);
        }
        if let Some(after) = after {
            self.unmapped.insert(after, Uid::clone(uid));
        }
    }
}

impl Index {
    /// An object is called by another key.
    pub(super) fn renamed(&mut self, mapping: &MappingState, key: &Uid) {
        if let Some(first) = mapping.unmapped.first {
            self.held.unmapped.insert(first, Uid::clone(key));
        }
    }

    /// An object has changed, or was mapped.
    pub(super) fn note_mapped(&mut self, uid: &Uid) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let is_mapped = subject.is_mapped() || matches!(subject.life, Life::Finished(_));
        let MappingState {
            revision,
            in_flight,
            unmapped,
            ..
        } = &mut subject.mapping;
        let before = *unmapped;
        if is_mapped {
            *unmapped = Unmapped::default();
        } else if unmapped.first.is_none() {
            unmapped.first = self.held.next_change();
        } else if unmapped.next.is_none() && in_flight.is_some_and(|(asked, _)| asked < *revision) {
            unmapped.next = self.held.next_change();
        }
        let after = unmapped.first;
        self.held.moved(uid, before.first, after);
    }

    /// A mapping of an object has come back: what is left to be mapped is what came after it had been asked for.
    pub(super) fn note_answer(&mut self, uid: &Uid, revision: u64) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let has_mapped = subject.has_mapped(revision);
        let unmapped = &mut subject.mapping.unmapped;
        let before = unmapped.first;
        let next = unmapped.next.take();
        if has_mapped {
            unmapped.first = next;
        }
        let after = unmapped.first;
        self.held.moved(uid, before, after);
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
            let over = self.is_open(*barrier) || barrier.since.plus(patience) <= now;
            if over {
                self.held.roots.remove(key);
            }
            return !over;
        }
        let barrier = Barrier {
            since: now,
            change: self.held.changes + 1,
            webhook: self.webhooks_seen,
        };
        if self.is_open(barrier) {
            return false;
        }
        self.held.roots.insert(key.clone(), barrier);
        self.held.queue.push_back(key.clone());
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
        self.release_roots(now);
    }

    /// Something was mapped: roots that have waited for no more than that may go on.
    pub(super) fn release_roots(&mut self, now: Time) {
        while let Some(key) = self.held.queue.front() {
            let barrier = self.held.roots.get(key);
            if barrier.is_some_and(|barrier| !self.is_open(*barrier)) {
                return;
            }
            if let Some(key) = self.held.queue.pop_front() {
                self.event_due(now, &key);
                // A root that is not due any more will wait again.
                self.held.roots.remove(&key);
            }
        }
    }

    fn is_open(&self, barrier: Barrier) -> bool {
        let objects = self.held.unmapped.first_key_value();
        let webhooks = self.webhooks.first_key_value();
        objects.is_none_or(|(change, _)| change.get() >= barrier.change)
            && webhooks.is_none_or(|(number, _)| *number >= barrier.webhook)
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
