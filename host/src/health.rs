//! Liveness and readiness, and why not.
//!
//! The process is ready once every watch has listed its objects, or is known to be impossible: a kind that is
//! not installed or that may not be read is reported, and does not keep the rest waiting. Once ready it stays
//! so: without the API server webhooks can still be taken, and a plugin that is not ready gets none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighthouse_telemetry_core::object::SourceId;
use serde_json::{Value, json};
use tokio::sync::watch;

/// How a watch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not answered yet.
    Starting,
    /// It has listed its objects and follows them.
    Listed,
    /// The kind is not installed.
    Missing(String),
    /// The kind may not be read.
    Forbidden(String),
    /// The API server does not answer, or not as it should.
    Failing(String),
}

impl State {
    /// For people and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Listed => "listed",
            Self::Missing(_) => "missing",
            Self::Forbidden(_) => "forbidden",
            Self::Failing(_) => "failing",
        }
    }

    /// What is wrong and what to do about it.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Starting | Self::Listed => None,
            Self::Missing(detail) | Self::Forbidden(detail) | Self::Failing(detail) => Some(detail),
        }
    }
}

/// One watch: a source in one namespace, or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchName {
    /// The source.
    pub source: SourceId,
    /// The namespace; none for all.
    pub namespace: Option<String>,
}

#[derive(Debug)]
struct Entry {
    kind: String,
    state: State,
    /// Whether it has listed once, or was found to be impossible.
    settled: bool,
}

/// How all watches are doing. Clones share it.
#[derive(Clone, Debug)]
pub struct Watches {
    entries: Arc<Mutex<BTreeMap<WatchName, Entry>>>,
    ready: watch::Sender<bool>,
    settled: watch::Sender<u64>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            entries: Arc::default(),
            ready: watch::Sender::new(false),
            settled: watch::Sender::new(0),
        }
    }
}

impl Watches {
    /// Adds watches that are not doing anything yet. All are added at once, or some would look like all.
    pub fn declare(&self, names: impl IntoIterator<Item = (WatchName, String)>) {
        let mut entries = self.entries();
        entries.extend(names.into_iter().map(|(name, kind)| {
            let entry = Entry {
                kind,
                state: State::Starting,
                settled: false,
            };
            (name, entry)
        }));
        let ready = entries.values().all(|entry| entry.settled);
        drop(entries);
        self.ready.send_replace(ready);
    }

    /// Adds watches that have not listed yet, or that list anew, while others are at work. What was ready stays so.
    pub fn add(&self, names: impl IntoIterator<Item = (WatchName, String)>) {
        let added = names.into_iter().map(|(name, kind)| {
            let entry = Entry {
                kind,
                state: State::Starting,
                settled: false,
            };
            (name, entry)
        });
        self.entries().extend(added);
    }

    /// Forgets the watches of a source.
    pub fn remove(&self, source: SourceId) {
        let mut entries = self.entries();
        entries.retain(|name, _| name.source != source);
        let ready = entries.values().all(|entry| entry.settled);
        drop(entries);
        self.settled.send_modify(|times| *times += 1);
        if ready {
            self.ready
                .send_if_modified(|known| !std::mem::replace(known, true));
        }
    }

    /// How the watches of a source are doing, by namespace.
    #[must_use]
    pub fn of(&self, source: SourceId) -> Vec<Value> {
        let entries = self.entries();
        let entries = entries.iter().filter(|(name, _)| name.source == source);
        entries
            .map(|(name, entry)| {
                json!({
                    "namespace": name.namespace,
                    "state": entry.state.name(),
                    "detail": entry.state.detail(),
                })
            })
            .collect()
    }

