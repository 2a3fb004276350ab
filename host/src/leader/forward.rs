//! Forwards webhooks to the leader until it has acknowledged them.
//!
//! What was acknowledged is kept for a while yet: the leader may be lost with its disk before it has written down in the
//! cluster when the webhook was received. Whoever leads next has it then, or is sent it again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use lighthouse_telemetry_core::index::Change;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Holder;
use crate::config::Verification;
use crate::journal::{Health, Journal, Row, WebhookRecord};
use crate::webhook::{self, Taken};

/// For one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Before the second attempt; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What was acknowledged is kept so long.
const KEPT: Duration = Duration::from_secs(3_600);

/// So many webhooks that the journal could not keep wait at most; then the queue before them fills, and further ones are
/// answered with 503.
pub(super) const UNKEPT: usize = 256;

/// The task of a follower that forwards webhooks.
#[derive(Debug)]
pub struct Forwarder {
    task: JoinHandle<Left>,
    stop: CancellationToken,
    idle: watch::Receiver<bool>,
}

/// What a forwarder leaves to whoever leads.
#[derive(Debug)]
pub struct Left {
    /// Where webhooks come from.
    pub taken: mpsc::Receiver<Taken>,
    /// Webhooks that the journal has, by number.
    pub kept: Vec<u64>,
    /// Webhooks that it could not keep, and nobody has acknowledged.
    pub unkept: Vec<Taken>,
    /// Whether the journal has lost what it knew of the index.
    pub is_anew: bool,
}

impl Forwarder {
    /// Forwards what is taken, and what the journal has under these numbers, to whoever leads.
    ///
    /// # Errors
    /// If there can be no client.
    pub fn start(
        verification: Verification,
        journal: Journal,
        holder: watch::Receiver<Option<Holder>>,
        taken: mpsc::Receiver<Taken>,
        left: Vec<u64>,
        count: Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        // Another room may have installed the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Replicas are reached directly, and answer themselves.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let stop = CancellationToken::new();
        let (idle_sender, idle) = watch::channel(left.is_empty());
        let room = Room {
            post: Post {
                verification,
                journal,
                client,
            },
            holder,
            waiting: left.into_iter().map(Waiting::Kept).collect(),
            unkept: 0,
            acknowledged: VecDeque::new(),
            is_anew: false,
            count,
            idle: idle_sender,
        };
        let task = tokio::spawn(room.run(taken, stop.clone()));
        Ok(Self { task, stop, idle })
    }

    /// Returns when nothing waits.
    pub async fn settle(&mut self) {
        // The task ends only when it is told to.
        let _ = self.idle.wait_for(|idle| *idle).await;
    }

    /// Stops where it is.
    ///
    /// # Errors
    /// If the task has panicked.
    pub async fn stop(self) -> Result<Left, tokio::task::JoinError> {
        self.stop.cancel();
        self.task.await
    }
}

/// A webhook that the leader has not acknowledged.
#[derive(Debug)]
enum Waiting {
    /// The journal has it.
    Kept(u64),
    /// The journal could not keep it.
    Unkept(Box<Taken>),
}

struct Room {
    post: Post,
    holder: watch::Receiver<Option<Holder>>,
    /// The oldest first.
    waiting: VecDeque<Waiting>,
    /// How many of them the journal does not have.
    unkept: usize,
    /// Numbers, and when they were acknowledged.
    acknowledged: VecDeque<(u64, Instant)>,
    is_anew: bool,
    count: Arc<AtomicU64>,
    idle: watch::Sender<bool>,
}

/// What became of an attempt.
enum Outcome {
    Acknowledged,
    /// The leader will never take it.
    Refused(String),
    /// The journal does not have it any more.
    Gone,
    Again(String),
}

