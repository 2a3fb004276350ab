//! The types of the contract, `wit/v0.1.0/mapper.wit`. Its text says what each part means; the builders on them are
//! for what mappers do all the time. Those of an outcome borrow their texts where they can.

pub use crate::bindings::lighthouse::span_mapper::types::{
    Annotation, AnnotationValue, Attached, Attachment, Change, Configuration, Delivery,
    Description, Diagnostic, Error, EventKey, LabelMatch, Limits, LinkTarget, Located, Object,
    ObjectSource, Owner, Parent, Precision, PullRequest, Push, Relation, Remote, Source, SpanKind,
    Subject, Target, Timestamp, Trace as TraceStart, Watch, Webhook,
};
pub use crate::outcome::{
    Attribute, AttributeValue, Child, Link, Outcome, Span, SpanEvent, SpanStatus, SpanTree,
};
