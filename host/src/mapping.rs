//! Calls mappers on threads of their own: a call computes and does not yield.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{Fact, MapRequest, MappingFailure};
use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_core::span::Scope;
use tokio::sync::mpsc::UnboundedSender;

use crate::generation::Generation;
use crate::metrics::Metrics;

/// Threads. Two keep up with several thousand objects a second, and one slow mapper does not stop the others.
const THREADS: usize = 2;

/// Takes what is to be mapped. The threads end when it is dropped.
#[derive(Debug)]
pub struct Mapping {
    /// The generation in use comes last; those before are asked for watches of which it knows nothing.
    generations: Vec<Generation>,
    requests: Sender<Asked>,
    reported: Reported,
}

/// Mappers whose failure was logged.
type Reported = Arc<Mutex<BTreeSet<String>>>;

/// What is to be mapped, and by whom.
struct Asked {
    request: MapRequest,
    by: Generation,
}

impl Asked {
    fn scope(&self) -> Option<&Arc<Scope>> {
        self.by.catalog.scope(self.request.ticket.watch)
    }
}

/// What a thread needs.
struct Worker {
    results: UnboundedSender<Fact>,
    metrics: Metrics,
    requests: Mutex<Receiver<Asked>>,
    reported: Reported,
}

impl Mapping {
    /// Starts the threads. Every request is answered with [`Fact::Mapped`], in any order.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        generation: Generation,
        results: UnboundedSender<Fact>,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let (requests, receiver) = channel();
        let reported = Reported::default();
        let worker = Arc::new(Worker {
            results,
            metrics,
            requests: Mutex::new(receiver),
            reported: Arc::clone(&reported),
        });
        for number in 1..=THREADS {
            let worker = Arc::clone(&worker);
            thread::Builder::new()
                .name(format!("mapping-{number}"))
                .spawn(move || worker.work())?;
        }
        Ok(Self {
            generations: vec![generation],
            requests,
            reported,
        })
    }

    /// Queues a request. Never waits.
    pub fn push(&self, request: MapRequest) {
        let mut generations = self.generations.iter().rev();
        let watch = request.ticket.watch;
        let by = generations.find(|generation| generation.catalog.knows(watch));
        // The index asks nobody else; should it do so all the same, it gets an answer.
        let Some(by) = by.or(self.generations.last()).cloned() else {
            return;
        };
        // The threads hold the receiver as long as this sender lives.
        let _ = self.requests.send(Asked { request, by });
    }

    /// From now on this generation is asked, and the ones before it for watches of which it knows nothing. What was queued is
    /// answered by the one that it was queued for.
    pub fn replace(&mut self, generation: Generation) {
        if let Some(before) = self.generations.last() {
            let changed = generation.changed(before);
            let reported = self.reported.lock();
            reported
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|mapper| !changed.contains(mapper));
        }
        self.generations.push(generation);
    }

    /// Forgets all generations but the one in use and those of these catalogs.
    pub fn keep(&mut self, older: &[Arc<Catalog>]) {
        let newest = self.generations.pop();
        self.generations.retain(|generation| {
            let is_of = |catalog: &Arc<Catalog>| Arc::ptr_eq(catalog, &generation.catalog);
            older.iter().any(is_of)
        });
        self.generations.extend(newest);
    }

    /// How many generations there are.
    #[must_use]
    pub fn generations(&self) -> usize {
        self.generations.len()
    }
}

impl Worker {
    fn work(&self) {
        loop {
            // Whoever has the lock waits for the next request; the others wait for the lock.
            let next = self
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(asked) = next else { return };
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| asked.by.map(&asked.request)));
            let result = result.unwrap_or_else(|_| {
                Err(MappingFailure {
                    message: "the host failed while it called the mapper: report this bug"
                        .to_owned(),
                })
            });
            self.note(&asked, &result, start.elapsed().as_secs_f64());
            if self
                .results
                .send(Fact::Mapped(asked.request.ticket, result))
                .is_err()
            {
                return;
            }
        }
    }

    fn note(&self, asked: &Asked, result: &Result<Outcome, MappingFailure>, seconds: f64) {
        let outcome = match result {
            Ok(Outcome::Spans(_)) => "spans",
            Ok(Outcome::Wait(_)) => "wait",
            Ok(Outcome::NotOurs) => "not-ours",
            Err(_) => "failed",
        };
        let scope = asked.scope();
        let mapper = scope.map_or("unknown", |scope| scope.name.as_str());
        self.metrics.mapping(mapper, outcome, seconds);
        if let Err(failure) = result {
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.insert(mapper.to_owned()) {
                tracing::warn!(
                    mapper,
                    "an object was not mapped and becomes a plain span; further failures of this mapper are \
                     only counted: {}",
                    failure.message
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lighthouse_telemetry_core::index::{SubjectId, Ticket};
    use lighthouse_telemetry_core::mapping::{Subject, WebhookSubject};
    use lighthouse_telemetry_core::object::WatchId;
    use lighthouse_telemetry_core::time::Time;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn request(number: u64) -> MapRequest {
        MapRequest {
            ticket: Ticket {
                subject: SubjectId::Webhook(number),
                revision: 1,
                watch: WatchId {
                    mapper: 0,
                    watch: 0,
                },
            },
            subject: Subject::Webhook(WebhookSubject {
                watch: 0,
                kind: "push".to_owned(),
                guid: None,
                received: Time::EPOCH,
                json: "{}".into(),
            }),
        }
    }

    #[tokio::test]
    async fn every_request_is_answered_even_if_the_host_fails() {
        let (results, mut answers) = unbounded_channel();
        let map = |request: &MapRequest| match request.ticket.subject {
            SubjectId::Webhook(1) => Ok(Outcome::NotOurs),
            SubjectId::Webhook(2) => Err(MappingFailure {
                message: "no".to_owned(),
            }),
            _ => panic!("a bug"),
        };
        let generation = Generation::of(Arc::default(), map);
        let mapping = Mapping::start(generation, results, Metrics::default()).expect("threads");
        for number in 1..=4 {
            mapping.push(request(number));
        }
        let mut outcomes = Vec::new();
        for _ in 1..=4 {
            match answers.recv().await {
                Some(Fact::Mapped(ticket, result)) => {
                    outcomes.push((ticket.subject, result.is_ok()));
                }
                other => panic!("{other:?}"),
            }
        }
        outcomes.sort();
        let subject = SubjectId::Webhook;
        assert_eq!(
            outcomes,
            [
                (subject(1), true),
                (subject(2), false),
                (subject(3), false),
                (subject(4), false)
            ]
        );
        drop(mapping);
        assert!(answers.recv().await.is_none(), "the threads end");
    }
}
