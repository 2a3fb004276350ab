//! Objects as clusters hold them, cut down to what the mapper declares to read, and what becomes of them.

mod arbitrary;
mod custom_run;
mod pipeline_run;
mod task_run;

use serde_json::{Value, json};
use span_mapper_sdk::read;
use span_mapper_sdk::testing::{fault, subject, watch_of};
use span_mapper_sdk::{
    AttributeValue, Mapper, Outcome, Span, SpanEvent, SpanStatus, SpanTree, Timestamp,
};

use crate::{Tekton, describe};

/// The time so many seconds after 10:00.
fn at(seconds: u64) -> String {
    format!(
        "2026-03-02T10:{:02}:{:02}Z",
        seconds / 60 % 60,
        seconds % 60
    )
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::parse(&at(seconds)).unwrap()
}

fn precise(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The condition `Succeeded`.
fn condition(status: &str, reason: &str, message: &str, seconds: u64) -> Value {
    json!([{
        "type": "Succeeded", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": at(seconds),
    }])
}

/// An Event about a run.
fn event(reason: &str, seconds: u64) -> (u32, Value) {
    let value = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("x.{reason}"), "namespace": "jx", "uid": reason},
        "involvedObject": {"kind": "TaskRun"},
        "reason": reason, "message": format!("message of {reason}"), "type": "Normal",
        "source": {"component": "taskrun-controller"},
        "firstTimestamp": at(seconds), "lastTimestamp": at(seconds), "count": 1,
    });
    (describe::EVENTS, value)
}

fn outcome(object: &Value, attached: &[(u32, Value)], deleted: bool) -> Outcome<'static> {
    let description = describe::description();
    let watch = watch_of(&description, object["kind"].as_str().unwrap()).unwrap();
    let mut subject = subject(&description, watch, object, attached);
    subject.deleted = deleted;
    Tekton::map(read::keep(subject.into())).unwrap()
}

fn tree_of(object: &Value, attached: &[(u32, Value)], deleted: bool) -> SpanTree<'static> {
    let Outcome::Spans(mut trees) = outcome(object, attached, deleted) else {
        panic!("no spans");
    };
    assert_eq!(trees.len(), 1);
    let tree = trees.remove(0);
    assert_eq!(fault(&tree), None);
    tree
}

fn tree(object: &Value) -> SpanTree<'static> {
    tree_of(object, &[], false)
}

fn attribute<'t>(span: &'t Span<'t>, key: &str) -> Option<&'t AttributeValue<'t>> {
    span.attributes
        .iter()
        .find(|attribute| attribute.key == key)
        .map(|attribute| &attribute.value)
}

fn text<'t>(span: &'t Span<'t>, key: &str) -> Option<&'t str> {
    match attribute(span, key)? {
        AttributeValue::Text(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

fn integer(span: &Span, key: &str) -> Option<i64> {
    match attribute(span, key)? {
        AttributeValue::Integer(number) => Some(*number),
        other => panic!("{key} is {other:?}"),
    }
}

fn child<'t>(tree: &'t SpanTree<'t>, key: &str) -> &'t Span<'t> {
    let keys: Vec<_> = keys(tree);
    tree.children
        .iter()
        .map(|child| &child.span)
        .find(|span| span.key == key)
        .unwrap_or_else(|| panic!("no {key} among {keys:?}"))
}

fn keys<'t>(tree: &'t SpanTree<'t>) -> Vec<&'t str> {
    tree.children.iter().map(|child| &*child.span.key).collect()
}

fn events<'t>(span: &'t Span<'t>, name: &str) -> Vec<&'t SpanEvent<'t>> {
    span.events
        .iter()
        .filter(|event| event.name == name)
        .collect()
}

fn error<'t>(span: &'t Span<'t>) -> Option<&'t str> {
    match &span.status {
        SpanStatus::Error(description) => Some(description),
        _ => None,
    }
}
