//! Spans to OpenTelemetry backends: batched, encoded once, sent until acknowledged.
//!
//! [`start`] gives a [`Handle`] that takes finished spans without ever waiting. Spans are encoded once, as parcels, so that
//! a resend carries the same bytes, also after a restart: the journal keeps them until they are acknowledged. Parcels gather
//! to requests on the lane of every destination, each with its own queue and retries. This room decides nothing about spans: what is in a span is
//! the core's matter, except for the limits that the environment sets.

mod console;
mod encode;
mod environment;
mod grpc;
mod http;
mod lane;
mod limits;
mod parcel;
mod queue;
mod retry;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

pub use encode::encode;
pub use environment::{Overrides, SettingsError};
pub use limits::Limits;
pub use parcel::Parcel;
pub use queue::{Counts, FlushTimeout, Handle, start, start_permitted};
pub(crate) use retry::Accepted;
pub use settings::{
    Batching, Compression, Destination, Headers, Otlp, Protocol, Pushing, Retrying, Settings,
    Signal, Tls,
};
pub(crate) use transport::Transport;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;

/// As the OTLP specification wants it: name and version of the exporter.
const USER_AGENT: &str = concat!("lighthouse-telemetry/", env!("CARGO_PKG_VERSION"));

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| {
        format!(
            "{} cannot be read: see the OTEL_EXPORTER_OTLP variables that name certificates and keys",
            path.display()
        )
    })
}

/// What an answer says that took the batch. That of metrics has the same fields under the same numbers, and counts data points.
fn accepted(response: ExportTraceServiceResponse) -> retry::Accepted {
    let partial = response.partial_success.unwrap_or_default();
    retry::Accepted {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
        message: partial.error_message,
    }
}

fn no_answer(limit: Duration) -> retry::Refused {
    retry::Refused {
        cause: "no answer".to_owned(),
        message: format!("within {} ms", limit.as_millis()),
        again: retry::Again::Always,
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
