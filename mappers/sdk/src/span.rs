//! Builders for what a mapper returns.

use std::borrow::Cow;

use crate::contract::{
    Attribute, Child, Diagnostic, EventKey, Link, LinkTarget, Outcome, Owner, Parent, Precision,
    Span, SpanEvent, SpanKind, SpanStatus, SpanTree, Timestamp, TraceStart,
};
use crate::scan;
use crate::value::{self, IntoAttributeValue};

/// Where the end of a span comes from, if nothing tells it.
const END: &str = "lighthouse.telemetry.end";
/// By how many seconds a time was moved that cannot be right.
const CLAMPED: &str = "lighthouse.telemetry.clamped";

impl<'a> Span<'a> {
    /// A span that runs, of kind internal and with status unset. The key identifies it within its tree; the name
    /// is for people and has low cardinality.
    #[must_use]
    pub fn new(
        key: impl Into<Cow<'a, str>>,
        name: impl Into<Cow<'a, str>>,
        start: Timestamp,
    ) -> Self {
        Self {
            key: key.into(),
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end: None,
            status: SpanStatus::Unset,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    /// The main span of a tree: its key is empty.
    #[must_use]
    pub fn main(name: impl Into<Cow<'a, str>>, start: Timestamp) -> Self {
        Self::new("", name, start)
    }

    /// With this kind.
    #[must_use]
    pub fn of_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// With this end; none while it runs.
    #[must_use]
    pub fn until(mut self, end: Option<Timestamp>) -> Self {
        self.end = end;
        self
    }

    /// With this end. Where nothing tells one, with that of the span above, if that has ended, and the attribute
    /// `lighthouse.telemetry.end` says so.
    #[must_use]
    pub fn until_or_parent(self, end: Option<Timestamp>, parent: Option<Timestamp>) -> Self {
        match (end, parent) {
            (None, Some(parent)) => self.until(Some(parent)).with(END, "parent"),
            (end, _) => self.until(end),
        }
    }

    /// Ends the span of an object that was deleted before it told an end, at the latest time that is known of it; the
    /// attribute `lighthouse.telemetry.end` says so.
    pub fn end_by_deletion(&mut self, latest: Timestamp) {
        self.end = Some(latest);
        self.set(END, "deleted");
    }

    /// With this attribute, if there is a value.
    #[must_use]
    pub fn with(
        mut self,
        key: impl Into<Cow<'a, str>>,
        value: impl IntoAttributeValue<'a>,
    ) -> Self {
        self.set(key, value);
        self
    }

    /// With one attribute more, if there is a value. Its key is none of those that the span has already: it is not looked for.
    #[inline]
    #[must_use]
    pub fn and(mut self, key: &'static str, value: impl IntoAttributeValue<'a>) -> Self {
        value::add(&mut self.attributes, key, value);
        self
    }

    /// Adds an attribute, if there is a value. Its key is none of those that the span has already: it is not looked for.
    #[inline]
    pub fn add(&mut self, key: &'static str, value: impl IntoAttributeValue<'a>) {
        value::add(&mut self.attributes, key, value);
    }

    /// Sets an attribute, in place of one of the same key. Does nothing if there is no value.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: impl IntoAttributeValue<'a>) {
        value::set(&mut self.attributes, key, value);
    }

    /// Marks the span as failed. `error.type` is the class of the error, of low cardinality; the description is
    /// for people.
    pub fn fail(
        &mut self,
        error_type: impl Into<Cow<'a, str>>,
        description: impl Into<Cow<'a, str>>,
    ) {
        self.set("error.type", error_type.into());
        self.status = SpanStatus::Error(description.into());
    }

    /// Whether the span is marked as failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.status, SpanStatus::Error(_))
    }

    /// Adds an event.
    pub fn record(&mut self, event: SpanEvent<'a>) {
        self.events.push(event);
    }

    /// Adds a link.
    pub fn link(&mut self, to: LinkTarget, attributes: Vec<Attribute<'a>>) {
        self.links.push(Link { to, attributes });
    }
}

