//! Whether a trace is whole: everything in the recording that a mapper maps has its span, and every span hangs
//! from another one or is the root of its trace.

use std::collections::{BTreeMap, HashSet};

use lighthouse_telemetry_core::catalog::{Catalog, group_version};
use lighthouse_telemetry_core::identity::SpanId;
use lighthouse_telemetry_core::object::GroupKind;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::Value;

use crate::recording::{Happening, Recording};

/// The spans that must be there.
#[derive(Debug)]
pub(super) struct Expected {
    /// Of each object the uid, and what it is called.
    objects: BTreeMap<String, String>,
}

impl Expected {
    /// What must become of a recording.
    pub(super) fn of(recording: &Recording, catalog: &Catalog) -> Self {
        let objects = recording
            .entries()
            .iter()
            .filter_map(|entry| match &entry.happening {
                Happening::Applied(object) | Happening::Deleted(object) => {
                    object_of(object, catalog)
                }
                Happening::Webhook(_) => None,
            });
        Self {
            objects: objects.collect(),
        }
    }

    /// What is not there, for people; empty if the trace is whole.
    pub(super) fn missing(&self, received: &[ResourceSpans]) -> Vec<String> {
        let spans = all(received);
        let ids: HashSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
        let absent = self.without_span(received);
        let absent = absent.map(|name| format!("no span of {name}"));
        let lost = spans
            .iter()
            .filter(|span| {
                !span.parent_span_id.is_empty() && !ids.contains(span.parent_span_id.as_slice())
            })
            .map(|span| format!("no parent of span '{}'", span.name));
        absent.chain(lost).collect()
    }

    /// The objects that have no span: neither a main span, nor one that says to be about it, as each of several runs does.
    pub(super) fn without_span(&self, received: &[ResourceSpans]) -> impl Iterator<Item = &str> {
        let spans = all(received);
        let ids: HashSet<Vec<u8>> = spans.iter().map(|span| span.span_id.clone()).collect();
        let about: HashSet<String> = spans.iter().filter_map(|span| about(span)).collect();
        let objects = self.objects.iter().filter(move |(uid, _)| {
            let main = SpanId::of(uid, "", "");
            !ids.contains(main.bytes().as_slice()) && !about.contains(*uid)
        });
        objects.map(|(_, name)| name.as_str())
    }
}

fn all(received: &[ResourceSpans]) -> Vec<&Span> {
    received
        .iter()
        .flat_map(|group| &group.scope_spans)
        .flat_map(|scoped| &scoped.spans)
        .collect()
}

/// The uid of the object that a span says to be about.
fn about(span: &Span) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let uid = attributes.find(|attribute| attribute.key == "k8s.object.uid")?;
    match uid.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(uid) => Some(uid.clone()),
        _ => None,
    }
}

fn object_of(object: &Value, catalog: &Catalog) -> Option<(String, String)> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let (group, _) = group_version(text("/apiVersion")?);
    let kind = text("/kind")?;
    let mapped = catalog.maps(&GroupKind {
        group: group.into(),
        kind: kind.into(),
    });
    let uid = text("/metadata/uid")?.to_owned();
    mapped.then(|| {
        (
            uid,
            format!("{kind} {}", text("/metadata/name").unwrap_or_default()),
        )
    })
}

#[cfg(test)]
mod tests {
    use lighthouse_telemetry_core::description::{Description, ObjectSource, Source, Watch};
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    use super::*;

    fn catalog() -> Catalog {
        let description = Description {
            watches: vec![Watch {
                source: Source::Objects(ObjectSource::of("", "v1", "Pod")),
                fields: Vec::new(),
                attachments: Vec::new(),
                annotations: Vec::new(),
            }],
            ..Description::default()
        };
        Catalog::new([("pods".to_owned(), description)]).unwrap()
    }

    fn received(spans: &[(SpanId, Option<SpanId>)]) -> Vec<ResourceSpans> {
        let spans = spans.iter().map(|(id, parent)| Span {
            span_id: id.bytes().to_vec(),
            parent_span_id: parent
                .map(|parent| parent.bytes().to_vec())
                .unwrap_or_default(),
            name: "run".to_owned(),
            ..Span::default()
        });
        vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: spans.collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }]
    }

    #[test]
    fn every_mapped_object_and_every_parent_must_be_there() {
        let text = r#"{"at": "2026-03-02T09:00:00Z", "apply": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"}}}
{"at": "2026-03-02T09:00:00Z", "apply": {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a.1", "uid": "e"}}}"#;
        let expected = Expected::of(&Recording::parse(text).unwrap(), &catalog());
        let (pod, root) = (SpanId::of("u", "", ""), SpanId::of("root", "", ""));
        assert_eq!(expected.missing(&[]), ["no span of Pod a"]);
        assert_eq!(
            expected.missing(&received(&[(pod, Some(root))])),
            ["no parent of span 'run'"]
        );
        assert!(
            expected
                .missing(&received(&[(root, None), (pod, Some(root))]))
                .is_empty()
        );
        // A span of a run has another id.
        let mut run = received(&[(root, None)]);
        run[0].scope_spans[0].spans[0].attributes = vec![KeyValue {
            key: "k8s.object.uid".to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue("u".to_owned())),
            }),
            ..KeyValue::default()
        }];
        assert!(expected.missing(&run).is_empty());
    }
}
