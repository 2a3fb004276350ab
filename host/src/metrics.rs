//! Metrics of the host itself, for Prometheus, and pushed by OTLP to who asks for it.
//!
//! Labels have few values: kinds, mappers and outcomes; never a name, a namespace or an id. Those of pipelines are chosen by whoever
//! runs it, and limited.

mod otlp;
mod push;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lighthouse_telemetry_core::index;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub use self::push::Pusher;
use crate::export;
use crate::health::Watches;
use crate::journal::{Health, Journal};
use crate::leader::Standing;
use crate::mappers::Report;
use crate::pipelines::Pipelines;
use crate::run::Progress;

/// Content type of the exposition: OpenMetrics.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Durations of a mapping: from 10 µs, where most are, to 0.3 s, where a limit ends it.
const MAPPING_SECONDS: [f64; 10] = [
    0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3,
];

/// An outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// A kind and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindEvent {
    kind: String,
    event: &'static str,
}

/// A kind and the state of its watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindState {
    kind: String,
    state: &'static str,
}

/// A kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// A mapper.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mapper {
    mapper: String,
}

/// A mapper and how a call of it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MapperOutcome {
    mapper: String,
    outcome: &'static str,
}

/// What came of the calls of a mapper.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calls {
    /// How many there were.
    pub calls: u64,
    /// Of those, how many failed.
    pub failures: u64,
    /// All of them together, in seconds.
    pub seconds: f64,
    /// The longest, in seconds.
    pub longest: f64,
    /// Whether it fails again and again, and rests after each failure.
    pub rests: bool,
    /// How often that began.
    pub times_ill: u64,
}

impl Calls {
    /// How many seconds a call takes; none before the first.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        // Exact for as many calls as can be made in a life.
        #[expect(clippy::cast_precision_loss, reason = "no more than 2^53 calls")]
        let calls = self.calls as f64;
        (self.calls > 0).then(|| self.seconds / calls)
    }
}

/// What the rooms count. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    webhooks: Family<Outcome, Counter>,
    watch_events: Family<KindEvent, Counter>,
    mapper_calls: Family<MapperOutcome, Counter>,
    mapper_seconds: Family<Mapper, Histogram>,
    mapper_resting: Family<Mapper, Gauge>,
    calls: Arc<Mutex<BTreeMap<String, Calls>>>,
    patches: Family<Outcome, Counter>,
    patches_forbidden: Family<Kind, Gauge>,
    lookups: Family<Outcome, Counter>,
    pushes: Family<Outcome, Counter>,
    /// What runs, told of by its spans.
    pub pipelines: Pipelines,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            webhooks: Family::default(),
            watch_events: Family::default(),
            mapper_calls: Family::default(),
            mapper_seconds: Family::new_with_constructor(|| Histogram::new(MAPPING_SECONDS)),
            mapper_resting: Family::default(),
            calls: Arc::default(),
            patches: Family::default(),
            patches_forbidden: Family::default(),
            lookups: Family::default(),
            pushes: Family::default(),
            pipelines: Pipelines::default(),
        }
    }
}

impl Metrics {
    /// With these of pipeline runs.
    #[must_use]
    pub fn of(pipelines: Pipelines) -> Self {
        Self {
            pipelines,
            ..Self::default()
        }
    }

