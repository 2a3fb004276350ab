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
use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;

/// Threads. Two keep up with several thousand objects a second, and one slow mapper does not stop the others.
const THREADS: usize = 2;

/// Takes what is to be mapped. The threads end when it is dropped.
#[derive(Debug)]
pub struct Mapping {
    requests: Sender<MapRequest>,
}

/// What a thread needs.
struct Worker<F> {
    catalog: Arc<Catalog>,
    map: F,
    results: UnboundedSender<Fact>,
    metrics: Metrics,
    requests: Mutex<Receiver<MapRequest>>,
    /// Mappers whose failure was logged.
    reported: Mutex<BTreeSet<String>>,
}

impl Mapping {
    /// Starts the threads. Every request is answered with [`Fact::Mapped`], in any order.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start<F>(
        catalog: Arc<Catalog>,
        map: F,
        results: UnboundedSender<Fact>,
        metrics: Metrics,
    ) -> std::io::Result<Self>
    where
        F: Fn(&MapRequest) -> Result<Outcome, MappingFailure> + Send + Sync + 'static,
    {
        let (requests, receiver) = channel();
        let worker = Arc::new(Worker {
            catalog,
            map,
            results,
            metrics,
            requests: Mutex::new(receiver),
            reported: Mutex::default(),
        });
        for number in 1..=THREADS {
            let worker = Arc::clone(&worker);
            thread::Builder::new()
                .name(format!("mapping-{number}"))
                .spawn(move || worker.work())?;
        }
        Ok(Self { requests })
    }

    /// Queues a request. Never waits.
    pub fn push(&self, request: MapRequest) {
        // The threads hold the receiver as long as this sender lives.
        let _ = self.requests.send(request);
    }
}

impl<F> Worker<F>
where
    F: Fn(&MapRequest) -> Result<Outcome, MappingFailure>,
{
    fn work(&self) {
        loop {
            // Whoever has the lock waits for the next request; the others wait for the lock.
            let next = self
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(request) = next else { return };
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| (self.map)(&request)));
            let result = result.unwrap_or_else(|_| {
                Err(MappingFailure {
                    message: "the host failed while it called the mapper: report this bug"
                        .to_owned(),
                })
            });
            self.note(&request, &result, start.elapsed().as_secs_f64());
            if self
                .results
                .send(Fact::Mapped(request.ticket, result))
                .is_err()
            {
                return;
            }
        }
    }

    fn note(&self, request: &MapRequest, result: &Result<Outcome, MappingFailure>, seconds: f64) {
        let outcome = match result {
            Ok(Outcome::Spans(_)) => "spans",
            Ok(Outcome::Wait(_)) => "wait",
            Ok(Outcome::NotOurs) => "not-ours",
            Err(_) => "failed",
        };
        let scope = self.catalog.scope(request.ticket.watch);
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
        let mapping =
            Mapping::start(Arc::default(), map, results, Metrics::default()).expect("threads");
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
