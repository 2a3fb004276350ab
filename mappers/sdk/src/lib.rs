//! What a span mapper needs beside its logic: the contract's types with builders ([`contract`]), lenient
//! reading of what the host hands over ([`read`]), the parts that Kubernetes objects share ([`object`]),
//! its Events ([`event`]), times ([`time`]) and addresses ([`url`]).
//!
//! A mapper is a type that implements [`Mapper`], exported by [`export_mapper!`]. Everything here runs natively
//! too, so that a mapper is tested with `cargo test`, without WebAssembly. Nothing here reads a clock or keeps
//! anything between two calls.

#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod allocator;
pub mod bindings;
pub mod contract;
mod describe;
pub mod event;
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod export;
#[cfg(target_arch = "wasm32")]
mod layout;
mod mapper;
pub mod object;
mod outcome;
pub mod read;
mod scan;
mod span;
pub mod testing;
pub mod time;
pub mod url;
mod value;

pub use contract::{
    Annotation, AnnotationValue, Attached, Attachment, Attribute, AttributeValue, Child,
    Configuration, Description, Diagnostic, Error, EventKey, LinkTarget, Object, ObjectSource,
    Outcome, Owner, Parent, Precision, Relation, Remote, Source, Span, SpanEvent, SpanKind,
    SpanStatus, SpanTree, Subject, Target, Timestamp, TraceStart, Watch, Webhook,
};
pub use mapper::{Mapper, log};
pub use value::IntoAttributeValue;