    /// A webhook was answered.
    pub fn webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&Outcome { outcome }).inc();
    }

    /// Something came from a watch.
    pub fn watch_event(&self, kind: &str, event: &'static str) {
        let label = KindEvent {
            kind: kind.to_owned(),
            event,
        };
        self.watch_events.get_or_create(&label).inc();
    }

    /// A mapper was called and took so many seconds.
    pub fn mapping(&self, mapper: &str, outcome: &'static str, seconds: f64) {
        let mapper = mapper.to_owned();
        self.mapper_seconds
            .get_or_create(&Mapper {
                mapper: mapper.clone(),
            })
            .observe(seconds);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let of = calls.entry(mapper.clone()).or_default();
        of.calls += 1;
        of.failures += u64::from(outcome == "failed");
        of.seconds += seconds;
        of.longest = of.longest.max(seconds);
        drop(calls);
        self.mapper_calls
            .get_or_create(&MapperOutcome { mapper, outcome })
            .inc();
    }

    /// A mapper fails again and again, and rests; or does not any more.
    pub fn mapper_rests(&self, mapper: &str, rests: bool) {
        let mapper = mapper.to_owned();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let of = calls.entry(mapper.clone()).or_default();
        of.times_ill += u64::from(rests && !of.rests);
        of.rests = rests;
        drop(calls);
        self.mapper_resting
            .get_or_create(&Mapper { mapper })
            .set(i64::from(rests));
    }

    /// What came of the calls of a mapper, from the start.
    #[must_use]
    pub fn calls(&self, mapper: &str) -> Calls {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(mapper).copied().unwrap_or_default()
    }

    /// A patch was sent, or given up.
    pub fn patch(&self, outcome: &'static str) {
        self.patches.get_or_create(&Outcome { outcome }).inc();
    }

    /// So many objects of a kind are not annotated, as that may not be done.
    pub fn patches_forbidden(&self, kind: &str, objects: usize) {
        let label = Kind {
            kind: kind.to_owned(),
        };
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.patches_forbidden.get_or_create(&label).set(objects);
    }

    /// Metrics were pushed.
    fn pushed(&self, outcome: &'static str) {
        self.pushes.get_or_create(&Outcome { outcome }).inc();
    }

    /// A look-up was answered.
    pub fn lookup(&self, outcome: &'static str) {
        self.lookups.get_or_create(&Outcome { outcome }).inc();
    }
}

/// What is read at the time of a scrape.
#[derive(Debug)]
pub struct Readings {
    /// Counts of the index.
    pub index: Arc<Mutex<index::Counts>>,
    /// Queues of the run loop.
    pub progress: watch::Receiver<Progress>,
    /// The exporter, once there is one: a follower has none.
    pub exporter: Arc<OnceLock<export::Handle>>,
    /// The journal.
    pub journal: Journal,
    /// The watches.
    pub watches: Watches,
    /// Whether this replica leads.
    pub standing: Standing,
    /// Webhooks that the leader has not acknowledged.
    pub webhooks_to_forward: Arc<AtomicU64>,
    /// The mappers.
    pub mappers: Report,
}

impl Readings {
    /// Those of a plugin that leads, keeps no journal and has nothing to do.
    #[must_use]
    pub fn at_rest(mappers: Report) -> Self {
        Self {
            index: Arc::default(),
            progress: watch::channel(Progress::default()).1,
            exporter: Arc::default(),
            journal: Journal::off(),
            watches: Watches::default(),
            standing: Standing::alone(),
            webhooks_to_forward: Arc::default(),
            mappers,
        }
    }
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// All metrics under their names.
    #[must_use]
    pub fn new(metrics: &Metrics, readings: Readings) -> Self {
        let mut all = Registry::default();
        metrics.pipelines.register(&mut all);
        let registry = all.sub_registry_with_prefix("lighthouse_telemetry");
        registry.register(
            "metric_overflows",
            "Observations of pipeline runs that were counted together for want of a series",
            metrics.pipelines.overflows(),
        );
        registry.register("webhooks", "Webhooks by outcome", metrics.webhooks.clone());
        registry.register(
            "watch_events",
            "What came from watches, by kind",
            metrics.watch_events.clone(),
        );
        registry.register(
            "mapper_calls",
            "Calls of mappers by outcome",
            metrics.mapper_calls.clone(),
        );
        registry.register(
            "mapper_seconds",
            "How long calls of mappers took",
            metrics.mapper_seconds.clone(),
        );
        registry.register(
            "mapper_resting",
            "1 while a mapper fails again and again and rests after each failure",
            metrics.mapper_resting.clone(),
        );
        registry.register(
            "patches",
            "Attempts to set annotations by outcome",
            metrics.patches.clone(),
        );
        registry.register(
            "patches_forbidden",
            "Objects that wait until they may be annotated, by kind",
            metrics.patches_forbidden.clone(),
        );
        registry.register(
            "lookups",
            "Look-ups of owners that no mapper watches, by outcome",
            metrics.lookups.clone(),
        );
        registry.register(
            "metric_pushes",
            "Pushes of metrics by OTLP by outcome",
            metrics.pushes.clone(),
        );
        registry.register_collector(Box::new(readings));
        Self { registry: all }
    }

