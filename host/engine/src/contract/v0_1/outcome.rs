//! From a mapper's memory straight to the core's types. A change of form and no more: whether the values make sense is
//! looked at afterwards, for all versions alike.
//!
//! The numbers are the places of fields in their records, in the order of `wit/mapper.wit`, and the sizes of records, as
//! the canonical ABI lays them out; the sizes are compared with those that the bindings give.

use lighthouse_telemetry_core::mapping::{
    Attribute, AttributeValue, Child, Diagnostic, EventKey, LabelMatch, LinkTarget, MappedEvent,
    MappedLink, MappedSpan, Outcome, OwnerParent, Parent, PullRequest, Remote, SpanKind,
    SpanStatus, SpanTree, Target, TraceStart,
};
use lighthouse_telemetry_core::time::{Precision, Time, Timestamp};
use wasmtime::Result;
use wasmtime::component::ComponentType;

use super::memory::{Memory, byte, from, long, no_case, word};
use super::types;
use crate::error::{Located, Rejection};

const TREE: usize = 160;
const SPAN: usize = 104;
const CHILD: usize = 8 + SPAN;
const ATTRIBUTE: usize = 24;
const EVENT: usize = 32;
const LINK: usize = 72;
const PARENT: usize = 64;
const DIAGNOSTIC: usize = 16;

const _: () = {
    assert!(<types::SpanTree as ComponentType>::SIZE32 == TREE);
    assert!(<types::Span as ComponentType>::SIZE32 == SPAN);
    assert!(<types::Child as ComponentType>::SIZE32 == CHILD);
    assert!(<types::Attribute as ComponentType>::SIZE32 == ATTRIBUTE);
    assert!(<types::SpanEvent as ComponentType>::SIZE32 == EVENT);
    assert!(<types::Link as ComponentType>::SIZE32 == LINK);
    assert!(<types::Parent as ComponentType>::SIZE32 == PARENT);
    assert!(<types::Diagnostic as ComponentType>::SIZE32 == DIAGNOSTIC);
};

/// What a mapper makes of a subject, or why it cannot: `result<outcome, error>`.
pub fn result<C>(
    memory: &mut Memory<'_, C>,
    record: &[u8],
) -> Result<std::result::Result<Outcome, Rejection>>
where
    C: FnMut(usize) -> Result<()>,
{
    match byte(record, 0) {
        0 => Ok(Ok(memory.outcome(from(record, 4))?)),
        1 => Ok(Err(memory.rejection(from(record, 4))?)),
        other => no_case(other),
    }
}

