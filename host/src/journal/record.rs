//! What is kept of a webhook and of spans that are to be sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A verified webhook, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// Lighthouse's kind.
    pub kind: String,
    /// Nanoseconds since the Unix epoch.
    pub received: u64,
    /// The JSON text.
    pub body: Bytes,
}

/// Encoded spans, as they are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelRecord {
    /// How many.
    pub spans: u64,
    /// Lines for the console, where there is one.
    pub lines: String,
    /// An OTLP request.
    pub bytes: Bytes,
}

impl WebhookRecord {
    /// The value of a row.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads the value of a row; none if it is no such.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        postcard::from_bytes(value).ok()
    }
}

impl ParcelRecord {
    /// The value of a row.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads the value of a row; none if it is no such.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        postcard::from_bytes(value).ok()
    }

    /// How many spans are in the value of a row.
    #[must_use]
    pub fn spans(value: &[u8]) -> Option<u64> {
        postcard::take_from_bytes(value)
            .ok()
            .map(|(spans, _)| spans)
    }
}
