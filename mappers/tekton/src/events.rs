//! A run's Events of core/v1.

use span_mapper_sdk::event::Event;
use span_mapper_sdk::object::{Condition, condition};
use span_mapper_sdk::{Attached, Error, Object, Span, SpanEvent, Timestamp, read};

use crate::describe::EVENTS;

/// The Events that came along, in order of time. One that is no JSON object is left out.
pub fn of(object: &Object) -> Result<Vec<(Timestamp, Event<'_>)>, Error> {
    let mut events = Vec::new();
    for attached in of_attachment(object, EVENTS) {
        let (event, _) = read::parse::<Event<'_>>(&attached.json)?;
        if let Some(time) = event.started() {
            events.push((time, event));
        }
    }
    events.sort_by_key(|(time, _)| *time);
    Ok(events)
}

/// What came along with an attachment.
pub fn of_attachment(object: &Object, attachment: u32) -> impl Iterator<Item = &Attached> {
    object
        .attached
        .iter()
        .filter(move |attached| attached.attachment == attachment)
}

/// Records the condition `Succeeded` and the Events on a span.
pub fn record<'a>(
    span: &mut Span<'a>,
    conditions: &'a [Condition<'a>],
    events: &'a [(Timestamp, Event<'a>)],
) {
    for (time, event) in events {
        span.record(
            SpanEvent::new(event.reason.get().unwrap_or("Event"), *time)
                .with("reason", &event.reason)
                .with("message", &event.message)
                .with("type", &event.kind)
                .with("component", event.component())
                .with("host", event.host())
                .with("count", event.occurrences()),
        );
    }
    if let Some(condition) = condition(conditions, "Succeeded")
        && let Some(time) = condition.changed.get()
    {
        span.record(
            SpanEvent::new("Condition Succeeded", time)
                .with("type", &condition.kind)
                .with("status", &condition.status)
                .with("reason", &condition.reason)
                .with("message", &condition.message),
        );
    }
}
