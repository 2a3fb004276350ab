//! Each rule can fail.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::{Tables, check};

const UID: &str = "33333333-0000-4000-8000-000000000001";

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn list(values: Vec<Value>) -> Value {
    let values = values
        .into_iter()
        .map(|value| AnyValue { value: Some(value) });
    Value::ArrayValue(ArrayValue {
        values: values.collect(),
    })
}

/// A span that keeps all rules.
fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span {
        span_id: vec![1],
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        attributes,
        ..Span::default()
    }
}

fn pipeline_run(result: &str) -> Span {
    let attributes = vec![
        text("k8s.object.kind", "PipelineRun"),
        text("cicd.pipeline.name", "release"),
        text("cicd.pipeline.result", result),
    ];
    Span {
        kind: SpanKind::Server.into(),
        ..span("release", attributes)
    }
}

fn task_run() -> Span {
    let attributes = vec![
        text("k8s.object.kind", "TaskRun"),
        text("cicd.pipeline.task.name", "test"),
        text("cicd.pipeline.task.run.id", UID),
        text("cicd.pipeline.task.run.result", "success"),
    ];
    span("test", attributes)
}

fn failed(span: Span) -> Span {
    Span {
        status: Some(Status {
            code: StatusCode::Error.into(),
            message: "failed".to_owned(),
        }),
        ..span
    }
}

fn without(mut span: Span, key: &str) -> Span {
    let before = span.attributes.len();
    span.attributes.retain(|attribute| attribute.key != key);
    assert_ne!(span.attributes.len(), before, "there is no {key}");
    span
}

fn with(mut span: Span, attribute: KeyValue) -> Span {
    span.attributes.push(attribute);
    span
}