impl<'a> SpanEvent<'a> {
    /// An event without attributes.
    #[must_use]
    pub fn new(name: impl Into<Cow<'a, str>>, time: Timestamp) -> Self {
        Self {
            name: name.into(),
            time,
            attributes: Vec::new(),
        }
    }

    /// With this attribute, if there is a value.
    #[must_use]
    pub fn with(
        mut self,
        key: impl Into<Cow<'a, str>>,
        value: impl IntoAttributeValue<'a>,
    ) -> Self {
        value::set(&mut self.attributes, key, value);
        self
    }

    /// With one attribute more, if there is a value. Its key is none of those that the event has already: it is not looked for.
    #[inline]
    #[must_use]
    pub fn and(mut self, key: &'static str, value: impl IntoAttributeValue<'a>) -> Self {
        value::add(&mut self.attributes, key, value);
        self
    }
}

impl<'a> Attribute<'a> {
    /// An attribute; none if there is no value.
    #[must_use]
    pub fn new(key: impl Into<Cow<'a, str>>, value: impl IntoAttributeValue<'a>) -> Option<Self> {
        Some(Self {
            key: key.into(),
            value: value.into_attribute_value()?,
        })
    }
}

impl Owner {
    /// The controller owner, whatever its group and kind: its child span of this key, or else its main span.
    #[must_use]
    pub fn any(span: impl Into<String>) -> Self {
        Self {
            group: None,
            kind: None,
            span: span.into(),
        }
    }

    /// The controller owner if it is of this group and kind: its child span of this key, or else its main span.
    #[must_use]
    pub fn of(group: &str, kind: &str, span: impl Into<String>) -> Self {
        Self {
            group: Some(group.to_owned()),
            kind: Some(kind.to_owned()),
            span: span.into(),
        }
    }
}

impl Parent {
    /// The subject starts the trace of this git event.
    #[must_use]
    pub fn root_of(event: EventKey) -> Self {
        Self::Root(TraceStart::Event(event))
    }

    /// The subject starts a trace of its own.
    #[must_use]
    pub fn own_root() -> Self {
        Self::Root(TraceStart::Subject)
    }
}

impl<'a> SpanTree<'a> {
    /// A tree of one span, without a parent yet, that must not be annotated yet.
    #[must_use]
    pub fn new(service: impl Into<Cow<'a, str>>, main: Span<'a>) -> Self {
        Self {
            run: Cow::Borrowed(""),
            service: service.into(),
            resource_attributes: Vec::new(),
            parents: Vec::new(),
            main,
            children: Vec::new(),
            may_annotate: false,
            diagnostics: Vec::new(),
        }
    }

    /// With one more candidate for the parent; the best comes first.
    #[must_use]
    pub fn under(mut self, parent: Parent) -> Self {
        self.parents.push(parent);
        self
    }

    /// With this attribute of the OpenTelemetry resource, if there is a value.
    #[must_use]
    pub fn with_resource(
        mut self,
        key: impl Into<Cow<'a, str>>,
        value: impl IntoAttributeValue<'a>,
    ) -> Self {
        value::set(&mut self.resource_attributes, key, value);
        self
    }

    /// With these diagnostics.
    #[must_use]
    pub fn with_diagnostics(mut self, diagnostics: Vec<Diagnostic>) -> Self {
        self.diagnostics.extend(diagnostics);
        self
    }

    /// Adds a span below the main span and gives its place, for [`SpanTree::add_under`].
    pub fn add(&mut self, span: Span<'a>) -> u32 {
        self.add_under(None, span)
    }

    /// Adds a span below an earlier child, or below the main span, and gives its place. Ids derive from keys joined by
    /// newlines, so that a key is of one line: names in objects that should not have several lines may have them.
    pub fn add_under(&mut self, under: Option<u32>, mut span: Span<'a>) -> u32 {
        if scan::has(span.key.as_bytes(), b'\n') {
            span.key = self.unused_key(span.key.replace('\n', " ")).into();
        }
        let place = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        self.children.push(Child { under, span });
        place
    }

