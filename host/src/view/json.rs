//! Traces for scripts.

use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};
use serde_json::{Map, Value, json};

use super::model::{Node, View};

/// The view for scripts: `{"traces": [{"trace_id", "start", "end", "spans": […]}]}`. Spans come parents first, each
/// with `parent_span_id` (null for a root) and `depth`; times are RFC 3339, durations seconds.
#[must_use]
pub fn to_json(view: &View) -> Value {
    let traces = view.traces.iter().map(|trace| {
        json!({
            "trace_id": trace.id,
            "start": trace.start,
            "end": trace.end,
            "duration_seconds": trace.end.since(trace.start).as_secs_f64(),
            "spans": trace.walk().map(|(depth, node)| span_json(depth, node)).collect::<Vec<_>>(),
        })
    });
    json!({ "traces": traces.collect::<Vec<_>>() })
}

fn span_json(depth: usize, node: &Node) -> Value {
    let span = &node.span;
    let id = |id: &[u8]| (!id.is_empty()).then(|| hex::encode(id));
    json!({
        "span_id": id(&span.span_id),
        "parent_span_id": id(&span.parent_span_id),
        "parent_missing": node.parent_missing,
        "depth": depth,
        "service": node.service,
        "name": span.name,
        "kind": kind_name(span.kind),
        "start": node.start(),
        "end": node.end(),
        "duration_seconds": node.end().since(node.start()).as_secs_f64(),
        "failed": node.failed(),
        "status": status_json(span),
        "attributes": attributes_json(&span.attributes),
        "events": span.events.iter().map(|event| json!({
            "name": event.name,
            "time": Time::from_nanoseconds(event.time_unix_nano),
            "attributes": attributes_json(&event.attributes),
        })).collect::<Vec<_>>(),
        "links": span.links.iter().map(|link| json!({
            "trace_id": id(&link.trace_id),
            "span_id": id(&link.span_id),
            "attributes": attributes_json(&link.attributes),
        })).collect::<Vec<_>>(),
        "resource": attributes_json(&node.resource),
        "scope": { "name": node.scope, "version": node.scope_version },
    })
}

fn status_json(span: &Span) -> Value {
    let status = span.status.clone().unwrap_or_default();
    json!({ "code": status_name(status.code), "message": status.message })
}

pub(super) fn status_name(code: i32) -> &'static str {
    match status::StatusCode::try_from(code) {
        Ok(status::StatusCode::Unset) => "unset",
        Ok(status::StatusCode::Ok) => "ok",
        Ok(status::StatusCode::Error) => "error",
        Err(_) => "unknown",
    }
}

pub(super) fn kind_name(kind: i32) -> &'static str {
    match span::SpanKind::try_from(kind) {
        Ok(span::SpanKind::Unspecified) => "unspecified",
        Ok(span::SpanKind::Internal) => "internal",
        Ok(span::SpanKind::Server) => "server",
        Ok(span::SpanKind::Client) => "client",
        Ok(span::SpanKind::Producer) => "producer",
        Ok(span::SpanKind::Consumer) => "consumer",
        Err(_) => "unknown",
    }
}

fn attributes_json(attributes: &[KeyValue]) -> Value {
    let members = attributes
        .iter()
        .map(|attribute| (attribute.key.clone(), value_json(attribute.value.as_ref())));
    Value::Object(members.collect::<Map<_, _>>())
}

/// An attribute's value as JSON; bytes in hexadecimal digits.
pub(super) fn value_json(value: Option<&AnyValue>) -> Value {
    use any_value::Value as Any;
    match value.and_then(|value| value.value.as_ref()) {
        None => Value::Null,
        Some(Any::StringValue(text)) => text.as_str().into(),
        Some(Any::BoolValue(boolean)) => (*boolean).into(),
        Some(Any::IntValue(integer)) => (*integer).into(),
        Some(Any::DoubleValue(number)) => (*number).into(),
        Some(Any::BytesValue(bytes)) => hex::encode(bytes).into(),
        Some(Any::ArrayValue(list)) => list
            .values
            .iter()
            .map(|value| value_json(Some(value)))
            .collect(),
        Some(Any::KvlistValue(list)) => attributes_json(&list.values),
        Some(Any::StringValueStrindex(index)) => (*index).into(),
    }
}
