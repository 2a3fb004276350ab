//! Git events: the roots of traces. A root is no object of the cluster; it stands for a webhook and for the jobs
//! that it triggered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Index;
use super::assemble::{self, Assembly, Bounds};
use super::effect::Effect;
use super::names::shrink;
use super::resolve::Missing;
use super::schedule::Deadline;
use crate::context::SpanContext;
use crate::identity::TraceKey;
use crate::mapping::{Attribute, AttributeValue, SpanKind, SpanStatus, SpanTree};
use crate::marks;
use crate::object::Uid;
use crate::span::{Dropped, Resource, Scope, Span};
use crate::time::Time;

/// Name of a root whose webhook was never seen; the same as the built-in mapper gives the others.
const ROOT_NAME: &str = "LighthouseEvent";
/// Service of such a root.
const ROOT_SERVICE: &str = "WebHookEvent";

/// Class of an error. <https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/>
const ERROR_TYPE: &str = "error.type";
/// Its value where there is no better one.
const UNKNOWN_ERROR: &str = "_OTHER";

/// A git event.
#[derive(Debug, Default)]
pub(super) struct Event {
    webhook: Option<Box<WebhookRoot>>,
    /// By uid and run.
    jobs: BTreeMap<(Uid, String), Job>,
    /// How many of them are not exported yet.
    under_way: usize,
    /// When the last job was observed to have ended.
    settled_from: Option<Time>,
    exported: bool,
    /// When its webhook was received, as its jobs' annotations say.
    told_received: Option<Time>,
    /// Numbers of the webhooks that are needed until the root is exported.
    webhooks: Vec<u64>,
}

/// That a webhook was received.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub(super) received: Time,
    /// Under which it is kept.
    pub(super) number: Option<u64>,
    /// Tells webhooks of one event that were received at the same time apart.
    pub(super) json: Arc<str>,
}

/// What a webhook says of the root.
#[derive(Debug)]
struct WebhookRoot {
    receipt: Receipt,
    tree: SpanTree,
    scope: Arc<Scope>,
}

/// What the root needs to know of a job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) created: Time,
    /// The class of its error, if it failed.
    pub(super) error_type: Option<Arc<str>>,
    /// Its end, once it is exported.
    pub(super) end: Option<Time>,
    /// The root stands for a parent that never turned up, and this is one of its orphans.
    pub(super) missing: Option<Box<Missing>>,
}

impl Event {
    /// An event of which only this is known: whether its root is exported, and the jobs that are.
    pub(super) fn restored(
        exported: bool,
        jobs: BTreeMap<(Uid, String), Job>,
        settled_from: Time,
    ) -> Self {
        Self {
            exported,
            jobs,
            settled_from: Some(settled_from),
            ..Self::default()
        }
    }

    /// An event of which nothing is left but that it was exported.
    pub(super) fn over(received: Option<Time>) -> Self {
        Self {
            exported: true,
            told_received: received,
            ..Self::default()
        }
    }

    /// Whether its root is exported.
    pub(super) fn is_exported(&self) -> bool {
        self.exported
    }

    /// Whether there is something of it that its jobs in the index do not say.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.exported || self.exported_jobs().next().is_some()
    }

    /// Its jobs that are exported.
    pub(super) fn exported_jobs(&self) -> impl Iterator<Item = (&(Uid, String), &Job)> {
        self.jobs.iter().filter(|(_, job)| job.end.is_some())
    }

    /// When its webhook was received first.
    pub(super) fn received(&self) -> Option<Time> {
        let webhook = self.webhook.as_ref();
        webhook
            .map(|webhook| webhook.receipt.received)
            .or(self.told_received)
    }

    /// What the root stands for, if it is no event. Its orphans need not all call it by the same name.
    fn missing(&self) -> Option<&Missing> {
        let jobs = self.jobs.values();
        jobs.filter_map(|job| job.missing.as_deref()).min()
    }

    fn is_over(&self) -> bool {
        !self.jobs.is_empty() && self.under_way == 0
    }
}

impl Index {
    /// Whether the root of an event is exported.
    pub(super) fn is_event_exported(&self, key: &TraceKey) -> bool {
        match self.events.get(key) {
            Some(event) => event.exported,
            None => self.over(key).is_some(),
        }
    }