    /// This key, or one made from it if the tree has it already: names in objects need not differ.
    #[must_use]
    pub fn unused_key(&self, key: String) -> String {
        let used = |key: &str| {
            let mut children = self.children.iter();
            children.any(|child| scan::same(child.span.key.as_bytes(), key.as_bytes()))
        };
        if !used(&key) {
            return key;
        }
        (2_u32..)
            .map(|number| format!("{key}/{number}"))
            .find(|key| !used(key))
            .unwrap_or(key)
    }

    /// Makes the tree well-formed: no span ends before it starts, and no child reaches beyond the span that it
    /// is under. Events stay where they are: one that lies outside its span says something true. If a time cannot be
    /// right, the attribute `lighthouse.telemetry.clamped` of the main span says by how many seconds at most one was
    /// moved.
    pub fn clamp(&mut self) {
        let mut moved = backwards(&self.main);
        clamp_end(&mut self.main);
        let mut ranges: Vec<(Timestamp, Option<Timestamp>)> =
            Vec::with_capacity(self.children.len());
        for child in &mut self.children {
            let (start, end) = child
                .under
                .and_then(|place| ranges.get(place as usize).copied())
                .unwrap_or((self.main.start, self.main.end));
            let span = &mut child.span;
            // One that ends after the span above is as usual: a sidecar does, or a node that is slow to say so.
            moved = moved.max(backwards(span)).max(gap(span.start, start));
            if let Some(end) = end {
                moved = moved.max(gap(end, span.start));
            }
            span.start = within(span.start, start, end);
            span.end = span.end.map(|time| within(time, start, end));
            clamp_end(span);
            ranges.push((span.start, span.end));
        }
        if moved > 0 {
            self.main.set(CLAMPED, seconds(moved));
        }
    }
}

/// By how much a span ends before it starts.
fn backwards(span: &Span<'_>) -> u64 {
    span.end.map_or(0, |end| gap(end, span.start))
}

/// By how many nanoseconds the first lies before the second for sure, given how exactly they are known.
fn gap(first: Timestamp, second: Timestamp) -> u64 {
    let unsure = |time: Timestamp| match time.precision {
        Precision::Nanosecond => 0,
        Precision::Microsecond => 1_000,
        Precision::Millisecond => 1_000_000,
        Precision::Second => 1_000_000_000,
    };
    let gap = second.nanoseconds.saturating_sub(first.nanoseconds);
    if gap < unsure(first).max(unsure(second)) {
        0
    } else {
        gap
    }
}

/// Above 104 days a nanosecond is lost.
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// The time, or the bound that it lies beyond.
fn within(time: Timestamp, start: Timestamp, end: Option<Timestamp>) -> Timestamp {
    let time = time.latest(start);
    end.map_or(time, |end| time.earliest(end))
}

fn clamp_end(span: &mut Span<'_>) {
    span.end = span.end.map(|end| end.latest(span.start));
}

