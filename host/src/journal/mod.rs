//! What must survive a restart, on disk.
//!
//! A thread of its own writes: all that has come while it wrote goes into the next transaction, so that durability costs one
//! `fsync` for many. While the disk cannot be written, nothing waits for it: what is traced is traced in memory, and
//! when it can be written again all there is is written anew.

mod record;
mod store;
#[cfg(test)]
mod tests;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

pub use record::{ParcelRecord, WebhookRecord};
pub use store::{Kept, Readable, Row, Store, StoreError};

/// After a failure the directory is tried again so often.
const AGAIN: Duration = Duration::from_secs(5);
/// What nobody waits for is written at the latest after this time.
const LAZY: Duration = Duration::from_millis(200);
/// So often is looked whether the file is worth compacting.
const COMPACTION: Duration = Duration::from_secs(600);

/// Where, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The state directory.
    pub directory: PathBuf,
    /// Bytes of keys and values at most.
    pub max_size: u64,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// They are on disk for good.
    Durably,
    /// They are not on disk.
    Not,
}

/// How the journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// There is none.
    #[default]
    Off,
    /// It is written.
    Good,
    /// It is not written; why.
    Failing(String),
    /// It can be written again, and knows nothing: all is to be written, [`Row::Anew`] first.
    Empty,
}

/// Figures of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of keys and values in it.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Transactions, from the start.
    pub commits: u64,
    /// Transactions that failed, from the start.
    pub failures: u64,
    /// Parcels of spans that were dropped to make room, from the start.
    pub parcels_dropped: u64,
}

/// Takes rows; the thread behind it ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Journal {
    orders: Option<mpsc::Sender<Order>>,
    health: watch::Receiver<Health>,
    counts: watch::Receiver<Counts>,
    next: Arc<Next>,
}

#[derive(Debug, Default)]
struct Next {
    webhook: AtomicU64,
    parcel: AtomicU64,
}

enum Order {
    Write(Vec<Row>, oneshot::Sender<Written>),
    /// Nobody waits for it.
    Note(Vec<Row>),
    Read(u64, oneshot::Sender<Option<ParcelRecord>>),
    Webhook(u64, oneshot::Sender<Option<WebhookRecord>>),
    /// Numbers of all webhooks.
    Webhooks(oneshot::Sender<Vec<u64>>),
}

impl Journal {
    /// None: what is given to it is gone.
    #[must_use]
    pub fn off() -> Self {
        Self {
            orders: None,
            health: watch::channel(Health::Off).1,
            counts: watch::channel(Counts::default()).1,
            next: Arc::default(),
        }
    }

    /// Starts to write to a store; without one, which could not be opened because of this, to one in the directory as
    /// soon as there can be one.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(settings: Settings, store: Result<Store, StoreError>) -> std::io::Result<Self> {
        // The time, so that no number is given twice even while the store cannot be asked for the last.
        let now = jiff::Timestamp::now().as_nanosecond();
        let now = u64::try_from(now).unwrap_or_default();
        let (health, last_webhook, last_parcel) = match &store {
            Ok(store) => (Health::Good, store.last_webhook, store.last_parcel),
            Err(error) => (Health::Failing(error.to_string()), None, None),
        };
        let after = |last: Option<u64>| AtomicU64::new(last.map_or(now, |last| now.max(last + 1)));
        let next = Next {
            webhook: after(last_webhook),
            parcel: after(last_parcel),
        };
        let (health_sender, health) = watch::channel(health);
        let (count_sender, counts) = watch::channel(Counts::default());
        let (orders, taken) = mpsc::channel();
        let writer = Writer {
            settings,
            store: store.ok(),
            health: health_sender,
            counts: count_sender,
            tried: Instant::now(),
            compacted: None,
        };
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&taken))?;
        Ok(Self {
            orders: Some(orders),
            health,
            counts,
            next: Arc::new(next),
        })
    }

    /// Whether there is one at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.orders.is_some()
    }

    /// How it is, to be watched.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Its figures.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// A number for a webhook that no other one has.
    #[must_use]
    pub fn webhook_number(&self) -> Option<u64> {
        self.is_on()
            .then(|| self.next.webhook.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a parcel that no other one has, greater than those before.
    #[must_use]
    pub fn parcel_number(&self) -> Option<u64> {
        self.is_on()
            .then(|| self.next.parcel.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes rows, all or none. The order of calls is that of the transactions.
    pub fn write(&self, rows: Vec<Row>) -> oneshot::Receiver<Written> {
        let (sender, written) = oneshot::channel();
        if let Some(orders) = &self.orders {
            // A thread that has ended drops the sender, which its receiver is told.
            let _ = orders.send(Order::Write(rows, sender));
        }
        written
    }

    /// Writes rows when there is something else to write, or a little later.
    pub fn note(&self, rows: Vec<Row>) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order::Note(rows));
        }
    }

    /// Returns once all that was given before is written, or cannot be.
    pub async fn settle(&self) {
        let _ = self.write(Vec::new()).await;
    }

    /// Reads spans that are to be sent; none if they were dropped.
    pub async fn parcel(&self, number: u64) -> Option<ParcelRecord> {
        let (sender, read) = oneshot::channel();
        let orders = self.orders.as_ref()?;
        orders.send(Order::Read(number, sender)).ok()?;
        read.await.ok().flatten()
    }

    /// Reads a webhook; none if it is not needed any more.
    pub async fn webhook(&self, number: u64) -> Option<WebhookRecord> {
        let (sender, read) = oneshot::channel();
        let orders = self.orders.as_ref()?;
        orders.send(Order::Webhook(number, sender)).ok()?;
        read.await.ok().flatten()
    }

    /// The numbers of the webhooks that are still needed, in the order in which they were received.
    pub async fn webhooks(&self) -> Vec<u64> {
        let (sender, read) = oneshot::channel();
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order::Webhooks(sender));
        }
        read.await.unwrap_or_default()
    }
}