impl<C: FnMut(usize) -> Result<()>> Memory<'_, C> {
    fn outcome(&mut self, record: &[u8]) -> Result<Outcome> {
        match byte(record, 0) {
            0 => Ok(Outcome::NotOurs),
            1 => Ok(Outcome::Wait(self.string(record, 4)?)),
            2 => Ok(Outcome::Spans(self.list(record, 4, Self::tree)?)),
            other => no_case(other),
        }
    }

    fn rejection(&mut self, record: &[u8]) -> Result<Rejection> {
        match byte(record, 0) {
            0 => Ok(Rejection::Configuration(self.located(from(record, 4))?)),
            1 => Ok(Rejection::Subject(self.diagnostic(from(record, 4))?)),
            2 => Ok(Rejection::Evaluation(self.located(from(record, 4))?)),
            3 => Ok(Rejection::Other(self.string(record, 4)?)),
            other => no_case(other),
        }
    }

    fn located(&mut self, record: &[u8]) -> Result<Located> {
        Ok(Located {
            message: self.string(record, 0)?,
            line: word(record, 8),
            column: word(record, 12),
        })
    }

    fn diagnostic(&mut self, record: &[u8]) -> Result<Diagnostic> {
        Ok(Diagnostic {
            pointer: self.string(record, 0)?,
            message: self.string(record, 8)?,
        })
    }

    fn tree(&mut self, record: &[u8; TREE]) -> Result<SpanTree> {
        Ok(SpanTree {
            run: self.string(record, 0)?,
            service: self.string(record, 8)?,
            resource_attributes: self.attributes(record, 16)?,
            parents: self.list(record, 24, Self::parent)?,
            main: self.span(from(record, 32))?,
            children: self.list(record, 136, Self::child)?,
            may_annotate: byte(record, 144) != 0,
            diagnostics: self.list(record, 148, |memory, record: &[u8; DIAGNOSTIC]| {
                memory.diagnostic(record)
            })?,
        })
    }

    fn child(&mut self, record: &[u8; CHILD]) -> Result<Child> {
        Ok(Child {
            under: match byte(record, 0) {
                0 => None,
                1 => Some(word(record, 4)),
                other => return no_case(other),
            },
            span: self.span(from(record, 8))?,
        })
    }

    fn span(&mut self, record: &[u8]) -> Result<MappedSpan> {
        Ok(MappedSpan {
            key: self.text(record, 0)?,
            name: self.value(record, 8)?,
            kind: match byte(record, 16) {
                0 => SpanKind::Internal,
                1 => SpanKind::Server,
                2 => SpanKind::Client,
                3 => SpanKind::Producer,
                4 => SpanKind::Consumer,
                other => return no_case(other),
            },
            start: timestamp(record, 24)?,
            end: match byte(record, 40) {
                0 => None,
                1 => Some(timestamp(record, 48)?),
                other => return no_case(other),
            },
            status: match byte(record, 64) {
                0 => SpanStatus::Unset,
                1 => SpanStatus::Ok,
                2 => SpanStatus::Error(self.string(record, 68)?),
                other => return no_case(other),
            },
            attributes: self.attributes(record, 76)?,
            events: self.list(record, 84, Self::event)?,
            links: self.list(record, 92, Self::link)?,
        })
    }

    fn event(&mut self, record: &[u8; EVENT]) -> Result<MappedEvent> {
        Ok(MappedEvent {
            name: self.value(record, 0)?,
            time: timestamp(record, 8)?,
            attributes: self.attributes(record, 24)?,
        })
    }

    fn link(&mut self, record: &[u8; LINK]) -> Result<MappedLink> {
        let target = from(record, 8);
        Ok(MappedLink {
            to: match byte(record, 0) {
                0 => LinkTarget::Event(self.event_key(target)?),
                1 => LinkTarget::Target(self.target(target)?),
                2 => LinkTarget::PullRequest(self.pull_request(target)?),
                3 => LinkTarget::Traceparent(self.string(target, 0)?),
                other => return no_case(other),
            },
            attributes: self.attributes(record, 64)?,
        })
    }

    fn attributes(&mut self, record: &[u8], at: usize) -> Result<Vec<Attribute>> {
        self.list(record, at, Self::attribute)
    }

    fn attribute(&mut self, record: &[u8; ATTRIBUTE]) -> Result<Attribute> {
        Ok(Attribute {
            key: self.key(record, 0)?,
            value: match byte(record, 8) {
                0 => AttributeValue::Text(self.value(record, 16)?),
                1 => AttributeValue::Boolean(byte(record, 16) != 0),
                2 => AttributeValue::Integer(long(record, 16).cast_signed()),
                3 => AttributeValue::Number(f64::from_bits(long(record, 16))),
                4 => AttributeValue::Texts(
                    self.list(record, 16, |memory, text: &[u8; 8]| memory.value(text, 0))?,
                ),
                5 => AttributeValue::Booleans(
                    self.list(record, 16, |_, [boolean]| Ok(*boolean != 0))?,
                ),
                6 => AttributeValue::Integers(
                    self.list(record, 16, |_, integer| Ok(i64::from_le_bytes(*integer)))?,
                ),
                7 => AttributeValue::Numbers(
                    self.list(record, 16, |_, number| Ok(f64::from_le_bytes(*number)))?,
                ),
                other => return no_case(other),
            },
        })
    }

    fn parent(&mut self, record: &[u8; PARENT]) -> Result<Parent> {
        let parent = from(record, 8);
        Ok(match byte(record, 0) {
            0 => Parent::Root(self.trace_start(parent)?),
            1 => Parent::Event(self.event_key(parent)?),
            2 => Parent::Owner(OwnerParent {
                group: self.optional_string(parent, 0)?,
                kind: self.optional_string(parent, 12)?,
                span: self.string(parent, 24)?,
            }),
            3 => Parent::Remote(Remote {
                traceparent: self.string(parent, 0)?,
                tracestate: self.optional_string(parent, 8)?,
            }),
            4 => Parent::Target(self.target(parent)?),
            5 => Parent::Labelled(LabelMatch {
                group: self.string(parent, 0)?,
                kind: self.string(parent, 8)?,
                labels: self.list(parent, 16, |memory, label: &[u8; 16]| {
                    Ok((memory.string(label, 0)?, memory.string(label, 8)?))
                })?,
                span: self.string(parent, 24)?,
            }),
            other => return no_case(other),
        })
    }

    fn trace_start(&mut self, record: &[u8]) -> Result<TraceStart> {
        match byte(record, 0) {
            0 => Ok(TraceStart::Subject),
            1 => Ok(TraceStart::Event(self.event_key(from(record, 8))?)),
            2 => Ok(TraceStart::PullRequest(self.pull_request(from(record, 8))?)),
            other => no_case(other),
        }
    }

    fn event_key(&mut self, record: &[u8]) -> Result<EventKey> {
        let key = from(record, 8);
        Ok(match byte(record, 0) {
            0 => EventKey::Delivery {
                repository: self.string(key, 0)?,
                guid: self.string(key, 8)?,
            },
            1 => EventKey::Push {
                repository: self.string(key, 0)?,
                reference: self.string(key, 8)?,
                revision: self.string(key, 16)?,
            },
            2 => EventKey::Change {
                repository: self.string(key, 0)?,
                number: long(key, 8),
                revision: self.string(key, 16)?,
            },
            other => return no_case(other),
        })
    }

    fn pull_request(&mut self, record: &[u8]) -> Result<PullRequest> {
        Ok(PullRequest {
            provider: self.string(record, 0)?,
            repository: self.string(record, 8)?,
            number: long(record, 16),
        })
    }

    fn target(&mut self, record: &[u8]) -> Result<Target> {
        Ok(Target {
            group: self.string(record, 0)?,
            kind: self.string(record, 8)?,
            namespace: self.optional_string(record, 16)?,
            name: self.string(record, 28)?,
            uid: self.optional_string(record, 36)?,
            span: self.string(record, 48)?,
        })
    }
}

fn timestamp(record: &[u8], at: usize) -> Result<Timestamp> {
    Ok(Timestamp {
        time: Time::from_nanoseconds(long(record, at)),
        precision: match byte(record, at + 8) {
            0 => Precision::Nanosecond,
            1 => Precision::Microsecond,
            2 => Precision::Millisecond,
            3 => Precision::Second,
            other => return no_case(other),
        },
    })
}
