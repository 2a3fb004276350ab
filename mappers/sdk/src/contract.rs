//! The types of the contract, `wit/mapper.wit`. Its text says what each part means; the builders on them are
//! for what mappers do all the time.

pub use crate::bindings::lighthouse::span_mapper::types::{
    Annotation, AnnotationValue, Attached, Attachment, Attribute, AttributeValue, Change, Child,
    Configuration, Delivery, Description, Diagnostic, Error, EventKey, LabelMatch, Limits, Link,
    LinkTarget, Located, Object, ObjectSource, Outcome, Owner, Parent, Precision, PullRequest,
    Push, Relation, Remote, Source, Span, SpanEvent, SpanKind, SpanStatus, SpanTree, Subject,
    Target, Timestamp, Trace as TraceStart, Watch, Webhook,
};
