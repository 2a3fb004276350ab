//! Whether spans keep to the OpenTelemetry semantic conventions, and to the rules for what those leave open.
//!
//! What the conventions say, and what lighthouse-telemetry exports beside them, are tables in `tests/conventions`.
//! Spans are looked at as a receiver gets them.

mod attributes;
mod names;
mod spans;
mod tables;

use std::fmt;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

pub use tables::Tables;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Where: the service and name of a span, and what of it.
    pub place: String,
    /// The attribute, if it is about one.
    pub attribute: Option<String>,
    /// What is wrong.
    pub fault: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.place)?;
        if let Some(attribute) = &self.attribute {
            write!(formatter, "{attribute}: ")?;
        }
        formatter.write_str(&self.fault)
    }
}

/// A span and what it is about.
#[derive(Clone, Copy, Debug)]
struct Exported<'a> {
    span: &'a Span,
    resource: &'a [KeyValue],
}

/// All violations in what was exported of a trace or several.
#[must_use]
pub fn check(tables: &Tables, exported: &[ResourceSpans]) -> Vec<Violation> {
    let spans: Vec<Exported<'_>> = exported.iter().flat_map(of_resource).collect();
    let mut faults = Faults::default();
    for exported in &spans {
        let span = exported.span;
        let service = attributes::text(exported.resource, "service.name").unwrap_or_default();
        let place = format!("{service} span {:?}", span.name);
        attributes::check(
            tables,
            exported.resource,
            &mut faults.at(&place, "resource"),
        );
        attributes::check(tables, &span.attributes, &mut faults.at(&place, ""));
        for event in &span.events {
            let mut faults = faults.at(&place, &format!("event {:?}", event.name));
            attributes::check(tables, &event.attributes, &mut faults);
            names::check(&event.name, &[], &mut faults);
        }
        for link in &span.links {
            attributes::check(tables, &link.attributes, &mut faults.at(&place, "link"));
        }
        let mut faults = faults.at(&place, "");
        names::check(
            &span.name,
            &names::identifiers(&spans, *exported),
            &mut faults,
        );
        spans::check(tables, *exported, &mut faults);
    }
    faults.found
}

fn of_resource(exported: &ResourceSpans) -> impl Iterator<Item = Exported<'_>> {
    let resource = exported.resource.as_ref();
    let resource = resource.map_or(&[][..], |Resource { attributes, .. }| attributes);
    let spans = exported.scope_spans.iter().flat_map(|scope| &scope.spans);
    spans.map(move |span| Exported { span, resource })
}

/// Collects violations.
#[derive(Debug, Default)]
struct Faults {
    found: Vec<Violation>,
}

/// Collects violations in one place.
#[derive(Debug)]
struct FaultsAt<'a> {
    found: &'a mut Vec<Violation>,
    place: String,
}

impl Faults {
    fn at(&mut self, span: &str, part: &str) -> FaultsAt<'_> {
        let place = if part.is_empty() {
            span.to_owned()
        } else {
            format!("{span}, {part}")
        };
        FaultsAt {
            found: &mut self.found,
            place,
        }
    }
}

impl FaultsAt<'_> {
    fn add(&mut self, fault: impl Into<String>) {
        self.push(None, fault.into());
    }

    fn of(&mut self, attribute: &str, fault: impl Into<String>) {
        self.push(Some(attribute.to_owned()), fault.into());
    }

    fn push(&mut self, attribute: Option<String>, fault: String) {
        self.found.push(Violation {
            place: self.place.clone(),
            attribute,
            fault,
        });
    }
}

#[cfg(test)]
mod tests;
