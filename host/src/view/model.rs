//! Traces as trees.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, status};

/// Traces, the earliest first.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The traces.
    pub traces: Vec<Trace>,
}

/// One trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Trace id in hexadecimal digits.
    pub id: String,
    /// Spans without a parent, and those whose parent is not there, by start.
    pub roots: Vec<Node>,
    /// The earliest start.
    pub start: Time,
    /// The latest end.
    pub end: Time,
}

/// A span and what is below it.
#[derive(Clone, Debug)]
pub struct Node {
    /// The span.
    pub span: Span,
    /// `service.name` of its resource.
    pub service: String,
    /// Attributes of its resource.
    pub resource: Vec<KeyValue>,
    /// Name of its instrumentation scope.
    pub scope: String,
    /// Version of its instrumentation scope.
    pub scope_version: String,
    /// Its parent was not received, or is among its own descendants.
    pub parent_missing: bool,
    /// Spans below it, by start.
    pub children: Vec<Node>,
}

impl View {
    /// The traces in these messages. A span that was sent twice is there once: the one that came last.
    #[must_use]
    pub fn new(received: &[ResourceSpans]) -> Self {
        let mut traces: BTreeMap<Vec<u8>, HashMap<Vec<u8>, Node>> = BTreeMap::new();
        for group in received {
            let resource = group.resource.as_ref();
            let resource = resource.map_or(&[][..], |resource| &resource.attributes);
            for scoped in &group.scope_spans {
                let scope = scoped.scope.clone().unwrap_or_default();
                for span in &scoped.spans {
                    let node = Node {
                        span: span.clone(),
                        service: text_of(resource, "service.name")
                            .unwrap_or_default()
                            .to_owned(),
                        resource: resource.to_vec(),
                        scope: scope.name.clone(),
                        scope_version: scope.version.clone(),
                        parent_missing: false,
                        children: Vec::new(),
                    };
                    traces
                        .entry(span.trace_id.clone())
                        .or_default()
                        .insert(span.span_id.clone(), node);
                }
            }
        }
        let mut traces: Vec<_> = traces
            .into_iter()
            .map(|(id, nodes)| trace(&id, nodes))
            .collect();
        traces.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        Self { traces }
    }
}

fn trace(id: &[u8], nodes: HashMap<Vec<u8>, Node>) -> Trace {
    let spans = || nodes.values().map(|node| &node.span);
    let start = spans().map(|span| span.start_time_unix_nano).min();
    let end = spans().map(|span| span.end_time_unix_nano).max();
    Trace {
        id: hex::encode(id),
        roots: trees(nodes),
        start: Time::from_nanoseconds(start.unwrap_or_default()),
        end: Time::from_nanoseconds(end.unwrap_or_default()),
    }
}

fn trees(mut nodes: HashMap<Vec<u8>, Node>) -> Vec<Node> {
    let mut children: HashMap<Vec<u8>, BTreeSet<Vec<u8>>> = HashMap::new();
    let mut roots = Vec::new();
    for (id, node) in &mut nodes {
        node.parent_missing = false;
        if node.span.parent_span_id.is_empty() {
            roots.push(id.clone());
        } else {
            let parent = node.span.parent_span_id.clone();
            children.entry(parent).or_default().insert(id.clone());
        }
    }
    let mut orphans: Vec<_> = children
        .keys()
        .filter(|parent| !nodes.contains_key(*parent))
        .cloned()
        .collect();
    orphans.sort();
    let orphans: Vec<_> = orphans
        .iter()
        .filter_map(|parent| children.remove(parent))
        .flatten()
        .collect();
    let mut trees: Vec<_> = roots
        .iter()
        .filter_map(|id| tree(id, &mut nodes, &mut children))
        .collect();
    let torn = |mut node: Node| {
        node.parent_missing = true;
        node
    };
    trees.extend(
        orphans
            .iter()
            .filter_map(|id| tree(id, &mut nodes, &mut children))
            .map(torn),
    );
    // What is left hangs together in circles; each is opened at its earliest span.
    while let Some(id) = nodes
        .values()
        .min_by_key(|node| order(node))
        .map(|node| node.span.span_id.clone())
    {
        trees.extend(tree(&id, &mut nodes, &mut children).map(torn));
    }
    trees.sort_by(|a, b| order(a).cmp(&order(b)));
    trees
}

/// Built from the bottom and without recursion: a chain of spans may be as long as the sender likes.
fn tree(
    id: &[u8],
    nodes: &mut HashMap<Vec<u8>, Node>,
    children: &mut HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
) -> Option<Node> {
    struct Open {
        node: Node,
        left: Vec<Vec<u8>>,
    }
    let mut open = |id: &[u8]| {
        let node = nodes.remove(id)?;
        let left = children.remove(id).unwrap_or_default();
        Some(Open {
            node,
            left: left.into_iter().collect(),
        })
    };
    let mut path = vec![open(id)?];
    loop {
        let last = path.last_mut()?;
        if let Some(next) = last.left.pop() {
            path.extend(open(&next));
            continue;
        }
        let mut done = path.pop()?.node;
        done.children.sort_by(|a, b| order(a).cmp(&order(b)));
        match path.last_mut() {
            Some(parent) => parent.node.children.push(done),
            None => return Some(done),
        }
    }
}

