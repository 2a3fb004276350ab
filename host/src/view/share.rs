//! Where the time of a trace went: every moment is shared by what was going on in it.
//!
//! A moment belongs to the spans without children that are active in it, in equal parts; where there is none,
//! to the innermost ones that have children. So the shares add up to the time in which there was any span, and
//! pipelines side by side do not make it look longer than it was.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{Node, Trace};

/// The part of one kind of span: of one name in one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// `service.name`.
    pub service: String,
    /// Name of the spans.
    pub name: String,
    /// How many spans there are of the kind.
    pub spans: usize,
    /// Their part of the time of the trace.
    pub time: Duration,
}

/// The shares in a trace, the greatest first; none that is zero.
pub fn shares(trace: &Trace) -> Vec<Share> {
    let nodes: Vec<&Node> = trace.walk().map(|(_, node)| node).collect();
    let parents = parents(trace);
    let kinds = Kinds::of(&nodes);
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
    let mut sweep = Sweep {
        active: vec![false; nodes.len()],
        active_children: vec![0; nodes.len()],
        leaves: vec![0; kinds.names.len()],
        inner: vec![0; kinds.names.len()],
        time: vec![0.0; kinds.names.len()],
    };
    let mut before = 0;
    for (time, starts, place) in moments {
        sweep.pass(time.saturating_sub(before));
        before = time;
        sweep.change(place, starts, &nodes, &parents, &kinds.of_node);
    }
    let mut shares: Vec<_> = kinds
        .names
        .into_iter()
        .zip(kinds.counts)
        .zip(sweep.time)
        .filter(|(_, nanoseconds)| *nanoseconds >= 1.0)
        .map(|(((service, name), spans), nanoseconds)| Share {
            service,
            name,
            spans,
            time: Duration::try_from_secs_f64(nanoseconds / 1e9).unwrap_or_default(),
        })
        .collect();
    shares.sort_by(|a, b| (b.time, &a.service, &a.name).cmp(&(a.time, &b.service, &b.name)));
    shares
}

/// For each span in the order of the walk the place of its parent.
fn parents(trace: &Trace) -> Vec<Option<usize>> {
    let mut path: Vec<usize> = Vec::new();
    trace
        .walk()
        .enumerate()
        .map(|(place, (depth, _))| {
            path.truncate(depth);
            let parent = path.last().copied();
            path.push(place);
            parent
        })
        .collect()
}

struct Kinds {
    names: Vec<(String, String)>,
    counts: Vec<usize>,
    of_node: Vec<usize>,
}

impl Kinds {
    fn of(nodes: &[&Node]) -> Self {
        let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for node in nodes {
            let next = places.len();
            places
                .entry((&node.service, &node.span.name))
                .or_insert(next);
        }
        let mut names = vec![(String::new(), String::new()); places.len()];
        for ((service, name), place) in &places {
            if let Some(names) = names.get_mut(*place) {
                *names = ((*service).to_owned(), (*name).to_owned());
            }
        }
        let of_node: Vec<_> = nodes
            .iter()
            .filter_map(|node| places.get(&(node.service.as_str(), node.span.name.as_str())))
            .copied()
            .collect();
        let mut counts = vec![0; names.len()];
        for kind in &of_node {
            if let Some(count) = counts.get_mut(*kind) {
                *count += 1;
            }
        }
        Self {
            names,
            counts,
            of_node,
        }
    }
}

/// What is active at a moment. All lists are as long as those of the spans or of their kinds.
struct Sweep {
    active: Vec<bool>,
    active_children: Vec<u32>,
    /// Active spans without children, by kind.
    leaves: Vec<u32>,
    /// Active spans with children of which none is active, by kind.
    inner: Vec<u32>,
    time: Vec<f64>,
}

impl Sweep {
    #[expect(
        clippy::cast_precision_loss,
        reason = "shares are shown to three digits"
    )]
    fn pass(&mut self, nanoseconds: u64) {
        let leaves: u32 = self.leaves.iter().sum();
        let shared = if leaves > 0 {
            &self.leaves
        } else {
            &self.inner
        };
        let all: u32 = shared.iter().sum();
        if nanoseconds == 0 || all == 0 {
            return;
        }
        let one = nanoseconds as f64 / f64::from(all);
        for (time, count) in self.time.iter_mut().zip(shared) {
            *time += one * f64::from(*count);
        }
    }

    fn change(
        &mut self,
        place: usize,
        starts: bool,
        nodes: &[&Node],
        parents: &[Option<usize>],
        kinds: &[usize],
    ) {
        let step = |count: &mut u32, up: bool| {
            *count = if up {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        };
        let kind = kinds.get(place).copied().unwrap_or_default();
        let leaf = nodes.get(place).is_none_or(|node| node.children.is_empty());
        if let Some(active) = self.active.get_mut(place) {
            *active = starts;
        }
        let children = self.active_children.get(place).copied().unwrap_or_default();
        let counted = if leaf {
            &mut self.leaves
        } else {
            &mut self.inner
        };
        if let Some(count) = counted.get_mut(kind).filter(|_| leaf || children == 0) {
            step(count, starts);
        }
        let Some(parent) = parents.get(place).copied().flatten() else {
            return;
        };
        let Some(children) = self.active_children.get_mut(parent) else {
            return;
        };
        let alone = |children: u32| children == 0;
        let before = alone(*children);
        step(children, starts);
        let after = alone(*children);
        let active = self.active.get(parent).copied().unwrap_or_default();
        if active && before != after {
            let kind = kinds.get(parent).copied().unwrap_or_default();
            if let Some(count) = self.inner.get_mut(kind) {
                step(count, after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::model::tests::{View, span};
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
    fn a_moment_belongs_to_the_innermost_and_is_shared() {
        let spans = [
            ("root", "", 0, 100),
            ("queue", "root", 0, 20),
            ("job", "root", 20, 90),
            ("pull", "job", 30, 50),
            ("step", "job", 40, 90),
        ];
        let expected = [
            ("step", 45),
            ("queue", 20),
            ("pull", 15),
            ("job", 10),
            ("root", 10),
        ];
        let expected = expected.map(|(name, time)| (name.to_owned(), time));
        assert_eq!(shares_of(&spans), expected);
    }

    #[test]
    fn leaves_go_before_what_has_children() {
        let spans = [
            ("task", "", 0, 100),
            ("pod", "task", 0, 100),
            ("pull", "pod", 0, 10),
            ("step", "task", 10, 100),
        ];
        let expected = [("step", 90), ("pull", 10)];
        assert_eq!(
            shares_of(&spans),
            expected.map(|(name, time)| (name.to_owned(), time))
        );
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_time_with_any_span(
            spans in prop::collection::vec((0u64..100, 0u64..50, 0usize..8), 1..20)
        ) {
            let named: Vec<_> = spans.iter().enumerate().map(|(place, (start, length, parent))| {
                let parent = (*parent < place).then(|| format!("s{parent}")).unwrap_or_default();
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
