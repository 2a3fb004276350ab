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
        read(value)
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
        Self::spans(value)?;
        read(value)
    }

    /// How many spans are in the value of a row; none if it is no such. Nothing of it is copied.
    #[must_use]
    pub fn spans(value: &[u8]) -> Option<u64> {
        let (spans, _, _) = read::<(u64, &str, &[u8])>(value)?;
        // A span takes more than a byte. Sums of what passes here stay below the size of the file.
        usize::try_from(spans)
            .is_ok_and(|spans| spans <= value.len())
            .then_some(spans)
    }
}

/// Reads all of a value.
fn read<'a, R: Deserialize<'a>>(value: &'a [u8]) -> Option<R> {
    match postcard::take_from_bytes(value) {
        Ok((record, [])) => Some(record),
        _ => None,
    }
}