fn order(node: &Node) -> (u64, &str, &[u8]) {
    let span = &node.span;
    (span.start_time_unix_nano, &span.name, &span.span_id)
}

impl Trace {
    /// All spans with their depth, parents before children.
    pub fn walk(&self) -> impl Iterator<Item = (usize, &Node)> {
        let mut left: Vec<_> = self.roots.iter().rev().map(|root| (0, root)).collect();
        std::iter::from_fn(move || {
            let (depth, node) = left.pop()?;
            left.extend(node.children.iter().rev().map(|child| (depth + 1, child)));
            Some((depth, node))
        })
    }
}

/// Flat, for a chain of spans may be longer than the stack is deep.
impl Drop for Trace {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.roots);
        while let Some(mut node) = left.pop() {
            left.append(&mut node.children);
        }
    }
}

impl Node {
    /// When it starts.
    #[must_use]
    pub fn start(&self) -> Time {
        Time::from_nanoseconds(self.span.start_time_unix_nano)
    }

    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Time {
        Time::from_nanoseconds(self.span.end_time_unix_nano)
    }

    /// Whether its status is an error.
    #[must_use]
    pub fn failed(&self) -> bool {
        let status = self.span.status.as_ref();
        status.is_some_and(|status| status.code == status::StatusCode::Error as i32)
    }

    /// What went wrong, if its status says so.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        let status = self.span.status.as_ref().filter(|_| self.failed())?;
        (!status.message.is_empty()).then_some(status.message.as_str())
    }

    /// The text of an attribute of the span.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        text_of(&self.span.attributes, key)
    }
}

fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    pub use super::View;
    use super::*;

    impl View {
        /// Of spans of one resource.
        pub fn of(spans: impl IntoIterator<Item = Span>) -> Self {
            Self::new(&[received("service", spans)])
        }
    }

    /// Spans of a service.
    pub fn received(service: &str, spans: impl IntoIterator<Item = Span>) -> ResourceSpans {
        ResourceSpans {
            resource: Some(opentelemetry_proto::tonic::resource::v1::Resource {
                attributes: vec![attribute("service.name", service)],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: spans.into_iter().collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }
    }

    /// A span named after its id; without a parent if that is empty.
    pub fn span(id: &str, parent: &str, start: u64, end: u64) -> Span {
        Span {
            trace_id: vec![1; 16],
            span_id: id.as_bytes().to_vec(),
            parent_span_id: parent.as_bytes().to_vec(),
            name: id.to_owned(),
            kind: 1,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            ..Span::default()
        }
    }

    pub fn attribute(key: &str, text: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(opentelemetry_proto::tonic::common::v1::AnyValue {
                value: Some(any_value::Value::StringValue(text.to_owned())),
            }),
            ..KeyValue::default()
        }
    }

    fn outline(view: &View) -> Vec<(usize, String, bool)> {
        let spans = view.traces.iter().flat_map(Trace::walk);
        spans
            .map(|(depth, node)| (depth, node.span.name.clone(), node.parent_missing))
            .collect()
    }

    fn expected(lines: &[(usize, &str, bool)]) -> Vec<(usize, String, bool)> {
        lines
            .iter()
            .map(|(depth, name, missing)| (*depth, (*name).to_owned(), *missing))
            .collect()
    }

    #[test]
    fn children_are_sorted_by_start_then_name() {
        let view = View::of([
            span("late", "root", 5, 6),
            span("b", "root", 1, 2),
            span("root", "", 0, 9),
            span("a", "root", 1, 3),
            span("below", "a", 1, 2),
        ]);
        assert_eq!(
            outline(&view),
            expected(&[
                (0, "root", false),
                (1, "a", false),
                (2, "below", false),
                (1, "b", false),
                (1, "late", false),
            ])
        );
        assert_eq!(view.traces[0].end.nanoseconds(), 9);
    }

    #[test]
    fn nothing_is_lost_for_want_of_a_parent() {
        let view = View::of([
            span("root", "", 5, 9),
            span("torn", "gone", 1, 2),
            span("x", "y", 6, 7),
            span("y", "x", 7, 8),
            span("self", "self", 8, 9),
        ]);
        assert_eq!(
            outline(&view),
            expected(&[
                (0, "torn", true),
                (0, "root", false),
                (0, "x", true),
                (1, "y", false),
                (0, "self", true),
            ])
        );
    }

    #[test]
    fn a_span_sent_twice_is_there_once_and_traces_are_apart() {
        let mut other = span("other", "", 0, 1);
        other.trace_id = vec![2; 16];
        let first = span("a", "", 3, 4);
        let mut again = first.clone();
        again.name = "again".to_owned();
        let view = View::of([first, again, other]);
        let names: Vec<_> = outline(&view)
            .into_iter()
            .map(|(_, name, _)| name)
            .collect();
        assert_eq!(names, ["other", "again"]);
    }

    #[test]
    fn a_long_chain_is_no_danger_to_the_stack() {
        let spans = (0..20_000u32).map(|place| {
            let mut span = span("", "", 0, 1);
            span.span_id = (place + 1).to_be_bytes().to_vec();
            span.parent_span_id = place.to_be_bytes().to_vec();
            span
        });
        let view = View::of(spans);
        assert_eq!(view.traces[0].walk().count(), 20_000);
        assert!(view.traces[0].roots[0].parent_missing);
    }
}
