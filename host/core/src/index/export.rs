//! The end of an object's way: its spans leave, and only what its children need stays.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Index;
use super::assemble::{self, Assembly, Bounds};
use super::effect::Effect;
use super::event::Job;
use super::resolve::{Place, Resolution, Want};
use super::run::{Run, run_at};
use super::schedule::Deadline;
use super::subject::{Finished, FinishedRun, Life, Silence, Subject};
use crate::context::SpanContext;
use crate::identity::TraceKey;
use crate::mapping::{Attribute, AttributeValue, LinkTarget, MappedLink, SpanTree, Timestamp};
use crate::marks;
use crate::object::{GroupKind, Uid};
use crate::span::{Link, Span};
use crate::time::Time;

impl Index {
    /// Exports the runs of an object that have ended and settled, as soon as they are mapped for the last time. `at_once`: does not wait for the settle window
    /// nor for another mapping.
    pub(super) fn export_ended(&mut self, now: Time, uid: &Uid, at_once: bool) {
        let settle = self.settings.settle;
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let Life::Runs(runs) = &subject.life else {
            return;
        };
        let is_due = |run: &Run| {
            // There is nothing to wait for where nothing will be exported.
            let settled = |ended: Time| at_once || run.is_left_alone() || ended.plus(settle) <= now;
            !run.exported && run.ended.is_some_and(settled)
        };
        if !runs.iter().any(is_due) {
            if subject.is_mapped() {
                self.finish_if_exported(now, uid);
            }
            return;
        }
        if !subject.is_mapped() && !at_once {
            self.map_now(now, uid);
            return;
        }
        let expired = subject.waits_since.plus(self.settings.orphan_deadline) <= now;
        if expired && self.pending.contains(uid) {
            self.place(now, uid);
        }
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let Life::Runs(runs) = &subject.life else {
            return;
        };
        let due: Vec<usize> = (0..)
            .zip(runs)
            .filter(|(_, run)| is_due(run) && !run.resolution.is_pending())
            .map(|(place, _)| place)
            .collect();
        if due.is_empty() || (!at_once && self.hold_object(now, uid)) {
            return;
        }
        for place in due {
            self.export_run(uid, place);
        }
        self.finish_if_exported(now, uid);
    }

    /// Exports a run whose place is known.
    fn export_run(&mut self, uid: &Uid, number: usize) {
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let Life::Runs(runs) = &subject.life else {
            return;
        };
        let Some(run) = runs.get(number) else { return };
        let observed = run.ended;
        let mut spans = Vec::new();
        let mut job = None;
        let mut is_orphan = false;
        match &run.resolution {
            Resolution::Pending(_) => return,
            Resolution::Unrelated => self.counts.unrelated += 1,
            Resolution::Resolved(place) if place.too_old => self.counts.too_old += 1,
            Resolution::Resolved(place) => {
                let Some(tree) = &run.tree else { return };
                let bounds = run.sketch.bounds;
                spans = self.assemble(subject, tree, place, bounds);
                is_orphan = place.orphan.is_some();
                if is_orphan {
                    self.counts.orphans_exported += 1;
                }
                let created = subject.created.unwrap_or(bounds.start);
                job = place.event.clone().map(|key| {
                    let job = Job {
                        created: created.min(bounds.start),
                        error_type: run.sketch.error_type.clone(),
                        end: Some(bounds.end),
                        missing: place.orphan.clone(),
                    };
                    (key, run.sketch.run.to_string(), job)
                });
            }
        }
        if let Some(subject) = self.subjects.get_mut(uid)
            && let Life::Runs(runs) = &mut subject.life
            && let Some(run) = runs.get_mut(number)
        {
            run.exported = true;
            run.tree = None;
            if spans.is_empty() {
                // That it is left alone is no news to anybody.
                self.changed.subject(uid);
            } else {
                self.changed.subject_for_good(uid);
            }
        }
        if !spans.is_empty() {
            self.counts.spans_exported += spans.len() as u64;
            self.effects.push(Effect::Export(spans));
        }
        if let (Some((key, run, job)), Some(observed)) = (job, observed) {
            // Orphans of one parent give up one by one.
            let observed = if is_orphan { self.now } else { observed };
            self.job_exported(&key, uid, &run, observed, job);
        }
    }

