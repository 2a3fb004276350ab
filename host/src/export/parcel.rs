//! Encoded spans on their way: what is written to the journal, and sent together with others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use crate::journal::{Journal, ParcelRecord, Row};

/// Encoded spans.
#[derive(Debug)]
pub struct Parcel {
    /// How many.
    pub spans: u64,
    /// Under which the journal keeps it; none if it does not.
    pub number: Option<u64>,
    /// How many bytes it is.
    pub size: usize,
    /// None if it is to be read from the journal.
    pub body: Option<Body>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Body {
    /// An encoded OTLP request.
    pub bytes: Bytes,
    /// Lines for the console, where there is one.
    pub lines: String,
}

impl Parcel {
    /// The row that keeps it.
    #[must_use]
    pub fn row(&self) -> Option<Row> {
        let (number, body) = (self.number?, self.body.as_ref()?);
        let record = ParcelRecord {
            spans: self.spans,
            lines: body.lines.clone(),
            bytes: body.bytes.clone(),
        };
        Some(Row::Parcel(number, record.write()))
    }

    /// The same, to be read from the journal when it is sent.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self {
            spans: self.spans,
            number: self.number,
            size: self.size,
            body: None,
        }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body
            .as_ref()
            .map_or(0, |body| body.bytes.len() + body.lines.len())
    }
}

/// A parcel on several lanes; done when it has left them all.
#[derive(Clone, Debug)]
pub struct Shipment {
    pub parcel: Arc<Parcel>,
    lanes: Arc<AtomicUsize>,
}

impl Shipment {
    pub fn new(parcel: Parcel, lanes: usize) -> Self {
        Self {
            parcel: Arc::new(parcel),
            lanes: Arc::new(AtomicUsize::new(lanes)),
        }
    }

    /// It has left a lane.
    pub fn left(&self, journal: &Journal) {
        if self.lanes.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(number) = self.parcel.number
        {
            journal.note(vec![Row::ParcelDone(number)]);
        }
    }
}

/// Parcels that travel together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Those of the parcels one after the other: a repeated field may be cut anywhere between its elements
    /// (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
    pub bytes: Bytes,
    pub lines: String,
    pub spans: u64,
}

impl Batch {
    /// One request of several.
    pub fn of(bodies: &[(u64, Body)]) -> Self {
        if let [(spans, body)] = bodies {
            return Self {
                bytes: body.bytes.clone(),
                lines: body.lines.clone(),
                spans: *spans,
            };
        }
        let mut bytes =
            BytesMut::with_capacity(bodies.iter().map(|(_, body)| body.bytes.len()).sum());
        let mut batch = Self::default();
        for (spans, body) in bodies {
            bytes.extend_from_slice(&body.bytes);
            batch.lines.push_str(&body.lines);
            batch.spans += spans;
        }
        batch.bytes = bytes.freeze();
        batch
    }
}
