//! The way of an object: mapped, and placed in a trace.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Index;
use super::effect::Effect;
use super::event::Job;
use super::fact::{MapRequest, SubjectId, Ticket};
use super::resolve::{Place, Resolution, Want};
use super::run::{Run, Sketch};
use super::schedule::Deadline;
use super::subject::{Life, Subject};
use crate::identity::{SpanId, TraceKey};
use crate::mapping::{
    Attribute, MappedSpan, Outcome, OwnerParent, Parent, SpanKind, SpanStatus, SpanTree, Timestamp,
    TraceStart,
};
use crate::marks;
use crate::object::{Uid, WatchId};
use crate::time::{Precision, Time};

/// An object that changes all the time is mapped at most so often until it ends.
const MAPPING_INTERVAL: Duration = Duration::from_secs(1);
/// One that changes in nothing but what came along with it, mostly Events, has nothing to say that cannot wait for
/// its own next change or its end. This often is for mappers that see an end in what came along.
pub const ATTACHED_INTERVAL: Duration = Duration::from_secs(5);

impl Index {
    /// Asks for a mapping of an object that has changed: at once if the last is long enough ago.
    pub(super) fn map_soon(&mut self, now: Time, uid: &Uid) {
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        if subject.mapping.in_flight.is_some() || subject.is_mapped() {
            return;
        }
        let interval = if subject.has_changed() {
            MAPPING_INTERVAL
        } else {
            ATTACHED_INTERVAL
        };
        let due = subject.mapping.asked_at.map_or(now, |at| at.plus(interval));
        if due <= now {
            self.map_now(now, uid);
        } else {
            self.schedule.add(due, Deadline::Map(Uid::clone(uid)));
        }
    }

