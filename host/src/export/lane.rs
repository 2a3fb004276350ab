//! The lane of one destination: its queue, and the task that sends what is in it, one request after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::console;
use super::parcel::{Batch, Body, Parcel, Shipment};
use super::queue::{BATCH_BYTES, Counts, Known, Shared};
use super::retry::{self, ATTEMPTS_FOR_A_BATCH, Accepted, Again, Refused};
use super::settings::{Batching, Destination, Signal};
use super::transport::Transport;
use crate::journal::Journal;

/// What waits for one destination.
#[derive(Debug, Default)]
pub struct Lane {
    /// What an outage or a restart has left, the oldest first.
    backlog: VecDeque<Shipment>,
    /// What came since.
    fresh: VecDeque<Shipment>,
    /// When the first of those came.
    since: Option<Instant>,
    /// On its way; cannot be dropped.
    sending: Vec<Shipment>,
    /// Whose turn it is when both wait: a long backlog must not hold up what is fresh.
    backlog_next: bool,
    /// Of the parcels in memory.
    bytes: usize,
    /// Spans that no journal keeps.
    unkept: u64,
    /// How many spans went which way.
    pub counts: Counts,
    /// Whether the drop was said that began with the queue being full.
    full: bool,
}

impl Lane {
    /// A lane with what an earlier process has left.
    pub fn with_backlog(backlog: &[Shipment]) -> Self {
        Self {
            backlog: backlog.iter().cloned().collect(),
            counts: Counts {
                queued: backlog.iter().map(|shipment| shipment.parcel.spans).sum(),
                ..Counts::default()
            },
            ..Self::default()
        }
    }

    /// Adds a parcel; drops the oldest that no journal keeps while there are more spans of such than `limit`.
    pub fn push(&mut self, shipment: Shipment, limit: u64, journal: &Journal) {
        let parcel = &shipment.parcel;
        self.counts.queued += parcel.spans;
        self.bytes += parcel.bytes();
        if parcel.number.is_none() {
            self.unkept += parcel.spans;
        }
        self.since.get_or_insert_with(Instant::now);
        self.fresh.push_back(shipment);
        while self.unkept > limit && self.drop_oldest(journal) {}
    }

    /// Drops the oldest parcel that no journal keeps, but not the only one.
    fn drop_oldest(&mut self, journal: &Journal) -> bool {
        let is_unkept = |shipment: &Shipment| shipment.parcel.number.is_none();
        let oldest = match self.backlog.iter().position(is_unkept) {
            Some(place) => self.backlog.remove(place),
            None => match self.fresh.iter().position(is_unkept) {
                Some(place) if place + 1 < self.fresh.len() => self.fresh.remove(place),
                _ => None,
            },
        };
        let Some(shipment) = oldest else { return false };
        self.gone(&shipment, journal);
        self.count_dropped(shipment.parcel.spans);
        true
    }

    /// Counts spans that were dropped.
    fn count_dropped(&mut self, spans: u64) {
        self.counts.dropped += spans;
        if !self.full && spans > 0 {
            self.full = true;
            tracing::warn!(
                "the export queue is full, the oldest spans are dropped: see that the OTLP receiver is up, or raise OTEL_BSP_MAX_QUEUE_SIZE"
            );
        }
    }

    fn gone(&mut self, shipment: &Shipment, journal: &Journal) {
        let parcel = &shipment.parcel;
        self.counts.queued -= parcel.spans;
        self.bytes -= parcel.bytes();
        if parcel.number.is_none() {
            self.unkept -= parcel.spans;
        }
        shipment.left(journal);
    }

    /// Bytes of encoded spans in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All that wait or are on their way.
    pub fn parcels(&self) -> impl Iterator<Item = Arc<Parcel>> {
        let all = self.sending.iter().chain(&self.backlog).chain(&self.fresh);
        all.map(|shipment| Arc::clone(&shipment.parcel))
    }