    /// Whether anything is known of an event.
    pub(super) fn is_event_known(&self, key: &TraceKey) -> bool {
        self.events.contains_key(key) || self.over(key).is_some()
    }

    /// When the webhook of an event was received first.
    pub(super) fn event_received(&self, key: &TraceKey) -> Option<Time> {
        match self.events.get(key) {
            Some(event) => event.received(),
            None => self.over(key).and_then(|event| event.received()),
        }
    }

    /// An event, to be changed.
    fn event(&mut self, key: &TraceKey) -> &mut Event {
        let over = if self.events.contains_key(key) {
            None
        } else {
            self.over(key)
        };
        let event = self.events.entry(key.clone());
        event.or_insert_with(|| over.unwrap_or_default())
    }

    /// A webhook was mapped to the root of an event. Of several webhooks of one event the first received counts.
    pub(super) fn root_mapped(
        &mut self,
        now: Time,
        key: TraceKey,
        receipt: Receipt,
        tree: SpanTree,
        scope: Arc<Scope>,
    ) {
        if self.is_event_exported(&key) {
            // It is too late for this one.
            return;
        }
        let event = self.events.entry(key.clone()).or_default();
        if let Some(number) = receipt.number {
            event.webhooks.push(number);
            self.changed.use_webhook(number);
        }
        let is_first = event.webhook.as_ref().is_none_or(|known| {
            let known = &known.receipt;
            (receipt.received, &receipt.json) < (known.received, &known.json)
        });
        if is_first {
            event.webhook = Some(Box::new(WebhookRoot {
                receipt,
                tree,
                scope,
            }));
        }
        if event.jobs.is_empty() {
            self.schedule.add(
                now.plus(self.settings.orphan_deadline),
                Deadline::Jobless(key),
            );
        }
    }

    /// A job of an event is known; or an orphan of a missing parent.
    pub(super) fn job_seen(&mut self, key: &TraceKey, uid: &Uid, run: &str, job: Job) {
        let event = self.event(key);
        let id = (Uid::clone(uid), run.to_owned());
        let known = event.jobs.get(&id);
        let is_late = event.exported && known.is_none();
        event.under_way += usize::from(known.is_none());
        let end = known.and_then(|known| known.end);
        event.jobs.insert(id, Job { end, ..job });
        self.counts.late_jobs += u64::from(is_late);
    }

    /// A job says when the webhook of its event was received.
    pub(super) fn receipt_told(&mut self, key: &TraceKey, received: Time) {
        if let Some(event) = self.events.get_mut(key) {
            let told = event.told_received;
            event.told_received = Some(told.map_or(received, |told| told.min(received)));
        }
    }

    /// A job says that the root of its event was exported before anything was known here.
    pub(super) fn event_exported_before(&mut self, now: Time, key: &TraceKey) {
        if self.is_event_exported(key) {
            return;
        }
        let event = self.events.entry(key.clone()).or_default();
        event.exported = true;
        event.webhook = None;
        for number in std::mem::take(&mut event.webhooks) {
            self.changed.webhook_unused(number);
        }
        self.changed.event(key);
        self.forget_jobs_later(now, key);
    }

    /// An object turned out not to be a job of this event.
    pub(super) fn job_gone(&mut self, now: Time, key: &TraceKey, uid: &Uid, run: &str) {
        if let Some(event) = self.events.get_mut(key) {
            let gone = event.jobs.remove(&(Uid::clone(uid), run.to_owned()));
            event.under_way -= usize::from(gone.is_some_and(|job| job.end.is_none()));
            let over = event.is_over() && !event.exported;
            let jobless = event.jobs.is_empty() && !event.exported;
            let done = event.exported && event.under_way == 0;
            if over {
                self.schedule
                    .add(now.plus(self.settings.settle), Deadline::Event(key.clone()));
            }
            if jobless {
                self.schedule.add(
                    now.plus(self.settings.orphan_deadline),
                    Deadline::Jobless(key.clone()),
                );
            }
            if done {
                self.forget_jobs_later(now, key);
            }
        }
    }

