//! Attributes by which the host says what it did to a span that no source said. `docs/spans.md` lists them
//! for readers.

/// `true` on a span that stands for something never seen: the root of an event whose webhook did not arrive, or
/// the parent that orphans waited for.
pub const SYNTHESISED: &str = "lighthouse.telemetry.synthesised";
/// `true` on a root whose webhook is not known any more: that there was one, and when it was received, stands in the
/// annotations of its jobs.
pub const REBUILT: &str = "lighthouse.telemetry.rebuilt";
/// The text that the trace id derives from, on a root without a webhook.
pub const TRACE_KEY: &str = "lighthouse.telemetry.trace.key";
/// On the main span of an object whose uid an older object has: what its ids derive from in place of the uid.
pub const IDENTITY: &str = "lighthouse.telemetry.identity";
/// `true` on the main span of an object whose parent did not turn up before the deadline.
pub const ORPHAN: &str = "lighthouse.telemetry.orphan";
/// Where the end of a span comes from if not from the object: `deleted` (the object was deleted before it ended; the
/// latest time known of it), `unwatched` (its mapper was taken away before it ended; likewise), `latest` (the object tells no more of this run; the latest time known of it) or `parent` (the span had not ended when its object had).
pub const END: &str = "lighthouse.telemetry.end";
/// On the main span of an object that starts before its parent object does: by how many seconds. Either clocks differ,
/// or the parent was made later, as that of a rerun is; neither time is changed.
pub const SKEW: &str = "lighthouse.telemetry.skew";
/// `second` on a span whose start or end is known to the second only.
pub const PRECISION: &str = "lighthouse.telemetry.precision";
/// `failed` on the plain span of an object that its mapper could not map.
pub const MAPPING: &str = "lighthouse.telemetry.mapping";
/// What was odd about the object: a list of `JSON pointer: message`.
pub const DIAGNOSTICS: &str = "lighthouse.telemetry.diagnostics";
/// How many attached objects there were beyond those that are kept.
pub const OMITTED: &str = "lighthouse.telemetry.omitted";
/// `k8s.cluster.name`, a resource attribute.
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/k8s/>
pub const CLUSTER_NAME: &str = "k8s.cluster.name";
