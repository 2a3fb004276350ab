//! Alerts and dashboard ask for metrics that there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use lighthouse_telemetry::mappers::{Mappers, Report};
use lighthouse_telemetry::metrics::{Exposition, Metrics, Readings};
use lighthouse_telemetry_core::identity::{SpanId, TraceKey};
use lighthouse_telemetry_core::span::{
    Attribute, Dropped, Resource, Scope, Span, SpanKind, SpanStatus,
};
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_tests::helm;
use serde_json::{Value, json};

use super::{manifests, of_kind};

/// How names of metrics begin.
const PREFIXES: [&str; 2] = ["lighthouse_telemetry_", "cicd_pipeline_run_"];
/// A label that begins so, too.
const LABEL: &str = "cicd_pipeline_run_state";

/// A pipeline run that failed.
fn run() -> Span {
    let attributes = [
        ("cicd.pipeline.run.id", "uid"),
        ("cicd.pipeline.name", "release"),
        ("cicd.pipeline.result", "failure"),
        ("error.type", "Failed"),
    ];
    Span {
        trace_id: TraceKey::object("uid").trace_id(),
        span_id: SpanId::of("uid", "", ""),
        parent: None,
        name: "release".into(),
        kind: SpanKind::Server,
        start: Time::EPOCH,
        end: Time::EPOCH,
        status: SpanStatus::Unset,
        attributes: attributes
            .map(|(key, value)| Attribute::new(key, value))
            .into(),
        events: Vec::new(),
        links: Vec::new(),
        dropped: Dropped::default(),
        resource: Arc::new(Resource {
            service: "Tekton.PipelineRun".to_owned(),
            attributes: Vec::new(),
        }),
        scope: Arc::new(Scope {
            name: "tekton".to_owned(),
            version: "1".to_owned(),
        }),
    }
}

/// Names of all samples that a scrape can have.
fn samples() -> BTreeSet<String> {
    let metrics = Metrics::default();
    // What has labels is shown once it has happened.
    metrics.webhook("accepted");
    metrics.watch_event("Pod", "applied");
    metrics.mapping("kubernetes", "mapped", 0.001);
    metrics.patch("done");
    metrics.patches_forbidden("Pod", 1);
    metrics.lookup("found");
    metrics.pipelines.exported(&[run()]);
    let mappers = Mappers::builtin().expect("mappers");
    let readings = Readings::at_rest(Report::of(&mappers));
    let text = Exposition::new(&metrics, readings).text().expect("a text");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let named = types.flat_map(|line| {
        let (name, kind) = line.split_once(' ').expect("a type");
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
    });
    named.collect()
}

/// The metrics that an expression asks for.
fn asked(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| *word != LABEL)
        .map(str::to_owned)
        .collect()
}

fn rules() -> Vec<Value> {
    let manifests = manifests(&json!({"metrics": {"prometheusRule": {"enabled": true}}}));
    let rule = of_kind(&manifests, "PrometheusRule")[0];
    let groups = rule["spec"]["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1);
    groups[0]["rules"].as_array().expect("rules").clone()
}

fn dashboard() -> Value {
    let manifests = manifests(&json!({"metrics": {"dashboard": {"enabled": true}}}));
    let map = of_kind(&manifests, "ConfigMap")[0];
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = map["data"]["lighthouse-telemetry.json"]
        .as_str()
        .expect("a text");
    let file = helm::chart().join("dashboards/lighthouse-telemetry.json");
    assert_eq!(
        text.trim(),
        std::fs::read_to_string(file).expect("a file").trim()
    );
    serde_json::from_str(text).expect("a dashboard")
}

#[test]
fn what_they_ask_for_is_there() {
    let samples = samples();
    let mut expressions: Vec<(String, String)> = Vec::new();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    for rule in rules() {
        expressions.push((text(&rule["alert"]), text(&rule["expr"])));
    }
    for panel in dashboard()["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    assert!(expressions.len() > 50, "{}", expressions.len());
    for (name, expression) in expressions {
        let asked = asked(&expression);
        assert!(!asked.is_empty(), "{name} asks for nothing: {expression}");
        for metric in asked {
            assert!(
                samples.contains(&metric),
                "{name}: there is no {metric} among {samples:?}"
            );
        }
    }
}

#[test]
fn each_alert_says_what_it_means_and_where_to_read_on() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        for text in [
            "/annotations/summary",
            "/annotations/description",
            "/labels/severity",
        ] {
            let said = rule.pointer(text).and_then(Value::as_str);
            assert!(said.is_some_and(|said| !said.is_empty()), "{name}: {text}");
        }
        let runbook = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook"], runbook.as_str());
        assert!(names.insert(name), "{names:?}");
    }
    let guide = helm::chart().join("../../docs/operations.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let headings: BTreeSet<String> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("### LighthouseTelemetry"))
        .map(|name| format!("LighthouseTelemetry{name}"))
        .collect();
    assert_eq!(
        headings, names,
        "headings of docs/operations.md, and alerts"
    );
}

#[test]
fn panels_do_not_lie_on_each_other() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].to_string()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{panel}");
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{panel}");
            }
        }
    }
}

#[test]
fn the_monitor_finds_the_service_of_metrics_alone() {
    let manifests = manifests(
        &json!({"metrics": {"serviceMonitor": {"enabled": true, "labels": {"release": "p"}}}}),
    );
    let monitor = of_kind(&manifests, "ServiceMonitor")[0];
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    let selector = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .expect("a selector");
    let selected: Vec<&Value> = of_kind(&manifests, "Service")
        .into_iter()
        .filter(|service| {
            let labels = &service["metadata"]["labels"];
            selector.iter().all(|(key, value)| labels[key] == *value)
        })
        .collect();
    assert_eq!(selected.len(), 1);
    assert_eq!(
        selected[0]["spec"]["ports"][0]["name"],
        monitor["spec"]["endpoints"][0]["port"]
    );
}
