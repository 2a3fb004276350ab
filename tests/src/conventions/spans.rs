//! Spans: what each must have, and what those of the conventions must.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::attributes::text;
use super::tables::{SpanConvention, Tables};
use super::{Exported, FaultsAt};

/// Says which kind of object a main span is about.
const OBJECT_KIND: &str = "k8s.object.kind";
const ERROR_TYPE: &str = "error.type";

/// A span, without what is said of attributes and names in general.
pub(super) fn check(tables: &Tables, exported: Exported<'_>, faults: &mut FaultsAt<'_>) {
    let span = exported.span;
    if text(exported.resource, "service.name").is_none_or(str::is_empty) {
        faults.of("service.name", "is missing in the resource");
    }
    if span.end_time_unix_nano < span.start_time_unix_nano {
        faults.add("ends before it starts");
    }
    check_status(exported, faults);
    let kind = text(&span.attributes, OBJECT_KIND);
    let convention = kind.and_then(|kind| tables.own.spans.get(kind));
    if let Some(name) = convention
        && let Some(convention) = tables.spans.get(name)
    {
        let missing = |attribute: &str| {
            let mut departures = tables.own.missing.iter();
            departures.any(|missing| missing.span == *name && missing.attribute == attribute)
        };
        check_convention(convention, missing, exported, faults);
    }
}

/// "Instrumentation Libraries SHOULD NOT set the status code to Ok" (trace API), and an error has a class
/// (docs/general/recording-errors.md of the conventions), which what is no error has not.
fn check_status(exported: Exported<'_>, faults: &mut FaultsAt<'_>) {
    let span = exported.span;
    let status = span.status.clone().unwrap_or_default();
    let error_type = text(&span.attributes, ERROR_TYPE);
    match status.code() {
        StatusCode::Ok => faults.add("has the status Ok"),
        StatusCode::Unset => {
            if !status.message.is_empty() {
                faults.add("has a message of an unset status");
            }
            if error_type.is_some() {
                faults.of(ERROR_TYPE, "is set without a status of error");
            }
        }
        StatusCode::Error => match error_type {
            None => faults.of(ERROR_TYPE, "is missing, the status being error"),
            // "The error.type SHOULD be predictable, and SHOULD have low cardinality": one word, no sentence.
            Some(class)
                if !class
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                faults.of(ERROR_TYPE, format!("is {class:?}, which is no class"));
            }
            Some(_) => {}
        },
    }
}

fn check_convention(
    convention: &SpanConvention,
    departs: impl Fn(&str) -> bool,
    exported: Exported<'_>,
    faults: &mut FaultsAt<'_>,
) {
    let span = exported.span;
    let kind = match span.kind() {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    };
    if kind != convention.kind {
        faults.add(format!("is of kind {kind}, not {}", convention.kind));
    }
    let parts = convention.name.iter();
    let parts: Vec<_> = parts
        .filter_map(|part| text(&span.attributes, part))
        .collect();
    if !convention.name.is_empty() && span.name != parts.join(" ") {
        faults.add(format!("should have the name {:?}", parts.join(" ")));
    }
    let is_set = |key: &str| span.attributes.iter().any(|attribute| attribute.key == key);
    for attribute in &convention.required {
        if !is_set(attribute) && !departs(attribute) {
            faults.of(attribute, "is missing");
        }
        if is_set(attribute) && departs(attribute) {
            faults.of(attribute, "is set, but listed as one that is not");
        }
    }
    for (attribute, condition) in &convention.required_if {
        if let Some(value) = text(&span.attributes, &condition.attribute)
            && condition.is.iter().any(|other| other == value)
            && !is_set(attribute)
        {
            let because = &condition.attribute;
            faults.of(attribute, format!("is missing, {because} being {value}"));
        }
    }
}
