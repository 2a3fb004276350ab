//! From the tree of a mapper to finished spans: ids, times within the object, marks.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::context::SpanContext;
use crate::identity::SpanId;
use crate::mapping::{
    Attribute, AttributeValue, MappedEvent, MappedSpan, Precision, SpanTree, Timestamp,
};
use crate::marks;
use crate::span::{Dropped, Link, Resource, Scope, Span, SpanEvent};
use crate::time::Time;

/// Name of the scope of spans that no mapper made.
const HOST_SCOPE: &str = "lighthouse-telemetry";

/// All that makes a tree into spans.
pub(super) struct Assembly<'a> {
    /// What span ids derive from.
    pub(super) uid: &'a str,
    pub(super) tree: &'a SpanTree,
    /// The main span's own context.
    pub(super) own: SpanContext,
    pub(super) parent: Option<SpanId>,
    pub(super) scope: &'a Arc<Scope>,
    pub(super) cluster_name: Option<&'a str>,
    pub(super) bounds: Bounds,
    /// Links of the spans whose targets are known, and how many are not; by place of the span: the main span first,
    /// then the children.
    pub(super) links: Vec<(Vec<Link>, u32)>,
    /// What the host has to say about the main span.
    pub(super) marks: Vec<Attribute>,
}

/// Within which all spans of an object lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) start: Time,
    pub(super) end: Time,
}

impl Bounds {
    /// The bounds that a tree has by itself: up to its end, or to the latest time known of it.
    pub(super) fn of(tree: &SpanTree) -> Self {
        let start = tree.main.start.time;
        let end = tree.main.end.map_or_else(|| latest(tree), |end| end.time);
        Self {
            start,
            end: end.max(start),
        }
    }

    fn clamp(self, time: Time) -> Time {
        time.clamp(self.start, self.end)
    }
}

/// The latest time in a tree.
fn latest(tree: &SpanTree) -> Time {
    let spans = std::iter::once(&tree.main).chain(tree.children.iter().map(|child| &child.span));
    spans
        .flat_map(|span| {
            let ends = span.end.iter().chain(std::iter::once(&span.start));
            ends.chain(span.events.iter().map(|event| &event.time))
        })
        .map(|timestamp| timestamp.time)
        .max()
        .unwrap_or_default()
}

/// The scope of spans that no mapper made.
pub(super) fn host_scope() -> Arc<Scope> {
    Arc::new(Scope {
        name: HOST_SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The resource of spans: what the mapper says, and the cluster.
pub(super) fn resource(
    service: &str,
    mut attributes: Vec<Attribute>,
    cluster_name: Option<&str>,
) -> Arc<Resource> {
    attributes.extend(cluster_name.map(|name| Attribute::new(marks::CLUSTER_NAME, name)));
    Arc::new(Resource {
        service: service.to_owned(),
        attributes: unique(attributes).0,
    })
}

/// The main span, then all below it, parents before children.
pub(super) fn spans(assembly: Assembly<'_>) -> Vec<Span> {
    let Assembly {
        uid,
        tree,
        own,
        parent,
        scope,
        cluster_name,
        bounds,
        links,
        marks,
    } = assembly;
    let resource = resource(
        &tree.service,
        tree.resource_attributes.clone(),
        cluster_name,
    );
    let mut links = links.into_iter();
    let mut finish =
        |mapped: &MappedSpan, span_id, parent, start, end, mut marks: Vec<Attribute>| {
            let told = mapped.end.or(tree.main.end);
            if [Some(mapped.start), told]
                .into_iter()
                .flatten()
                .any(is_rough)
            {
                marks.push(Attribute::new(marks::PRECISION, "second"));
            }
            marks.extend(mapped.attributes.iter().cloned());
            let (attributes, twice) = unique(marks);
            let (links, unknown) = links.next().unwrap_or_default();
            Span {
                trace_id: own.trace_id,
                span_id,
                parent,
                name: mapped.name.clone(),
                kind: mapped.kind,
                start,
                end,
                status: mapped.status.clone(),
                attributes,
                events: events(&mapped.events),
                links,
                dropped: Dropped {
                    attributes: twice,
                    events: 0,
                    links: unknown,
                },
                resource: Arc::clone(&resource),
                scope: Arc::clone(scope),
            }
        };
    let mut marks = marks;
    if !tree.diagnostics.is_empty() {
        let texts = tree
            .diagnostics
            .iter()
            .map(|diagnostic| format!("{}: {}", diagnostic.pointer, diagnostic.message).into())
            .collect();
        marks.push(Attribute::new(
            marks::DIAGNOSTICS,
            AttributeValue::Texts(texts),
        ));
    }
    let mut spans = Vec::with_capacity(1 + tree.children.len());
    spans.push(finish(
        &tree.main,
        own.span_id,
        parent,
        bounds.start,
        bounds.end,
        marks,
    ));
    let ids: Vec<SpanId> = tree
        .children
        .iter()
        .map(|child| SpanId::of(uid, &tree.run, &child.span.key))
        .collect();
    for (child, span_id) in tree.children.iter().zip(&ids) {
        let parent = child
            .under
            .and_then(|under| ids.get(under as usize).copied())
            .unwrap_or(own.span_id);
        let start = bounds.clamp(child.span.start.time);
        let mut marks = Vec::new();
        let end = match child.span.end {
            Some(end) => bounds.clamp(end.time).max(start),
            None => {
                marks.push(Attribute::new(marks::END, "parent"));
                bounds.end
            }
        };
        spans.push(finish(
            &child.span,
            *span_id,
            Some(parent),
            start,
            end,
            marks,
        ));
    }
    spans
}

/// Whether a time is known to the second only.
fn is_rough(time: Timestamp) -> bool {
    time.precision == Precision::Second
}

/// Events in order of time.
fn events(mapped: &[MappedEvent]) -> Vec<SpanEvent> {
    let mut events: Vec<SpanEvent> = mapped
        .iter()
        .map(|event| SpanEvent {
            name: event.name.clone(),
            time: event.time.time,
            attributes: unique(event.attributes.clone()).0,
        })
        .collect();
    // Stable: of one time, in the mapper's order.
    events.sort_by_key(|event| event.time);
    events
}

/// Attributes without those whose key occurred before, and how many those were.
fn unique(mut attributes: Vec<Attribute>) -> (Vec<Attribute>, u32) {
    let before = attributes.len();
    let mut keys = BTreeSet::new();
    attributes.retain(|attribute| keys.insert(attribute.key.clone()));
    let cut = u32::try_from(before - attributes.len()).unwrap_or(u32::MAX);
    (attributes, cut)
}
