//! Looks up the owners of objects that no mapper watches: metadata only, few at once, remembered for a while.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::DynamicObject;
use lighthouse_telemetry_core::catalog::group_version;
use lighthouse_telemetry_core::index::{Fact, Fetched};
use lighthouse_telemetry_core::object::{GroupKind, ObjectReference, Owner, Uid};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kinds::{KindError, Kinds, reason};
use crate::metrics::Metrics;

/// How owners are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests at once.
    pub concurrency: usize,
    /// At most so many wait; what comes on top is answered with *unknown*.
    pub capacity: usize,
    /// For one request.
    pub timeout: Duration,
    /// Between two attempts; doubles with each, up to half a minute.
    pub pause: Duration,
    /// What got no answer for so long is answered with *unknown*: who waits for it does not do so any longer.
    pub give_up: Duration,
    /// How long an answer is remembered.
    pub remember: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            capacity: 10_000,
            timeout: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            give_up: Duration::from_secs(600),
            remember: Duration::from_secs(60),
        }
    }
}

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// So many answers are remembered.
const MEMORY: usize = 10_000;

/// Takes objects to be looked up.
#[derive(Debug)]
pub struct Lookups {
    room: Arc<Room>,
    stop: CancellationToken,
}

struct Room {
    settings: Settings,
    kinds: Arc<Kinds>,
    requests: Semaphore,
    waiting: AtomicUsize,
    memory: Mutex<HashMap<Uid, (Instant, Fetched)>>,
    results: UnboundedSender<Fact>,
    metrics: Metrics,
    /// Kinds for which the missing permission was reported.
    reported: Mutex<BTreeSet<GroupKind>>,
    /// Kinds that could be looked up before: if one may not be any more, it may be again.
    allowed: Mutex<BTreeSet<GroupKind>>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Room")
            .field("settings", &self.settings)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

enum Attempt {
    Answered(Fetched),
    Failed(String),
}

impl Lookups {
    /// Ready to look up.
    #[must_use]
    pub fn new(
        settings: Settings,
        kinds: Arc<Kinds>,
        results: UnboundedSender<Fact>,
        metrics: Metrics,
    ) -> Self {
        Self {
            room: Arc::new(Room {
                settings,
                kinds,
                requests: Semaphore::new(settings.concurrency),
                waiting: AtomicUsize::new(0),
                memory: Mutex::default(),
                results,
                metrics,
                reported: Mutex::default(),
                allowed: Mutex::default(),
            }),
            stop: CancellationToken::new(),
        }
    }

    /// Looks an object up and tells the index about its owners. Never waits.
    pub fn push(&self, object: ObjectReference) {
        let room = &self.room;
        if let Some(known) = room.remembered(&object.uid) {
            room.metrics.lookup("remembered");
            room.answer(object, known);
            return;
        }
        if self.len() >= room.settings.capacity {
            room.metrics.lookup("queue-full");
            room.answer(object, Fetched::Unknown);
            return;
        }
        room.waiting.fetch_add(1, Ordering::AcqRel);
        let room = Arc::clone(room);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let fetched = tokio::select! {
                fetched = room.fetch(&object) => fetched,
                () = stop.cancelled() => Fetched::Unknown,
            };
            room.waiting.fetch_sub(1, Ordering::AcqRel);
            room.answer(object, fetched);
        });
    }

    /// How many are waiting or being looked up.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.waiting.load(Ordering::Acquire)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Answers what is left with *unknown*.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Room {
    async fn fetch(&self, object: &ObjectReference) -> Fetched {
        let since = Instant::now();
        let mut pause = self.settings.pause;
        loop {
            // The semaphore is never closed. A pause does not keep others waiting.
            let permit = self.requests.acquire().await;
            let outcome = self.attempt(object).await;
            drop(permit);
            match outcome {
                Attempt::Answered(fetched) => {
                    self.remember(object, &fetched);
                    return fetched;
                }
                Attempt::Failed(reason) => {
                    self.metrics.lookup("failed");
                    tracing::debug!(kind = %object.kind.kind, "a look-up failed: {reason}");
                }
            }
            if since.elapsed() + pause > self.settings.give_up {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        self.metrics.lookup("unknown");
        Fetched::Unknown
    }

    async fn attempt(&self, object: &ObjectReference) -> Attempt {
        let request = async {
            let served = match self.kinds.resolve(&object.kind, &object.version).await {
                Ok(served) => served,
                Err(KindError::Absent) => {
                    self.metrics.lookup("no-such-kind");
                    return Attempt::Answered(Fetched::Unknown);
                }
                Err(error) => return Attempt::Failed(error.to_string()),
            };
            let api = served.api::<DynamicObject>(self.kinds.client(), object.namespace.as_deref());
            match api.get_metadata(&object.name).await {
                Ok(found) if found.metadata.uid.as_deref() == Some(&*object.uid) => {
                    let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
                    allowed.insert(object.kind.clone());
                    drop(allowed);
                    self.metrics.lookup("found");
                    let references = found.metadata.owner_references.unwrap_or_default();
                    Attempt::Answered(Fetched::Found(
                        references
                            .into_iter()
                            .map(|reference| {
                                let (group, version) = group_version(&reference.api_version);
                                Owner {
                                    kind: GroupKind {
                                        group: group.into(),
                                        kind: reference.kind.into(),
                                    },
                                    version: version.into(),
                                    name: reference.name.into(),
                                    uid: reference.uid.into(),
                                    controller: reference.controller == Some(true),
                                }
                            })
                            .collect(),
                    ))
                }
                Ok(_) => {
                    self.metrics.lookup("missing");
                    Attempt::Answered(Fetched::Missing)
                }
                // A name of which no address can be made is that of no object.
                Err(kube::Error::BuildRequest(_)) => {
                    self.metrics.lookup("missing");
                    Attempt::Answered(Fetched::Missing)
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.metrics.lookup("missing");
                    Attempt::Answered(Fetched::Missing)
                }
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    self.metrics.lookup("forbidden");
                    let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                    if reported.insert(object.kind.clone()) {
                        tracing::warn!(
                            kind = %object.kind.kind,
                            "owners of this kind may not be looked up; add this rule to the role: {}",
                            served.rule(&["get"])
                        );
                    }
                    drop(reported);
                    let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
                    if allowed.contains(&object.kind) {
                        Attempt::Failed(status.message)
                    } else {
                        Attempt::Answered(Fetched::Unknown)
                    }
                }
                Err(error) => Attempt::Failed(reason(&error)),
            }
        };
        match tokio::time::timeout(self.settings.timeout, request).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Failed("the API server did not answer in time".to_owned()),
        }
    }

    fn remembered(&self, uid: &Uid) -> Option<Fetched> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory
            .get(uid)
            .filter(|(since, _)| since.elapsed() < self.settings.remember)
            .map(|(_, fetched)| fetched.clone())
    }

    fn remember(&self, object: &ObjectReference, fetched: &Fetched) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= MEMORY {
            memory.retain(|_, (since, _)| since.elapsed() < self.settings.remember);
            if memory.len() >= MEMORY {
                memory.clear();
            }
        }
        memory.insert(Arc::clone(&object.uid), (Instant::now(), fetched.clone()));
    }

    /// When nobody listens the process ends.
    fn answer(&self, object: ObjectReference, fetched: Fetched) {
        let _ = self.results.send(Fact::Fetched(object, fetched));
    }
}

#[cfg(test)]
mod tests;
