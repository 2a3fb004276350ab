//! Retries: a run that may be tried again keeps its object, and its status is filed under `retriesStatus`.

use span_mapper_sdk::{Span, SpanTree, Timestamp, time};

use crate::ending::{Ending, RunResult};
use crate::resource::TaskRunStatus;

/// When the first attempt started.
pub fn first_start(status: &TaskRunStatus<'_>) -> Option<Timestamp> {
    time::earliest(
        status
            .retries
            .iter()
            .chain([status])
            .map(|status| status.started.get()),
    )
}

/// Adds what each attempt did. A run that may be tried again has a span for each attempt, from the first on:
/// which Pod belongs to which must not depend on how far the run has come. `work` adds what was done in an
/// attempt, below the span at this place, which is that of the attempt of this number.
pub fn add<'a>(
    tree: &mut SpanTree<'a>,
    status: &'a TaskRunStatus<'a>,
    retries: Option<i64>,
    otherwise: RunResult,
    mut work: impl FnMut(&mut SpanTree<'a>, &'a TaskRunStatus<'a>, Option<(u32, usize)>),
) {
    if retries.unwrap_or(0) <= 0 && status.retries.is_empty() {
        work(tree, status, None);
        return;
    }
    let current = (status.started.get().is_some() || !status.pod.is_empty()).then_some(status);
    let attempts: Vec<_> = status.retries.iter().chain(current).collect();
    for (place, attempt) in attempts.iter().enumerate() {
        let number = place + 1;
        let start = attempt.started.get().unwrap_or(tree.main.start);
        let key = match attempt.pod.get() {
            Some(pod) => ["pod/", pod].concat(),
            None => format!("attempt/{number}"),
        };
        let archived = place < status.retries.len();
        let next = attempts
            .get(number)
            .and_then(|attempt| attempt.started.get());
        let fallback = next.or(tree.main.end).unwrap_or(start);
        let mut span = Span::new(tree.unused_key(key), "attempt", start)
            .with("tekton.attempt", i64::try_from(number).ok())
            .with("k8s.pod.name", &attempt.pod);
        let ending = Ending::of(
            &attempt.conditions,
            attempt.completed,
            false,
            fallback,
            otherwise,
        );
        match ending {
            Some(ending) => {
                ending.apply(&mut span, "tekton.attempt.result");
                span.set("tekton.reason", ending.reason);
            }
            None => span = span.until_or_parent(archived.then_some(fallback), tree.main.end),
        }
        let under = tree.add(span);
        work(tree, attempt, Some((under, number)));
    }
}
