//! What a watch gives: kube's events, what is seen of its connection, and its errors with pauses after them.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Error};
use lighthouse_telemetry_core::projection::Projection;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::connection::Note;
use super::object::{self, Raw};

/// Longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What comes from a watch.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all items are events: a box each would be for nothing"
)]
pub enum Item {
    /// Something is there, has changed or is gone.
    Event(Event<Raw>),
    /// What was listed is followed: the API server tells what changes.
    Following,
    /// The API server has said nothing for too long; the watch goes on where it was.
    Silent,
    /// A request failed; it is sent again after a pause.
    Error(watcher::Error),
}

/// The pauses after failures that follow each other.
pub fn pauses(first: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(LONGEST_PAUSE)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .build()
}

struct State {
    api: Api<Raw>,
    config: watcher::Config,
    first_pause: Duration,
    events: BoxStream<'static, watcher::Result<Event<Raw>>>,
    reads: Arc<Projection>,
    notes: UnboundedReceiver<Note>,
    pauses: ExponentialBackoff,
    /// What the API server asked for since the last error.
    asked: Duration,
    resume: Option<Instant>,
}

impl State {
    async fn next(&mut self) -> Option<Item> {
        if let Some(resume) = self.resume.take() {
            tokio::time::sleep_until(resume).await;
        }
        loop {
            tokio::select! {
                biased;
                Some(note) = self.notes.recv() => match note {
                    Note::NotBefore(pause) => self.asked = pause,
                    Note::Following => {
                        self.works();
                        return Some(Item::Following);
                    }
                    Note::Silent => return Some(Item::Silent),
                },
                event = next(&mut self.events, &self.reads) => return Some(match event? {
                    Ok(event) => {
                        // That a list begins says nothing yet of whether it can be had.
                        if !matches!(event, Event::Init) {
                            self.works();
                        }
                        Item::Event(event)
                    }
                    Err(error) => self.failed(error),
                }),
            }
        }
    }

    fn works(&mut self) {
        self.pauses = pauses(self.first_pause);
        self.asked = Duration::ZERO;
    }

    fn failed(&mut self, error: watcher::Error) -> Item {
        if !goes_on(&error) {
            self.events = watcher(self.api.clone(), self.config.clone()).boxed();
        }
        // It may have come in the same moment as the error.
        while let Ok(note) = self.notes.try_recv() {
            if let Note::NotBefore(pause) = note {
                self.asked = pause;
            }
        }
        let pause = self.pauses.next().unwrap_or(LONGEST_PAUSE);
        let asked = std::mem::take(&mut self.asked).min(LONGEST_PAUSE);
        self.resume = Some(Instant::now() + pause.max(asked));
        Item::Error(error)
    }
}

/// The next event. What is not read of objects is not kept in it.
async fn next(
    events: &mut BoxStream<'static, watcher::Result<Event<Raw>>>,
    reads: &Arc<Projection>,
) -> Option<watcher::Result<Event<Raw>>> {
    poll_fn(|context| object::reading(reads, || events.poll_next_unpin(context))).await
}

/// Whether a watch loses nothing if it goes on from where it was. Else everything is listed anew.
fn goes_on(error: &watcher::Error) -> bool {
    match error {
        // The state is then that before the list.
        watcher::Error::InitialListFailed(_) | watcher::Error::NoResourceVersion => true,
        // What was before is forgotten, and will not be remembered however often it is asked for.
        watcher::Error::WatchStartFailed(Error::Api(status)) => status.code != 410,
        watcher::Error::WatchStartFailed(_) => true,
        // The server says that it cannot tell what comes next.
        watcher::Error::WatchError(_) => false,
        // The connection broke, between two lines. A line that cannot be read was an object, though.
        watcher::Error::WatchFailed(error) => matches!(error, Error::ReadEvents(_)),
    }
}

/// Lists and watches for ever, with a client whose connection is observed. Of objects this is read.
pub fn items(
    api: Api<Raw>,
    notes: UnboundedReceiver<Note>,
    config: watcher::Config,
    first_pause: Duration,
    reads: Arc<Projection>,
) -> impl Stream<Item = Item> + Send {
    let state = State {
        reads,
        events: watcher(api.clone(), config.clone()).boxed(),
        api,
        config,
        first_pause,
        notes,
        pauses: pauses(first_pause),
        asked: Duration::ZERO,
        resume: None,
    };
    futures::stream::unfold(state, |mut state| async {
        let item = state.next().await?;
        Some((item, state))
    })
}
