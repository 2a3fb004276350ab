//! What a watch gives: kube's events, its errors with pauses after them, and silence.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::object::Raw;

/// What comes from a watch.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all items are events: a box each would be for nothing"
)]
pub enum Item {
    /// Something is there, has changed or is gone.
    Event(Event<Raw>),
    /// A request failed; it is sent again after a pause.
    Error(watcher::Error),
    /// The API server took too long for a page of a list; it is asked again.
    Silent,
}

struct State {
    api: Api<Raw>,
    config: watcher::Config,
    answer: Duration,
    events: BoxStream<'static, watcher::Result<Event<Raw>>>,
    listing: bool,
}

impl State {
    fn events(
        api: &Api<Raw>,
        config: &watcher::Config,
    ) -> BoxStream<'static, watcher::Result<Event<Raw>>> {
        watcher(api.clone(), config.clone())
            .default_backoff()
            .boxed()
    }
}

/// Lists and watches for ever. While it watches, kube's own limit for silence holds; while it lists, `answer`.
pub fn items(
    api: Api<Raw>,
    config: watcher::Config,
    answer: Duration,
) -> impl Stream<Item = Item> + Send {
    let state = State {
        events: State::events(&api, &config),
        api,
        config,
        answer,
        listing: true,
    };
    futures::stream::unfold(state, |mut state| async {
        let next = if state.listing {
            tokio::time::timeout(state.answer, state.events.next()).await
        } else {
            Ok(state.events.next().await)
        };
        let item = match next {
            Ok(next) => match next? {
                Ok(event) => {
                    match event {
                        Event::Init => state.listing = true,
                        Event::InitDone => state.listing = false,
                        _ => {}
                    }
                    Item::Event(event)
                }
                Err(error) => Item::Error(error),
            },
            Err(_) => {
                state.events = State::events(&state.api, &state.config);
                Item::Silent
            }
        };
        Some((item, state))
    })
}
