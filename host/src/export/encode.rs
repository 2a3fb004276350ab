//! Finished spans as OTLP messages.

use std::collections::HashMap;

use lighthouse_telemetry_core::span::{
    Attribute, AttributeValue, Resource, Scope, Span, SpanKind, SpanStatus,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource as WireResource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as WireSpan, Status, span, status,
};
use prost::Message;

/// Flags of every span and link: sampled (W3C Trace Context, bit 0). Whether a parent is in another process is
/// left unknown (`Span.flags` of the OTLP protobuf definition, bits 8 and 9): our spans are told about processes,
/// not by them.
const FLAGS: u32 = 0x1;

/// The OTLP request for these spans: grouped by resource and, below it, by scope. Groups come in the order of
/// their first spans and spans keep theirs, so that equal input gives equal bytes.
#[must_use]
pub fn encode(spans: &[Span]) -> ExportTraceServiceRequest {
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    // The encoded resource is the key: attribute values have no total order of their own.
    let mut groups: HashMap<Vec<u8>, usize> = HashMap::new();
    for span in spans {
        let resource = encode_resource(&span.resource);
        let place = *groups
            .entry(resource.encode_to_vec())
            .or_insert_with(|| resource_spans.len());
        if place == resource_spans.len() {
            resource_spans.push(ResourceSpans {
                resource: Some(resource),
                ..ResourceSpans::default()
            });
        }
        if let Some(group) = resource_spans.get_mut(place) {
            add(&mut group.scope_spans, span);
        }
    }
    ExportTraceServiceRequest { resource_spans }
}

/// Scopes below one resource are one or two: a mapper each.
fn add(scopes: &mut Vec<ScopeSpans>, span: &Span) {
    let scope = encode_scope(&span.scope);
    let encoded = encode_span(span);
    match scopes
        .iter_mut()
        .find(|group| group.scope.as_ref() == Some(&scope))
    {
        Some(group) => group.spans.push(encoded),
        None => scopes.push(ScopeSpans {
            scope: Some(scope),
            spans: vec![encoded],
            ..ScopeSpans::default()
        }),
    }
}

fn encode_resource(resource: &Resource) -> WireResource {
    let mut attributes = vec![encode_attribute(
        "service.name",
        &resource.service.as_str().into(),
    )];
    attributes.extend(encode_attributes(&resource.attributes));
    WireResource {
        attributes,
        ..WireResource::default()
    }
}

fn encode_scope(scope: &Scope) -> InstrumentationScope {
    InstrumentationScope {
        name: scope.name.clone(),
        version: scope.version.clone(),
        ..InstrumentationScope::default()
    }
}

fn encode_span(span: &Span) -> WireSpan {
    WireSpan {
        trace_id: span.trace_id.bytes().to_vec(),
        span_id: span.span_id.bytes().to_vec(),
        trace_state: String::new(),
        parent_span_id: span
            .parent
            .map(|parent| parent.bytes().to_vec())
            .unwrap_or_default(),
        flags: FLAGS,
        name: span.name.to_string(),
        kind: match span.kind {
            SpanKind::Internal => span::SpanKind::Internal,
            SpanKind::Server => span::SpanKind::Server,
            SpanKind::Client => span::SpanKind::Client,
            SpanKind::Producer => span::SpanKind::Producer,
            SpanKind::Consumer => span::SpanKind::Consumer,
        }
        .into(),
        start_time_unix_nano: span.start.nanoseconds(),
        end_time_unix_nano: span.end.nanoseconds(),
        attributes: encode_attributes(&span.attributes),
        dropped_attributes_count: span.dropped.attributes,
        events: span
            .events
            .iter()
            .map(|event| span::Event {
                time_unix_nano: event.time.nanoseconds(),
                name: event.name.to_string(),
                attributes: encode_attributes(&event.attributes),
                dropped_attributes_count: 0,
            })
            .collect(),
        dropped_events_count: span.dropped.events,
        links: span
            .links
            .iter()
            .map(|link| span::Link {
                trace_id: link.trace_id.bytes().to_vec(),
                span_id: link.span_id.bytes().to_vec(),
                trace_state: String::new(),
                attributes: encode_attributes(&link.attributes),
                dropped_attributes_count: 0,
                flags: FLAGS,
            })
            .collect(),
        dropped_links_count: span.dropped.links,
        status: match &span.status {
            SpanStatus::Unset => None,
            SpanStatus::Ok => Some(Status {
                message: String::new(),
                code: status::StatusCode::Ok.into(),
            }),
            SpanStatus::Error(message) => Some(Status {
                message: message.clone(),
                code: status::StatusCode::Error.into(),
            }),
        },
    }
}