/// The thread.
struct Writer {
    settings: Settings,
    store: Option<Store>,
    health: watch::Sender<Health>,
    counts: watch::Sender<Counts>,
    /// When the directory was tried last.
    tried: Instant,
    compacted: Option<Instant>,
}

impl Writer {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        let mut rows: Vec<Row> = Vec::new();
        let mut since: Option<Instant> = None;
        loop {
            self.compact();
            let wait = match since {
                Some(since) => LAZY.saturating_sub(since.elapsed()),
                None if self.store.is_none() => AGAIN.saturating_sub(self.tried.elapsed()),
                None => COMPACTION,
            };
            let mut waiting = Vec::new();
            let mut over = false;
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    let mut next = Some(order);
                    while let Some(order) = next {
                        match order {
                            Order::Write(more, sender) => {
                                rows.extend(more);
                                waiting.push(sender);
                            }
                            Order::Note(more) => {
                                rows.extend(more);
                                since.get_or_insert_with(Instant::now);
                            }
                            Order::Read(number, sender) => {
                                let _ = sender.send(self.read(|store| store.parcel(number)));
                            }
                            Order::Webhook(number, sender) => {
                                let _ = sender.send(self.read(|store| store.webhook(number)));
                            }
                            Order::Webhooks(sender) => {
                                let webhooks = self.read(|store| store.webhooks().map(Some));
                                let webhooks = webhooks.map(|webhooks| webhooks.rows);
                                let numbers = webhooks.into_iter().flatten();
                                let _ = sender.send(numbers.map(|(number, _)| number).collect());
                            }
                        }
                        next = orders.try_recv().ok();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => over = true,
            }
            let due = over || since.is_some_and(|since| since.elapsed() >= LAZY);
            if !waiting.is_empty() || (due && !rows.is_empty()) {
                let written = self.commit(std::mem::take(&mut rows));
                since = None;
                for sender in waiting {
                    let _ = sender.send(written);
                }
            }
            if over {
                return;
            }
            self.try_again();
        }
    }

    fn commit(&mut self, rows: Vec<Row>) -> Written {
        let Some(store) = &mut self.store else {
            return Written::Not;
        };
        // After a failure what is there is not what should be.
        let is_whole = *self.health.borrow() != Health::Empty || rows.contains(&Row::Anew);
        if !is_whole {
            return Written::Not;
        }
        match store.commit(rows) {
            Ok(evicted) => {
                let (bytes, file_bytes) = (store.bytes(), store.file_bytes());
                self.counts.send_modify(|counts| {
                    counts.commits += 1;
                    counts.bytes = bytes;
                    counts.file_bytes = file_bytes;
                    counts.parcels_dropped += evicted.parcels;
                });
                if evicted.parcels > 0 {
                    tracing::warn!(
                        parcels = evicted.parcels,
                        "the oldest spans that no receiver has acknowledged were dropped, the state directory is full: see that the OTLP receiver is up, or raise --state-max-size"
                    );
                }
                if *self.health.borrow() == Health::Empty {
                    tracing::info!("the journal is written again");
                    self.health.send_replace(Health::Good);
                }
                Written::Durably
            }
            Err(error) => {
                self.fail(&error);
                Written::Not
            }
        }
    }

    fn fail(&mut self, error: &StoreError) {
        store::give_up(self.store.take());
        self.tried = Instant::now();
        self.counts.send_modify(|counts| counts.failures += 1);
        let why = error.to_string();
        tracing::error!(
            "the journal in {} cannot be written, so that a restart would lose what is not sent; tracing goes on in memory: {why}",
            self.settings.directory.display()
        );
        self.health.send_replace(Health::Failing(why));
    }

    fn read<T>(&mut self, what: impl FnOnce(&Store) -> Result<Option<T>, StoreError>) -> Option<T> {
        match what(self.store.as_ref()?) {
            Ok(found) => found,
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    fn try_again(&mut self) {
        if self.store.is_some() || self.tried.elapsed() < AGAIN {
            return;
        }
        self.tried = Instant::now();
        let opened = Store::open(&self.settings.directory, self.settings.max_size)
            .and_then(|mut store| store.commit([Row::Anew]).map(|_| store));
        match opened {
            Ok(store) => {
                self.store = Some(store);
                self.health.send_replace(Health::Empty);
            }
            Err(error) => {
                tracing::debug!("the journal still cannot be written: {error}");
            }
        }
    }

    fn compact(&mut self) {
        let due = self
            .compacted
            .is_none_or(|compacted| compacted.elapsed() >= COMPACTION);
        let Some(store) = self.store.as_mut().filter(|_| due) else {
            return;
        };
        self.compacted = Some(Instant::now());
        let before = store.file_bytes();
        match store.compact() {
            Ok(false) => {}
            Ok(true) => {
                let after = store.file_bytes();
                tracing::info!(before, after, "the journal was compacted");
            }
            Err(error) => self.fail(&error),
        }
    }
}
