//! The exposition as OTLP: what Prometheus reads and what is pushed are the same.
//!
//! Those of pipeline runs have the names, units and attributes of the conventions, all others the names that Prometheus knows.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    number_data_point,
};

/// Names for Prometheus, those of the conventions, and their units.
/// <https://opentelemetry.io/docs/specs/semconv/cicd/cicd-metrics/>
const CONVENTIONS: [(&str, &str, &str); 3] = [
    (
        "cicd_pipeline_run_duration_seconds",
        "cicd.pipeline.run.duration",
        "s",
    ),
    (ACTIVE, "cicd.pipeline.run.active", "{run}"),
    (
        "cicd_pipeline_run_errors",
        "cicd.pipeline.run.errors",
        "{error}",
    ),
];

/// To the conventions an up-down counter, which Prometheus does not have.
const ACTIVE: &str = "cicd_pipeline_run_active";

/// From when on is counted, and when; in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: u64,
    pub now: u64,
}

/// Names and values.
type Labels = Vec<(String, String)>;

/// A metric of the exposition.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    samples: Vec<Sample<'a>>,
}

/// A line of it.
struct Sample<'a> {
    /// What its name has beyond that of the metric.
    suffix: &'a str,
    labels: Labels,
    value: &'a str,
}

/// The metrics of a text that the registry wrote. `attributes` are those that labels of pipeline runs stand for.
pub fn encode(text: &str, attributes: &BTreeMap<String, String>, span: Span) -> Vec<Metric> {
    let families = families(text);
    let shown = families.iter().filter(|family| !family.samples.is_empty());
    shown
        .map(|family| metric(family, attributes, span))
        .collect()
}

fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family> = Vec::new();
    for line in text.split('\n') {
        if let Some(described) = line.strip_prefix("# HELP ") {
            let (name, help) = described.split_once(' ').unwrap_or((described, ""));
            families.push(Family {
                name,
                help,
                kind: "",
                samples: Vec::new(),
            });
            continue;
        }
        let Some(family) = families.last_mut() else {
            continue;
        };
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            family.kind = typed.rsplit(' ').next().unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix(family.name) {
            family.samples.extend(sample(rest));
        }
    }
    families
}

/// What stands behind the name of the metric.
fn sample(rest: &str) -> Option<Sample<'_>> {
    let (suffix, rest) = rest.split_at(rest.find(['{', ' '])?);
    let (labels, value) = labels(rest)?;
    Some(Sample {
        suffix,
        labels,
        value: value.trim_start(),
    })
}

/// Names and values between braces, if there are any, and what stands behind them.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return Some((labels, text));
    };
    loop {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = quoted.chars();
        loop {
            match letters.next()? {
                '"' => break,
                '\\' => value.push(match letters.next()? {
                    'n' => '\n',
                    letter => letter,
                }),
                letter => value.push(letter),
            }
        }
        labels.push((name.to_owned(), value));
        rest = letters.as_str();
    }
}

fn metric(family: &Family, attributes: &BTreeMap<String, String>, span: Span) -> Metric {
    let convention = CONVENTIONS.iter().find(|(name, ..)| *name == family.name);
    let none = BTreeMap::new();
    let attributes = convention.map_or(&none, |_| attributes);
    let numbers = |start| numbers(&family.samples, attributes, start, span.now);
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        "histogram" => Data::Histogram(Histogram {
            data_points: histograms(&family.samples, attributes, span),
            aggregation_temporality: cumulative,
        }),
        "counter" => Data::Sum(Sum {
            data_points: numbers(span.start),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        _ if family.name == ACTIVE => Data::Sum(Sum {
            data_points: numbers(span.start),
            aggregation_temporality: cumulative,
            is_monotonic: false,
        }),
        _ => Data::Gauge(Gauge {
            data_points: numbers(0),
        }),
    };
    let (name, unit) = match convention {
        Some((_, name, unit)) => ((*name).to_owned(), *unit),
        None if family.kind == "counter" => (format!("{}_total", family.name), ""),
        None => (family.name.to_owned(), unit(family.name)),
    };
    Metric {
        name,
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

fn numbers(
    samples: &[Sample],
    attributes: &BTreeMap<String, String>,
    start: u64,
    now: u64,
) -> Vec<NumberDataPoint> {
    let point = |sample: &Sample| NumberDataPoint {
        attributes: encode_labels(&sample.labels, attributes),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(match sample.value.parse() {
            Ok(integer) => number_data_point::Value::AsInt(integer),
            Err(_) => number_data_point::Value::AsDouble(sample.value.parse().unwrap_or(f64::NAN)),
        }),
        ..NumberDataPoint::default()
    };
    samples.iter().map(point).collect()
}

/// The lines of one histogram stand together: its sum, its count, and its buckets with what is in all those below.
fn histograms(
    samples: &[Sample],
    attributes: &BTreeMap<String, String>,
    span: Span,
) -> Vec<HistogramDataPoint> {
    let mut points: Vec<HistogramDataPoint> = Vec::new();
    for sample in samples {
        if sample.suffix == "_sum" {
            points.push(HistogramDataPoint {
                attributes: encode_labels(&sample.labels, attributes),
                start_time_unix_nano: span.start,
                time_unix_nano: span.now,
                sum: sample.value.parse().ok(),
                ..HistogramDataPoint::default()
            });
        }
        let Some(point) = points.last_mut() else {
            continue;
        };
        let count: u64 = sample.value.parse().unwrap_or_default();
        match sample.suffix {
            "_count" => point.count = count,
            "_bucket" => {
                let below: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push(count.saturating_sub(below));
                let bound = sample.labels.iter().find(|(name, _)| name == "le");
                let bound = bound.and_then(|(_, bound)| bound.parse().ok());
                // The last bucket has no bound.
                let bound = bound.filter(|bound: &f64| bound.is_finite());
                point.explicit_bounds.extend(bound);
            }
            _ => {}
        }
    }
    points
}

fn encode_labels(labels: &Labels, attributes: &BTreeMap<String, String>) -> Vec<KeyValue> {
    let attribute = |(label, value): &(String, String)| {
        let key = attributes.get(label).unwrap_or(label);
        let value = match key.as_str() {
            "otel.metric.overflow" => Value::BoolValue(true),
            _ => Value::StringValue(value.clone()),
        };
        key_value(key, value)
    };
    labels.iter().map(attribute).collect()
}

/// An attribute.
pub fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_were_meant() {
        let (read, behind) = labels(r#"{le="0.5",of="a \"b\", {c}=\\n\nd"} 1.5"#).expect("labels");
        let expected = [("le", "0.5"), ("of", "a \"b\", {c}=\\n\nd")];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(behind, " 1.5");
        assert_eq!(labels(" 7"), Some((Vec::new(), " 7")));
        assert_eq!(labels("{} 7"), Some((Vec::new(), " 7")));
        assert_eq!(labels("{of=\"never"), None);
    }
}
