//! A trace as people see it: a tree with bars, and the canonical text for snapshots.
//!
//! [`View`] is the model, built from OTLP messages, whoever made them. [`render`] draws it for a terminal,
//! [`to_json`] gives it to scripts, [`snapshot`] writes down everything that was sent. Nothing here decides
//! what a span is called or what counts as failed: that stands in the spans.

mod bar;
mod json;
mod model;
mod render;
mod share;
mod snapshot;
mod terminal;
mod text;

pub use json::to_json;
pub use model::{Node, Trace, View};
pub use render::render;
pub use snapshot::snapshot;
pub use terminal::Terminal;
pub use text::sanitised;
pub(crate) use text::{fit, width};