    /// A job of an event was exported. `observed`: when its end was.
    pub(super) fn job_exported(
        &mut self,
        key: &TraceKey,
        uid: &Uid,
        run: &str,
        observed: Time,
        job: Job,
    ) {
        let Some(event) = self.events.get_mut(key) else {
            return;
        };
        let before = event.jobs.insert((Uid::clone(uid), run.to_owned()), job);
        self.changed.event(key);
        event.under_way -= usize::from(before.is_some_and(|job| job.end.is_none()));
        event.settled_from = event.settled_from.max(Some(observed));
        if event.exported {
            self.mark_exported(uid);
            self.forget_jobs_later(self.now, key);
        } else if event.is_over() {
            let from = event.settled_from.unwrap_or(observed);
            self.schedule.add(
                from.plus(self.settings.settle),
                Deadline::Event(key.clone()),
            );
        }
    }

    /// The settle window of an event has passed.
    pub(super) fn event_due(&mut self, now: Time, key: &TraceKey) {
        let Some(event) = self.events.get(key) else {
            return;
        };
        let settled = event
            .settled_from
            .is_none_or(|from| from.plus(self.settings.settle) <= now);
        if event.exported || !event.is_over() || !settled || self.hold_root(now, key) {
            return;
        }
        self.export_root(now, key);
    }

    fn export_root(&mut self, now: Time, key: &TraceKey) {
        let Some(event) = self.events.get_mut(key) else {
            return;
        };
        event.exported = true;
        let spans = root(key, event, self.settings.cluster_name.as_deref());
        // The next to come only needs to know that the root is gone.
        event.webhook = None;
        for number in std::mem::take(&mut event.webhooks) {
            self.changed.webhook_unused(number);
        }
        self.changed.event(key);
        if !self.drains {
            let jobs = event.jobs.keys().map(|(uid, _)| Uid::clone(uid));
            for uid in jobs.collect::<BTreeSet<Uid>>() {
                self.mark_exported(&uid);
            }
        }
        self.counts.spans_exported += spans.len() as u64;
        self.effects.push(Effect::Export(spans));
        self.forget_jobs_later(now, key);
    }

    /// All events whose jobs have ended, without waiting for their settle windows.
    pub(super) fn events_over(&mut self, now: Time) {
        let mut over: Vec<TraceKey> = self
            .events
            .iter()
            .filter(|(_, event)| event.is_over() && !event.exported)
            .map(|(key, _)| key.clone())
            .collect();
        over.sort();
        for key in over {
            self.export_root(now, &key);
        }
    }

    /// A webhook has waited for a job long enough.
    pub(super) fn jobless_due(&mut self, key: &TraceKey) {
        let jobless = self
            .events
            .get(key)
            .is_some_and(|event| event.jobs.is_empty() && !event.exported);
        if jobless && let Some(event) = self.events.remove(key) {
            self.counts.webhooks_without_job += u64::from(event.webhook.is_some());
            for number in event.webhooks {
                self.changed.webhook_unused(number);
            }
        }
    }

    /// Of an event that is over little need be known, once its jobs are not told again.
    pub(super) fn forget_jobs_later(&mut self, now: Time, key: &TraceKey) {
        let at = now.plus(self.settings.orphan_deadline);
        self.schedule.add(at, Deadline::ForgetJobs(key.clone()));
    }

    /// The jobs of an exported event that are exported too need not be remembered.
    pub(super) fn forget_jobs_due(&mut self, now: Time, key: &TraceKey) {
        let Some(event) = self.events.get_mut(key).filter(|event| event.exported) else {
            return;
        };
        event.jobs.retain(|_, job| job.end.is_none());
        if event.jobs.is_empty() {
            let received = event.received();
            self.events.remove(key);
            shrink(&mut self.events);
            self.changed.event(key);
            self.remember(now, key.trace_id(), received);
        }
    }
}

