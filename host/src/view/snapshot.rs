//! The canonical text of traces: everything that was sent, in one order, for comparison by tests and people.

use std::fmt::Write as _;

use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::json::{kind_name, status_name, value_json};
use super::model::{Node, View};

/// The text: valid YAML, a list item a trace and below it one a span, sorted by trace, then depth first by
/// start, name and id. What has its default value is left out: no parent, kind internal, status unset, no
/// events, nothing dropped.
#[must_use]
pub fn snapshot(received: &[ResourceSpans]) -> String {
    let mut text = String::new();
    for trace in View::new(received).traces {
        let mut lines = Lines {
            text: &mut text,
            indent: 0,
        };
        lines.line(format_args!("- trace: {}", quoted(&trace.id)));
        lines.line(format_args!("  spans:"));
        for (depth, node) in trace.walk() {
            lines.indent = 4;
            span(&mut lines, depth, node);
        }
    }
    text
}

struct Lines<'a> {
    text: &'a mut String,
    indent: usize,
}

impl Lines<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = self.indent);
    }

    fn attributes(&mut self, title: &str, attributes: &[KeyValue]) {
        if attributes.is_empty() {
            return;
        }
        self.line(format_args!("{title}:"));
        let mut sorted: Vec<_> = attributes.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for attribute in sorted {
            let value = value_json(attribute.value.as_ref());
            self.line(format_args!("  {}: {value}", plain(&attribute.key)));
        }
    }
}

fn span(lines: &mut Lines<'_>, depth: usize, node: &Node) {
    let span = &node.span;
    lines.line(format_args!("- name: {}", plain(&span.name)));
    lines.indent += 2;
    lines.line(format_args!(
        "span: {}",
        quoted(&hex::encode(&span.span_id))
    ));
    if !span.parent_span_id.is_empty() {
        lines.line(format_args!(
            "parent: {}{}",
            quoted(&hex::encode(&span.parent_span_id)),
            if node.parent_missing {
                " # not received"
            } else {
                ""
            }
        ));
    }
    lines.line(format_args!("depth: {depth}"));
    lines.line(format_args!("service: {}", plain(&node.service)));
    if kind_name(span.kind) != "internal" {
        lines.line(format_args!("kind: {}", kind_name(span.kind)));
    }
    lines.line(format_args!("start: {}", node.start()));
    lines.line(format_args!("end: {}", node.end()));
    let status = span.status.clone().unwrap_or_default();
    if status.code != 0 || !status.message.is_empty() {
        lines.line(format_args!("status: {}", status_name(status.code)));
        if !status.message.is_empty() {
            lines.line(format_args!("message: {}", quoted(&status.message)));
        }
    }
    lines.attributes("attributes", &span.attributes);
    if !span.events.is_empty() {
        lines.line(format_args!("events:"));
        lines.indent += 2;
        for event in &span.events {
            lines.line(format_args!("- name: {}", plain(&event.name)));
            lines.indent += 2;
            lines.line(format_args!(
                "time: {}",
                Time::from_nanoseconds(event.time_unix_nano)
            ));
            lines.attributes("attributes", &event.attributes);
            lines.indent -= 2;
        }
        lines.indent -= 2;
    }
    if !span.links.is_empty() {
        lines.line(format_args!("links:"));
        lines.indent += 2;
        for link in &span.links {
            let trace = quoted(&hex::encode(&link.trace_id));
            lines.line(format_args!("- trace: {trace}"));
            lines.indent += 2;
            lines.line(format_args!(
                "span: {}",
                quoted(&hex::encode(&link.span_id))
            ));
            lines.attributes("attributes", &link.attributes);
            lines.indent -= 2;
        }
        lines.indent -= 2;
    }
    for (what, count) in [
        ("attributes", span.dropped_attributes_count),
        ("events", span.dropped_events_count),
        ("links", span.dropped_links_count),
    ] {
        if count > 0 {
            lines.line(format_args!("dropped_{what}: {count}"));
        }
    }
    lines.attributes("resource", &node.resource);
    lines.line(format_args!(
        "scope: {}",
        plain(&format!("{} {}", node.scope, node.scope_version))
    ));
}

/// Without quotes where YAML reads it as the same text.
fn plain(text: &str) -> String {
    let letters =
        |character: char| character.is_ascii_alphanumeric() || "._-/ ".contains(character);
    let begins = text.starts_with(|character: char| character.is_ascii_alphabetic());
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off"
    );
    if begins && !word && !text.ends_with(' ') && text.chars().all(letters) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A JSON string, which is a YAML one too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
