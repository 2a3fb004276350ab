//! The way of a span: encoded, on the lane of each destination, acknowledged.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lighthouse_telemetry_core::span::Span;
use prost::Message as _;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lane::{self, Lane};
use super::parcel::{Body, Parcel, Shipment};
use super::settings::{Destination, Settings};
use super::{console, encode, limits};
use crate::journal::{Journal, Kept};
use crate::leader::Permit;

/// Larger parcels are halved. Receivers take 4 MiB a gRPC message by default.
pub const BATCH_BYTES: usize = 3 << 20;

/// How many bytes of encoded spans wait in memory; the others are read from the journal when they are sent.
const MEMORY: usize = 8 << 20;

/// How many spans went which way. A span that goes to two destinations counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not acknowledged yet (now, not in total).
    pub queued: u64,
    /// Acknowledged.
    pub sent: u64,
    /// In a batch that was acknowledged, but refused by the receiver.
    pub rejected: u64,
    /// In a batch that the receiver refused for good.
    pub failed: u64,
    /// Dropped because the queue or the state directory was full: the oldest.
    pub dropped: u64,
    /// Attempts (not spans) beyond the first of a batch.
    pub retries: u64,
}

/// Not all spans were acknowledged in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{queued} spans were not acknowledged in time: see that the OTLP receiver is up and can be reached"
)]
pub struct FlushTimeout {
    /// How many.
    pub queued: u64,
    /// How many of them nothing keeps.
    pub lost: u64,
}

/// Takes spans; the tasks behind it end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    _tasks: Arc<DropGuard>,
}

impl Handle {
    /// Encodes finished spans, within the limits that the environment sets. Equal spans give equal bytes. None where
    /// spans are discarded.
    #[must_use]
    pub fn encode(&self, mut spans: Vec<Span>) -> Vec<Parcel> {
        if self.shared.lanes == 0 {
            return Vec::new();
        }
        let settings = &self.shared.settings;
        for span in &mut spans {
            settings.limits.apply(span);
            span.resource = limits::complete(&span.resource, &settings.resource_attributes);
        }
        let mut parcels = Vec::new();
        for spans in spans.chunks(settings.batching.batch.max(1)) {
            self.shared.split(spans, &mut parcels);
        }
        parcels
    }

    /// Takes encoded spans. Never waits; of those that no journal keeps the oldest are dropped and counted when there
    /// are too many.
    pub fn push(&self, parcels: Vec<Parcel>) {
        if self.shared.lanes == 0 || parcels.is_empty() {
            return;
        }
        self.shared.push(parcels);
        self.shared.changed();
        self.shared.arrived.notify_waiters();
    }

    /// Takes finished spans that nothing needs to keep.
    pub fn send(&self, spans: Vec<Span>) {
        let parcels = self.encode(spans);
        self.push(parcels);
    }

    /// Sends what waits without waiting for batches to fill or for a pause after a failed attempt to pass,
    /// and returns when every span is acknowledged, refused for good or dropped.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub async fn flush(&self, limit: Duration) -> Result<(), FlushTimeout> {
        self.shared.hurry.send_modify(|times| *times += 1);
        let mut counts = self.progress();
        let done = tokio::time::timeout(limit, counts.wait_for(|counts| counts.queued == 0));
        match done.await {
            Ok(_) => Ok(()),
            Err(_) => {
                let state = self.shared.state();
                let parcels = state.lanes.iter().flat_map(Lane::parcels);
                let unkept = parcels.filter(|parcel| parcel.number.is_none());
                let lost = unkept.map(|parcel| parcel.spans).sum();
                drop(state);
                Err(FlushTimeout {
                    queued: self.counts().queued,
                    lost,
                })
            }
        }
    }

    /// How many spans went which way so far, over all destinations.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.total()
    }

    /// The counts, to be watched.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Counts> {
        self.shared.counts.subscribe()
    }
}

/// Starts to export; must be called within a Tokio runtime. Connects when there is something to send, so that a
/// receiver may come later. The journal is told of what was acknowledged; `backlog` is what it has kept.
///
/// # Errors
/// If a certificate or key cannot be read, or a header cannot be sent.
pub fn start(settings: Settings, journal: Journal, backlog: Vec<Kept>) -> anyhow::Result<Handle> {
    start_permitted(settings, journal, backlog, Permit::always())
}

