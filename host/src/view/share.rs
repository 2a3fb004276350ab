//! Where the time of a trace went: every moment counts for one span, or in equal parts for one of each pipeline.
//!
//! Often several spans tell of one moment: a step, the run of its container, the step as an activity has it. Of the
//! spans without children that are active in a moment the one counts that began last, for that is what was being
//! done; where there is none, of those with children. Below the root pipelines go side by side and share a moment.
//! So the parts add up to the time in which there was any span.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::model::{Node, Trace};

/// The part of one kind of span: of one name in one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// `service.name`.
    pub service: String,
    /// Name of the spans.
    pub name: String,
    /// How many spans of the kind have a part in it.
    pub spans: usize,
    /// Their part of the time of the trace; each at least a nanosecond.
    pub time: Duration,
}

/// The shares in a trace, the greatest first; none that is zero.
pub fn shares(trace: &Trace) -> Vec<Share> {
    let nodes: Vec<&Node> = trace.walk().map(|(_, node)| node).collect();
    let groups = groups(trace);
    let mut moments = Vec::with_capacity(nodes.len() * 2);
    for (place, node) in nodes.iter().enumerate() {
        let (start, end) = (node.span.start_time_unix_nano, node.span.end_time_unix_nano);
        if start < end {
            moments.push((start, true, place));
            moments.push((end, false, place));
        }
    }
    // Ends before starts, so that what follows on from another does not overlap it.
    moments.sort_unstable();
    let mut active = Active::default();
    let mut parts = vec![0.0; nodes.len()];
    let mut before = 0;
    for (time, starts, place) in moments {
        active.pass(time.saturating_sub(before), &mut parts);
        before = time;
        if let (Some(node), Some(group)) = (nodes.get(place), groups.get(place)) {
            active.change(place, starts, node, *group);
        }
    }
    let mut kinds: BTreeMap<(&str, &str), (usize, f64)> = BTreeMap::new();
    for (node, part) in nodes.iter().copied().zip(parts) {
        if part >= 1.0 {
            let (spans, nanoseconds) = kinds.entry((&node.service, kind(node))).or_default();
            *spans += 1;
            *nanoseconds += part;
        }
    }
    let mut shares: Vec<_> = kinds
        .into_iter()
        .map(|((service, name), (spans, nanoseconds))| Share {
            service: service.to_owned(),
            name: name.to_owned(),
            spans,
            time: Duration::try_from_secs_f64(nanoseconds / 1e9).unwrap_or_default(),
        })
        .collect();
    shares.sort_by(|a, b| (b.time, &a.service, &a.name).cmp(&(a.time, &b.service, &b.name)));
    shares
}

/// For each span in the order of the walk which pipeline it is of: the span below the root that it is or is below.
fn groups(trace: &Trace) -> Vec<usize> {
    let mut group = 0;
    trace
        .walk()
        .enumerate()
        .map(|(place, (depth, _))| {
            if depth <= 1 {
                group = place;
            }
            group
        })
        .collect()
}

/// What a span is of the kind of: its name, without the container at the end where it says that of one.
fn kind(node: &Node) -> &str {
    let name = node.span.name.as_str();
    let container = node.text("k8s.container.name").unwrap_or_default();
    match name
        .strip_suffix(container)
        .and_then(|name| name.strip_suffix(' '))
    {
        Some(kind) if !container.is_empty() && !kind.is_empty() => kind,
        _ => name,
    }
}

/// What is active in a moment.
#[derive(Default)]
struct Active {
    /// Spans without children by pipeline; the one that began last is the last.
    leaves: BTreeMap<usize, BTreeSet<Begun>>,
    /// Spans with children.
    inner: BTreeSet<Begun>,
}

/// A span by its beginning, a rank among those that began at once, and its place in the walk.
type Begun = (u64, usize, usize);