/// The root span and what the webhook has below it; without a webhook, a root that stands for it.
fn root(key: &TraceKey, event: &Event, cluster_name: Option<&str>) -> Vec<Span> {
    let created = event.jobs.values().map(|job| job.created).min();
    let received = event.received();
    let start = match (created, received) {
        (Some(created), Some(received)) => created.min(received),
        (created, received) => created.or(received).unwrap_or_default(),
    };
    let end = event.jobs.values().filter_map(|job| job.end).max();
    let bounds = Bounds {
        start,
        end: end.unwrap_or(start).max(start),
    };
    let own = SpanContext {
        trace_id: key.trace_id(),
        span_id: match event.missing() {
            Some(missing) => missing.span_id(),
            None => key.root_span_id(),
        },
    };
    let mut spans = match (&event.webhook, event.missing()) {
        (Some(webhook), _) => assemble::spans(Assembly {
            uid: &format!("root:{key}"),
            tree: &webhook.tree,
            own,
            parent: None,
            scope: &webhook.scope,
            cluster_name,
            bounds,
            links: Vec::new(),
            marks: Vec::new(),
        }),
        (None, None) => {
            let mut marks = vec![Attribute::new(marks::TRACE_KEY, key.as_str())];
            if event.told_received.is_some() {
                marks.insert(0, Attribute::new(marks::REBUILT, true));
            }
            vec![synthesised(
                own,
                bounds,
                ROOT_NAME,
                assemble::resource(ROOT_SERVICE, Vec::new(), cluster_name),
                marks,
            )]
        }
        (None, Some(missing)) => {
            let namespace = |key| {
                let namespace = missing.namespace.as_deref();
                namespace.map(|namespace| Attribute::new(key, namespace))
            };
            let mut attributes = vec![Attribute::new("k8s.object.name", &*missing.name)];
            attributes.extend(
                missing
                    .uid
                    .as_deref()
                    .map(|uid| Attribute::new("k8s.object.uid", uid)),
            );
            attributes.extend(namespace("k8s.namespace.name"));
            let resource = namespace("service.namespace").into_iter().collect();
            vec![synthesised(
                own,
                bounds,
                &missing.kind.kind,
                assemble::resource(&missing.kind.kind, resource, cluster_name),
                attributes,
            )]
        }
    };
    if let Some(root) = spans.first_mut()
        && root.status == SpanStatus::Unset
    {
        fail_with_jobs(root, event);
    }
    spans
}

/// Marks a root as failed if jobs of its event did: with the class of their errors, if it is one and the same.
fn fail_with_jobs(root: &mut Span, event: &Event) {
    let jobs = event.jobs.values();
    let failed: Vec<_> = jobs.filter_map(|job| job.error_type.as_deref()).collect();
    let Some(first) = failed.first() else {
        return;
    };
    let same = failed.iter().all(|error_type| error_type == first);
    let error_type = if same { first } else { UNKNOWN_ERROR };
    root.attributes
        .retain(|attribute| attribute.key != ERROR_TYPE);
    root.attributes.push(Attribute::new(ERROR_TYPE, error_type));
    let (failed, all) = (failed.len(), event.jobs.len());
    let what = match event.missing() {
        Some(_) => "children",
        None => "jobs",
    };
    root.status = SpanStatus::Error(format!("{failed} of {all} {what} failed"));
}

/// The class of the error that a run ended with, if it failed.
pub(super) fn error_type(tree: &SpanTree) -> Option<Arc<str>> {
    if !matches!(tree.main.status, SpanStatus::Error(_)) {
        return None;
    }
    let mut attributes = tree.main.attributes.iter();
    let told = attributes.find_map(|attribute| match &attribute.value {
        AttributeValue::Text(text) if attribute.key == ERROR_TYPE => Some(text.as_str()),
        _ => None,
    });
    Some(told.unwrap_or(UNKNOWN_ERROR).into())
}

/// A span that stands for something never seen.
fn synthesised(
    own: SpanContext,
    bounds: Bounds,
    name: &str,
    resource: Arc<Resource>,
    attributes: Vec<Attribute>,
) -> Span {
    let mut marks = vec![Attribute::new(marks::SYNTHESISED, true)];
    marks.extend(attributes);
    Span {
        trace_id: own.trace_id,
        span_id: own.span_id,
        parent: None,
        name: name.into(),
        kind: SpanKind::Internal,
        start: bounds.start,
        end: bounds.end,
        status: SpanStatus::Unset,
        attributes: marks,
        events: Vec::new(),
        links: Vec::new(),
        dropped: Dropped::default(),
        resource,
        scope: assemble::host_scope(),
    }
}
