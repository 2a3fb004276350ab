//! What came of a scenario, as text that can be compared.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::view;
use lighthouse_telemetry_core::index::Counts;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use serde_json::Value;

use crate::web;

/// By kind and name of an object: the annotations that the host set.
pub type Annotations = BTreeMap<String, BTreeMap<String, String>>;

/// How often something happened that a scenario may be about, by the name of its metric; nothing that did not happen.
pub type Counted = BTreeMap<&'static str, u64>;

/// What of all that is counted a scenario may be about.
const COUNTED: [&str; 5] = [
    "late_attachments",
    "late_jobs",
    "orphans_exported",
    "objects_too_old",
    "shared_uids",
];

/// What came of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many spans were exported.
    pub spans: usize,
    /// All of them, in the canonical text.
    trace: String,
    /// Of the objects that still exist.
    pub annotations: Annotations,
    /// What was counted.
    pub counted: Counted,
}

impl Outcome {
    /// All spans, in the canonical text.
    #[must_use]
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// From the spans as a receiver gets them.
    #[must_use]
    pub fn new(spans: &[ResourceSpans], annotations: Annotations, counted: Counted) -> Self {
        Self {
            spans: count(spans),
            trace: view::snapshot(spans),
            annotations,
            counted,
        }
    }
}

/// From the counts of an index.
#[must_use]
pub fn counted(counts: &Counts) -> Counted {
    let values = [
        counts.late_attachments,
        counts.late_jobs,
        counts.orphans_exported,
        counts.too_old,
        counts.shared_uids,
    ];
    let counted = COUNTED.into_iter().zip(values);
    counted.filter(|(_, count)| *count > 0).collect()
}

/// From the metrics of a host at this address.
///
/// # Errors
/// If they cannot be had.
pub async fn scrape(admin: SocketAddr) -> Result<Counted> {
    let text = web::get(admin, "/metrics").await?;
    let mut counted = Counted::new();
    for name in COUNTED {
        let start = format!("lighthouse_telemetry_{name}_total ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        let value: u64 = value
            .with_context(|| format!("no metric {name}"))?
            .parse()?;
        if value > 0 {
            counted.insert(name, value);
        }
    }
    Ok(counted)
}

/// Annotations without the time of receipt in `tracestate`: whether a webhook or the patch of its job is first is not
/// for a scenario to say where both are on their way at once.
#[must_use]
pub fn without_receipts(mut annotations: Annotations) -> Annotations {
    let values = annotations.values_mut().flatten();
    for (_, value) in values.filter(|(key, _)| key.ends_with("/tracestate")) {
        let (own, rest) = value.split_at(value.find(',').unwrap_or(value.len()));
        if let Some((span, _receipt)) = own.split_once('-') {
            *value = [span, rest].concat();
        }
    }
    annotations
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} spans", self.spans)?;
        writeln!(formatter, "{}", self.trace.trim_end())?;
        for (name, count) in &self.counted {
            writeln!(formatter, "counted {name}: {count}")?;
        }
        for (object, annotations) in &self.annotations {
            writeln!(formatter, "annotations of {object}")?;
            for (key, value) in annotations {
                writeln!(formatter, "  {key}: {value}")?;
            }
        }
        Ok(())
    }
}

/// The spans without those that were sent again, as they are when an acknowledgement is lost.
///
/// # Errors
/// If one came again with another content.
pub fn without_resends(spans: &[ResourceSpans]) -> Result<Vec<ResourceSpans>> {
    let mut known = BTreeMap::new();
    let mut distinct = Vec::new();
    for resource in spans {
        for scoped in &resource.scope_spans {
            for span in &scoped.spans {
                let whole = ResourceSpans {
                    scope_spans: vec![ScopeSpans {
                        spans: vec![span.clone()],
                        ..scoped.clone()
                    }],
                    ..resource.clone()
                };
                match known.get(&span.span_id) {
                    None => {
                        known.insert(span.span_id.clone(), whole.clone());
                        distinct.push(whole);
                    }
                    Some(before) => ensure!(
                        *before == whole,
                        "a span came twice, first as {} and then as {}",
                        view::snapshot(std::slice::from_ref(before)),
                        view::snapshot(std::slice::from_ref(&whole))
                    ),
                }
            }
        }
    }
    Ok(distinct)
}

/// How many spans there are.
#[must_use]
pub fn count(spans: &[ResourceSpans]) -> usize {
    let scopes = spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// The annotations that an object has now and its scenario did not give it.
#[must_use]
pub fn added_annotations(scenario: &Value, now: &Value) -> BTreeMap<String, String> {
    let annotations = |object: &Value| {
        let members = object.pointer("/metadata/annotations");
        members.and_then(Value::as_object).cloned()
    };
    let given = annotations(scenario).unwrap_or_default();
    let added = annotations(now).unwrap_or_default().into_iter();
    added
        .filter(|(key, value)| given.get(key) != Some(value))
        .map(|(key, value)| (key, value.as_str().map_or(value.to_string(), str::to_owned)))
        .collect()
}

/// Kind and name of an object, as an outcome lists it.
#[must_use]
pub fn title(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    format!("{} {}", text("/kind"), text("/metadata/name"))
}