impl Active {
    #[expect(
        clippy::cast_precision_loss,
        reason = "shares are shown to three digits"
    )]
    fn pass(&self, nanoseconds: u64, parts: &mut [f64]) {
        let of_pipelines = self.leaves.values().filter_map(BTreeSet::last);
        let innermost = self.inner.last().filter(|_| self.leaves.is_empty());
        let part = nanoseconds as f64 / self.leaves.len().max(1) as f64;
        for (_, _, place) in of_pipelines.chain(innermost) {
            if let Some(time) = parts.get_mut(*place) {
                *time += part;
            }
        }
    }

    fn change(&mut self, place: usize, starts: bool, node: &Node, group: usize) {
        let start = node.span.start_time_unix_nano;
        // Of those that began at once the first counts, but a span with children goes after those below it.
        let (spans, begun) = if node.children.is_empty() {
            let spans = self.leaves.entry(group).or_default();
            (spans, (start, usize::MAX - place, place))
        } else {
            (&mut self.inner, (start, place, place))
        };
        if starts {
            spans.insert(begun);
        } else {
            spans.remove(&begun);
        }
        self.leaves.retain(|_, spans| !spans.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::model::tests::{View, attribute, span};
    use proptest::prelude::*;

    fn shares_of(spans: &[(&str, &str, u64, u64)]) -> Vec<(String, u128)> {
        let spans = spans
            .iter()
            .map(|(id, parent, start, end)| span(id, parent, start * 1_000_000, end * 1_000_000));
        let shares = shares(&View::of(spans).traces[0]);
        shares
            .into_iter()
            .map(|share| (share.name, share.time.as_millis()))
            .collect()
    }

    #[test]
    fn a_moment_counts_for_what_began_last() {
        let spans = [
            ("job", "", 0, 100),
            ("queue", "job", 0, 20),
            ("task", "job", 20, 90),
            ("run", "task", 30, 80),
            ("step", "task", 40, 75),
        ];
        let expected = [
            ("step", 35),
            ("queue", 20),
            ("task", 20),
            ("run", 15),
            ("job", 10),
        ];
        assert_eq!(shares_of(&spans), named(&expected));
    }

    #[test]
    fn what_has_children_counts_where_nothing_without_is_active() {
        let spans = [
            ("task", "", 0, 100),
            ("pod", "task", 0, 100),
            ("pull", "pod", 0, 10),
            ("step", "task", 10, 90),
        ];
        let expected = [("step", 80), ("pod", 10), ("pull", 10)];
        assert_eq!(shares_of(&spans), named(&expected));
    }

    #[test]
    fn pipelines_side_by_side_share() {
        let spans = [
            ("event", "", 0, 100),
            ("build", "event", 0, 100),
            ("lint", "event", 50, 100),
            ("compile", "build", 0, 100),
            ("check", "lint", 50, 100),
        ];
        assert_eq!(shares_of(&spans), named(&[("compile", 75), ("check", 25)]));
    }

    #[test]
    fn what_is_done_to_containers_is_one_kind_each() {
        let pull = |id: &str, container: &str, start: u64, end: u64| {
            let mut span = span(id, "pod", start * 1_000_000, end * 1_000_000);
            span.name = format!("pull {container}");
            span.attributes
                .push(attribute("k8s.container.name", container));
            span
        };
        let view = View::of([
            span("pod", "", 0, 20_000_000),
            pull("a", "step-a", 0, 10),
            pull("b", "step-b", 10, 20),
        ]);
        let shares = shares(&view.traces[0]);
        assert_eq!(shares.len(), 1);
        assert_eq!((shares[0].name.as_str(), shares[0].spans), ("pull", 2));
    }

    fn named(expected: &[(&str, u128)]) -> Vec<(String, u128)> {
        let expected = expected.iter();
        expected
            .map(|(name, time)| ((*name).to_owned(), *time))
            .collect()
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_time_with_any_span(
            spans in prop::collection::vec((0u64..100, 0u64..50, 0usize..8), 1..20)
        ) {
            let named: Vec<_> = spans.iter().enumerate().map(|(place, (start, length, parent))| {
                let parent = if *parent < place { format!("s{parent}") } else { String::new() };
                (format!("s{place}"), parent, *start, start + length)
            }).collect();
            let covered = (0..200u64)
                .filter(|moment| named.iter().any(|(_, _, start, end)| (start..end).contains(&moment)))
                .count();
            let view = View::of(named.iter().map(|(id, parent, start, end)| {
                span(id, parent, start * 1_000_000, end * 1_000_000)
            }));
            let sum: f64 = shares(&view.traces[0]).iter().map(|share| share.time.as_secs_f64()).sum();
            prop_assert!((sum - covered as f64 / 1000.0).abs() < 1e-6, "{sum} {covered}");
        }
    }
}
