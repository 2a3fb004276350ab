//! Which annotations an object should carry.

use std::sync::Arc;

use super::Index;
use super::effect::{Annotate, Effect};
use super::fact::Annotated;
use super::resolve::Resolution;
use super::subject::{Life, Subject};
use super::texts::Pairs;
use crate::context::Mark;
use crate::description::AnnotationValue;
use crate::identity::SpanId;
use crate::object::Uid;
use crate::time::Time;

/// Spans that are at most so far from the root are annotated first: the event's jobs and what they start.
const URGENT_DEPTH: u32 = 2;

impl Index {
    /// Asks for the annotations of an object, when it is safe and they are not there yet.
    pub(super) fn annotate(&mut self, uid: &Uid) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let Life::Runs(runs) = &subject.life else {
            return;
        };
        // Of several runs the one that is under way, else the last.
        let run = runs
            .iter()
            .rev()
            .find(|run| run.ended.is_none())
            .or(runs.last());
        let Some(run) = run else { return };
        let Resolution::Resolved(place) = &run.resolution else {
            return;
        };
        if subject.deleted
            || !run.sketch.may_annotate
            || run.ended_at_first_sight
            || place.orphan.is_some()
            || subject.annotated == Some(place.own)
        {
            return;
        }
        let Some(watch) = subject.mapping.watch else {
            return;
        };
        let urgent = place.depth <= URGENT_DEPTH;
        let mut annotations = Vec::new();
        for annotation in self.catalog.annotations(watch) {
            let key = annotation.key.as_str();
            let present = subject.annotations.get(key);
            let wanted = match annotation.value {
                AnnotationValue::Exported => continue,
                AnnotationValue::Traceparent => place.own.traceparent(),
                AnnotationValue::TraceId => place.own.trace_id.to_string(),
                AnnotationValue::Tracestate => {
                    // The time of receipt may have become known since; that is not worth a patch.
                    let mark = present.and_then(Mark::parse);
                    if mark.is_some_and(|mark| {
                        mark.span_id == place.own.span_id && mark.replaced == place.replaces
                    }) {
                        continue;
                    }
                    place
                        .own
                        .tracestate_in_place_of(place.replaces, place.received)
                }
            };
            if present != Some(wanted.as_str()) {
                annotations.push((Arc::from(key), Arc::from(wanted)));
            }
        }
        subject.annotated = Some(place.own);
        if !annotations.is_empty() {
            self.effects.push(Effect::Annotate(Annotate {
                object: subject.reference.clone(),
                annotations,
                urgent,
            }));
        }
    }

    /// Asks for the annotation that says that a job was exported with all of its trace, so that whoever knows of the
    /// cluster alone leaves it alone. An object that we have not annotated before is left as it is.
    pub(super) fn mark_exported(&mut self, uid: &Uid) {
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let (Some(own), Some(watch)) = (subject.annotated, subject.mapping.watch) else {
            return;
        };
        let annotations = self.catalog.annotations(watch).iter();
        let exported =
            annotations.filter(|annotation| annotation.value == AnnotationValue::Exported);
        let annotations: Vec<(Arc<str>, Arc<str>)> = exported
            .map(|annotation| {
                (
                    annotation.key.as_str().into(),
                    own.span_id.to_string().into(),
                )
            })
            .collect();
        if subject.deleted || annotations.is_empty() {
            return;
        }
        self.effects.push(Effect::Annotate(Annotate {
            object: subject.reference.clone(),
            annotations,
            urgent: false,
        }));
    }

    /// A job that is exported was seen with these annotations: the one that says so may have been lost with a process.
    pub(super) fn mark_again(&mut self, uid: &Uid, annotations: &Pairs) {
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let (Some(own), Life::Finished(finished)) = (subject.annotated, &subject.life) else {
            return;
        };
        let mut events = finished.runs.iter().filter_map(|run| run.event.as_ref());
        let is_whole = events.any(|key| self.is_event_exported(key));
        if is_whole && !self.says_exported(subject, annotations, own.span_id) {
            self.mark_exported(uid);
        }
    }

    /// Whether the annotations of an object say of its main span that it was exported.
    pub(super) fn says_exported(
        &self,
        subject: &Subject,
        annotations: &Pairs,
        own: SpanId,
    ) -> bool {
        let Some(watch) = subject.mapping.watch else {
            return false;
        };
        let mut keys = self.catalog_of(watch).annotations(watch).iter();
        keys.any(|annotation| {
            let said = || annotations.get(&annotation.key);
            annotation.value == AnnotationValue::Exported
                && said().is_some_and(|said| SpanId::parse(said) == Some(own))
        })
    }

    /// When the webhook of an object's event was received, if the object says so of itself.
    pub(super) fn says_received(&self, subject: &Subject) -> Option<Time> {
        self.own_mark(subject)?.received
    }

    /// What an object's own context says that was written before.
    pub(super) fn own_mark(&self, subject: &Subject) -> Option<Mark> {
        let own = SpanId::of(&subject.key, "", "");
        let watch = subject.mapping.watch?;
        let keys = self.catalog_of(watch).annotations(watch).iter();
        let states = keys.filter(|annotation| annotation.value == AnnotationValue::Tracestate);
        let said = states.filter_map(|annotation| subject.annotations.get(&annotation.key));
        said.filter_map(Mark::parse)
            .find(|mark| mark.span_id == own)
    }

    /// Annotations were set, or never will be.
    pub(super) fn annotated(&mut self, annotated: Annotated) {
        match annotated {
            Annotated::Done => self.counts.annotated += 1,
            Annotated::Impossible => self.counts.not_annotated += 1,
        }
    }
}