impl Room {
    async fn run(mut self, mut taken: mpsc::Receiver<Taken>, stop: CancellationToken) -> Left {
        let mut health = self.post.journal.health();
        let mut attempt: Option<BoxFuture<'static, Outcome>> = None;
        let mut pause = FIRST_PAUSE;
        let mut not_before = Instant::now();
        let mut is_open = true;
        loop {
            self.tell();
            let address = self
                .holder
                .borrow()
                .as_ref()
                .and_then(|holder| holder.address.clone());
            if attempt.is_none()
                && let (Some(address), Some(first)) = (address, self.waiting.front())
            {
                let post = self.post.clone();
                let (number, unkept) = match first {
                    Waiting::Kept(number) => (Some(*number), None),
                    Waiting::Unkept(taken) => (None, taken.unkept.clone()),
                };
                attempt = Some(Box::pin(async move {
                    tokio::time::sleep_until(not_before).await;
                    let record = match number {
                        Some(number) => post.journal.webhook(number).await,
                        None => unkept,
                    };
                    match record {
                        Some(record) => post.send(&address, &record).await,
                        None => Outcome::Gone,
                    }
                }));
            }
            let forgotten = self.acknowledged.front().map(|(_, since)| *since + KEPT);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                outcome = of(&mut attempt) => {
                    attempt = None;
                    match self.conclude(outcome) {
                        None => {
                            pause = FIRST_PAUSE;
                            not_before = Instant::now();
                        }
                        Some(why) => {
                            tracing::debug!("a webhook is forwarded again: {why}");
                            not_before = Instant::now() + pause;
                            pause = LONGEST_PAUSE.min(pause * 2);
                        }
                    }
                }
                Ok(()) = self.holder.changed() => {
                    attempt = None;
                    pause = FIRST_PAUSE;
                    not_before = Instant::now();
                }
                next = taken.recv(), if is_open && self.unkept < UNKEPT => match next {
                    Some(taken) => self.take(taken),
                    None => is_open = false,
                },
                Ok(()) = health.changed() => {
                    if *health.borrow_and_update() == Health::Empty {
                        self.is_anew = true;
                        self.post.journal.note(vec![Row::Anew]);
                    }
                }
                () = sleep_until(forgotten) => {
                    if let Some((number, _)) = self.acknowledged.pop_front() {
                        self.post.journal.note(vec![done(number)]);
                    }
                }
            }
        }
        self.waiting_to_left(taken)
    }

    fn take(&mut self, taken: Taken) {
        self.waiting.push_back(match taken.webhook.number {
            Some(number) if taken.unkept.is_none() => Waiting::Kept(number),
            _ => {
                self.unkept += 1;
                Waiting::Unkept(Box::new(taken))
            }
        });
    }

    /// Says why, if it is to be tried again.
    fn conclude(&mut self, outcome: Outcome) -> Option<String> {
        let is_gone = matches!(outcome, Outcome::Gone);
        match outcome {
            Outcome::Again(why) => return Some(why),
            Outcome::Refused(why) => {
                tracing::error!(
                    "the leader refuses a webhook, which is kept in case that this replica leads: {why}"
                );
            }
            Outcome::Acknowledged | Outcome::Gone => {}
        }
        match self.waiting.pop_front() {
            Some(Waiting::Kept(number)) if !is_gone => {
                self.acknowledged.push_back((number, Instant::now()));
            }
            Some(Waiting::Unkept(_)) => self.unkept -= 1,
            Some(Waiting::Kept(_)) | None => {}
        }
        None
    }

    fn tell(&self) {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.count.store(waiting, Ordering::Relaxed);
        self.idle.send_if_modified(|idle| {
            let news = *idle != self.waiting.is_empty();
            *idle = self.waiting.is_empty();
            news
        });
    }

    fn waiting_to_left(self, taken: mpsc::Receiver<Taken>) -> Left {
        self.count.store(0, Ordering::Relaxed);
        let mut left = Left {
            taken,
            kept: self
                .acknowledged
                .iter()
                .map(|(number, _)| *number)
                .collect(),
            unkept: Vec::new(),
            is_anew: self.is_anew,
        };
        for waiting in self.waiting {
            match waiting {
                Waiting::Kept(number) => left.kept.push(number),
                Waiting::Unkept(taken) => left.unkept.push(*taken),
            }
        }
        left
    }
}

/// Sends webhooks to the leader.
#[derive(Clone)]
struct Post {
    verification: Verification,
    journal: Journal,
    client: reqwest::Client,
}

impl Post {
    async fn send(&self, address: &str, record: &WebhookRecord) -> Outcome {
        let headers = match webhook::forwarded::headers(&self.verification, record) {
            Ok(headers) => headers,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let request = self
            .client
            .post(format!("http://{address}{}", webhook::PATH))
            .headers(headers)
            .body(record.body.clone())
            .timeout(TIMEOUT);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Again(error.to_string()),
        };
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let text = format!("{status}: {}", text.trim());
        match status.as_u16() {
            200..=299 => Outcome::Acknowledged,
            400 | 413 => Outcome::Refused(text),
            _ => Outcome::Again(text),
        }
    }
}

fn done(number: u64) -> Row {
    Row::Index(Change::WebhookDone(number))
}

/// For ever, if there is none.
async fn of(attempt: &mut Option<BoxFuture<'static, Outcome>>) -> Outcome {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

/// For ever, if there is no time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