    /// Asks for a mapping of an object's newest input, unless one is under way.
    pub(super) fn map_now(&mut self, now: Time, uid: &Uid) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if subject.mapping.in_flight.is_some() || matches!(subject.life, Life::Finished(_)) {
            return;
        }
        let Some(watch) = subject.watch() else { return };
        let Some(input) = subject.input(watch, &self.samples) else {
            return;
        };
        let revision = subject.mapping.revision;
        subject.mapping.in_flight = Some(revision);
        subject.mapping.asked_at = Some(now);
        self.effects.push(Effect::Map(MapRequest {
            ticket: Ticket {
                subject: SubjectId::Object(Uid::clone(uid)),
                revision,
                watch,
            },
            subject: input,
        }));
    }

    /// An object was mapped; nothing if that failed.
    pub(super) fn object_mapped(
        &mut self,
        now: Time,
        uid: &Uid,
        revision: u64,
        watch: WatchId,
        outcome: Option<Outcome>,
    ) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if subject.mapping.in_flight != Some(revision) {
            return;
        }
        subject.mapping.in_flight = None;
        let failed = outcome.is_none();
        let not_ours = matches!(outcome, Some(Outcome::NotOurs));
        let trees = match outcome {
            Some(Outcome::NotOurs) => {
                if let Some(next) = subject.watch_after(watch) {
                    subject.mapping.watch = Some(next);
                    self.map_now(now, uid);
                    return;
                }
                Vec::new()
            }
            Some(Outcome::Wait(_)) => Vec::new(),
            Some(Outcome::Spans(trees)) => trees,
            None => vec![plain_tree(subject)],
        };
        let is_first = subject.mapping.mapped.is_none();
        subject.mapping.mapped = Some(revision);
        if failed {
            self.counts.mapping_failures += 1;
        }
        if trees.is_empty() {
            self.no_spans(now, uid, not_ours);
        } else {
            subject.mapping.watch = Some(watch);
            self.take_trees(now, uid, trees, is_first);
        }
        self.map_soon(now, uid);
        self.export_ended(now, uid, false);
    }

    /// A mapper has nothing to say of an object, for now or at all.
    fn no_spans(&mut self, now: Time, uid: &Uid, not_ours: bool) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let runs = match std::mem::replace(&mut subject.life, Life::Unknown) {
            Life::Runs(runs) => runs,
            _ => Vec::new(),
        };
        if not_ours {
            subject.life = Life::NotOurs;
        }
        if subject.deleted && subject.is_mapped() {
            // It will never have anything to say.
            self.finish(now, uid, None, !not_ours);
        }
        for run in &runs {
            if let Resolution::Resolved(Place {
                event: Some(key), ..
            }) = &run.resolution
            {
                self.job_gone(now, key, uid);
            }
        }
        self.pending.remove(uid);
        let waiting = self
            .names
            .waiting_for(&Want::Uid(Uid::clone(uid)))
            .collect();
        self.place_all(now, waiting);
    }

    /// Takes over what a mapper makes of an object.
    fn take_trees(&mut self, now: Time, uid: &Uid, trees: Vec<SpanTree>, is_first: bool) {
        for tree in &trees {
            self.note_label_keys(tree);
        }
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let mut before = match std::mem::replace(&mut subject.life, Life::Unknown) {
            Life::Runs(runs) => runs,
            _ => Vec::new(),
        };
        let deleted = subject.deleted;
        let children_before = children(&before);
        let mut runs: Vec<Run> = Vec::with_capacity(trees.len());
        for tree in trees {
            let is_of = |run: &Run| *run.sketch.run == *tree.run;
            if runs.iter().any(is_of) {
                continue;
            }
            let known = before
                .iter()
                .position(is_of)
                .map(|place| before.swap_remove(place));
            let ended = deleted || tree.main.end.is_some();
            let sketch = Sketch::of(uid, &tree);
            // Of several runs one may be told of no more before it has ended.
            let keep = ended || !tree.run.is_empty();
            let tree = keep.then(|| Box::new(tree));
            runs.push(match known {
                Some(run) if run.exported => run,
                Some(run) => Run {
                    ended: ended.then(|| run.ended.unwrap_or(now)),
                    sketch,
                    tree,
                    ..run
                },
                None => Run {
                    sketch,
                    tree,
                    resolution: Resolution::Pending(None),
                    ended: ended.then_some(now),
                    ended_at_first_sight: is_first && ended && !deleted,
                    exported: false,
                },
            });
        }
        // A run that the object no longer tells of is over; the only run of an object has not been.
        before.sort_by(|left, right| left.sketch.run.cmp(&right.sketch.run));
        let mut left = Vec::new();
        for mut run in before {
            if run.tree.is_some() || run.exported {
                run.ended = run.ended.or(Some(now));
                runs.push(run);
            } else {
                left.extend(event_of(&run.resolution).cloned());
            }
        }
        for ended in runs.iter().filter_map(|run| run.ended) {
            self.schedule.add(
                ended.plus(self.settings.settle),
                Deadline::Settle(Uid::clone(uid)),
            );
        }
        let changed = children(&runs) != children_before;
        subject.life = Life::Runs(runs);
        for key in left {
            self.job_gone(now, &key, uid);
        }
        let mut affected = vec![Uid::clone(uid)];
        if changed {
            affected.extend(self.names.waiting_for(&Want::Uid(Uid::clone(uid))));
        }
        self.place_all(now, affected);
        self.annotate(uid);
    }

    /// Finds out where these objects hang, and then those that hang from them.
    pub(super) fn place_all(&mut self, now: Time, uids: Vec<Uid>) {
        let mut queue = VecDeque::from(uids);
        while let Some(uid) = queue.pop_front() {
            if self.place(now, &uid) {
                queue.extend(self.names.waiting_for(&Want::Uid(Uid::clone(&uid))));
                self.annotate(&uid);
                self.export_ended(now, &uid, false);
            }
        }
    }

    /// Finds out where an object hangs; says whether that has changed.
    pub(super) fn place(&mut self, now: Time, uid: &Uid) -> bool {
        let Some(subject) = self.subjects.get(uid) else {
            return false;
        };
        let Life::Runs(runs) = &subject.life else {
            return false;
        };
        let expired = subject.first_seen.plus(self.settings.orphan_deadline) <= now;
        let mut wants = BTreeSet::new();
        let mut fetch = Vec::new();
        let mut repeats = subject.repeats;
        let mut changes = Vec::new();
        let mut jobs = Vec::new();
        let mut pending = false;
        for (place, run) in runs.iter().enumerate() {
            if run.exported {
                continue;
            }
            let mut found = self.resolve(subject, &run.sketch, expired && run.ended.is_some());
            wants.append(&mut found.wants);
            fetch.append(&mut found.fetch);
            repeats = found.repeats;
            if let Resolution::Resolved(place) = &mut found.resolution
                && place.depth <= 1
            {
                let window = self.settings.replay_window;
                let old = run.sketch.bounds.end.plus(window) < subject.first_seen;
                place.too_old |= run.ended_at_first_sight && old;
            }
            pending |= found.resolution.is_pending();
            if let Resolution::Resolved(place) = &found.resolution
                && let Some(key) = &place.event
                && !place.too_old
            {
                let created = subject.created.unwrap_or(run.sketch.bounds.start);
                let missing = place.orphan.clone();
                jobs.push((
                    key.clone(),
                    missing,
                    Job {
                        created: created.min(run.sketch.bounds.start),
                        failed: run.sketch.failed,
                        end: None,
                    },
                ));
            }
            if found.resolution != run.resolution {
                changes.push((place, found.resolution));
            }
        }
        if pending {
            self.pending.insert(Uid::clone(uid));
        } else {
            self.pending.remove(uid);
        }
        self.set_waits(uid, wants);
        for reference in fetch {
            if !self.lookups.contains_key(&reference.uid) {
                self.lookups.insert(Uid::clone(&reference.uid), None);
                self.effects.push(Effect::Fetch(reference));
            }
        }
        for (key, missing, job) in jobs {
            self.job_seen(&key, missing, uid, job);
        }
        let mut left = Vec::new();
        if let Some(subject) = self.subjects.get_mut(uid) {
            subject.repeats = repeats;
            if let Life::Runs(runs) = &mut subject.life {
                for (place, resolution) in &changes {
                    let Some(run) = runs.get_mut(*place) else {
                        continue;
                    };
                    let before = std::mem::replace(&mut run.resolution, resolution.clone());
                    if let Some(key) = event_of(&before)
                        && event_of(resolution) != Some(key)
                    {
                        left.push(key.clone());
                    }
                }
            }
        }
        for key in left {
            self.job_gone(now, &key, uid);
        }
        !changes.is_empty()
    }

    /// The deadline of an object has passed: what it waits for is not waited for any more.
    pub(super) fn orphan_due(&mut self, now: Time, uid: &Uid) {
        if self.pending.contains(uid) {
            self.place_all(now, vec![Uid::clone(uid)]);
            self.export_ended(now, uid, false);
        }
    }
}

