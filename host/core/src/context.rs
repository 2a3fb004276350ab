//! W3C trace contexts as they stand in annotations, and whose they are.
//!
//! Controllers copy annotations to children, so that a context found on an object need not be its own. Every
//! context that we write says in `tracestate` which span it is of; that tells the three apart.

use crate::identity::{SpanId, TraceId};
use crate::time::Time;

/// Our key in `tracestate`.
const VENDOR: &str = "lighthouse";

/// Our key in `tracestate` for the context that stood there before ours.
const REPLACES: &str = "lighthouse-replaces";

/// Ids of a span and of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

impl SpanContext {
    /// W3C `traceparent`, version 00, sampled.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// W3C `tracestate` that says that this context is of this very span; with the time at which the event
    /// of the trace was received, where there is one, so that the root can be rebuilt from the cluster alone:
    /// `lighthouse=<span id>` or `lighthouse=<span id>-<nanoseconds since the epoch, hexadecimal>`.
    #[must_use]
    pub fn tracestate(&self, received: Option<Time>) -> String {
        match received {
            Some(time) => format!("{VENDOR}={}-{:x}", self.span_id, time.nanoseconds()),
            None => format!("{VENDOR}={}", self.span_id),
        }
    }

    /// As [`Self::tracestate`], with the context that stood on the object before and that this one takes the place
    /// of: `,lighthouse-replaces=<trace id>-<span id>`. Without it the object would not say any more where it belongs.
    #[must_use]
    pub fn tracestate_in_place_of(&self, replaced: Option<Self>, received: Option<Time>) -> String {
        let mut text = self.tracestate(received);
        if let Some(Self { trace_id, span_id }) = replaced {
            text.push_str(&format!(",{REPLACES}={trace_id}-{span_id}"));
        }
        text
    }

    /// Reads a W3C `traceparent`. Versions after 00 may be longer; `ff` is invalid.
    /// <https://www.w3.org/TR/trace-context/#traceparent-header-field-values>
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hexadecimal = |text: &str| {
            text.len() == 2
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !hexadecimal(version) || version == "ff" || !hexadecimal(flags) {
            return None;
        }
        if version == "00" && parts.next().is_some() {
            return None;
        }
        Some(Self {
            trace_id: TraceId::parse(trace_id)?,
            span_id: SpanId::parse(span_id)?,
        })
    }
}

/// What our entry in a `tracestate` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The span that the context was written for.
    pub span_id: SpanId,
    /// When the event of the trace was received.
    pub received: Option<Time>,
    /// The context that stood on the object before.
    pub replaced: Option<SpanContext>,
}

impl Mark {
    /// Finds and reads our entries.
    #[must_use]
    pub fn parse(tracestate: &str) -> Option<Self> {
        let entry = |wanted: &str| {
            tracestate.split(',').find_map(|entry| {
                let (key, value) = entry.trim().split_once('=')?;
                (key == wanted).then_some(value)
            })
        };
        let value = entry(VENDOR)?;
        let replaced = entry(REPLACES).and_then(|value| {
            let (trace_id, span_id) = value.split_once('-')?;
            Some(SpanContext {
                trace_id: TraceId::parse(trace_id)?,
                span_id: SpanId::parse(span_id)?,
            })
        });
        let (span_id, received) = match value.split_once('-') {
            Some((span_id, received)) => (span_id, Some(received)),
            None => (value, None),
        };
        Some(Self {
            span_id: SpanId::parse(span_id)?,
            received: match received {
                Some(text) => Some(Time::from_nanoseconds(u64::from_str_radix(text, 16).ok()?)),
                None => None,
            },
            replaced,
        })
    }
}

/// Whose a context found on an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The object's own: it has the id that we derive for the object.
    Own,
    /// We wrote it for another object and a controller or a person copied it.
    Copied,
    /// Somebody else's.
    Foreign,
}

/// Whose the context is that was found on the object whose main span has the id `own`.
#[must_use]
pub fn origin(context: &SpanContext, tracestate: Option<&str>, own: SpanId) -> Origin {
    if context.span_id == own {
        return Origin::Own;
    }
    match tracestate.and_then(Mark::parse) {
        Some(mark) if mark.span_id == context.span_id => Origin::Copied,
        _ => Origin::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::TraceKey;

    fn context(uid: &str) -> SpanContext {
        SpanContext {
            trace_id: TraceKey::object("job").trace_id(),
            span_id: SpanId::of(uid, "", ""),
        }
    }

    #[test]
    fn a_context_survives_the_way_through_an_annotation() {
        let written = context("a");
        assert_eq!(SpanContext::parse(&written.traceparent()), Some(written));
        let received = Some(Time::from_nanoseconds(1_700_000_000_123_456_789));
        assert_eq!(
            Mark::parse(&format!("other=1,{}", written.tracestate(received))),
            Some(Mark {
                span_id: written.span_id,
                received,
                replaced: None,
            })
        );
        let replaced = Some(context("b"));
        assert_eq!(
            Mark::parse(&written.tracestate_in_place_of(replaced, None)),
            Some(Mark {
                span_id: written.span_id,
                received: None,
                replaced,
            })
        );
    }

    #[test]
    fn own_copied_and_foreign_are_told_apart() {
        let parent = context("parent");
        let own = SpanId::of("child", "", "");
        let state = parent.tracestate(None);
        assert_eq!(origin(&parent, Some(&state), parent.span_id), Origin::Own);
        assert_eq!(origin(&parent, Some(&state), own), Origin::Copied);
        assert_eq!(origin(&parent, None, own), Origin::Foreign);
        assert_eq!(origin(&parent, Some("vendor=x"), own), Origin::Foreign);
        let third = context("third");
        assert_eq!(origin(&third, Some(&state), own), Origin::Foreign);
    }

    #[test]
    fn garbage_is_no_context() {
        let good = context("a").traceparent();
        let longer = format!("{good}-00");
        assert_eq!(SpanContext::parse(&longer), None);
        assert!(SpanContext::parse(&longer.replacen("00", "01", 1)).is_some());
        for text in ["", "00", "ff-0-0-0", "00-0-0-01", "é", &good.to_uppercase()] {
            assert_eq!(SpanContext::parse(text), None, "{text}");
        }
    }
}