    /// The metrics as OpenMetrics text.
    ///
    /// # Errors
    /// Never: text takes all that is written to it.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut output = String::new();
        text::encode(&mut output, &self.registry)?;
        Ok(output)
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let index = *self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = self.progress.borrow().clone();
        let export = self.exporter.get().map(export::Handle::counts);
        let export = export.unwrap_or_default();
        let journal = self.journal.counts();
        let journal_health = self.journal.health();
        let is_kept = *journal_health.borrow() == Health::Good;
        let counters = [
            ("facts", "Facts taken into the index", progress.facts),
            (
                "spans_finished",
                "Spans given to the exporter",
                index.spans_exported,
            ),
            (
                "orphans_exported",
                "Spans whose parent did not come before the deadline",
                index.orphans_exported,
            ),
            (
                "webhooks_without_job",
                "Webhooks that no job ever belonged to",
                index.webhooks_without_job,
            ),
            (
                "late_jobs",
                "Jobs that came after the root of their trace was exported",
                index.late_jobs,
            ),
            (
                "late_attachments",
                "Events and the like that came after their object was exported",
                index.late_attachments,
            ),
            (
                "shared_uids",
                "Objects whose uid an older object has",
                index.shared_uids,
            ),
            (
                "objects_unrelated",
                "Objects that belong to no trace",
                index.unrelated,
            ),
            (
                "objects_too_old",
                "Objects that had ended too long ago when first seen",
                index.too_old,
            ),
            (
                "mapping_failures",
                "Mappings that failed",
                index.mapping_failures,
            ),
            (
                "export_spans_sent",
                "Spans acknowledged by a receiver",
                export.sent,
            ),
            (
                "export_spans_rejected",
                "Spans refused in a batch that was acknowledged",
                export.rejected,
            ),
            (
                "export_spans_failed",
                "Spans in batches that a receiver refused",
                export.failed,
            ),
            (
                "export_spans_dropped",
                "Spans dropped because the queue or the state directory was full",
                export.dropped,
            ),
            (
                "journal_commits",
                "Transactions of the journal",
                journal.commits,
            ),
            (
                "journal_failures",
                "Transactions of the journal that failed",
                journal.failures,
            ),
            (
                "export_retries",
                "Attempts beyond the first of a batch",
                export.retries,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let gauges = [
            (
                "ready",
                "1 once every watch is ready",
                u64::from(progress.ready),
            ),
            (
                "leader",
                "1 while this replica leads, or is the only one",
                u64::from(self.standing.role().leads()),
            ),
            (
                "webhooks_to_forward",
                "Webhooks that the leader has not acknowledged yet",
                self.webhooks_to_forward.load(Ordering::Relaxed),
            ),
            ("mappers", "Mappers in use", self.mappers.in_use()),
            ("objects", "Objects in the index", index.subjects),
            (
                "orphans",
                "Objects whose parent is not known yet",
                index.orphans,
            ),
            (
                "attachments_waiting",
                "Events and the like whose object is not known yet",
                index.waiting_attachments,
            ),
            ("mappings_waiting", "Mappings in flight", progress.mappings),
            (
                "patches_waiting",
                "Patches queued or in flight",
                progress.patches,
            ),
            (
                "lookups_waiting",
                "Look-ups queued or in flight",
                progress.lookups,
            ),
            (
                "export_spans_waiting",
                "Spans not acknowledged yet",
                export.queued,
            ),
            (
                "journal_written",
                "1 while what must survive a restart is written to disk",
                u64::from(is_kept),
            ),
            (
                "journal_bytes",
                "Bytes of what is in the journal",
                journal.bytes,
            ),
            (
                "journal_file_bytes",
                "Bytes of the journal's file",
                journal.file_bytes,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = gauge(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let mut reloads = encoder.encode_descriptor(
            "mapper_reloads",
            "Readings of the mappers' directories by outcome",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in self.mappers.reloads() {
            ConstCounter::new(count).encode(reloads.encode_family(&Outcome { outcome })?)?;
        }
        let mut refused = encoder.encode_descriptor(
            "mapper_refused",
            "1 for a module that cannot be used as the mapper of this name",
            None,
            MetricType::Gauge,
        )?;
        for mapper in self.mappers.refused() {
            gauge(1).encode(refused.encode_family(&Mapper { mapper })?)?;
        }
        let mut watches = encoder.encode_descriptor(
            "watches",
            "Watches of a kind by state",
            None,
            MetricType::Gauge,
        )?;
        for ((kind, state), count) in self.watches.count() {
            let labels = KindState { kind, state };
            gauge(count).encode(watches.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
