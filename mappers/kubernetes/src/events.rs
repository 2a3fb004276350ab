//! The Pod's Events, and the span events of its main span: every Event, termination and condition.

use span_mapper_sdk::event::{self, Event};
use span_mapper_sdk::object::Condition;
use span_mapper_sdk::{Diagnostic, Object, Span, SpanEvent, Timestamp, read};

use crate::container::Container;
use crate::main_span::deletion_requested;
use crate::resource::{Pod, Terminated};

/// An Event and when it happened first.
#[derive(Clone, Debug)]
pub struct Seen<'e> {
    pub time: Timestamp,
    /// The container it is about.
    pub container: Option<&'e str>,
    /// Its place among those of the same time.
    rank: u8,
    pub event: &'e Event<'e>,
}

impl<'e> Seen<'e> {
    /// Why it was written.
    pub fn reason(&self) -> &'e str {
        self.event.reason.as_str()
    }

    /// When it happened last.
    pub fn last(&self) -> Timestamp {
        self.event
            .ended()
            .map_or(self.time, |end| end.latest(self.time))
    }
}

/// Reads the Events that came along.
pub fn read<'o>(object: &'o Object, diagnostics: &mut Vec<Diagnostic>) -> Vec<Event<'o>> {
    let mut events = Vec::with_capacity(object.attached.len());
    for attached in &object.attached {
        match read::parse::<Event<'_>>(&attached.json) {
            Ok((event, odd)) => {
                if let Some(first) = odd.first() {
                    let name = event.metadata.name.as_str();
                    diagnostics.push(Diagnostic {
                        pointer: String::new(),
                        message: ["Event ", name, ": ", &first.pointer, " is ", &first.message]
                            .concat(),
                    });
                }
                events.push(event);
            }
            Err(_) => diagnostics.push(Diagnostic {
                pointer: String::new(),
                message: "an Event is no JSON".to_owned(),
            }),
        }
    }
    events
}

/// The Events in order of time; those of the same time in the order of a Pod's life.
pub fn in_order<'e>(events: &'e [Event<'e>]) -> Vec<Seen<'e>> {
    let mut seen: Vec<Seen<'e>> = events
        .iter()
        .filter_map(|event| {
            Some(Seen {
                time: event.started()?,
                container: event.container(),
                rank: event::rank(event.reason.as_str()),
                event,
            })
        })
        .collect();
    seen.sort_by_key(|seen| (seen.time.nanoseconds, seen.rank));
    seen
}

/// The first Event of a reason, whatever it is about.
pub fn first<'s, 'e>(seen: &'s [Seen<'e>], reason: &str) -> Option<&'s Seen<'e>> {
    seen.iter().find(|seen| seen.reason() == reason)
}

/// What is to be recorded. It is put in order before it is made a span event, which is larger.
enum Told<'s, 'a> {
    Event(&'s Seen<'a>),
    Condition(&'a str, &'a Condition<'a>),
    Ended(&'s Container<'a>, i64, &'a Terminated<'a>),
    DeletionRequested,
}

/// Records every Event, termination and condition on the main span, in order of time.
pub fn record<'a>(
    span: &mut Span<'a>,
    pod: &'a Pod<'a>,
    containers: &[Container<'a>],
    seen: &[Seen<'a>],
) {
    let mut told: Vec<(Timestamp, u8, Told<'_, 'a>)> =
        Vec::with_capacity(seen.len() + 2 * containers.len() + pod.status.conditions.len());
    for seen in seen {
        told.push((seen.time, seen.rank, Told::Event(seen)));
    }
    for condition in &pod.status.conditions {
        if let (Some(time), Some(kind)) = (condition.changed.get(), condition.kind.get()) {
            // The scheduler sets its condition and then writes the Event.
            let rank = if kind == "PodScheduled" { 1 } else { 7 };
            told.push((time, rank, Told::Condition(kind, condition)));
        }
    }
    for container in containers {
        for instance in container.instances() {
            if let Some(ended) = instance.ended
                && let Some(time) = ended.finished()
            {
                told.push((time, 9, Told::Ended(container, instance.number, ended)));
            }
        }
    }
    if let Some(time) = deletion_requested(pod) {
        told.push((time, 10, Told::DeletionRequested));
    }
    told.sort_by_key(|(time, rank, _)| (time.nanoseconds, *rank));
    span.events.reserve(told.len());
    for (time, _, told) in told {
        span.events.push(match told {
            Told::Event(seen) => of_event(seen),
            Told::Condition(kind, condition) => SpanEvent::new(["Condition ", kind].concat(), time)
                .and("type", kind)
                .and("status", &condition.status)
                .and("reason", &condition.reason)
                .and("message", &condition.message),
            Told::Ended(container, number, ended) => SpanEvent::new("Terminated", time)
                .and("reason", &ended.reason)
                .and("exit-code", ended.exit_code)
                .and("process.exit.code", ended.exit_code)
                .and("signal", ended.signal.get().filter(|signal| *signal != 0))
                .and("k8s.container.name", container.name)
                .and("k8s.container.restart_count", number),
            Told::DeletionRequested => SpanEvent::new("Deletion requested", time),
        });
    }
}

fn of_event<'e>(seen: &Seen<'e>) -> SpanEvent<'e> {
    let event = seen.event;
    SpanEvent::new(event.reason.get().unwrap_or("Event"), seen.time)
        .and("reason", &event.reason)
        .and("message", &event.message)
        .and("type", &event.kind)
        .and("fieldPath", &event.involved.field_path)
        .and("component", event.component())
        .and("host", event.host())
        .and("count", event.occurrences())
        .and("k8s.container.name", seen.container)
}
