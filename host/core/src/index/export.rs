//! The end of an object's way: its spans leave, and only what its children need stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Index;
use super::assemble::{self, Assembly, Bounds};
use super::effect::Effect;
use super::event::Job;
use super::resolve::{Place, Resolution, Want};
use super::run::Run;
use super::schedule::Deadline;
use super::subject::{Adopter, Finished, Life, Subject};
use crate::context::SpanContext;
use crate::identity::TraceKey;
use crate::mapping::{Attribute, LinkTarget, MappedLink, SpanTree};
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
            let settled = |ended: Time| at_once || ended.plus(settle) <= now;
            !run.exported && run.ended.is_some_and(settled)
        };
        if !runs.iter().any(is_due) {
            return;
        }
        if !subject.is_mapped() && !at_once {
            self.map_now(now, uid);
            return;
        }
        let expired = subject.first_seen.plus(self.settings.orphan_deadline) <= now;
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
                        failed: run.sketch.failed,
                        end: Some(bounds.end),
                    };
                    (key, job)
                });
            }
        }
        if let Some(subject) = self.subjects.get_mut(uid)
            && let Life::Runs(runs) = &mut subject.life
            && let Some(run) = runs.get_mut(number)
        {
            run.exported = true;
            run.tree = None;
        }
        if !spans.is_empty() {
            self.counts.spans_exported += spans.len() as u64;
            self.effects.push(Effect::Export(spans));
        }
        if let (Some((key, job)), Some(observed)) = (job, observed) {
            // Orphans of one parent give up one by one.
            let observed = if is_orphan { self.now } else { observed };
            self.job_exported(&key, uid, observed, job);
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
        if place.orphan.is_some() || place.cyclic {
            marks.push(Attribute::new(marks::ORPHAN, true));
        }
        if tree.main.end.is_none() {
            let why = if subject.deleted { "deleted" } else { "latest" };
            marks.push(Attribute::new(marks::END, why));
        }
        if subject.omitted() > 0 {
            marks.push(Attribute::new(marks::OMITTED, i64::from(subject.omitted())));
        }
        let spans =
            std::iter::once(&tree.main).chain(tree.children.iter().map(|child| &child.span));
        let mut links: Vec<(Vec<Link>, u32)> = spans
            .map(|span| self.links(subject, span.start.time, &span.links))
            .collect();
        if let (Some(context), Some((main, _))) = (place.repeats, links.first_mut()) {
            main.push(Link {
                trace_id: context.trace_id,
                span_id: context.span_id,
                attributes: Vec::new(),
            });
        }
        let scope = subject
            .mapping
            .watch
            .and_then(|watch| self.catalog.scope(watch));
        assemble::spans(Assembly {
            uid: &subject.reference.uid,
            tree,
            own: place.own,
            parent: place.parent,
            scope: &scope.cloned().unwrap_or_else(assemble::host_scope),
            cluster_name: self.settings.cluster_name.as_deref(),
            bounds,
            links,
            marks,
        })
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
    fn finish_if_exported(&mut self, now: Time, uid: &Uid) {
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
        let context = runs.last().and_then(|run| match &run.resolution {
            Resolution::Resolved(place) => Some(place.adopter()),
            Resolution::Pending(_) | Resolution::Unrelated => None,
        });
        self.finish(now, uid, context, false);
        let waiting = self
            .names
            .waiting_for(&Want::Uid(Uid::clone(uid)))
            .collect();
        self.place_all(now, waiting);
    }

    /// Keeps of an object only what its children need.
    pub(super) fn finish(&mut self, now: Time, uid: &Uid, context: Option<Adopter>, waited: bool) {
        self.set_waits(uid, BTreeSet::new());
        self.pending.remove(uid);
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let (run, children) = match &mut subject.life {
            Life::Runs(runs) => runs.pop().map_or_else(Default::default, |last| {
                (last.sketch.run, last.sketch.children)
            }),
            _ => Default::default(),
        };
        subject.life = Life::Finished(Finished {
            context,
            waited,
            run,
            children,
            latest_attached: subject.attached.latest(),
        });
        subject.inputs = Vec::new();
        subject.attached.clear();
        subject.annotations = Default::default();
        subject.owners = Vec::new();
        if subject.deleted {
            self.schedule.add(
                now.plus(super::intake::MEMORY),
                Deadline::Forget(Uid::clone(uid)),
            );
        }
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
            LinkTarget::Target(target) => {
                let known = match &target.uid {
                    Some(uid) => self.subjects.get(uid.as_str()).map(Box::as_ref),
                    None => {
                        let kind = GroupKind {
                            group: target.group.as_str().into(),
                            kind: target.kind.as_str().into(),
                        };
                        let namespace = target.namespace.as_deref().map(Arc::from);
                        let namespace = namespace.or(subject.reference.namespace.clone());
                        self.named(&kind, namespace.as_ref(), &target.name.as_str().into())
                    }
                };
                let adopter = self.adopter(known?, &target.span, start)?;
                Some(adopter.context)
            }
        }
    }
}
