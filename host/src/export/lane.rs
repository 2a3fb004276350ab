//! The lane of one destination: its queue, and the task that sends the batches one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::console;
use super::queue::{Batch, Counts, Known, Shared};
use super::retry::{self, ATTEMPTS_FOR_A_BATCH, Accepted, Again, Refused};
use super::settings::{Destination, Protocol};
use super::{grpc, http};

/// Batches that wait for one destination. The first is on its way.
#[derive(Debug, Default)]
pub struct Lane {
    batches: VecDeque<Arc<Batch>>,
    /// The first batch is on its way and cannot be dropped.
    sending: bool,
    /// How many spans went which way.
    pub counts: Counts,
    /// Whether the drop was said that began with the queue being full.
    full: bool,
}

impl Lane {
    /// Adds a batch; drops the oldest while there are more spans than `limit`.
    pub fn push(&mut self, batch: Arc<Batch>, limit: u64) {
        self.batches.push_back(batch);
        let mut spans: u64 = self.batches.iter().map(|batch| batch.spans).sum();
        let first = usize::from(self.sending);
        while spans > limit && self.batches.len() > first + 1 {
            if let Some(batch) = self.batches.remove(first) {
                spans -= batch.spans;
                self.counts.queued -= batch.spans;
                self.count_dropped(batch.spans);
            }
        }
    }

    /// Counts spans that were dropped.
    pub fn count_dropped(&mut self, spans: u64) {
        if spans == 0 {
            return;
        }
        self.counts.dropped += spans;
        if !self.full {
            self.full = true;
            tracing::warn!(
                "the export queue is full, the oldest spans are dropped: see that the OTLP receiver is up, or raise OTEL_BSP_MAX_QUEUE_SIZE"
            );
        }
    }

    fn take(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batches.front().map(Arc::clone);
        self.sending = batch.is_some();
        batch
    }

    fn settle(&mut self, batch: &Batch, count: impl FnOnce(&mut Counts)) {
        self.batches.pop_front();
        self.sending = false;
        self.counts.queued -= batch.spans;
        self.full &= !self.batches.is_empty();
        count(&mut self.counts);
    }
}

/// How a destination is spoken to.
pub struct Sender {
    /// For logs.
    name: String,
    transport: Transport,
}

enum Transport {
    Grpc(Box<grpc::Sender>),
    Http(Box<http::Sender>),
    Console,
}

impl Sender {
    /// Prepares; connects later.
    pub fn new(destination: &Destination) -> anyhow::Result<Self> {
        Ok(match destination {
            Destination::Otlp(otlp) => Self {
                name: format!("{} ({})", otlp.endpoint, otlp.protocol),
                transport: match otlp.protocol {
                    Protocol::Grpc => Transport::Grpc(Box::new(grpc::Sender::new(otlp)?)),
                    Protocol::HttpProtobuf => Transport::Http(Box::new(http::Sender::new(otlp)?)),
                },
            },
            Destination::Console => Self {
                name: "the console".to_owned(),
                transport: Transport::Console,
            },
        })
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, Refused> {
        match &mut self.transport {
            Transport::Grpc(sender) => sender.send(batch.bytes.clone()).await,
            Transport::Http(sender) => sender.send(batch.bytes.clone()).await,
            Transport::Console => console::write(&mut std::io::stdout().lock(), &batch.lines),
        }
    }
}

/// Sends the batches of a lane, each until it is acknowledged or refused for good.
pub async fn run(shared: Arc<Shared>, place: usize, mut sender: Sender) {
    let mut known = Known::new();
    loop {
        let batch = next(&shared, place).await;
        let result = deliver(&shared, place, &mut sender, &batch).await;
        if let Some(lane) = shared.state().lanes.get_mut(place) {
            lane.settle(&batch, |counts| match &result {
                Ok(accepted) => {
                    let rejected = accepted.rejected.min(batch.spans);
                    counts.rejected += rejected;
                    counts.sent += batch.spans - rejected;
                }
                Err(_) => counts.failed += batch.spans,
            });
        }
        match result {
            Ok(Accepted {
                rejected: 0,
                message,
            }) if message.is_empty() => {}
            Ok(Accepted {
                rejected: 0,
                message,
            }) => {
                if known.insert(format!("warning: {message}")) {
                    tracing::warn!("{} took the spans and says: {message}", sender.name);
                }
            }
            Ok(Accepted { rejected, message }) => {
                tracing::warn!(
                    "{} rejected {rejected} of {} spans: {message}",
                    sender.name,
                    batch.spans
                );
            }
            Err(Refused { cause, message, .. }) => {
                if known.insert(format!("refused: {cause}")) {
                    tracing::error!(
                        "{} refuses spans, {} are lost and more may be; this is said once: {cause}: {message}; see that the endpoint, the protocol and the headers are right",
                        sender.name,
                        batch.spans
                    );
                }
            }
        }
        shared.changed();
    }
}

async fn next(shared: &Shared, place: usize) -> Arc<Batch> {
    loop {
        let batched = shared.batched.notified();
        tokio::pin!(batched);
        // Registered before the look, so that a batch that comes between is not missed.
        batched.as_mut().enable();
        let batch = shared.state().lanes.get_mut(place).and_then(Lane::take);
        match batch {
            Some(batch) => return batch,
            None => batched.await,
        }
    }
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
        let refused = match sender.send(batch).await {
            Ok(accepted) => {
                if attempts > 1 {
                    tracing::info!("{} takes spans again", sender.name);
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
        if attempts == 1 {
            tracing::warn!(
                "{} does not take spans, which wait and are sent again: {}: {}; see that it is up and can be reached",
                sender.name,
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