    /// When what waits is to be sent; now, if it is enough for a request.
    fn due(&self, batching: Batching) -> Option<Instant> {
        if !self.backlog.is_empty() {
            return Some(Instant::now());
        }
        let since = self.since?;
        let spans: u64 = self
            .fresh
            .iter()
            .map(|shipment| shipment.parcel.spans)
            .sum();
        let full = usize::try_from(spans).is_ok_and(|spans| spans >= batching.batch);
        Some(if full { since } else { since + batching.delay })
    }

    /// Takes what goes with the next request.
    fn take(&mut self, batching: Batching) -> Vec<Shipment> {
        let backlog = !self.backlog.is_empty() && (self.backlog_next || self.fresh.is_empty());
        self.backlog_next = !backlog;
        let queue = if backlog {
            &mut self.backlog
        } else {
            &mut self.fresh
        };
        let (mut spans, mut bytes) = (0, 0);
        while let Some(shipment) = queue.front() {
            let parcel = &shipment.parcel;
            spans += usize::try_from(parcel.spans).unwrap_or(usize::MAX);
            bytes += parcel.size;
            let fits = spans <= batching.batch && bytes <= BATCH_BYTES;
            if !fits && !self.sending.is_empty() {
                break;
            }
            self.sending.extend(queue.pop_front());
        }
        if self.fresh.is_empty() {
            self.since = None;
        }
        self.sending.clone()
    }

    /// The receiver does not take anything: what came meanwhile waits behind what came before.
    fn delayed(&mut self) {
        self.backlog.append(&mut self.fresh);
        self.since = None;
    }

    /// What was on its way has arrived, or never will.
    fn settle(&mut self, journal: &Journal, count: impl FnOnce(&mut Counts)) {
        for shipment in std::mem::take(&mut self.sending) {
            self.gone(&shipment, journal);
        }
        self.full &= !(self.backlog.is_empty() && self.fresh.is_empty());
        count(&mut self.counts);
    }
}

/// How a destination is spoken to.
pub enum Sender {
    Otlp(Box<Transport>),
    Console,
}

impl Sender {
    /// Prepares; connects later.
    pub fn new(destination: &Destination) -> anyhow::Result<Self> {
        Ok(match destination {
            Destination::Otlp(otlp) => Self::Otlp(Box::new(Transport::new(otlp, Signal::Traces)?)),
            Destination::Console => Self::Console,
        })
    }

    /// For logs.
    fn name(&self) -> &str {
        match self {
            Self::Otlp(transport) => transport.name(),
            Self::Console => "the console",
        }
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, Refused> {
        match self {
            Self::Otlp(transport) => transport.send(batch.bytes.clone()).await,
            Self::Console => console::write(&mut std::io::stdout().lock(), &batch.lines),
        }
    }
}

/// Sends what is on a lane, each request until it is acknowledged or refused for good.
pub async fn run(
    shared: Arc<Shared>,
    place: usize,
    mut sender: Sender,
    mut hurry: watch::Receiver<u64>,
) {
    let mut known = Known::new();
    loop {
        let shipments = next(&shared, place, &mut hurry).await;
        let batch = load(&shared, place, &shipments).await;
        if batch.spans == 0 {
            if let Some(lane) = shared.state().lanes.get_mut(place) {
                lane.settle(&shared.journal, |_| {});
            }
            shared.changed();
            continue;
        }
        let result = deliver(&shared, place, &mut sender, &batch).await;
        if let Some(lane) = shared.state().lanes.get_mut(place) {
            lane.settle(&shared.journal, |counts| match &result {
                Ok(accepted) => {
                    let rejected = accepted.rejected.min(batch.spans);
                    counts.rejected += rejected;
                    counts.sent += batch.spans - rejected;
                }
                Err(_) => counts.failed += batch.spans,
            });
        }
        tell(&sender, &batch, result, &mut known);
        shared.changed();
    }
}

/// Says what there is to say of an answer.
fn tell(sender: &Sender, batch: &Batch, result: Result<Accepted, Refused>, known: &mut Known) {
    match result {
        Ok(Accepted {
            rejected: 0,
            message,
        }) => {
            if !message.is_empty() && known.insert(format!("warning: {message}")) {
                tracing::warn!("{} took the spans and says: {message}", sender.name());
            }
        }
        Ok(Accepted { rejected, message }) => {
            tracing::warn!(
                "{} rejected {rejected} of {} spans: {message}",
                sender.name(),
                batch.spans
            );
        }
        Err(Refused { cause, message, .. }) => {
            if known.insert(format!("refused: {cause}")) {
                tracing::error!(
                    "{} refuses spans, {} are lost and more may be; this is said once: {cause}: {message}; see that the endpoint, the protocol and the headers are right",
                    sender.name(),
                    batch.spans
                );
            }
        }
    }
}

/// Waits until there is something to send, and takes it.
async fn next(shared: &Shared, place: usize, hurry: &mut watch::Receiver<u64>) -> Vec<Shipment> {
    let batching = shared.settings.batching;
    loop {
        let arrived = shared.arrived.notified();
        tokio::pin!(arrived);
        // Registered before the look, so that a parcel that comes between is not missed.
        arrived.as_mut().enable();
        let due = {
            let mut state = shared.state();
            let Some(lane) = state.lanes.get_mut(place) else {
                return Vec::new();
            };
            let due = lane.due(batching);
            // Somebody who is in a hurry waits for nothing while anything is left.
            let hurried = hurry.has_changed().unwrap_or(false);
            if due.is_some_and(|due| hurried || due <= Instant::now()) {
                return lane.take(batching);
            }
            if due.is_none() && hurried {
                hurry.mark_unchanged();
            }
            due
        };
        let pause = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = arrived => {}
            () = pause => {}
            changed = hurry.changed() => {
                if changed.is_ok() {
                    hurry.mark_changed();
                }
            }
        }
    }
}

