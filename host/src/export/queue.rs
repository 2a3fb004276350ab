//! The way of a span: waiting, in a batch, on the lane of each destination, acknowledged.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lighthouse_telemetry_core::span::Span;
use prost::Message as _;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lane::{self, Lane};
use super::settings::{Destination, Settings};
use super::{console, encode, limits};

/// Larger batches are halved. Receivers take 4 MiB a gRPC message by default.
const BATCH_BYTES: usize = 3 << 20;

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
    /// Dropped because the queue was full: the oldest.
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
}

/// Takes spans; the tasks behind it end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    _tasks: Arc<DropGuard>,
}

impl Handle {
    /// Takes finished spans. Never waits; when the queue is full the oldest spans are dropped and counted.
    pub fn send(&self, spans: Vec<Span>) {
        let count = number(spans.len());
        if count == 0 || self.shared.lanes == 0 {
            return;
        }
        {
            let mut state = self.shared.state();
            for lane in &mut state.lanes {
                lane.counts.queued += count;
            }
            state.waiting.extend(spans);
            let surplus = state
                .waiting
                .len()
                .saturating_sub(self.shared.settings.batching.queue);
            state.waiting.drain(..surplus);
            for lane in &mut state.lanes {
                lane.counts.queued -= number(surplus);
                lane.count_dropped(number(surplus));
            }
        }
        self.shared.changed();
        self.shared.arrived.notify_one();
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
            Err(_) => Err(FlushTimeout {
                queued: self.counts().queued,
            }),
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
/// receiver may come later.
///
/// # Errors
/// If a certificate or key cannot be read, or a header cannot be sent.
pub fn start(settings: Settings) -> anyhow::Result<Handle> {
    // Another room may have installed the same one before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
    let senders = settings
        .destinations
        .iter()
        .map(lane::Sender::new)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            lanes: senders.iter().map(|_| Lane::default()).collect(),
        }),
        lanes: senders.len(),
        lines: settings.destinations.contains(&Destination::Console),
        settings,
        arrived: Notify::new(),
        batched: Notify::new(),
        hurry: watch::Sender::new(0),
        counts: watch::Sender::new(Counts::default()),
    });
    let stop = CancellationToken::new();
    let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    };
    if shared.lanes > 0 {
        // Subscribed here, so that a flush before the task first runs is not missed.
        let hurry = shared.hurry.subscribe();
        spawn(Box::pin(make_batches(Arc::clone(&shared), hurry)));
    }
    for (place, sender) in senders.into_iter().enumerate() {
        spawn(Box::pin(lane::run(Arc::clone(&shared), place, sender)));
    }
    Ok(Handle {
        shared,
        _tasks: Arc::new(stop.drop_guard()),
    })
}

/// Spans that travel together.
#[derive(Debug)]
pub struct Batch {
    /// The encoded OTLP request.
    pub bytes: Bytes,
    /// Lines for the console, where there is one.
    pub lines: String,
    /// How many spans.
    pub spans: u64,
}

/// What the handle and the tasks share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    lanes: usize,
    lines: bool,
    /// What was asked for.
    pub settings: Settings,
    /// Spans wait for a batch.
    arrived: Notify,
    /// Batches wait on the lanes.
    pub batched: Notify,
    /// How often someone wanted all sent at once.
    pub hurry: watch::Sender<u64>,
    counts: watch::Sender<Counts>,
}

/// What changes.
#[derive(Debug)]
pub struct State {
    waiting: VecDeque<Span>,
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

    fn push(&self, batches: &[Arc<Batch>]) {
        let limit = number(self.settings.batching.queue);
        for lane in &mut self.state().lanes {
            for batch in batches {
                lane.push(Arc::clone(batch), limit);
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
}

async fn make_batches(shared: Arc<Shared>, mut hurry: watch::Receiver<u64>) {
    let batching = shared.settings.batching;
    loop {
        while shared.state().waiting.is_empty() {
            shared.arrived.notified().await;
        }
        let full = async {
            while shared.state().waiting.len() < batching.batch {
                shared.arrived.notified().await;
            }
        };
        tokio::select! {
            () = full => {}
            () = tokio::time::sleep(batching.delay) => {}
            _ = hurry.changed() => {}
        }
        // What waits now goes now: a hurry is over when all of it is on the lanes.
        let mut left = shared.state().waiting.len();
        while left > 0 {
            let spans: Vec<_> = {
                let mut state = shared.state();
                let count = state.waiting.len().min(batching.batch);
                state.waiting.drain(..count).collect()
            };
            if spans.is_empty() {
                break;
            }
            left = left.saturating_sub(spans.len());
            let batches = shape(&shared, spans);
            shared.push(&batches);
            shared.changed();
            shared.batched.notify_waiters();
            tokio::task::yield_now().await;
        }
    }
}

fn shape(shared: &Shared, mut spans: Vec<Span>) -> Vec<Arc<Batch>> {
    for span in &mut spans {
        shared.settings.limits.apply(span);
        span.resource = limits::complete(&span.resource, &shared.settings.resource_attributes);
    }
    let mut batches = Vec::new();
    split(&spans, shared.lines, &mut batches);
    batches
}

fn split(spans: &[Span], with_lines: bool, batches: &mut Vec<Arc<Batch>>) {
    let bytes = encode(spans).encode_to_vec();
    if bytes.len() > BATCH_BYTES && spans.len() > 1 {
        let (first, second) = spans.split_at(spans.len() / 2);
        split(first, with_lines, batches);
        split(second, with_lines, batches);
        return;
    }
    let lines = if with_lines {
        console::lines(spans).unwrap_or_else(|error| {
            tracing::error!("spans cannot be written as JSON: {error}");
            String::new()
        })
    } else {
        String::new()
    };
    batches.push(Arc::new(Batch {
        bytes: bytes.into(),
        lines,
        spans: number(spans.len()),
    }));
}

/// Causes that were logged, so that each is logged once.
pub type Known = HashSet<String>;

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
