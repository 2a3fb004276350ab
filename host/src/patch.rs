//! Sets annotations on objects, and nothing else.
//!
//! A patch is a JSON merge patch of annotations without a resource version, so that it conflicts with nobody.
//! It carries the uid: the API server refuses it where another object of the same name has taken the place.
//! The queue is bounded and rate-limited, has one entry an object, and takes urgent ones first. Where a right is missing
//! the objects of that kind wait, and one of them is tried now and then. Whatever
//! becomes of a patch, the index is told. Nothing but interoperability depends on it: ids are derived.

mod queue;
mod rate;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use lighthouse_telemetry_core::index::{Annotate, Annotated, Fact};
use lighthouse_telemetry_core::object::{GroupKind, ObjectReference};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kinds::{KindError, Kinds, reason};
use crate::leader::Permit;
use crate::metrics::Metrics;
use queue::{Job, Queue};
use rate::Rate;

/// How patches are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At most so many a second.
    pub per_second: u32,
    /// At most so many objects wait; what comes on top is given up.
    pub capacity: usize,
    /// At once.
    pub workers: usize,
    /// For one request.
    pub timeout: Duration,
    /// Before the second attempt; doubles with each, up to half a minute.
    pub first_pause: Duration,
    /// How often a kind that may not be patched is tried.
    pub forbidden_pause: Duration,
    /// A patch that did not succeed after so long is given up: its object has probably ended.
    pub give_up: Duration,
}

impl Settings {
    /// The defaults at this rate.
    #[must_use]
    pub const fn at(per_second: u32) -> Self {
        Self {
            per_second,
            capacity: 10_000,
            workers: 4,
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_millis(500),
            forbidden_pause: LONGEST_PAUSE,
            give_up: Duration::from_secs(900),
        }
    }
}

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A merge patch without resource version conflicts only while the object is written very often, and the API
/// server has tried five times then; or because the uid is another one.
const CONFLICTS: u32 = 3;

/// Takes annotations to be set.
#[derive(Debug)]
pub struct Patches {
    room: Arc<Room>,
    workers: JoinSet<()>,
}

struct Room {
    settings: Settings,
    kinds: Arc<Kinds>,
    queue: Queue,
    rate: Rate,
    results: UnboundedSender<Fact>,
    metrics: Metrics,
    permit: Permit,
    /// Kinds for which the missing permission was reported.
    reported: Mutex<BTreeSet<GroupKind>>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Room")
            .field("settings", &self.settings)
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

/// What one attempt came to.
enum Attempt {
    Done,
    Gone,
    Refused(String),
    Forbidden(String),
    Conflict(String),
    /// To be tried again, not before the pause that the API server asked for.
    Later(String, Option<Duration>),
}

impl Patches {
    /// Starts the workers.
    #[must_use]
    pub fn start(
        settings: Settings,
        kinds: Arc<Kinds>,
        results: UnboundedSender<Fact>,
        metrics: Metrics,
        permit: Permit,
    ) -> Self {
        let room = Arc::new(Room {
            settings,
            kinds,
            queue: Queue::new(settings.capacity),
            rate: Rate::new(settings.per_second),
            results,
            metrics,
            permit,
            reported: Mutex::default(),
        });
        let mut workers = JoinSet::new();
        for _ in 0..settings.workers {
            let room = Arc::clone(&room);
            workers.spawn(async move { room.work().await });
        }
        Self { room, workers }
    }

    /// Queues annotations; those of an object that waits already are joined. Never waits.
    pub fn push(&self, annotate: Annotate) {
        if let Err(refused) = self.room.queue.push(annotate) {
            self.room.metrics.patch("queue-full");
            self.room
                .answer(refused.object.uid.clone(), Annotated::Impossible);
        }
    }

    /// How many objects wait or are being patched. Those of a kind that may not be patched do not count: nobody should wait
    /// for them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.queue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the workers where they are.
    pub async fn stop(mut self) {
        self.workers.shutdown().await;
    }
}

impl Room {
    async fn work(&self) {
        loop {
            self.queue.ready().await;
            self.rate.turn().await;
            // Another worker may have been faster.
            let Some(job) = self.queue.take() else {
                continue;
            };
            self.permit.wait().await;
            let attempt = self.attempt(&job.annotate).await;
            self.conclude(&job, attempt);
        }
    }