/// One request of parcels; those that are not in memory are read from the journal.
async fn load(shared: &Shared, place: usize, shipments: &[Shipment]) -> Batch {
    let mut bodies: Vec<(u64, Body)> = Vec::with_capacity(shipments.len());
    let mut missing = 0;
    for shipment in shipments {
        let parcel = &shipment.parcel;
        if let Some(body) = &parcel.body {
            bodies.push((parcel.spans, body.clone()));
            continue;
        }
        let record = match parcel.number {
            Some(number) => shared.journal.parcel(number).await,
            None => None,
        };
        match record {
            Some(record) => bodies.push((
                record.spans,
                Body {
                    bytes: record.bytes,
                    lines: record.lines,
                },
            )),
            None => missing += parcel.spans,
        }
    }
    if missing > 0
        && let Some(lane) = shared.state().lanes.get_mut(place)
    {
        // The journal has said so when it made room.
        lane.counts.dropped += missing;
    }
    Batch::of(&bodies)
}

async fn deliver(
    shared: &Shared,
    place: usize,
    sender: &mut Sender,
    batch: &Batch,
) -> Result<Accepted, Refused> {
    let mut hurry = shared.hurry.subscribe();
    let mut pauses = retry::pauses(shared.settings.retrying);
    let mut attempts = 1;
    loop {
        shared.permit.wait().await;
        let refused = match sender.send(batch).await {
            Ok(accepted) => {
                if attempts > 1 {
                    tracing::info!("{} takes spans again", sender.name());
                }
                return Ok(accepted);
            }
            Err(refused) => refused,
        };
        let own = pauses.next().unwrap_or(shared.settings.retrying.longest);
        let (pause, fixed) = match refused.again {
            Again::Never => return Err(refused),
            Again::AFewTimes if attempts >= ATTEMPTS_FOR_A_BATCH => return Err(refused),
            Again::AFewTimes | Again::Always => (own, false),
            Again::After(pause) => (pause.max(Duration::from_millis(1)), true),
        };
        if let Some(lane) = shared.state().lanes.get_mut(place) {
            lane.delayed();
        }
        if attempts == 1 {
            tracing::warn!(
                "{} does not take spans, which wait and are sent again: {}: {}; see that it is up and can be reached",
                sender.name(),
                refused.cause,
                refused.message
            );
        }
        attempts += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The receiver's own wish for a pause is not overridden.
            _ = hurry.changed(), if !fixed => {}
        }
        if let Some(lane) = shared.state().lanes.get_mut(place) {
            lane.counts.retries += 1;
        }
        shared.changed();
    }
}
