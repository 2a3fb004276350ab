//! Metrics of pipeline runs, by the OpenTelemetry CI/CD conventions, from the spans: how long they took, how many are under way,
//! what failed. <https://opentelemetry.io/docs/specs/semconv/cicd/cicd-metrics/>
//!
//! A run is counted where its span is exported, which happens once. Labels are attributes of that span, and there is an end to
//! how many series they may make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighthouse_telemetry_core::identity::SpanId;
use lighthouse_telemetry_core::index::SubjectId;
use lighthouse_telemetry_core::mapping::{Attribute, AttributeValue, Outcome, SpanTree};
use lighthouse_telemetry_core::span::{Span, SpanKind};
use lighthouse_telemetry_core::time::Time;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What the span of a run has, and no other.
const RUN: &str = "cicd.pipeline.run.id";
const NAME: &str = "cicd.pipeline.name";
const RESULT: &str = "cicd.pipeline.result";
const STATE: &str = "cicd.pipeline.run.state";
const ERROR: &str = "error.type";

/// Those that the conventions require.
pub const ATTRIBUTES: &str =
    "cicd.pipeline.name,cicd.pipeline.run.state,cicd.pipeline.result,error.type";

/// What stands in place of labels for which there is no room, as in the SDKs of OpenTelemetry.
const OVERFLOW: &str = "otel_metric_overflow";

/// From a second to four hours.
const SECONDS: [f64; 13] = [
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0,
];

/// A longer value is cut.
const TEXT: usize = 256;

/// By what runs are told apart, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Attributes of a run's span, or of its resource.
    pub attributes: Vec<String>,
    /// So many series a metric at most, and one for all others.
    pub series: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attributes: ATTRIBUTES.split(',').map(str::to_owned).collect(),
            series: 1_000,
        }
    }
}

/// Names and values.
type Labels = Vec<(String, String)>;

#[derive(Clone, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// What is counted of runs. Clones share it.
#[derive(Clone, Debug)]
pub struct Pipelines {
    settings: Arc<Settings>,
    duration: Family<Labels, Histogram, Buckets>,
    errors: Family<Labels, Counter>,
    /// What there is beyond the limit.
    overflows: Counter,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Runs under way, by their main span, with the labels of each.
    active: BTreeMap<SpanId, Labels>,
    durations: BTreeSet<Labels>,
    errors: BTreeSet<Labels>,
    overflowed: bool,
}