    fn assemble(
        &self,
        subject: &Subject,
        tree: &SpanTree,
        place: &Place,
        bounds: Bounds,
    ) -> Vec<Span> {
        let mut marks = Vec::new();
        if subject.key != subject.reference.uid {
            marks.push(Attribute::new(marks::IDENTITY, &*subject.key));
        }
        if place.orphan.is_some() || place.cyclic {
            marks.push(Attribute::new(marks::ORPHAN, true));
        }
        if let Some(seconds) = self.skew(place, tree.main.start) {
            let seconds = AttributeValue::Number(seconds);
            marks.push(Attribute::new(marks::SKEW, seconds));
        }
        let mut tree = Cow::Borrowed(tree);
        let is_mark = |attribute: &Attribute| attribute.key == marks::END;
        let is_unwatched = self.unwatched.contains(&subject.key);
        if tree.main.end.is_none() || is_unwatched && tree.main.attributes.iter().any(is_mark) {
            let why = match subject.deleted {
                true if is_unwatched => "unwatched",
                true => "deleted",
                false => "latest",
            };
            if is_unwatched {
                // Its mapper can only think that the object was deleted.
                let attributes = &mut tree.to_mut().main.attributes;
                attributes.retain(|attribute| !is_mark(attribute));
            }
            marks.push(Attribute::new(marks::END, why));
        }
        let omitted = subject.mapping.watch.map(|watch| subject.omitted(watch));
        if let Some(omitted) = omitted.filter(|omitted| *omitted > 0) {
            marks.push(Attribute::new(marks::OMITTED, i64::from(omitted)));
        }
        let spans =
            std::iter::once(&tree.main).chain(tree.children.iter().map(|child| &child.span));
        let mut links: Vec<(Vec<Link>, u32)> = spans
            .map(|span| self.links(subject, span.start.time, &span.links))
            .collect();
        if let (Some(context), Some((main, _))) = (place.repeats(), links.first_mut()) {
            main.push(Link {
                trace_id: context.trace_id,
                span_id: context.span_id,
                attributes: Vec::new(),
            });
        }
        let scope = subject
            .mapping
            .watch
            .and_then(|watch| self.catalog_of(watch).scope(watch));
        assemble::spans(Assembly {
            uid: &subject.key,
            tree: &tree,
            own: place.own,
            parent: place.parent,
            scope: &scope.cloned().unwrap_or_else(assemble::host_scope),
            cluster_name: self.settings.cluster_name.as_deref(),
            bounds,
            links,
            marks,
        })
    }

    /// By how many seconds an object starts before its parent does, if that is more than what its start is known to.
    fn skew(&self, place: &Place, start: Timestamp) -> Option<f64> {
        let parent = self.subjects.get(place.parent_object.as_ref()?)?;
        let above = match &parent.life {
            Life::Runs(runs) => run_at(runs, start.time)?.sketch.bounds.start,
            Life::Finished(finished) => run_at(&finished.runs, start.time)?.start,
            Life::Unknown | Life::NotOurs => return None,
        };
        let before = above.since(start.time);
        let is_skew = !before.is_zero() && before >= start.precision.duration();
        is_skew.then_some(before.as_secs_f64())
    }

    /// The links whose targets are known, and how many are not.
    fn links(&self, subject: &Subject, start: Time, links: &[MappedLink]) -> (Vec<Link>, u32) {
        let mut known = Vec::with_capacity(links.len());
        let mut unknown = 0;
        for link in links {
            match self.link_target(subject, start, &link.to) {
                Some(context) => known.push(Link {
                    trace_id: context.trace_id,
                    span_id: context.span_id,
                    attributes: link.attributes.clone(),
                }),
                None => unknown += 1,
            }
        }
        (known, unknown)
    }