impl<'a> From<SpanTree<'a>> for Outcome<'a> {
    fn from(tree: SpanTree<'a>) -> Self {
        Self::Spans(vec![tree])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::AttributeValue;
    use crate::testing::fault;

    fn at(nanoseconds: u64) -> Timestamp {
        Timestamp::nanoseconds(nanoseconds)
    }

    #[test]
    fn children_are_clamped_to_what_they_are_under() {
        let mut tree = SpanTree::new("s", Span::main("m", at(10)).until(Some(at(20))))
            .under(Parent::own_root());
        let outer = tree.add(Span::new("outer", "o", at(5)).until(Some(at(15))));
        tree.add_under(
            Some(outer),
            Span::new("inner", "i", at(12)).until(Some(at(18))),
        );
        tree.add(Span::new("after", "a", at(30)).until(Some(at(40))));
        tree.add(Span::new("backwards", "b", at(14)).until(Some(at(13))));
        tree.clamp();
        let times: Vec<_> = tree
            .children
            .iter()
            .map(|child| &child.span)
            .map(|span| (span.start.nanoseconds, span.end.map(|end| end.nanoseconds)))
            .collect();
        assert_eq!(
            times,
            [
                (10, Some(15)),
                (12, Some(15)),
                (20, Some(20)),
                (14, Some(14))
            ]
        );
        assert_eq!(fault(&tree), None);
        // What starts ten nanoseconds after its end has the greatest distance.
        assert_eq!(clamped(&tree), Some(1e-8));
    }

    fn clamped(tree: &SpanTree) -> Option<f64> {
        let said = tree.main.attributes.iter();
        said.filter(|said| said.key == CLAMPED)
            .find_map(|said| match said.value {
                AttributeValue::Number(seconds) => Some(seconds),
                _ => None,
            })
    }

    #[test]
    fn times_that_may_be_right_are_not_said_to_be_moved() {
        let rough = |text| Timestamp::parse(text).unwrap();
        let start = rough("2026-03-02T10:00:01.5Z");
        let mut tree = SpanTree::new("s", Span::main("m", start)).under(Parent::own_root());
        tree.main.end = Some(rough("2026-03-02T10:00:09Z"));
        // Cut to the second, and longer than the span above.
        let child = Span::new("a", "a", rough("2026-03-02T10:00:01Z"));
        tree.add(child.until(Some(rough("2026-03-02T10:00:19Z"))));
        tree.clamp();
        assert_eq!(clamped(&tree), None);
        tree.add(Span::new("b", "b", rough("2026-03-02T10:00:00Z")));
        tree.clamp();
        assert_eq!(clamped(&tree), Some(1.5));
    }

    #[test]
    fn what_runs_is_clamped_at_its_start_only() {
        let mut tree = SpanTree::new("s", Span::main("m", at(10))).under(Parent::own_root());
        tree.add(Span::new("a", "a", at(5)));
        tree.clamp();
        assert_eq!(tree.main.end, None);
        let [child] = tree.children.as_slice() else {
            panic!("{:?}", tree.children);
        };
        assert_eq!((child.span.start, child.span.end), (at(10), None));
    }

    #[test]
    fn a_key_is_of_one_line() {
        let mut tree = SpanTree::new("s", Span::main("m", at(1))).under(Parent::own_root());
        tree.add(Span::new("one two", "a", at(1)));
        tree.add(Span::new("one\ntwo", "b", at(1)));
        let keys: Vec<_> = tree.children.iter().map(|child| &child.span.key).collect();
        assert_eq!(keys, ["one two", "one two/2"]);
        assert_eq!(fault(&tree), None);
    }

    #[test]
    fn an_end_that_nothing_tells_is_said_to_be_none() {
        fn said<'a>(span: &Span<'a>) -> Option<AttributeValue<'a>> {
            span.attributes.first().map(|said| said.value.clone())
        }
        let span = || Span::new("a", "a", at(1));
        let told = span().until_or_parent(Some(at(2)), Some(at(3)));
        assert_eq!((told.end, said(&told)), (Some(at(2)), None));
        let parent = span().until_or_parent(None, Some(at(3)));
        let text = |text: &'static str| Some(AttributeValue::Text(text.into()));
        assert_eq!((parent.end, said(&parent)), (Some(at(3)), text("parent")));
        let runs = span().until_or_parent(None, None);
        assert_eq!((runs.end, said(&runs)), (None, None));
        let mut deleted = span();
        deleted.end_by_deletion(at(4));
        assert_eq!(
            (deleted.end, said(&deleted)),
            (Some(at(4)), text("deleted"))
        );
    }

    #[test]
    fn an_attribute_is_set_once_and_only_to_something() {
        let mut span = Span::main("m", at(0))
            .with("a", "1")
            .with("b", "")
            .with("c", f64::NAN)
            .with("d", None::<i64>);
        span.set("a", 2);
        span.fail("OOMKilled", "out of memory");
        let keys: Vec<_> = span
            .attributes
            .iter()
            .map(|attribute| &*attribute.key)
            .collect();
        assert_eq!(keys, ["a", "error.type"]);
        assert_eq!(span.attributes[0].value, AttributeValue::Integer(2));
        assert!(span.has_failed());
    }
}
