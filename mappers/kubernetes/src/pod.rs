//! A Pod as a tree of spans.

use span_mapper_sdk::object::condition;
use span_mapper_sdk::{Error, Object, Outcome, Owner, Parent, Span, SpanTree, Timestamp, read};

use crate::container::{self, Role};
use crate::events::{self, Seen};
use crate::main_span;
use crate::phases::{self, Phases};
use crate::resource::Pod;

/// The spans of a Pod and its Events.
pub fn map(object: &Object) -> Result<Outcome<'_>, Error> {
    let (pod, mut diagnostics) = read::parse::<Pod<'_>>(&object.json)?;
    let controlled = |pod: &Pod<'_>| {
        pod.metadata
            .owners
            .iter()
            .any(|owner| owner.controller.is_true())
    };
    if !controlled(&pod) {
        return Ok(Outcome::NotOurs);
    }
    let pod = read::keep(pod);
    let events = read::keep(events::read(object, &mut diagnostics));
    let seen = read::keep(events::in_order(events));
    let containers = container::of(pod, seen);
    let metadata = &pod.metadata;
    let start = metadata
        .created
        .get()
        .or(pod.status.started.get())
        .or(seen.first().map(|seen| seen.time));
    let Some(start) = start else {
        return Ok(Outcome::wait("no-creation-time"));
    };

    let told = main_span::is_over(pod, &containers);
    let over = told || object.deleted;
    let mut main = Span::main("pod", start)
        .and("k8s.pod.name", &metadata.name)
        .and("k8s.pod.uid", &metadata.uid)
        .and("k8s.namespace.name", &metadata.namespace)
        .and("k8s.node.name", &pod.spec.node)
        .and("k8s.pod.status.phase", &pod.status.phase)
        .and("k8s.pod.status.reason", &pod.status.reason);
    if let Some((error_type, description)) = main_span::failure(pod, &containers, over) {
        main.fail(error_type, description);
    }
    events::record(&mut main, pod, &containers, seen);

    let mut of_containers: Vec<(Role, Phases<'_>)> = containers
        .iter()
        .map(|container| (container.role, phases::of(container)))
        .collect();
    close_gaps(&mut of_containers);
    let touched = of_containers
        .iter()
        .filter_map(|(_, phases)| phases.first)
        .reduce(Timestamp::earliest);
    let mut children = before_containers(pod, start, touched, seen);
    children.extend(
        of_containers
            .into_iter()
            .flat_map(|(_, phases)| phases.spans),
    );

    if over {
        let end = main_span::end(pod, &containers, seen).map_or(start, |end| end.latest(start));
        // An end that is known to the second covers all that happened in that second.
        let end = children
            .iter()
            .flat_map(|span| [Some(span.start), span.end])
            .flatten()
            .filter(|time| end.covers(*time))
            .fold(end, Timestamp::latest);
        if told {
            main.end = Some(end);
        } else {
            main.end_by_deletion(end);
        }
    }

    let key = ["pod/", metadata.name.as_str()].concat();
    let mut tree = SpanTree::new("Pod", main)
        .under(Parent::Owner(Owner::any(key)))
        .with_resource("service.namespace", &metadata.namespace)
        .with_diagnostics(diagnostics);
    let end = tree.main.end;
    tree.children.reserve(children.len());
    for span in children {
        let told = span.end;
        tree.add(span.until_or_parent(told, end));
    }
    tree.may_annotate = pod.status.started.get().is_some()
        || condition(&pod.status.conditions, "PodScheduled").is_some();
    tree.clamp();
    Ok(tree.into())
}

/// Init containers run one after the other: where the end of one is known to the second only, and the next one is
/// touched within that second, there was no gap.
fn close_gaps(containers: &mut [(Role, Phases<'_>)]) {
    let mut next: Option<Timestamp> = None;
    for (role, phases) in containers.iter_mut().rev() {
        if *role == Role::Init
            && let (Some(next), Some(last)) = (next, phases.spans.last_mut())
            && let Some(end) = last.end
            && end.covers(next)
        {
            last.end = Some(end.latest(next));
        }
        next = phases.first.or(next);
    }
}

/// What happens before the first container is touched: scheduling, attaching volumes, preparing the sandbox.
fn before_containers<'a>(
    pod: &'a Pod<'a>,
    created: Timestamp,
    touched: Option<Timestamp>,
    seen: &[Seen<'a>],
) -> Vec<Span<'a>> {
    let mut spans = Vec::with_capacity(3);
    let condition = condition(&pod.status.conditions, "PodScheduled");
    let scheduled = events::first(seen, "Scheduled")
        .map(|seen| seen.time)
        .or_else(|| {
            condition
                .filter(|condition| condition.is_true())
                .and_then(|condition| condition.changed.get())
        });
    let mut schedule =
        Span::new("schedule", "schedule", created).and("k8s.node.name", &pod.spec.node);
    let Some(scheduled) = scheduled else {
        // One that was given its node without the scheduler has no such time.
        if pod.spec.node.is_empty() && touched.is_none() {
            if let Some(condition) = condition.filter(|condition| condition.is_false()) {
                let reason = condition.reason.get().unwrap_or("Unschedulable");
                schedule.fail(reason, condition.message.get().unwrap_or(reason));
            }
            spans.push(schedule);
        }
        return spans;
    };
    // Clocks of nodes differ, but no container is touched before its Pod has a node.
    let bounded = |time: Timestamp| touched.map_or(time, |touched| time.earliest(touched));
    let mut reached = bounded(scheduled).latest(created);
    spans.push(schedule.until(Some(reached)));

    let attached = seen
        .iter()
        .rfind(|seen| seen.reason() == "SuccessfulAttachVolume")
        .map(Seen::last);
    let failed = seen
        .iter()
        .rfind(|seen| matches!(seen.reason(), "FailedAttachVolume" | "FailedMount"));
    if attached.is_some() || failed.is_some() {
        let mut attach = Span::new("attach-volumes", "attach volumes", reached);
        // A failure that came after the last success was overcome if a container was touched since.
        let overcome = failed
            .map(Seen::last)
            .filter(|last| attached.is_none_or(|time| *last > time));
        let end = match (overcome, touched) {
            (None, _) => attached,
            (Some(_), touched) => touched,
        };
        if let (None, Some(failed)) = (end, failed) {
            let message = failed.event.message.get().unwrap_or(failed.reason());
            attach.fail(failed.reason(), message);
        }
        let end = end.map(|end| bounded(end).latest(reached));
        spans.push(attach.until(end));
        match end {
            Some(end) => reached = end,
            None => return spans,
        }
    }

    let mut prepare = Span::new("prepare", "prepare", reached);
    let end = touched.map(|touched| touched.latest(reached));
    if end.is_none()
        && let Some(failed) = events::first(seen, "FailedCreatePodSandBox")
    {
        prepare.fail(
            failed.reason(),
            failed.event.message.get().unwrap_or(failed.reason()),
        );
    }
    spans.push(prepare.until(end));
    spans
}
