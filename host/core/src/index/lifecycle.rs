//! The way of an object: mapped, and placed in a trace.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Index;
use super::effect::Effect;
use super::event::Job;
use super::resolve::{Missing, Resolution, Want};
use super::run::{Run, Sketch};
use super::schedule::Deadline;
use super::subject::{Life, Silence, Subject};
use crate::identity::{SpanId, TraceKey};
use crate::mapping::{
    Attribute, MappedSpan, Outcome, OwnerParent, Parent, SpanKind, SpanStatus, SpanTree, Text,
    Timestamp, TraceStart,
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
        self.note_mapped(uid);
        if self.awaits(now, uid) {
            return;
        }
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
        if self.awaits(now, uid) {
            return;
        }
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if subject.mapping.in_flight.is_some() || matches!(subject.life, Life::Finished(_)) {
            return;
        }
        let Some(watch) = subject.watch() else { return };
        self.ask(now, uid, watch);
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
        if subject.mapping.in_flight != Some((revision, watch)) {
            return;
        }
        subject.mapping.in_flight = None;
        let failed = outcome.is_none();
        let not_ours = matches!(outcome, Some(Outcome::NotOurs));
        let trees = match outcome {
            Some(Outcome::NotOurs) => {
                if let Some(next) = subject.watch_after(watch) {
                    self.ask(now, uid, next);
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
        if not_ours {
            subject.mapping.watch = None;
        } else {
            subject.claimed(watch);
        }
        if trees.is_empty() {
            self.no_spans(now, uid, not_ours);
        } else {
            self.take_trees(now, uid, trees, is_first, failed);
        }
        self.note_answer(uid, revision);
        self.map_soon(now, uid);
        self.export_ended(now, uid, false);
        self.release(now, uid);
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
        let (exported, dropped): (Vec<Run>, Vec<Run>) =
            runs.into_iter().partition(|run| run.exported);
        if !exported.is_empty() {
            subject.life = Life::Runs(exported);
            self.finish_if_exported(now, uid);
        } else {
            if not_ours {
                subject.life = Life::NotOurs;
            }
            if subject.deleted {
                let at = now.plus(self.settings.settle);
                self.schedule.add(at, Deadline::Silent(Uid::clone(uid)));
            }
        }
        self.drop_runs(now, uid, &dropped);
        self.pending.remove(uid);
        let waiting = self
            .names
            .waiting_for(&Want::Uid(Uid::clone(uid)))
            .collect();
        self.place_all(now, waiting);
    }

    /// The settle window of an object that is gone and had nothing to say has passed: it never will.
    pub(super) fn silent_due(&mut self, now: Time, uid: &Uid) {
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let silence = match subject.life {
            Life::Unknown => Silence::Waited,
            Life::NotOurs => Silence::NotOurs,
            Life::Runs(_) | Life::Finished(_) => return,
        };
        if !subject.is_mapped() {
            // Its mapping opens another window.
            return;
        }
        self.finish(now, uid, Some(silence));
        let waiting = self
            .names
            .waiting_for(&Want::Uid(Uid::clone(uid)))
            .collect();
        self.place_all(now, waiting);
    }

    /// Runs are not what an object has any more.
    pub(super) fn drop_runs(&mut self, now: Time, uid: &Uid, runs: &[Run]) {
        for run in runs {
            if let Some(key) = event_of(&run.resolution).or(run.counted.as_ref()) {
                self.job_gone(now, key, uid, &run.sketch.run);
            }
        }
    }

    /// Takes over what a mapper makes of an object. `plain`: that it could not be mapped.
    fn take_trees(
        &mut self,
        now: Time,
        uid: &Uid,
        trees: Vec<SpanTree>,
        is_first: bool,
        plain: bool,
    ) {
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
                    plain,
                    ..run
                },
                None => Run {
                    sketch,
                    tree,
                    resolution: Resolution::Pending(None),
                    ended: ended.then_some(now),
                    ended_at_first_sight: is_first && ended && !deleted,
                    exported: false,
                    plain,
                    counted: None,
                },
            });
        }
        // A version that cannot be mapped says nothing of other runs, and the plain span that stands for one is no
        // run of a later version. Of the only run of an object there is nothing left. Else a run that the object no
        // longer tells of is over.
        let (dropped, mut untold): (Vec<Run>, Vec<Run>) = before
            .into_iter()
            .partition(|run| !run.exported && (plain || run.plain || run.tree.is_none()));
        untold.sort_by(|left, right| left.sketch.run.cmp(&right.sketch.run));
        for mut run in untold {
            run.ended = run.ended.or(Some(now));
            runs.push(run);
        }
        for ended in runs.iter().filter_map(|run| run.ended) {
            self.schedule.add(
                ended.plus(self.settings.settle),
                Deadline::Settle(Uid::clone(uid)),
            );
        }
        let changed = children(&runs) != children_before;
        subject.life = Life::Runs(runs);
        self.drop_runs(now, uid, &dropped);
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
        let mut moved = Vec::new();
        while let Some(uid) = queue.pop_front() {
            if self.place(now, &uid) {
                queue.extend(self.names.waiting_for(&Want::Uid(Uid::clone(&uid))));
                moved.push(uid);
            }
        }
        // Not before all have found their places: on the way one may have been moved twice.
        for uid in moved {
            self.annotate(&uid);
            self.export_ended(now, &uid, false);
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
        let expired = subject.waits_since.plus(self.settings.orphan_deadline) <= now;
        let mut wants = BTreeSet::new();
        let mut fetch = Vec::new();
        let mut changes = Vec::new();
        let mut given_up = Vec::new();
        let mut jobs = Vec::new();
        let mut exported_before = Vec::new();
        let mut pending = false;
        for (place, run) in runs.iter().enumerate() {
            if run.exported {
                continue;
            }
            let mut found = self.resolve(subject, &run.sketch, expired && run.ended.is_some());
            wants.append(&mut found.wants);
            fetch.append(&mut found.fetch);
            if let Resolution::Resolved(place) = &mut found.resolution
                && place.depth <= 1
            {
                place.too_old |= run.is_old(self.settings.replay_window, subject.first_seen);
                if self.says_exported(subject, &subject.annotations, place.own.span_id) {
                    place.too_old = true;
                    exported_before.extend(place.event.clone());
                }
            }
            pending |= found.resolution.is_pending();
            if let Resolution::Resolved(place) = &found.resolution
                && let Some(key) = &place.event
                && !place.too_old
            {
                let missing = place.orphan.clone();
                let job = open_job(subject, run, missing);
                jobs.push((key.clone(), run.sketch.run.to_string(), job));
            }
            if found.resolution != run.resolution {
                if let Resolution::Resolved(place) = &found.resolution {
                    given_up.extend(place.orphan.clone());
                }
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
        for missing in given_up {
            self.count_siblings(uid, &missing);
        }
        for key in exported_before {
            self.event_exported_before(now, &key);
        }
        let told = self
            .subjects
            .get(uid)
            .and_then(|subject| self.says_received(subject));
        for (key, run, job) in jobs {
            self.job_seen(&key, uid, &run, job);
            if let Some(received) = told {
                self.receipt_told(&key, received);
            }
        }
        let mut left = Vec::new();
        if let Some(subject) = self.subjects.get_mut(uid)
            && let Life::Runs(runs) = &mut subject.life
        {
            for (place, resolution) in &changes {
                let Some(run) = runs.get_mut(*place) else {
                    continue;
                };
                let before = std::mem::replace(&mut run.resolution, resolution.clone());
                let before = event_of(&before).cloned().or(run.counted.take());
                if let Some(key) = before
                    && event_of(resolution) != Some(&key)
                {
                    left.push((key, run.sketch.run.to_string()));
                }
            }
        }
        for (key, run) in left {
            self.job_gone(now, &key, uid, &run);
        }
        !changes.is_empty()
    }

    /// The first of the orphans of a missing parent gives up. Its root stands for all of them, and those that still wait will
    /// come to the same end.
    fn count_siblings(&mut self, uid: &Uid, missing: &Missing) {
        let key = missing.trace();
        if self.is_event_known(&key) {
            return;
        }
        let mut counted = Vec::new();
        for sibling in self.names.waiting_for(&missing.want()) {
            let Some(subject) = self.subjects.get(&sibling) else {
                continue;
            };
            let Life::Runs(runs) = &subject.life else {
                continue;
            };
            if sibling == *uid {
                continue;
            }
            for (place, run) in runs.iter().enumerate() {
                if run.exported || !run.resolution.is_pending() {
                    continue;
                }
                let found = self.resolve(subject, &run.sketch, true);
                if event_of(&found.resolution) == Some(&key)
                    && let Resolution::Resolved(found) = found.resolution
                {
                    let job = open_job(subject, run, found.orphan);
                    counted.push((Uid::clone(&sibling), place, run.sketch.run.to_string(), job));
                }
            }
        }
        for (sibling, place, run, job) in counted {
            self.job_seen(&key, &sibling, &run, job);
            if let Some(subject) = self.subjects.get_mut(&sibling)
                && let Life::Runs(runs) = &mut subject.life
                && let Some(run) = runs.get_mut(place)
            {
                run.counted = Some(key.clone());
            }
        }
    }

    /// The deadline of an object has passed: what it waits for is not waited for any more.
    pub(super) fn orphan_due(&mut self, now: Time, uid: &Uid) {
        if self.pending.contains(uid) {
            self.place_all(now, vec![Uid::clone(uid)]);
            self.export_ended(now, uid, false);
        }
    }
}

/// What an event has to know of a run that has not ended.
fn open_job(subject: &Subject, run: &Run, missing: Option<Box<Missing>>) -> Job {
    let start = run.sketch.bounds.start;
    Job {
        created: subject.created.unwrap_or(start).min(start),
        error_type: run.sketch.error_type.clone(),
        end: None,
        missing,
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
            key: Text::default(),
            name: Text::from(&*reference.kind.kind),
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
