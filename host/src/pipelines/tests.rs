use std::sync::Arc;

use lighthouse_telemetry_core::identity::TraceKey;
use lighthouse_telemetry_core::mapping::MappedSpan;
use lighthouse_telemetry_core::span::{Resource, Scope, SpanEvent, SpanStatus};
use lighthouse_telemetry_core::time::Timestamp;
use prometheus_client::encoding::text as exposition;

use super::*;

fn at(second: u64) -> Time {
    Time::from_nanoseconds(second * 1_000_000_000)
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<Attribute> {
    let attribute = |(key, value): &(&str, &str)| Attribute {
        key: (*key).into(),
        value: AttributeValue::Text((*value).into()),
    };
    pairs.iter().map(attribute).collect()
}

/// The main span of a run of 100 seconds.
pub fn run(uid: &str, pairs: &[(&str, &str)], events: &[(&str, u64)]) -> Span {
    let mut all = attributes(&[(RUN, uid)]);
    all.extend(attributes(pairs));
    Span {
        trace_id: TraceKey::object(uid).trace_id(),
        span_id: SpanId::of(uid, "", ""),
        parent: None,
        name: "run".into(),
        kind: SpanKind::Server,
        start: at(1_000),
        end: at(1_100),
        status: SpanStatus::Unset,
        attributes: all,
        events: events
            .iter()
            .map(|(name, second)| SpanEvent {
                name: (*name).into(),
                time: at(*second),
                attributes: Vec::new(),
            })
            .collect(),
        links: Vec::new(),
        dropped: lighthouse_telemetry_core::span::Dropped::default(),
        resource: Arc::new(Resource {
            service: "Tekton.PipelineRun".to_owned(),
            attributes: attributes(&[("service.namespace", "jx")]),
        }),
        scope: Arc::new(Scope {
            name: "tekton".to_owned(),
            version: "1".to_owned(),
        }),
    }
}

/// What a mapper says of a run.
fn mapped(uid: &str, pairs: &[(&str, &str)], end: Option<u64>) -> (SubjectId, Outcome) {
    let mut all = attributes(&[(RUN, uid), (NAME, "release")]);
    all.extend(attributes(pairs));
    let time = |second| Timestamp {
        time: at(second),
        ..Timestamp::default()
    };
    let tree = SpanTree {
        run: String::new(),
        service: "Tekton.PipelineRun".to_owned(),
        resource_attributes: Vec::new(),
        parents: Vec::new(),
        main: MappedSpan {
            key: "".into(),
            name: "release".into(),
            kind: SpanKind::Server,
            start: time(1_000),
            end: end.map(time),
            status: SpanStatus::Unset,
            attributes: all,
            events: Vec::new(),
            links: Vec::new(),
        },
        children: Vec::new(),
        may_annotate: true,
        diagnostics: Vec::new(),
    };
    (SubjectId::Object(uid.into()), Outcome::Spans(vec![tree]))
}

/// The samples of these metrics, but for buckets.
fn samples(pipelines: &Pipelines) -> Vec<String> {
    let mut registry = Registry::default();
    pipelines.register(&mut registry);
    let mut text = String::new();
    exposition::encode(&mut text, &registry).expect("a text");
    let lines = text.lines();
    let mut samples: Vec<String> = lines
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"))
        .map(|line| line.replacen("cicd_pipeline_run_", "", 1))
        .collect();
    samples.sort();
    samples
}

#[test]
fn a_run_took_its_time_in_states_and_has_its_result_in_the_last() {
    let pipelines = Pipelines::default();
    let events = [("Start", 1_010), ("Finally", 1_080)];
    pipelines.exported(&[
        run("a", &[(NAME, "release"), (RESULT, "success")], &events),
        run(
            "b",
            &[(NAME, "lint"), (RESULT, "failure"), (ERROR, "Failed")],
            &events[..1],
        ),
        Span {
            kind: SpanKind::Internal,
            ..run("c", &[(NAME, "no run")], &[])
        },
    ]);
    let name = |pipeline: &str| format!("{{cicd_pipeline_name=\"{pipeline}\"");
    let (lint, release) = (name("lint"), name("release"));
    let of = |pipeline: &str, state: &str, seconds: &str| {
        let labels = format!("{pipeline},cicd_pipeline_run_state={state}}}");
        [
            format!("duration_seconds_count{labels} 1"),
            format!("duration_seconds_sum{labels} {seconds}"),
        ]
    };
    let mut expected = [
        of(&lint, "\"pending\"", "10.0"),
        of(
            &lint,
            "\"executing\",cicd_pipeline_result=\"failure\",error_type=\"Failed\"",
            "90.0",
        ),
        of(&release, "\"pending\"", "10.0"),
        of(&release, "\"executing\"", "70.0"),
        of(
            &release,
            "\"finalizing\",cicd_pipeline_result=\"success\"",
            "20.0",
        ),
    ]
    .concat();
    expected.push(format!("errors_total{lint},error_type=\"Failed\"}} 1"));
    expected.sort();
    assert_eq!(samples(&pipelines), expected);
}

#[test]
fn without_the_state_a_run_is_one_observation_by_what_is_chosen() {
    let pipelines = Pipelines::new(Settings {
        attributes: ["service.namespace", RESULT].map(str::to_owned).into(),
        series: 10,
    });
    let pairs = [(NAME, "release"), (RESULT, "timeout"), (ERROR, "Slow")];
    pipelines.exported(&[run("a", &pairs, &[("Start", 1_010)])]);
    assert_eq!(
        samples(&pipelines),
        [
            "duration_seconds_count{service_namespace=\"jx\",cicd_pipeline_result=\"timeout\"} 1",
            "duration_seconds_sum{service_namespace=\"jx\",cicd_pipeline_result=\"timeout\"} 100.0",
            "errors_total{service_namespace=\"jx\",error_type=\"Slow\"} 1",
        ]
    );
}

#[test]
fn what_is_too_much_is_counted_together() {
    let pipelines = Pipelines::new(Settings {
        attributes: vec![NAME.to_owned()],
        series: 2,
    });
    let runs: Vec<Span> = ["a", "b", "c", "d", "a"]
        .iter()
        .map(|name| run(name, &[(NAME, name), (ERROR, "Failed")], &[]))
        .collect();
    pipelines.exported(&runs);
    let counts: Vec<String> = samples(&pipelines)
        .into_iter()
        .filter(|line| !line.contains("_sum"))
        .collect();
    assert_eq!(
        counts,
        [
            "duration_seconds_count{cicd_pipeline_name=\"a\"} 2",
            "duration_seconds_count{cicd_pipeline_name=\"b\"} 1",
            "duration_seconds_count{otel_metric_overflow=\"true\"} 2",
            "errors_total{cicd_pipeline_name=\"a\",error_type=\"Failed\"} 2",
            "errors_total{cicd_pipeline_name=\"b\",error_type=\"Failed\"} 1",
            "errors_total{otel_metric_overflow=\"true\"} 2",
        ]
    );
    assert_eq!(pipelines.overflows().get(), 4);
}

#[test]
fn a_run_is_active_in_one_state_until_it_ends() {
    let pipelines = Pipelines::default();
    let map = |uid: &str, pairs: &[(&str, &str)], end| {
        let (subject, outcome) = mapped(uid, pairs, end);
        pipelines.mapped(&subject, &outcome);
    };
    let active = |state: &str, count: u64| {
        format!(
            "active{{cicd_pipeline_name=\"release\",cicd_pipeline_run_state=\"{state}\"}} {count}"
        )
    };
    map("a", &[(STATE, "pending")], None);
    map("b", &[(STATE, "executing")], None);
    assert_eq!(
        samples(&pipelines),
        [active("executing", 1), active("pending", 1)]
    );
    map("a", &[(STATE, "executing")], None);
    map("a", &[(STATE, "executing")], None);
    assert_eq!(samples(&pipelines), [active("executing", 2)]);
    map("a", &[(RESULT, "success")], Some(1_100));
    assert_eq!(samples(&pipelines), [active("executing", 1)]);
    // One whose mapper is gone ends without being mapped.
    pipelines.exported(&[run("b", &[(NAME, "release")], &[])]);
    assert!(
        !samples(&pipelines)
            .iter()
            .any(|line| line.starts_with("active"))
    );
    map("c", &[], None);
    pipelines.forget_active();
    assert!(
        !samples(&pipelines)
            .iter()
            .any(|line| line.starts_with("active"))
    );
}