    /// An object that has exported all its runs is finished, if it runs but once or is gone.
    pub(super) fn finish_if_exported(&mut self, now: Time, uid: &Uid) {
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let Life::Runs(runs) = &subject.life else {
            return;
        };
        let once = runs.iter().all(|run| run.sketch.run.is_empty());
        if !runs.iter().all(|run| run.exported) || !(once || subject.deleted) {
            return;
        }
        self.finish(now, uid, None);
        let waiting = self
            .names
            .waiting_for(&Want::Uid(Uid::clone(uid)))
            .collect();
        self.place_all(now, waiting);
    }

    /// Keeps of an object only what its children need.
    pub(super) fn finish(&mut self, now: Time, uid: &Uid, silence: Option<Silence>) {
        self.set_waits(uid, BTreeSet::new());
        self.pending.remove(uid);
        self.awaiting.remove(uid);
        let memory = self.memory_of(uid);
        let was_annotated = self
            .subjects
            .get(uid)
            .is_some_and(|subject| self.own_mark(subject).is_some());
        let window = self.settings.replay_window;
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let (runs, passed_over): (Box<[FinishedRun]>, bool) = match &subject.life {
            Life::Runs(runs) => (
                runs.iter().map(FinishedRun::of).collect(),
                runs.iter()
                    .all(|run| run.is_left_alone() && run.is_old(window, subject.first_seen)),
            ),
            _ => (Box::default(), false),
        };
        if subject.annotated.is_none() && was_annotated {
            // By a process before this one.
            let adopter = runs.last().and_then(|run| run.adopter);
            subject.annotated = adopter.map(|adopter| adopter.context);
        }
        subject.life = Life::Finished(Finished {
            runs,
            silence,
            latest_attached: subject.attached.latest(),
            passed_over,
        });
        subject.inputs = Vec::new();
        subject.attached.clear();
        subject.annotations = Default::default();
        // Children of an object that is nobody's hang from its owners.
        if silence != Some(Silence::NotOurs) {
            subject.owners = Box::default();
        }
        if passed_over {
            self.changed.subject(uid);
        } else {
            self.changed.subject_for_good(uid);
        }
        if subject.deleted {
            self.schedule
                .add(now.plus(memory), Deadline::Forget(Uid::clone(uid)));
        }
        self.note_mapped(uid);
    }

    fn link_target(
        &self,
        subject: &Subject,
        start: Time,
        target: &LinkTarget,
    ) -> Option<SpanContext> {
        let root = |key: TraceKey| SpanContext {
            trace_id: key.trace_id(),
            span_id: key.root_span_id(),
        };
        match target {
            LinkTarget::Event(key) => Some(root(TraceKey::event(key))),
            LinkTarget::PullRequest(pull_request) => {
                Some(root(TraceKey::pull_request(pull_request)))
            }
            LinkTarget::Traceparent(text) => SpanContext::parse(text),
            LinkTarget::Target(named) => {
                let known = self.target(subject, target)?;
                // Whether its deadline has passed yet depends on when it was first seen.
                let adopter = self.adopter(known, &named.span, start)?;
                (!adopter.by_deadline).then_some(adopter.context)
            }
        }
    }

    /// The object that a link leads to.
    pub(super) fn target(&self, subject: &Subject, to: &LinkTarget) -> Option<&Subject> {
        let LinkTarget::Target(target) = to else {
            return None;
        };
        let kind = GroupKind {
            group: target.group.as_str().into(),
            kind: target.kind.as_str().into(),
        };
        let namespace = target.namespace.as_deref().map(Arc::from);
        let namespace = namespace.or(subject.reference.namespace.clone());
        let name = target.name.as_str().into();
        if let Some(uid) = &target.uid {
            return self.owner_of(&uid.as_str().into(), &kind, namespace.as_ref(), &name);
        }
        self.named(&kind, namespace.as_ref(), &name)
    }
}

impl FinishedRun {
    pub(super) fn of(run: &Run) -> Self {
        let place = match &run.resolution {
            Resolution::Resolved(place) => Some(place),
            Resolution::Pending(_) | Resolution::Unrelated => None,
        };
        Self {
            run: run.sketch.run.clone(),
            start: run.sketch.bounds.start,
            adopter: place.map(Place::adopter),
            event: place.and_then(|place| place.event.clone()),
            parent: place.and_then(|place| place.parent_object.clone()),
            children: run.sketch.children.clone(),
        }
    }
}
