//! What a receiver gets is what `/metrics` shows.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};

use super::*;
use crate::export::{Destination, Protocol};
use crate::mappers::{Mappers, Report};
use crate::metrics::Readings;
use crate::pipelines;
use crate::receiver::{Answer, Receiver};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];
/// For what takes milliseconds; reached only by a failure.
const LONG: Duration = Duration::from_secs(60);

/// Something of each sort.
fn counted() -> (Metrics, Arc<Exposition>) {
    let metrics = Metrics::default();
    metrics.webhook("accepted");
    metrics.webhook("accepted");
    metrics.mapping("a \"b\"", "mapped", 0.002);
    metrics.mapping("a \"b\"", "failed", 0.5);
    metrics.mapping("c", "mapped", 0.25);
    metrics.patches_forbidden("Pod", 3);
    let failed = [
        ("cicd.pipeline.name", "release"),
        ("cicd.pipeline.result", "failure"),
        ("error.type", "timeout"),
    ];
    let run = pipelines::tests::run("run", &failed, &[("Start", 1_010)]);
    metrics.pipelines.exported(&[run]);
    let mappers = Mappers::builtin().expect("mappers");
    let readings = Readings::at_rest(Report::of(&mappers));
    let exposition = Arc::new(Exposition::new(&metrics, readings));
    (metrics, exposition)
}

/// A receiver, and how to push to it.
async fn receiver(protocol: Protocol, interval: Duration) -> (Receiver, Pushing) {
    let address = ([127, 0, 0, 1], 0).into();
    let receiver = Receiver::start(address).await.expect("a receiver");
    let endpoint = match protocol {
        Protocol::Grpc => receiver.grpc_endpoint(),
        Protocol::HttpProtobuf => receiver.http_endpoint().replace("traces", "metrics"),
    };
    let Destination::Otlp(otlp) = Destination::otlp(protocol, endpoint) else {
        panic!("a receiver was asked for");
    };
    let pushing = Pushing {
        receiver: *otlp,
        interval,
        resource_attributes: vec![Attribute::new("deployment.environment.name", "test")],
    };
    (receiver, pushing)
}

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.clone().and_then(|value| value.value);
        let Some(Value::StringValue(value)) = value else {
            panic!("{attribute:?}");
        };
        (attribute.key.clone(), value)
    };
    attributes.iter().map(text).collect()
}

/// A line as Prometheus reads it.
fn line(name: &str, attributes: &[KeyValue], value: &str) -> String {
    let label = |(key, value): (String, String)| {
        let value = value.replace('"', "\\\"");
        format!("{}=\"{value}\"", key.replace('.', "_"))
    };
    let labels: Vec<String> = texts(attributes).into_iter().map(label).collect();
    if labels.is_empty() {
        format!("{name} {value}")
    } else {
        format!("{name}{{{}}} {value}", labels.join(","))
    }
}

fn histogram(name: &str, point: &HistogramDataPoint) -> Vec<String> {
    let of = &point.attributes;
    let sum = format!("{:?}", point.sum.expect("a sum"));
    let mut lines = vec![
        line(&format!("{name}_sum"), of, &sum),
        line(&format!("{name}_count"), of, &point.count.to_string()),
    ];
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    let bounds = point.explicit_bounds.iter().map(|bound| {
        // As Prometheus has them: never with an exponent, and always with a point.
        let text = bound.to_string();
        if text.contains('.') {
            text
        } else {
            format!("{text}.0")
        }
    });
    let mut below = 0;
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&point.bucket_counts) {
        below += count;
        let bound = super::key_value("le", Value::StringValue(bound));
        let of = [&[bound], of.as_slice()].concat();
        lines.push(line(&format!("{name}_bucket"), &of, &below.to_string()));
    }
    lines
}

/// The lines that Prometheus makes of a metric.
fn lines(metric: &Metric) -> Vec<String> {
    let mut name = metric.name.replace('.', "_");
    if metric.unit == "s" && !name.ends_with("_seconds") {
        name.push_str("_seconds");
    }
    let points = match metric.data.as_ref().expect("data") {
        Data::Gauge(gauge) => &gauge.data_points,
        Data::Sum(sum) => {
            if sum.is_monotonic && !name.ends_with("_total") {
                name.push_str("_total");
            }
            assert_eq!(sum.aggregation_temporality, 2);
            for point in &sum.data_points {
                assert!((1..=point.time_unix_nano).contains(&point.start_time_unix_nano));
            }
            &sum.data_points
        }
        Data::Histogram(of) => {
            assert_eq!(of.aggregation_temporality, 2);
            let points = of.data_points.iter();
            return points.flat_map(|point| histogram(&name, point)).collect();
        }
        other => panic!("{other:?}"),
    };
    let line = |(attributes, value): (&Vec<KeyValue>, Option<Number>)| match value {
        Some(Number::AsInt(integer)) => line(&name, attributes, &integer.to_string()),
        Some(Number::AsDouble(number)) => line(&name, attributes, &format!("{number:?}")),
        None => panic!("a point of {name} without a value"),
    };
    let points = points.iter().map(|point| (&point.attributes, point.value));
    points.map(line).collect()
}