impl Default for Pipelines {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Pipelines {
    /// Nothing has run yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            duration: Family::new_with_constructor(Buckets),
            errors: Family::default(),
            overflows: Counter::default(),
            state: Arc::default(),
        }
    }

    /// A mapper has answered: what a subject is like now.
    pub fn mapped(&self, subject: &SubjectId, outcome: &Outcome) {
        let (SubjectId::Object(uid), Outcome::Spans(trees)) = (subject, outcome) else {
            return;
        };
        let is_run = |tree: &&SpanTree| is_run(tree.main.kind, &tree.main.attributes);
        for tree in trees.iter().filter(is_run) {
            let id = SpanId::of(uid, &tree.run, "");
            let labels = tree.main.end.is_none().then(|| self.active_labels(tree));
            let mut state = self.lock();
            match labels {
                Some(labels) => state.active.insert(id, labels),
                None => state.active.remove(&id),
            };
        }
    }

    /// Spans are exported.
    pub fn exported(&self, spans: &[Span]) {
        for span in spans
            .iter()
            .filter(|span| is_run(span.kind, &span.attributes))
        {
            self.lock().active.remove(&span.span_id);
            self.finished(span);
        }
    }

    /// Nothing is under way here any more.
    pub fn forget_active(&self) {
        self.lock().active.clear();
    }

    /// Shows all of it.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "cicd_pipeline_run_duration",
            "Duration of a pipeline run by pipeline, state and result",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register(
            "cicd_pipeline_run_errors",
            "Pipeline runs that failed, by pipeline and class of error",
            self.errors.clone(),
        );
        registry.register_collector(Box::new(self.clone()));
    }

    /// The attributes that labels stand for.
    #[must_use]
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let always = [RESULT, STATE, ERROR, "otel.metric.overflow"].map(str::to_owned);
        let all = self.settings.attributes.iter().cloned().chain(always);
        all.map(|attribute| (label(&attribute), attribute))
            .collect()
    }

    /// Observations for which there was no series left.
    #[must_use]
    pub fn overflows(&self) -> Counter {
        self.overflows.clone()
    }

    fn finished(&self, span: &Span) {
        let attribute = |key: &str| {
            let own = text(&span.attributes, key);
            own.or_else(|| text(&span.resource.attributes, key))
        };
        let states = if self.has(STATE) {
            states(span)
        } else {
            vec![("", span.start, span.end)]
        };
        let last = states.len().saturating_sub(1);
        for (place, (name, start, end)) in states.into_iter().enumerate() {
            let labels = self.labels(|key| match key {
                STATE => Some(name.to_owned()),
                // How a run ends is known in its last state.
                RESULT | ERROR if place < last => None,
                _ => attribute(key),
            });
            let labels = self.admit(labels, |state| &mut state.durations);
            let seconds = end.since(start).as_secs_f64();
            self.duration.get_or_create(&labels).observe(seconds);
        }
        if let Some(error) = attribute(ERROR) {
            let mut labels = self.labels(|key| match key {
                STATE | RESULT | ERROR => None,
                _ => attribute(key),
            });
            labels.push((label(ERROR), error));
            let labels = self.admit(labels, |state| &mut state.errors);
            self.errors.get_or_create(&labels).inc();
        }
    }

    fn active_labels(&self, tree: &SpanTree) -> Labels {
        let attribute = |key: &str| {
            let own = text(&tree.main.attributes, key);
            own.or_else(|| text(&tree.resource_attributes, key))
        };
        let mut labels = self.labels(|key| match key {
            STATE | RESULT | ERROR => None,
            _ => attribute(key),
        });
        let state = attribute(STATE).unwrap_or_else(|| "executing".to_owned());
        labels.push((label(STATE), state));
        labels
    }

    /// The labels that are wanted; those without a value are left out, which is the same to Prometheus.
    fn labels(&self, value: impl Fn(&str) -> Option<String>) -> Labels {
        let wanted = self.settings.attributes.iter();
        wanted
            .filter_map(|key| Some((label(key), value(key)?)))
            .collect()
    }

    fn has(&self, attribute: &str) -> bool {
        self.settings.attributes.iter().any(|key| key == attribute)
    }

    /// These labels, if there is a series for them.
    fn admit(&self, labels: Labels, known: impl Fn(&mut State) -> &mut BTreeSet<Labels>) -> Labels {
        let mut state = self.lock();
        let series = known(&mut state);
        if series.contains(&labels) {
            return labels;
        }
        if series.len() < self.settings.series {
            series.insert(labels.clone());
            return labels;
        }
        self.overflows.inc();
        if !std::mem::replace(&mut state.overflowed, true) {
            tracing::warn!(
                series = self.settings.series,
                "there are more kinds of pipeline runs than metrics may tell apart; others are counted as {OVERFLOW}: see \
                 --metric-attributes and --metric-series"
            );
        }
        overflow()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Pipelines {
    /// How many runs are under way. What is too much is not counted as an overflow: it may be asked for any number of times.
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut counts: BTreeMap<Labels, i64> = BTreeMap::new();
        for labels in self.lock().active.values() {
            let known = counts.contains_key(labels) || counts.len() < self.settings.series;
            let labels = if known { labels.clone() } else { overflow() };
            *counts.entry(labels).or_default() += 1;
        }
        let mut metric = encoder.encode_descriptor(
            "cicd_pipeline_run_active",
            "Pipeline runs under way by pipeline and state",
            None,
            MetricType::Gauge,
        )?;
        for (labels, count) in counts {
            ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn overflow() -> Labels {
    vec![(OVERFLOW.to_owned(), "true".to_owned())]
}

/// An attribute's name as Prometheus writes it.
#[must_use]
pub fn label(attribute: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    attribute.chars().map(letter).collect()
}

fn is_run(kind: SpanKind, attributes: &[Attribute]) -> bool {
    kind == SpanKind::Server && text(attributes, RUN).is_some() && text(attributes, NAME).is_some()
}

/// The value of an attribute as a label has it.
fn text(attributes: &[Attribute], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == *key)?;
    match &attribute.value {
        AttributeValue::Text(text) => {
            let cut = text.get(..text.floor_char_boundary(TEXT));
            Some(cut.unwrap_or_default().to_owned())
        }
        AttributeValue::Integer(number) => Some(number.to_string()),
        AttributeValue::Boolean(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

/// From when to when a run was in which state.
fn states(span: &Span) -> Vec<(&'static str, Time, Time)> {
    let event = |name: &str| {
        let mut events = span.events.iter();
        let event = events.find(|event| event.name == name)?;
        Some(event.time.clamp(span.start, span.end))
    };
    let Some(started) = event("Start") else {
        return vec![("executing", span.start, span.end)];
    };
    let finally = event("Finally").map(|finally| finally.max(started));
    let mut states = vec![
        ("pending", span.start, started),
        ("executing", started, finally.unwrap_or(span.end)),
    ];
    states.extend(finally.map(|finally| ("finalizing", finally, span.end)));
    states
}

#[cfg(test)]
pub(crate) mod tests;