fn event_of(resolution: &Resolution) -> Option<&TraceKey> {
    match resolution {
        Resolution::Resolved(place) => place.event.as_ref(),
        Resolution::Pending(_) | Resolution::Unrelated => None,
    }
}

/// The child spans that other objects may hang under.
fn children(runs: &[Run]) -> Vec<SpanId> {
    runs.iter()
        .flat_map(|run| run.sketch.children.iter().copied())
        .collect()
}

/// What is left of an object that its mapper cannot map: a span from its metadata. It depends on the object's last
/// version alone, never on which versions could be mapped before.
fn plain_tree(subject: &Subject) -> SpanTree {
    let reference = &subject.reference;
    let mut attributes = vec![
        Attribute::new("k8s.object.name", &*reference.name),
        Attribute::new("k8s.object.uid", &*reference.uid),
        Attribute::new(marks::MAPPING, "failed"),
    ];
    let namespace = reference.namespace.as_deref();
    attributes.extend(namespace.map(|name| Attribute::new("k8s.namespace.name", name)));
    SpanTree {
        run: String::new(),
        service: reference.kind.kind.to_string(),
        resource_attributes: namespace
            .map(|name| Attribute::new("service.namespace", name))
            .into_iter()
            .collect(),
        parents: vec![
            Parent::Owner(OwnerParent::default()),
            Parent::Root(TraceStart::Subject),
        ],
        main: MappedSpan {
            key: String::new(),
            name: reference.kind.kind.to_string(),
            kind: SpanKind::Internal,
            start: Timestamp {
                time: subject.created.unwrap_or_default(),
                precision: Precision::Second,
            },
            end: None,
            status: SpanStatus::Unset,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
        },
        children: Vec::new(),
        may_annotate: false,
        diagnostics: Vec::new(),
    }
}
