//! What stands in annotations.

use lighthouse_telemetry_core::catalog::group_version;
use lighthouse_telemetry_core::context::{Mark, SpanContext, origin};
use lighthouse_telemetry_core::identity::{SpanId, TraceId};
use lighthouse_telemetry_core::time::Time;

/// Two lines: a `traceparent` and a `tracestate`. Both, and each further line, are read as everything else that stands in
/// annotations too. What was read and is written again is read the same.
pub fn context(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for line in text.lines() {
        if let Some(context) = SpanContext::parse(line) {
            assert_eq!(SpanContext::parse(&context.traceparent()), Some(context));
        }
        if let Some(trace_id) = TraceId::parse(line) {
            assert_eq!(TraceId::parse(&trace_id.to_string()), Some(trace_id));
        }
        if let Some(time) = Time::parse(line) {
            assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
        let (group, version) = group_version(line);
        assert!(line.len() >= group.len() + version.len());
    }
    let mut lines = text.lines();
    let context = lines.next().and_then(SpanContext::parse);
    let tracestate = lines.next();
    let Some(context) = context else { return };
    let _ = origin(&context, tracestate, SpanId::of("uid", "", ""));
    if let Some(mark) = tracestate.and_then(Mark::parse) {
        let own = SpanContext {
            span_id: mark.span_id,
            ..context
        };
        let again = own.tracestate_in_place_of(mark.replaced, mark.received);
        assert_eq!(Mark::parse(&again), Some(mark), "{again}");
    }
}