#[tokio::test]
async fn a_receiver_gets_what_prometheus_reads() {
    for protocol in BOTH {
        let (receiver, pushing) = receiver(protocol, LONG).await;
        let (metrics, exposition) = counted();
        let text = exposition.text().expect("a text");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let expected: BTreeSet<String> = samples.map(str::to_owned).collect();
        let mut pusher = Pusher::new(&pushing, &exposition, &metrics).expect("a pusher");
        pusher.push().await;

        let received = receiver.metrics();
        let [resource] = received.as_slice() else {
            panic!("{received:?}");
        };
        let [scope] = resource.scope_metrics.as_slice() else {
            panic!("{resource:?}");
        };
        let all: BTreeSet<String> = scope.metrics.iter().flat_map(lines).collect();
        assert_eq!(all, expected, "{protocol}");

        let of = texts(&resource.resource.as_ref().expect("a resource").attributes);
        for (key, value) in [
            ("service.name", "lighthouse-telemetry"),
            ("service.version", VERSION),
            ("deployment.environment.name", "test"),
        ] {
            assert!(of.contains(&(key.to_owned(), value.to_owned())), "{of:?}");
        }
        let named = |name| scope.metrics.iter().find(|metric| metric.name == name);
        let duration = named("cicd.pipeline.run.duration").expect("durations");
        assert_eq!(duration.unit, "s");
        let errors = named("cicd.pipeline.run.errors").expect("errors");
        assert_eq!(errors.unit, "{error}");
        let Some(Data::Sum(sum)) = &errors.data else {
            panic!("{errors:?}");
        };
        let attributes = texts(&sum.data_points[0].attributes);
        let expected = [("cicd.pipeline.name", "release"), ("error.type", "timeout")];
        assert_eq!(
            attributes,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }
}

#[tokio::test]
async fn a_push_that_fails_is_counted_and_the_next_one_has_all() {
    for protocol in BOTH {
        let (receiver, pushing) = receiver(protocol, LONG).await;
        let refused = Answer::Refuse {
            grpc: tonic::Code::Unimplemented,
            http: http::StatusCode::NOT_FOUND,
            pause: None,
        };
        let partial = Answer::Partial {
            rejected: 1,
            message: "no".to_owned(),
        };
        receiver.script([refused, partial]);
        let (metrics, exposition) = counted();
        let mut pusher = Pusher::new(&pushing, &exposition, &metrics).expect("a pusher");
        for (failing, kept) in [(true, 0), (true, 1), (false, 2)] {
            pusher.push().await;
            assert_eq!((pusher.failing, receiver.metrics().len()), (failing, kept));
        }
        let text = exposition.text().expect("a text");
        for line in [
            "lighthouse_telemetry_metric_pushes_total{outcome=\"failed\"} 2",
            "lighthouse_telemetry_metric_pushes_total{outcome=\"sent\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

#[tokio::test]
async fn metrics_are_pushed_again_and_again_and_at_the_end() {
    let run = async |interval, times| {
        let (receiver, pushing) = receiver(Protocol::Grpc, interval).await;
        let (metrics, exposition) = counted();
        let pusher = Pusher::new(&pushing, &exposition, &metrics).expect("a pusher");
        let stop = CancellationToken::new();
        let run = tokio::spawn(pusher.run(stop.clone()));
        let waiting = receiver.wait_for_metrics(times);
        let came = tokio::time::timeout(LONG, waiting).await;
        came.expect("it never happened");
        stop.cancel();
        run.await.expect("the push");
        receiver.metrics().len()
    };
    assert!(run(Duration::from_millis(1), 2).await >= 3);
    assert_eq!(run(Duration::from_secs(3_600), 0).await, 1);
}

#[test]
fn the_environment_may_name_the_instance() {
    let instance = |given: &[Attribute]| {
        let of = texts(&resource(given, Some("pod".to_owned())));
        let ids = of
            .into_iter()
            .filter(|(key, _)| key == "service.instance.id");
        ids.map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(instance(&[]), ["pod"]);
    let mine = Attribute::new("service.instance.id", "mine");
    assert_eq!(instance(&[mine]), ["mine"]);
}
