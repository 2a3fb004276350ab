//! The bar of a span: where in its trace it lies, and when something below it accounts for the time.

use super::model::Node;

/// What half a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Outside,
    /// Something below the span was going on.
    Below,
    /// Only the span itself was.
    Own,
}

/// The bar of a span in exactly this many cells, for a trace from `start` to `end` in nanoseconds: heavy where only
/// the span itself accounts for the time, light where a span below it does.
pub fn bar(node: &Node, (start, end): (u64, u64), cells: usize) -> String {
    let scale = Scale {
        start,
        length: end.saturating_sub(start).max(1),
        halves: cells * 2,
    };
    let mut halves = vec![Half::Outside; cells * 2];
    scale.fill(&mut halves, node, Half::Own);
    // A child shorter than half a cell would hide own time that is much longer.
    let shortest = scale.length / number(scale.halves).max(1);
    for child in &node.children {
        let span = &child.span;
        if span
            .end_time_unix_nano
            .saturating_sub(span.start_time_unix_nano)
            >= shortest
        {
            let mut below = vec![Half::Outside; cells * 2];
            scale.fill(&mut below, child, Half::Below);
            for (half, below) in halves.iter_mut().zip(below) {
                if *half == Half::Own && below == Half::Below {
                    *half = Half::Below;
                }
            }
        }
    }
    halves
        .chunks_exact(2)
        .map(|pair| match pair {
            [Half::Outside, Half::Outside] => ' ',
            [Half::Outside, Half::Below] => '╺',
            [Half::Below, Half::Outside] => '╸',
            [Half::Below, Half::Below] => '━',
            [Half::Outside | Half::Below, Half::Own] => '▐',
            [Half::Own, Half::Outside | Half::Below] => '▌',
            _ => '█',
        })
        .collect()
}

struct Scale {
    start: u64,
    length: u64,
    halves: usize,
}

impl Scale {
    /// At least half a cell: what took no time happened all the same.
    fn fill(&self, halves: &mut [Half], node: &Node, with: Half) {
        let first = self.place(node.span.start_time_unix_nano);
        let last = self.place(node.span.end_time_unix_nano);
        let first = first.min(self.halves.saturating_sub(1));
        let count = last.saturating_sub(first).max(1);
        for half in halves.iter_mut().skip(first).take(count) {
            *half = with;
        }
    }

    /// To the nearest boundary.
    fn place(&self, time: u64) -> usize {
        let offset = u128::from(time.saturating_sub(self.start));
        let length = u128::from(self.length);
        let place = (offset * self.halves as u128 + length / 2) / length;
        usize::try_from(place)
            .unwrap_or(usize::MAX)
            .min(self.halves)
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::model::tests::{View, span};

    fn bar_of(spans: &[(&str, &str, u64, u64)], cells: usize) -> String {
        let spans = spans
            .iter()
            .map(|(id, parent, start, end)| span(id, parent, *start, *end));
        let view = View::of(spans);
        bar(&view.traces[0].roots[0], (0, 100), cells)
    }

    #[test]
    fn a_bar_lies_where_the_span_does() {
        assert_eq!(bar_of(&[("a", "", 0, 100)], 10), "██████████");
        assert_eq!(bar_of(&[("a", "", 50, 100)], 10), "     █████");
        assert_eq!(bar_of(&[("a", "", 15, 35)], 10), " ▐█▌      ");
    }

    #[test]
    fn what_is_short_is_seen() {
        assert_eq!(bar_of(&[("a", "", 0, 0)], 10), "▌         ");
        assert_eq!(bar_of(&[("a", "", 100, 100)], 10), "         ▐");
    }

    #[test]
    fn time_below_is_light() {
        let spans = [("a", "", 0, 100), ("b", "a", 20, 80), ("c", "a", 30, 95)];
        assert_eq!(bar_of(&spans, 10), "██━━━━━━━▐");
    }
}
