//! What holds for every trace: times within their object, parents that exist.

use super::*;

/// What is wrong with the form of spans.
pub(super) fn violations(spans: &[Span]) -> Vec<String> {
    let mut violations = Vec::new();
    let by_id: BTreeMap<SpanId, &Span> = spans.iter().map(|span| (span.span_id, span)).collect();
    for span in spans {
        if span.end < span.start {
            violations.push(format!("ends before it starts: {span:?}"));
        }
        let Some(parent) = span.parent.and_then(|parent| by_id.get(&parent)) else {
            continue;
        };
        if parent.trace_id != span.trace_id {
            violations.push(format!("in another trace than its parent: {span:?}"));
        }
        let is_below = span.name == "child" || span.name == "event";
        let main = main(&by_id, span);
        if is_below && (span.start < main.start || span.end > main.end) {
            violations.push(format!("not within its object: {span:?} {main:?}"));
        }
        if goes_round(&by_id, span) {
            violations.push(format!("goes round in a circle: {span:?}"));
        }
    }
    violations
}

/// The main span of the object that a span belongs to.
fn main<'a>(by_id: &BTreeMap<SpanId, &'a Span>, span: &'a Span) -> &'a Span {
    let mut main = span;
    while main.name == "child" || main.name == "event" {
        match main.parent.and_then(|parent| by_id.get(&parent)) {
            Some(parent) => main = parent,
            None => break,
        }
    }
    main
}

fn goes_round(by_id: &BTreeMap<SpanId, &Span>, span: &Span) -> bool {
    let mut above = span;
    for _ in 0..by_id.len() {
        match above.parent.and_then(|parent| by_id.get(&parent)) {
            Some(parent) => above = parent,
            None => return false,
        }
    }
    true
}
