//! Calls mappers on threads of their own: a call computes and does not yield. One that keeps others waiting has its own share
//! of the threads, and rests if it fails again and again.

mod health;
mod lines;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{Fact, MapRequest, MappingFailure};
use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_core::span::Scope;
use tokio::sync::mpsc::UnboundedSender;

use self::health::{Health, News};
use self::lines::Lines;
use crate::generation::Generation;
use crate::metrics::Metrics;

/// Threads. Two keep up with several thousand objects a second.
const THREADS: usize = 2;
/// So many of them are for mappers that keep others waiting: one is always there for all others.
const FOR_ILL: usize = THREADS - 1;

/// Takes what is to be mapped. The threads end when it is dropped.
#[derive(Debug)]
pub struct Mapping {
    /// The generation in use comes last; those before are asked for watches of which it knows nothing.
    generations: Vec<Generation>,
    lines: Arc<Lines<Asked>>,
    metrics: Metrics,
    reported: Reported,
}

/// Mappers whose failure was logged.
type Reported = Arc<Mutex<BTreeSet<String>>>;

/// What is to be mapped, and by whom.
#[derive(Debug)]
struct Asked {
    request: MapRequest,
    by: Generation,
}

impl Asked {
    fn mapper(&self) -> &str {
        let scope: Option<&Arc<Scope>> = self.by.catalog.scope(self.request.ticket.watch);
        scope.map_or("unknown", |scope| scope.name.as_str())
    }
}

/// What a thread needs.
struct Worker {
    results: UnboundedSender<Fact>,
    metrics: Metrics,
    lines: Arc<Lines<Asked>>,
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
        // Dropped, it ends the threads that there are.
        let mapping = Self {
            generations: vec![generation],
            lines: Arc::new(Lines::new(FOR_ILL)),
            metrics: metrics.clone(),
            reported: Reported::default(),
        };
        let worker = Arc::new(Worker {
            results,
            metrics,
            lines: Arc::clone(&mapping.lines),
            reported: Arc::clone(&mapping.reported),
        });
        for number in 1..=THREADS {
            let worker = Arc::clone(&worker);
            thread::Builder::new()
                .name(format!("mapping-{number}"))
                .spawn(move || worker.work())?;
        }
        Ok(mapping)
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
        let asked = Asked { request, by };
        let mapper = asked.mapper().to_owned();
        self.lines.push(&mapper, asked);
    }

    /// How many mappings there are in flight of mappers that keep others waiting, because they fail again and again or are
    /// slow.
    #[must_use]
    pub fn stuck(&self) -> u64 {
        self.lines.of(Health::is_ill) as u64
    }

    /// How many of them there are of mappers that fail again and again.
    #[must_use]
    pub fn resting(&self) -> u64 {
        self.lines.of(Health::rests) as u64
    }

    /// From now on this generation is asked, and the ones before it for watches of which it knows nothing. What was queued is
    /// answered by the one that it was queued for.
    pub fn replace(&mut self, generation: Generation) {
        if let Some(before) = self.generations.last() {
            let changed = generation.changed(before);
            for mapper in changed.iter().cloned().chain(generation.gone(before)) {
                self.lines.forgive(&mapper);
                self.metrics.mapper_rests(&mapper, false);
            }
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

impl Drop for Mapping {
    fn drop(&mut self) {
        self.lines.close();
    }
}

impl Worker {
    fn work(&self) {
        while let Some((mapper, asked)) = self.lines.take() {
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| asked.by.map(&asked.request)));
            let result = result.unwrap_or_else(|_| {
                Err(MappingFailure {
                    message: "the host failed while it called the mapper: report this bug"
                        .to_owned(),
                })
            });
            self.note(&mapper, &result, start.elapsed());
            if self
                .results
                .send(Fact::Mapped(asked.request.ticket, result))
                .is_err()
            {
                return;
            }
        }
    }

    fn note(&self, mapper: &str, result: &Result<Outcome, MappingFailure>, took: Duration) {
        let outcome = match result {
            Ok(Outcome::Spans(_)) => "spans",
            Ok(Outcome::Wait(_)) => "wait",
            Ok(Outcome::NotOurs) => "not-ours",
            Err(_) => "failed",
        };
        self.metrics.mapping(mapper, outcome, took.as_secs_f64());
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
        match self.lines.done(mapper, took, result.is_err()) {
            Some(News::Rests) => {
                self.metrics.mapper_rests(mapper, true);
                tracing::warn!(
                    mapper,
                    "a mapper fails again and again: it rests after each failure, so that its objects are mapped later; \
                     what becomes of them is the same"
                );
            }
            Some(News::Recovered) => {
                self.metrics.mapper_rests(mapper, false);
                tracing::info!(mapper, "a mapper works again and rests no more");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use lighthouse_telemetry_core::index::SubjectId;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::testing::webhook_request;

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
            mapping.push(webhook_request(number, 0));
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