    /// Notes how a watch is doing. Whether that is news: another state, or another reason.
    pub fn set(&self, name: &WatchName, state: State) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(name) else {
            return false;
        };
        let news = entry.state != state;
        let settles = matches!(
            state,
            State::Listed | State::Missing(_) | State::Forbidden(_)
        );
        let settled_now = settles && !entry.settled;
        entry.settled |= settles;
        entry.state = state;
        let ready = entries.values().all(|entry| entry.settled);
        drop(entries);
        if settled_now {
            self.settled.send_modify(|times| *times += 1);
        }
        if ready {
            self.ready
                .send_if_modified(|known| !std::mem::replace(known, true));
        }
        news
    }

    /// Whether every watch has listed once or was found to be impossible; to be watched.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Returns when the watches of these sources have listed once or were found to be impossible.
    pub async fn settled(&self, sources: &[SourceId]) {
        let mut changes = self.settled.subscribe();
        loop {
            changes.mark_unchanged();
            let waiting = self
                .entries()
                .iter()
                .any(|(name, entry)| !entry.settled && sources.contains(&name.source));
            // The sender is ours: it cannot be gone.
            if !waiting || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// How many watches of a kind are in which state.
    #[must_use]
    pub fn count(&self) -> BTreeMap<(String, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for entry in self.entries().values() {
            *counts
                .entry((entry.kind.clone(), entry.state.name()))
                .or_default() += 1;
        }
        counts
    }

    /// What `/readyz` answers: whether all is ready, how many watches follow their kind, and for every other
    /// one why not.
    #[must_use]
    pub fn report(&self) -> (bool, Value) {
        let entries = self.entries();
        let ready = *self.ready.borrow();
        let troubles: Vec<Value> = entries
            .iter()
            .filter(|(_, entry)| entry.state != State::Listed)
            .map(|(name, entry)| {
                json!({
                    "kind": entry.kind,
                    "namespace": name.namespace,
                    "state": entry.state.name(),
                    "detail": entry.state.detail(),
                })
            })
            .collect();
        let report = json!({
            "ready": ready,
            "watches": entries.len(),
            "listed": entries.len() - troubles.len(),
            "troubles": troubles,
        });
        (ready, report)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<WatchName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(source: u32, namespace: &str) -> WatchName {
        WatchName {
            source: SourceId(source),
            namespace: Some(namespace.to_owned()),
        }
    }

    fn watches() -> Watches {
        let watches = Watches::default();
        watches.declare([
            (name(0, "a"), "Pod".to_owned()),
            (name(0, "b"), "Pod".to_owned()),
            (name(1, "a"), "Event".to_owned()),
        ]);
        watches
    }

    #[test]
    fn ready_when_all_have_listed_or_cannot() {
        let watches = watches();
        assert!(!watches.report().0);
        assert!(watches.set(&name(0, "a"), State::Listed));
        assert!(watches.set(&name(0, "b"), State::Forbidden("add a rule".to_owned())));
        watches.set(&name(1, "a"), State::Failing("refused".to_owned()));
        assert!(!*watches.ready().borrow());
        watches.set(&name(1, "a"), State::Missing("install it".to_owned()));
        let (ready, report) = watches.report();
        assert!(ready);
        assert_eq!(
            report,
            json!({
                "ready": true,
                "watches": 3,
                "listed": 1,
                "troubles": [
                    {"kind": "Pod", "namespace": "b", "state": "forbidden", "detail": "add a rule"},
                    {"kind": "Event", "namespace": "a", "state": "missing", "detail": "install it"},
                ],
            })
        );
    }

    #[test]
    fn what_is_known_is_no_news() {
        let watches = watches();
        let failing = || State::Failing("refused".to_owned());
        assert!(watches.set(&name(0, "a"), failing()));
        assert!(!watches.set(&name(0, "a"), failing()));
        assert!(watches.set(&name(0, "a"), State::Listed));
        assert!(!watches.set(&name(7, "a"), State::Listed));
    }

    #[tokio::test]
    async fn some_sources_can_be_waited_for() {
        let watches = watches();
        let waiting = tokio::spawn({
            let watches = watches.clone();
            async move { watches.settled(&[SourceId(0)]).await }
        });
        watches.set(&name(1, "a"), State::Listed);
        watches.set(&name(0, "a"), State::Listed);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        watches.set(&name(0, "b"), State::Listed);
        waiting.await.expect("the waiting task");
    }

    #[test]
    fn readiness_stays_and_a_failure_is_said_until_it_is_over() {
        let watches = watches();
        for name in [name(0, "a"), name(0, "b"), name(1, "a")] {
            watches.set(&name, State::Listed);
        }
        watches.set(&name(0, "a"), State::Failing("refused".to_owned()));
        let (ready, report) = watches.report();
        assert!(ready);
        assert_eq!(report["listed"], 2);
        assert_eq!(watches.count()[&("Pod".to_owned(), "failing")], 1);
        watches.set(&name(0, "a"), State::Listed);
        assert_eq!(watches.report().1["listed"], 3);
        assert!(!watches.count().contains_key(&("Pod".to_owned(), "failing")));
    }
}
