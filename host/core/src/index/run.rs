//! A run of an object, and what the index keeps of it.

use std::sync::Arc;
use std::time::Duration;

use super::assemble::Bounds;
use super::event::error_type;
use super::resolve::Resolution;
use super::subject::FinishedRun;
use crate::identity::{SpanId, TraceKey};
use crate::mapping::{Parent, SpanTree};
use crate::time::Time;

/// A run of an object: one tree of spans.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) sketch: Sketch,
    /// The tree itself, from when it has ended until it is exported. Before, it is but a preview: the end changes the
    /// object, which is mapped again then.
    pub(super) tree: Option<Box<SpanTree>>,
    pub(super) resolution: Resolution,
    /// When the end was first observed (not: when it was).
    pub(super) ended: Option<Time>,
    /// The run had ended when the object was first mapped.
    pub(super) ended_at_first_sight: bool,
    pub(super) exported: bool,
    /// Its tree stands for a version that could not be mapped.
    pub(super) plain: bool,
    /// While it waits for its parent: the trace of that parent's orphans, which counts on it.
    pub(super) counted: Option<TraceKey>,
}

impl Run {
    /// Whether it had ended before the replay window when its object was first seen.
    pub(super) fn is_old(&self, window: Duration, first_seen: Time) -> bool {
        self.ended_at_first_sight && self.sketch.bounds.end.plus(window) < first_seen
    }

    /// Whether it belongs to a trace that is left alone.
    pub(super) fn is_left_alone(&self) -> bool {
        matches!(&self.resolution, Resolution::Resolved(place) if place.too_old)
    }
}

/// What others need to know of a tree, while it is under way and after it was exported.
#[derive(Debug)]
pub(super) struct Sketch {
    /// Identity of the run within the object.
    pub(super) run: Box<str>,
    /// Candidates, best first.
    pub(super) parents: Box<[Parent]>,
    pub(super) bounds: Bounds,
    /// The class of its error, if it failed.
    pub(super) error_type: Option<Arc<str>>,
    pub(super) may_annotate: bool,
    /// Ids of the child spans that objects may hang under, in their order.
    pub(super) children: Box<[SpanId]>,
}

impl Sketch {
    pub(super) fn of(uid: &str, tree: &SpanTree) -> Self {
        let ids = tree.children.iter();
        let mut children: Box<[SpanId]> = ids
            .map(|child| SpanId::of(uid, &tree.run, &child.span.key))
            .collect();
        children.sort_unstable();
        Self {
            run: tree.run.as_str().into(),
            parents: tree.parents.clone().into(),
            bounds: Bounds::of(tree),
            error_type: error_type(tree),
            may_annotate: tree.may_annotate,
            children,
        }
    }
}

/// The run that children which start at this time belong to: the last that had started, else the first.
pub(super) fn run_at<R: Started>(runs: &[R], start: Time) -> Option<&R> {
    let started = runs.iter().filter(|run| run.started().0 <= start);
    started
        .max_by_key(|run| run.started())
        .or_else(|| runs.iter().min_by_key(|run| run.started()))
}

/// A run, as far as children look for theirs.
pub(super) trait Started {
    /// When it started, and its name.
    fn started(&self) -> (Time, &str);
}

impl Started for Run {
    fn started(&self) -> (Time, &str) {
        (self.sketch.bounds.start, &self.sketch.run)
    }
}

impl Started for FinishedRun {
    fn started(&self) -> (Time, &str) {
        (self.start, &self.run)
    }
}

/// The span of a key among those of a run; the main span if there is none of that key.
pub(super) fn span_of(uid: &str, run: &str, children: &[SpanId], key: &str) -> SpanId {
    let id = SpanId::of(uid, run, key);
    if children.binary_search(&id).is_ok() {
        id
    } else {
        SpanId::of(uid, run, "")
    }
}