/// As [`start`], and sends only while that is permitted.
///
/// # Errors
/// As [`start`].
pub fn start_permitted(
    settings: Settings,
    journal: Journal,
    backlog: Vec<Kept>,
    permit: Permit,
) -> anyhow::Result<Handle> {
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
    let senders = settings
        .destinations
        .iter()
        .map(lane::Sender::new)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let lanes = senders.len();
    let backlog: Vec<Shipment> = backlog
        .into_iter()
        .map(|kept| {
            let parcel = Parcel {
                spans: kept.spans,
                number: Some(kept.number),
                size: kept.bytes,
                body: None,
            };
            Shipment::new(parcel, lanes)
        })
        .collect();
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            lanes: senders
                .iter()
                .map(|_| Lane::with_backlog(&backlog))
                .collect(),
        }),
        lanes,
        lines: settings.destinations.contains(&Destination::Console),
        settings,
        journal,
        permit,
        arrived: Notify::new(),
        hurry: watch::Sender::new(0),
        counts: watch::Sender::new(Counts::default()),
    });
    shared.changed();
    let stop = CancellationToken::new();
    for (place, sender) in senders.into_iter().enumerate() {
        let stop = stop.clone();
        // Subscribed here, so that a flush before the task first runs is not missed.
        let hurry = shared.hurry.subscribe();
        let lane = lane::run(Arc::clone(&shared), place, sender, hurry);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = lane => {}
            }
        });
    }
    Ok(Handle {
        shared,
        _tasks: Arc::new(stop.drop_guard()),
    })
}

/// What the handle and the tasks share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    lanes: usize,
    lines: bool,
    /// What was asked for.
    pub settings: Settings,
    /// Is told of what was acknowledged, and asked for what is not in memory.
    pub journal: Journal,
    /// Asked before each attempt.
    pub permit: Permit,
    /// Parcels wait on the lanes.
    pub arrived: Notify,
    /// How often someone wanted all sent at once.
    pub hurry: watch::Sender<u64>,
    counts: watch::Sender<Counts>,
}

/// What changes.
#[derive(Debug)]
pub struct State {
    /// One for each destination.
    pub lanes: Vec<Lane>,
}

impl Shared {
    /// A panic elsewhere does not make the queue unusable: every change of it is complete in itself.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn total(&self) -> Counts {
        let state = self.state();
        state
            .lanes
            .iter()
            .fold(Counts::default(), |sum, lane| Counts {
                queued: sum.queued + lane.counts.queued,
                sent: sum.sent + lane.counts.sent,
                rejected: sum.rejected + lane.counts.rejected,
                failed: sum.failed + lane.counts.failed,
                dropped: sum.dropped + lane.counts.dropped,
                retries: sum.retries + lane.counts.retries,
            })
    }

    fn push(&self, parcels: Vec<Parcel>) {
        let limit = number(self.settings.batching.queue);
        let mut state = self.state();
        for parcel in parcels {
            let held = state.lanes.iter().map(Lane::bytes).max().unwrap_or(0);
            let parcel = if parcel.number.is_some() && held + parcel.bytes() > MEMORY {
                parcel.without_body()
            } else {
                parcel
            };
            let shipment = Shipment::new(parcel, self.lanes);
            for lane in &mut state.lanes {
                lane.push(shipment.clone(), limit, &self.journal);
            }
        }
    }

    /// Tells those who watch the counts.
    pub fn changed(&self) {
        self.counts.send_if_modified(|known| {
            let total = self.total();
            let changed = *known != total;
            *known = total;
            changed
        });
    }

    fn split(&self, spans: &[Span], parcels: &mut Vec<Parcel>) {
        let bytes = encode(spans).encode_to_vec();
        if bytes.len() > BATCH_BYTES && spans.len() > 1 {
            let (first, second) = spans.split_at(spans.len() / 2);
            self.split(first, parcels);
            self.split(second, parcels);
            return;
        }
        let lines = if self.lines {
            console::lines(spans).unwrap_or_else(|error| {
                tracing::error!("spans cannot be written as JSON: {error}");
                String::new()
            })
        } else {
            String::new()
        };
        parcels.push(Parcel {
            spans: number(spans.len()),
            number: self.journal.parcel_number(),
            size: bytes.len(),
            body: Some(Body {
                bytes: bytes.into(),
                lines,
            }),
        });
    }
}

/// Causes that were logged, so that each is logged once.
pub type Known = HashSet<String>;

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