fn encode_attributes(attributes: &[Attribute]) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|attribute| encode_attribute(&attribute.key, &attribute.value))
        .collect()
}

fn encode_attribute(key: &str, value: &AttributeValue) -> KeyValue {
    use any_value::Value;
    fn list<T: Clone>(values: &[T], one: impl Fn(T) -> Value) -> Value {
        Value::ArrayValue(ArrayValue {
            values: values
                .iter()
                .map(|value| AnyValue {
                    value: Some(one(value.clone())),
                })
                .collect(),
        })
    }
    let value = match value {
        AttributeValue::Text(text) => Value::StringValue(text.to_string()),
        AttributeValue::Boolean(boolean) => Value::BoolValue(*boolean),
        AttributeValue::Integer(integer) => Value::IntValue(*integer),
        AttributeValue::Number(number) => Value::DoubleValue(*number),
        AttributeValue::Texts(texts) => list(texts, |text| Value::StringValue(text.into())),
        AttributeValue::Booleans(booleans) => list(booleans, Value::BoolValue),
        AttributeValue::Integers(integers) => list(integers, Value::IntValue),
        AttributeValue::Numbers(numbers) => list(numbers, Value::DoubleValue),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use lighthouse_telemetry_core::identity::{SpanId, TraceKey};
    use lighthouse_telemetry_core::span::{Dropped, Link, SpanEvent};
    use lighthouse_telemetry_core::time::Time;

    use super::*;

    /// A span of an object with this uid.
    pub fn span(uid: &str, service: &str) -> Span {
        Span {
            trace_id: TraceKey::object("trace").trace_id(),
            span_id: SpanId::of(uid, "", ""),
            parent: None,
            name: uid.into(),
            kind: SpanKind::Internal,
            start: Time::from_nanoseconds(1_000_000_000),
            end: Time::from_nanoseconds(3_000_000_000),
            status: SpanStatus::Unset,
            attributes: vec![Attribute::new("k8s.pod.uid", uid)],
            events: Vec::new(),
            links: Vec::new(),
            dropped: Dropped::default(),
            resource: Arc::new(Resource {
                service: service.to_owned(),
                attributes: vec![Attribute::new("service.namespace", "jx")],
            }),
            scope: Arc::new(Scope {
                name: "kubernetes".to_owned(),
                version: "1.0".to_owned(),
            }),
        }
    }

    #[test]
    fn spans_are_grouped_by_resource_and_scope() {
        let mut other = span("b", "Pod");
        other.scope = Arc::new(Scope {
            name: "tekton".to_owned(),
            version: "1.0".to_owned(),
        });
        let spans = [
            span("a", "Pod"),
            span("c", "LighthouseJob"),
            other,
            span("d", "Pod"),
        ];
        let request = encode(&spans);
        let shape: Vec<Vec<Vec<&str>>> = request
            .resource_spans
            .iter()
            .map(|group| {
                let scopes = group.scope_spans.iter();
                scopes
                    .map(|scope| scope.spans.iter().map(|span| span.name.as_str()).collect())
                    .collect()
            })
            .collect();
        assert_eq!(shape, [vec![vec!["a", "d"], vec!["b"]], vec![vec!["c"]]]);
        assert_eq!(request.encode_to_vec(), encode(&spans).encode_to_vec());
    }

    #[test]
    fn every_part_of_a_span_is_carried() {
        let mut full = span("a", "Pod");
        full.parent = Some(SpanId::of("p", "", ""));
        full.kind = SpanKind::Server;
        full.status = SpanStatus::Error("failed".to_owned());
        full.attributes = vec![
            Attribute::new("boolean", true),
            Attribute::new("integer", -1),
            Attribute::new("number", AttributeValue::Number(0.5)),
            Attribute::new("texts", AttributeValue::Texts(vec!["x".into()])),
        ];
        full.events = vec![SpanEvent {
            name: "Pulled".into(),
            time: Time::from_nanoseconds(2_000_000_000),
            attributes: vec![Attribute::new("reason", "Pulled")],
        }];
        full.links = vec![Link {
            trace_id: full.trace_id,
            span_id: SpanId::of("other", "", ""),
            attributes: Vec::new(),
        }];
        full.dropped = Dropped {
            attributes: 1,
            events: 2,
            links: 3,
        };
        insta::assert_snapshot!(crate::view::snapshot(&encode(&[full]).resource_spans));
    }
}