    async fn attempt(&self, annotate: &Annotate) -> Attempt {
        let object = &annotate.object;
        let request = async {
            let served = match self.kinds.resolve(&object.kind, &object.version).await {
                Ok(served) => served,
                Err(KindError::Absent) => return Attempt::Gone,
                Err(KindError::Failed(error)) => return self.judge(&error, String::new),
            };
            let api = served.api::<DynamicObject>(self.kinds.client(), object.namespace.as_deref());
            let parameters = PatchParams {
                field_manager: Some("lighthouse-telemetry".to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(body(annotate));
            match api.patch_metadata(&object.name, &parameters, &patch).await {
                Ok(_) => Attempt::Done,
                Err(error) => self.judge(&error, || served.rule(&["patch"])),
            }
        };
        match tokio::time::timeout(self.settings.timeout, request).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Later("the API server did not answer in time".to_owned(), None),
        }
    }

    fn judge(&self, error: &kube::Error, rule: impl FnOnce() -> String) -> Attempt {
        let status = match error {
            kube::Error::Api(status) => status,
            // A name of which no address can be made, as no API server lets it in: the next attempt makes none either.
            kube::Error::BuildRequest(_) => return Attempt::Refused(reason(error)),
            _ => return Attempt::Later(reason(error), None),
        };
        match status.code {
            404 | 410 => Attempt::Gone,
            403 => Attempt::Forbidden(rule()),
            409 => Attempt::Conflict(reason(error)),
            // How kube-apiserver says that the uid is another one.
            422 if status.message.contains("metadata.uid") => Attempt::Gone,
            // Also without credentials for a while: a token is renewed.
            401 | 429 | 500..=599 => {
                let seconds = status
                    .details
                    .as_ref()
                    .map_or(0, |details| details.retry_after_seconds);
                let pause = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
                Attempt::Later(reason(error), pause)
            }
            _ => Attempt::Refused(reason(error)),
        }
    }

    fn conclude(&self, job: &Job, attempt: Attempt) {
        let object = &job.annotate.object;
        let (outcome, annotated) = match attempt {
            Attempt::Done => ("done", Annotated::Done),
            Attempt::Gone => ("gone", Annotated::Impossible),
            Attempt::Refused(reason) => {
                tracing::warn!(kind = %object.kind.kind, "an annotation was refused: {reason}");
                ("refused", Annotated::Impossible)
            }
            Attempt::Forbidden(rule) => return self.forbidden(object, &rule),
            Attempt::Conflict(reason) if job.conflicts + 1 >= CONFLICTS => {
                tracing::debug!(kind = %object.kind.kind, "an annotation conflicts: {reason}");
                ("conflict", Annotated::Impossible)
            }
            Attempt::Conflict(_) => return self.again(job, None, job.conflicts + 1),
            Attempt::Later(reason, _) if job.since.elapsed() >= self.settings.give_up => {
                tracing::warn!(kind = %object.kind.kind, "an annotation is given up: {reason}");
                ("given-up", Annotated::Impossible)
            }
            Attempt::Later(reason, pause) => {
                tracing::debug!(kind = %object.kind.kind, "an annotation is tried again: {reason}");
                return self.again(job, pause, job.conflicts);
            }
        };
        if self.queue.release(&object.kind) {
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            reported.remove(&object.kind);
            self.metrics.patches_forbidden(&object.kind.kind, 0);
            tracing::info!(kind = %object.kind.kind, "annotations are set again");
        }
        self.metrics.patch(outcome);
        self.queue.done(object);
        self.answer(object.uid.clone(), annotated);
    }

    fn forbidden(&self, object: &ObjectReference, rule: &str) {
        self.metrics.patch("forbidden");
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.insert(object.kind.clone()) {
            tracing::warn!(
                kind = %object.kind.kind,
                "annotations may not be set; add this rule to the role: {rule}"
            );
        }
        drop(reported);
        let at = Instant::now() + self.settings.forbidden_pause;
        for object in self.queue.hold(object, at, self.settings.give_up) {
            self.metrics.patch("given-up");
            self.answer(object.uid.clone(), Annotated::Impossible);
        }
        let held = self.queue.held(&object.kind);
        self.metrics.patches_forbidden(&object.kind.kind, held);
    }

    fn again(&self, job: &Job, asked: Option<Duration>, conflicts: u32) {
        self.metrics.patch("retry");
        let doubled = self
            .settings
            .first_pause
            .saturating_mul(1 << (job.attempts - 1).min(10));
        let pause = asked.unwrap_or(doubled).min(LONGEST_PAUSE);
        self.queue
            .again(&job.annotate.object, Instant::now() + pause, conflicts);
    }

    /// When nobody listens the process ends.
    fn answer(&self, uid: lighthouse_telemetry_core::object::Uid, annotated: Annotated) {
        let _ = self.results.send(Fact::Annotated(uid, annotated));
    }
}

/// The merge patch.
fn body(annotate: &Annotate) -> Value {
    let annotations: Map<String, Value> = annotate
        .annotations
        .iter()
        .map(|(key, value)| (key.to_string(), Value::from(&**value)))
        .collect();
    json!({"metadata": {"uid": &*annotate.object.uid, "annotations": annotations}})
}

#[cfg(test)]
mod tests;