fn exported(resource: Vec<KeyValue>, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: resource,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn service() -> Vec<KeyValue> {
    vec![text("service.name", "s")]
}

fn violations_of(exported: &[ResourceSpans]) -> Vec<String> {
    let found = check(&Tables::read().unwrap(), exported);
    found.iter().map(ToString::to_string).collect()
}

/// Violations of one span, without the place.
fn violations(span: Span) -> Vec<String> {
    let place = format!("s span {:?}", span.name);
    let found = violations_of(&[exported(service(), vec![span])]);
    let text = |violation: &String| {
        let text = violation.strip_prefix(&place).unwrap();
        let rest = text.strip_prefix(": ").or(text.strip_prefix(", "));
        rest.unwrap().to_owned()
    };
    found.iter().map(text).collect()
}

fn fault(span: Span) -> String {
    let [fault] = violations(span).try_into().unwrap();
    fault
}

/// What is wrong with a span that has this attribute and nothing else.
fn fault_of(key: &str, value: Value) -> String {
    fault(span("s", vec![attribute(key, value)]))
}

fn fault_of_text(key: &str, value: &str) -> String {
    fault_of(key, Value::StringValue(value.to_owned()))
}

#[test]
fn what_keeps_the_rules_is_not_found_fault_with() {
    let none = Vec::<String>::new();
    assert_eq!(violations(span("queue", Vec::new())), none);
    assert_eq!(violations(pipeline_run("success")), none);
    assert_eq!(violations(task_run()), none);
    let error = text("error.type", "PodEvicted");
    assert_eq!(violations(failed(with(pipeline_run("error"), error))), none);
    let tags = list(vec![Value::StringValue("1".to_owned())]);
    let attributes = vec![
        attribute("container.image.tags", tags),
        attribute("process.exit.code", Value::IntValue(1)),
        attribute("image.pull.duration", Value::DoubleValue(0.5)),
        attribute("lighthouse.telemetry.orphan", Value::BoolValue(true)),
        text("k8s.pod.label.app", "shop"),
        text("vcs.repository.url.full", "https://github.com/acme/shop"),
        text("exit-code", ""),
    ];
    let [wrong] = violations(span("run", attributes)).try_into().unwrap();
    assert_eq!(
        wrong,
        "exit-code: is StringValue(\"\"), not of type Integer"
    );
}

#[test]
fn attributes_are_known() {
    assert_eq!(
        fault_of_text("k8s.pod.mood", "good"),
        "k8s.pod.mood: is no name of the conventions, whose namespace it is in"
    );
    assert_eq!(
        fault_of_text("cicd.pipeline.outcome", "success"),
        "cicd.pipeline.outcome: is no name of the conventions, whose namespace it is in"
    );
    assert_eq!(
        fault_of_text("tekton.mood", "good"),
        "tekton.mood: is in none of the tables"
    );
    assert_eq!(
        fault_of_text("vcs.repository.ref.name", "main"),
        "vcs.repository.ref.name: is deprecated by the conventions: Replaced by `vcs.ref.head.name`."
    );
}

#[test]
fn attributes_are_named_by_the_rules() {
    let faults = |key: &str| violations(span("s", vec![text(key, "x")]));
    let unknown = |key: &str| format!("{key}: is in none of the tables");
    for (key, fault) in [
        (
            "tekton.taskRun",
            "has other characters than a-z, 0-9, _ and .",
        ),
        (
            "tekton.task-run",
            "has other characters than a-z, 0-9, _ and .",
        ),
        ("1tekton", "does not start with a lower-case letter"),
        ("", "does not start with a lower-case letter"),
        ("tekton.", "ends in a delimiter"),
        ("tekton._task", "has two delimiters in a row"),
    ] {
        assert_eq!(faults(key), [unknown(key), format!("{key}: {fault}")]);
    }
}

#[test]
fn attributes_have_the_right_type() {
    assert_eq!(
        fault_of_text("process.exit.code", "1"),
        "process.exit.code: is StringValue(\"1\"), not of type Integer"
    );
    assert_eq!(
        fault_of("vcs.change.id", Value::IntValue(7)),
        "vcs.change.id: is IntValue(7), not of type Text"
    );
    assert_eq!(
        fault_of("image.pull.duration", Value::IntValue(7)),
        "image.pull.duration: is IntValue(7), not of type Number"
    );
    assert!(fault_of_text("container.image.tags", "1").ends_with("not of type Texts"));
    let mixed = list(vec![Value::IntValue(1)]);
    assert!(fault_of("container.image.tags", mixed).ends_with("not of type Texts"));
    let mark = "lighthouse.telemetry.orphan";
    assert!(fault_of_text(mark, "true").ends_with("not of type Boolean"));
}

#[test]
fn attributes_have_one_value_that_they_can_have() {
    let no_value = "which is no value that it can have";
    assert_eq!(violations(pipeline_run("unknown")), Vec::<String>::new());
    assert_eq!(
        fault(pipeline_run("succeeded")),
        format!("cicd.pipeline.result: is StringValue(\"succeeded\"), {no_value}")
    );
    for (key, value) in [
        ("vcs.ref.head.type", "revision"),
        ("vcs.provider.name", "GitHub"),
        ("k8s.pod.status.phase", "running"),
        ("tekton.member_of", "middle"),
    ] {
        let found = fault_of_text(key, value);
        assert!(found.ends_with(no_value), "{found}");
    }
    let found = fault_of("lighthouse.telemetry.orphan", Value::BoolValue(false));
    assert!(found.ends_with(no_value), "{found}");
    let nothing = KeyValue {
        key: "pr.title".to_owned(),
        ..KeyValue::default()
    };
    assert_eq!(fault(span("s", vec![nothing])), "pr.title: has no value");
    let twice = vec![text("pr.title", "a"), text("pr.title", "b")];
    assert_eq!(fault(span("s", twice)), "pr.title: is there twice");
}

#[test]
fn addresses_are_those_of_a_browser() {
    let key = "vcs.repository.url.full";
    for (url, fault) in [
        ("git@github.com:acme/shop", "is no address of HTTP"),
        ("ssh://git@github.com/acme/shop", "is no address of HTTP"),
        ("https:///acme/shop", "has no host"),
        ("https://bot@github.com/acme/shop", "has credentials"),
        ("https://github.com/acme/shop.git", "has the extension .git"),
        (
            "https://github.com/acme/shop.git/",
            "has the extension .git",
        ),
    ] {
        assert_eq!(fault_of_text(key, url), format!("{key}: {fault}"));
    }
    let page = text("cicd.pipeline.run.url.full", "https://ci/shop.git");
    assert_eq!(violations(span("s", vec![page])), Vec::<String>::new());
}

#[test]
fn attributes_of_resources_events_and_links_are_looked_at() {
    let wrong = || vec![text("tekton.mood", "good")];
    let mut resource = service();
    resource.extend(wrong());
    let event = Event {
        name: "Pulled".to_owned(),
        attributes: wrong(),
        ..Event::default()
    };
    let link = Link {
        attributes: wrong(),
        ..Link::default()
    };
    let span = Span {
        events: vec![event],
        links: vec![link],
        ..span("queue", Vec::new())
    };
    assert_eq!(
        violations_of(&[exported(resource, vec![span])]),
        [
            "s span \"queue\", resource: tekton.mood: is in none of the tables",
            "s span \"queue\", event \"Pulled\": tekton.mood: is in none of the tables",
            "s span \"queue\", link: tekton.mood: is in none of the tables",
        ]
    );
}

#[test]
fn a_resource_has_a_service() {
    let unnamed = [exported(Vec::new(), vec![span("queue", Vec::new())])];
    assert_eq!(
        violations_of(&unnamed),
        [" span \"queue\": service.name: is missing in the resource"]
    );
    let none = ResourceSpans {
        resource: None,
        ..exported(Vec::new(), vec![span("queue", Vec::new())])
    };
    assert_eq!(violations_of(&[none]).len(), 1);
}

#[test]
fn names_are_shared_by_many() {
    assert_eq!(fault(span(" ", Vec::new())), "has no name");
    assert_eq!(
        fault(span(&["run ", UID].concat(), Vec::new())),
        "has a UUID in its name"
    );
    let object = vec![text("k8s.object.name", "shop-42")];
    assert_eq!(
        fault(span("shop-42", object.clone())),
        "has the identifier shop-42 in its name"
    );
    assert_eq!(
        fault(span("run shop-42", object.clone())),
        "has the identifier shop-42 in its name"
    );
    assert_eq!(violations(span("shop", object)), Vec::<String>::new());
    let nightly = vec![text("k8s.object.name", "nightly-build")];
    let nightly = span("nightly-build", nightly);
    assert_eq!(violations(nightly), Vec::<String>::new());
    let event = Event {
        name: ["Deleted ", UID].concat(),
        ..Event::default()
    };
    let told = Span {
        events: vec![event],
        ..span("queue", Vec::new())
    };
    assert!(fault(told).ends_with("has a UUID in its name"));
}

#[test]
fn names_are_free_of_what_the_spans_above_are_about() {
    let parent = span("pod", vec![text("k8s.pod.name", "shop-pod-1")]);
    let child = |name: &str, parent: Vec<u8>| Span {
        span_id: vec![2],
        parent_span_id: parent,
        ..span(name, Vec::new())
    };
    let both = |child| violations_of(&[exported(service(), vec![parent.clone(), child])]);
    assert_eq!(
        both(child("pull shop-pod-1", vec![1])),
        ["s span \"pull shop-pod-1\": has the identifier shop-pod-1 in its name"]
    );
    assert_eq!(both(child("pull", vec![1])), Vec::<String>::new());
    // One that is its own parent does not go on for ever.
    assert_eq!(both(child("pull", vec![2])), Vec::<String>::new());
}

#[test]
fn an_error_has_a_class_and_nothing_else_has() {
    assert_eq!(
        fault(failed(span("s", Vec::new()))),
        "error.type: is missing, the status being error"
    );
    assert_eq!(
        fault_of_text("error.type", "Error"),
        "error.type: is set without a status of error"
    );
    let sentence = text("error.type", "exited with code 2");
    assert_eq!(
        fault(failed(span("s", vec![sentence]))),
        "error.type: is \"exited with code 2\", which is no class"
    );
    let status = |code: StatusCode, message: &str| Span {
        status: Some(Status {
            code: code.into(),
            message: message.to_owned(),
        }),
        ..span("s", Vec::new())
    };
    assert_eq!(fault(status(StatusCode::Ok, "")), "has the status Ok");
    assert_eq!(
        fault(status(StatusCode::Unset, "fine")),
        "has a message of an unset status"
    );
}

#[test]
fn a_span_does_not_end_before_it_starts() {
    let backwards = Span {
        end_time_unix_nano: 0,
        ..span("s", Vec::new())
    };
    assert_eq!(fault(backwards), "ends before it starts");
}

#[test]
fn a_pipeline_run_is_that_of_the_conventions() {
    let internal = Span {
        kind: SpanKind::Internal.into(),
        ..pipeline_run("success")
    };
    assert_eq!(fault(internal), "is of kind internal, not server");
    assert_eq!(
        fault(without(pipeline_run("success"), "cicd.pipeline.result")),
        "cicd.pipeline.result: is missing"
    );
    assert_eq!(
        violations(failed(pipeline_run("failure"))),
        [
            "error.type: is missing, the status being error",
            "error.type: is missing, cicd.pipeline.result being failure",
        ]
    );
    // Whoever cancels has got what they wanted.
    assert_eq!(
        violations(pipeline_run("cancellation")),
        Vec::<String>::new()
    );
    let action = text("cicd.pipeline.action.name", "BUILD");
    assert_eq!(
        fault(with(pipeline_run("success"), action.clone())),
        "should have the name \"BUILD release\""
    );
    let named = Span {
        name: "BUILD release".to_owned(),
        ..with(pipeline_run("success"), action)
    };
    assert_eq!(violations(named), Vec::<String>::new());
}

#[test]
fn a_task_run_is_that_of_the_conventions() {
    for key in [
        "cicd.pipeline.task.name",
        "cicd.pipeline.task.run.id",
        "cicd.pipeline.task.run.result",
    ] {
        assert_eq!(
            fault(without(task_run(), key)),
            [key, ": is missing"].concat()
        );
    }
    let server = Span {
        kind: SpanKind::Server.into(),
        ..task_run()
    };
    assert_eq!(fault(server), "is of kind server, not internal");
    let url = text("cicd.pipeline.task.run.url.full", "https://ci/run");
    assert_eq!(
        fault(with(task_run(), url)),
        "cicd.pipeline.task.run.url.full: is set, but listed as one that is not"
    );
}
