//! What a mapper may use and return.

use std::time::Duration;

use lighthouse_telemetry_core::projection::RETURNED_TEXT_LIMIT;

/// Limits of a mapper. The same input meets the same limits on every machine, except for the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// WebAssembly instructions a call, roughly. This is the limit on time: it does not depend on how loaded
    /// the machine is.
    pub fuel: u64,
    /// Wall-clock time a call. A backstop for what fuel does not count; far above what fuel allows.
    pub deadline: Duration,
    /// Bytes of linear memory an instance, all its memories together.
    pub memory_bytes: usize,
    /// Elements of a table.
    pub table_elements: usize,
    /// Bytes of stack of WebAssembly code.
    pub stack_bytes: usize,
    /// Bytes that one call may hand to the host, before anything of it is looked at.
    pub transfer_bytes: usize,
    /// Calls that run at the same time; more wait.
    pub concurrent_calls: usize,
    /// Sandboxes of an [`Interpreter`](crate::Interpreter) that are kept for its next call, of all its mappers together.
    pub kept_sandboxes: usize,
    /// Kinds of subject a mapper may watch.
    pub watches: usize,
    /// Kinds of attached object a watch may have.
    pub attachments_per_watch: usize,
    /// Fields a watch or an attachment may read.
    pub fields: usize,
    /// Annotations a watch may ask for.
    pub annotations_per_watch: usize,
    /// Versions of one kind, and kinds of webhook, that a watch may name.
    pub names: usize,
    /// Bytes of one text of a description.
    pub name_bytes: usize,
    /// What the keys of annotations that a mapper asks for must start with.
    pub annotation_prefixes: Vec<String>,
    /// What one call may return.
    pub output: OutputLimits,
}

/// What one call may return. More is cut in order of appearance, counted, and said in attributes of the main
/// span whose keys start with `span_mapper.cut.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Spans of all trees together.
    pub spans: u32,
    /// Attributes of a span, an event, a link or a resource.
    pub attributes_per_span: u32,
    /// Events of a span.
    pub events_per_span: u32,
    /// Links of a span.
    pub links_per_span: u32,
    /// Bytes of one text, UTF-8.
    pub text_bytes: u32,
    /// Bytes of all texts together, UTF-8.
    pub output_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 500_000_000,
            deadline: Duration::from_secs(10),
            memory_bytes: 32 << 20,
            table_elements: 20_000,
            stack_bytes: 512 << 10,
            transfer_bytes: 16 << 20,
            concurrent_calls: 16,
            kept_sandboxes: 8,
            watches: 32,
            attachments_per_watch: 8,
            fields: 256,
            annotations_per_watch: 16,
            names: 64,
            name_bytes: 1024,
            annotation_prefixes: vec![
                "lighthouse.jenkins-x.io/".to_owned(),
                "pipeline.jenkins-x.io/".to_owned(),
            ],
            output: OutputLimits::default(),
        }
    }
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self {
            spans: 2_000,
            attributes_per_span: 128,
            events_per_span: 512,
            links_per_span: 128,
            text_bytes: RETURNED_TEXT_LIMIT,
            output_bytes: 4 << 20,
        }
    }
}
