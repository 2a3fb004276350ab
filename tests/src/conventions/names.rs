//! Names of attributes, and of spans and events, which must be few.

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::attributes::text;
use super::{Exported, FaultsAt};

/// Attributes that tell one object or run from all others of its kind.
const IDENTIFYING: [&str; 8] = [
    "k8s.object.name",
    "k8s.object.uid",
    "k8s.pod.name",
    "k8s.pod.uid",
    "cicd.pipeline.run.id",
    "cicd.pipeline.task.run.id",
    "container.id",
    "event.guid",
];
/// Characters between the parts of a UUID.
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_LENGTH: usize = 36;

/// Why this is no good name of an attribute, if it is none. Rules: docs/general/naming.md of the conventions.
pub(super) fn fault_of_attribute(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
    let delimiter = |byte: &u8| matches!(byte, b'_' | b'.');
    let bytes = name.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_lowercase) {
        Some("does not start with a lower-case letter")
    } else if !bytes.iter().copied().all(allowed) {
        Some("has other characters than a-z, 0-9, _ and .")
    } else if bytes.last().is_some_and(delimiter) {
        Some("ends in a delimiter")
    } else if bytes.windows(2).any(|pair| pair.iter().all(delimiter)) {
        Some("has two delimiters in a row")
    } else {
        None
    }
}

/// A name of a span or an event, which many must share.
pub(super) fn check(name: &str, identifiers: &[&str], faults: &mut FaultsAt<'_>) {
    if name.trim().is_empty() {
        faults.add("has no name");
    }
    if has_uuid(name) {
        faults.add("has a UUID in its name");
    }
    // Without a digit it is what people call an object, such as `nightly-build`: its span may well be called so too.
    let is_generated = |identifier: &str| identifier.bytes().any(|byte| byte.is_ascii_digit());
    let is_part = |identifier: &str| {
        name == identifier || name.split_whitespace().any(|word| word == identifier)
    };
    let mut identifiers = identifiers.iter();
    if let Some(identifier) = identifiers.find(|it| is_generated(it) && is_part(it)) {
        faults.add(format!("has the identifier {identifier} in its name"));
    }
}

/// What tells the objects of a span and of those above it from others.
pub(super) fn identifiers<'a>(spans: &[Exported<'a>], of: Exported<'a>) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut next = Some(of.span);
    // No more spans can be above it than there are.
    for _ in 0..spans.len() {
        let Some(span) = next else { break };
        let attributes: &'a [KeyValue] = &span.attributes;
        found.extend(IDENTIFYING.iter().filter_map(|key| text(attributes, key)));
        next = spans
            .iter()
            .map(|other| other.span)
            .find(|other| other.trace_id == span.trace_id && other.span_id == span.parent_span_id);
    }
    found
}

fn has_uuid(name: &str) -> bool {
    name.as_bytes().windows(UUID_LENGTH).any(|window| {
        window.iter().enumerate().all(|(place, byte)| {
            if UUID_HYPHENS.contains(&place) {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
    })
}
