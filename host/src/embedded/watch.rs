//! Watches: what changes after a resource version, as a stream of JSON lines.
//!
//! A watch holds no queue of its own: it reads the shared history from where it is, so that a client that does
//! not read costs nothing, and one that falls behind the history is told 410 Gone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::json;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Shared;
use super::failure::Failure;
use super::rendering::Rendering;
use super::resource::ResourceKey;
use super::selector::Selector;
use super::store::Change;

/// How often a quiet watch is told the resource version. kube-apiserver takes a minute; a demo and a test are
/// shorter than that.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a watch lasts if its client does not say; kube-apiserver takes 30 to 60 minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// How many changes go into one chunk at most.
const BATCH: usize = 256;

/// What a watch request asks for.
#[derive(Clone, Debug)]
pub(super) struct WatchQuery {
    pub(super) resource: ResourceKey,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    pub(super) rendering: Rendering,
    /// None, as 0: starts with all objects there are, as if they were just added.
    pub(super) resource_version: Option<u64>,
    /// `sendInitialEvents`: starts with all objects there are, and a bookmark marks their end.
    pub(super) send_initial_events: bool,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<Duration>,
}

struct Watch {
    shared: Arc<Shared>,
    query: WatchQuery,
    position: u64,
    /// Lines that are due before any change.
    initial: Option<Bytes>,
    revisions: Receiver<u64>,
    dropped: Receiver<u64>,
    silenced: Receiver<u64>,
    bookmarks: Interval,
    deadline: Instant,
    ended: bool,
}

/// What a waiting watch woke up for.
enum Woken {
    Changed,
    Bookmark,
    Deadline,
    Dropped,
}

/// Answers a watch request. The stream ends when its time is over, the watches are dropped, or the history is
/// compacted beyond it.
pub(super) fn watch(
    shared: Arc<Shared>,
    query: WatchQuery,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    // Subscribed before the objects are read: a change in between is seen twice by the loop, not never.
    let revisions = shared.revisions.subscribe();
    let dropped = shared.dropped.subscribe();
    let silenced = shared.silenced.subscribe();
    let (position, initial) = beginning(&shared, &query);
    let mut bookmarks =
        tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
    bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        deadline: Instant::now() + query.timeout.unwrap_or(DEFAULT_TIMEOUT),
        shared,
        query,
        position,
        initial,
        revisions,
        dropped,
        silenced,
        bookmarks,
        ended: false,
    };
    futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok(chunk), watch))
    })
}

fn beginning(shared: &Shared, query: &WatchQuery) -> (u64, Option<Bytes>) {
    let asked = query.resource_version.unwrap_or_default();
    if asked > 0 && !query.send_initial_events {
        return (asked, None);
    }
    let store = shared.store();
    let mut lines = Vec::new();
    for (_, stored) in store
        .objects(&query.resource, query.namespace.as_deref(), None)
        .filter(|(_, stored)| query.selector.selects(&stored.value))
    {
        line(&mut lines, "ADDED", &query.rendering.object(stored));
    }
    if query.send_initial_events && query.bookmarks {
        let bookmark = query.rendering.bookmark(store.revision(), true);
        line(&mut lines, "BOOKMARK", bookmark.to_string().as_bytes());
    }
    let initial = (!lines.is_empty()).then(|| lines.into());
    (store.revision(), initial)
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(initial) = self.initial.take() {
            return Some(initial);
        }
        loop {
            // An error is that the server is gone.
            if self.silenced.has_changed().unwrap_or(true) {
                let _ = self.dropped.changed().await;
                return None;
            }
            self.revisions.mark_unchanged();
            match self.changes() {
                Err(failure) => {
                    self.ended = true;
                    let mut lines = Vec::new();
                    line(&mut lines, "ERROR", failure.status().to_string().as_bytes());
                    return Some(lines.into());
                }
                Ok((lines, _)) if !lines.is_empty() => return Some(lines.into()),
                Ok((_, true)) => continue,
                Ok((_, false)) => {}
            }
            match self.woken().await {
                Woken::Changed => {}
                Woken::Bookmark if !self.query.bookmarks => {}
                Woken::Bookmark => return Some(self.bookmark()),
                Woken::Deadline => {
                    self.ended = true;
                    return self.query.bookmarks.then(|| self.bookmark());
                }
                Woken::Dropped => return None,
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        tokio::select! {
            biased;
            _ = self.dropped.changed() => Woken::Dropped,
            _ = self.silenced.changed() => {
                self.silenced.mark_changed();
                Woken::Changed
            }
            () = tokio::time::sleep_until(self.deadline) => Woken::Deadline,
            changed = self.revisions.changed() => match changed {
                Ok(()) => Woken::Changed,
                Err(_) => Woken::Dropped,
            },
            _ = self.bookmarks.tick() => Woken::Bookmark,
        }
    }

    fn bookmark(&self) -> Bytes {
        let mut lines = Vec::new();
        let bookmark = self.query.rendering.bookmark(self.position, false);
        line(&mut lines, "BOOKMARK", bookmark.to_string().as_bytes());
        lines.into()
    }

    /// The next changes as lines, and whether there may be more at once.
    fn changes(&mut self) -> Result<(Vec<u8>, bool), Failure> {
        let store = self.shared.store();
        let mut lines = Vec::new();
        let mut taken = 0;
        for change in store.changes_after(self.position)?.take(BATCH) {
            self.position = change.revision;
            taken += 1;
            if let Some((kind, object)) = seen(&self.query, change) {
                line(&mut lines, kind, &object);
            }
        }
        Ok((lines, taken == BATCH))
    }
}

/// What a change is to a watch: an object that comes to be selected is added, one that ceases to be is deleted.
fn seen(query: &WatchQuery, change: &Change) -> Option<(&'static str, Bytes)> {
    let elsewhere = query
        .namespace
        .as_deref()
        .is_some_and(|wanted| wanted != change.key.namespace);
    if change.key.resource != query.resource || elsewhere {
        return None;
    }
    let was = change
        .before
        .as_ref()
        .is_some_and(|before| query.selector.selects(&before.value));
    let is = !change.deleted && query.selector.selects(&change.now.value);
    let kind = match (was, is) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    Some((kind, query.rendering.object(&change.now)))
}

fn line(lines: &mut Vec<u8>, kind: &str, object: &[u8]) {
    lines.extend_from_slice(br#"{"type":""#);
    lines.extend_from_slice(kind.as_bytes());
    lines.extend_from_slice(br#"","object":"#);
    lines.extend_from_slice(object);
    lines.extend_from_slice(b"}\n");
}

/// `timeoutSeconds` of a request; a server without a limit of its own takes 0 as none.
pub(super) fn timeout(seconds: Option<u64>) -> Option<Duration> {
    seconds
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

/// A resource version in a request; empty is none.
pub(super) fn resource_version(text: &str) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Failure::bad_request(format!("resourceVersion: Invalid value: {}", json!(text)))
    })
}
