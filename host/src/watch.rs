//! Watches the kinds that the mappers declare, and tells the index what is there.
//!
//! One task a source. It finds the version that the cluster serves, follows the kind in every namespace that
//! is wanted, and starts anew at each resync. What goes wrong with one kind is reported once, tried again for
//! ever, and does not touch the others.

mod connection;
mod following;
mod object;
mod stream;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::SelectAll;
use futures::{Stream, StreamExt};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use lighthouse_telemetry_core::catalog::{Catalog, ObjectError};
use lighthouse_telemetry_core::description::ObjectSource;
use lighthouse_telemetry_core::index::Fact;
use lighthouse_telemetry_core::object::{GroupKind, Object, SourceId, Uid};
use lighthouse_telemetry_core::projection::Projection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::Namespaces;
use crate::health::{State, WatchName, Watches};
use crate::kinds::{KindError, Kinds, Served, reason};
use crate::metrics::Metrics;
use connection::Limits;
pub use following::Watching;
use object::Raw;
use stream::Item;
pub use stream::{LONGEST_PAUSE, pauses};
pub use told::{Told, told};

/// What is watched and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where.
    pub namespaces: Namespaces,
    /// How often everything is listed anew; none: only when a watch breaks.
    pub resync_interval: Option<Duration>,
    /// How long after something failed, or a kind was found missing, it is tried again; doubles with each time, up to
    /// half a minute.
    pub first_pause: Duration,
    /// How long the API server may take for an answer, such as a page of a list.
    pub answer: Duration,
    /// How long a watch may say nothing. The API server tells each one where it is about once a minute.
    pub silence: Duration,
    /// How long a source waits for those whose objects its own belong to: they are listed one after the other.
    pub turn: Duration,
}

impl Settings {
    /// The defaults for these namespaces.
    #[must_use]
    pub const fn of(namespaces: Namespaces, resync_interval: Option<Duration>) -> Self {
        Self {
            namespaces,
            resync_interval,
            first_pause: Duration::from_millis(800),
            answer: Duration::from_secs(90),
            silence: Duration::from_secs(200),
            turn: Duration::from_secs(30),
        }
    }
}

/// What all watches share.
#[derive(Clone)]
pub struct Room {
    /// What is watched and how patiently.
    pub settings: Settings,
    /// What the mappers want.
    pub catalog: Arc<Catalog>,
    /// What the cluster serves.
    pub kinds: Arc<Kinds>,
    /// Where facts go; bounded, so that a watch waits for the index.
    pub facts: mpsc::Sender<Fact>,
    /// How the watches are doing.
    pub watches: Watches,
    /// Counts.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Room")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// An object of a watch as the index takes it.
fn usable(
    mut raw: Raw,
    resource: &ApiResource,
    catalog: &Catalog,
    source: SourceId,
) -> Result<Object, ObjectError> {
    raw.complete(resource);
    catalog.object(source, raw.value())
}

/// An object from the text in which the API server sends it to a watch of this source; none if it cannot be used. For
/// those who try what no API server sends.
#[must_use]
pub fn decode(text: &[u8], catalog: &Catalog, source: SourceId) -> Option<Object> {
    let reads = Arc::new(catalog.reads(source)?.clone());
    let raw: Raw = object::reading(&reads, || serde_json::from_slice(text)).ok()?;
    let (_, wanted) = catalog.sources().find(|(id, _)| *id == source)?;
    let version = wanted.versions.first().map_or("v1", String::as_str);
    let kind = GroupVersionKind::gvk(&wanted.group, version, &wanted.kind);
    usable(raw, &ApiResource::from_gvk(&kind), catalog, source).ok()
}

fn kind_of(source: &ObjectSource) -> GroupKind {
    GroupKind {
        group: source.group.as_str().into(),
        kind: source.kind.as_str().into(),
    }
}

/// A kind for people and metrics.
fn label(source: &ObjectSource) -> String {
    if source.group.is_empty() {
        source.kind.clone()
    } else {
        format!("{}.{}", source.kind, source.group)
    }
}

/// A source and what is known of it.
struct Task {
    room: Room,
    id: SourceId,
    label: String,
    source: ObjectSource,
    scopes: Vec<Scope>,
    /// Whether one that cannot be used was logged.
    odd_objects: bool,
}

/// A source in one namespace, or in all.
struct Scope {
    namespace: Option<String>,
    /// Its objects as of the last list and all that came since; kept only where there are several scopes, whose
    /// lists complete each other.
    objects: BTreeSet<Uid>,
    /// What the list that is under way has given so far.
    listing: BTreeSet<Uid>,
    /// Whether it has listed once or may not be read.
    settled: bool,
}

impl Scope {
    const fn new(namespace: Option<String>) -> Self {
        Self {
            namespace,
            objects: BTreeSet::new(),
            listing: BTreeSet::new(),
            settled: false,
        }
    }
}

/// Why a source starts anew.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Resync,
    Vanished,
    /// Nobody takes facts any more.
    Stopped,
}

impl Task {
    async fn run(mut self, first: Vec<SourceId>) {
        // Not for ever: one that the API server fails to list must not hide the rest.
        let wait = self.room.watches.settled(&first);
        if tokio::time::timeout(self.room.settings.turn, wait)
            .await
            .is_err()
        {
            tracing::debug!(kind = %self.label, "watched before all that its objects may belong to was listed");
        }
        let first_pause = self.room.settings.first_pause;
        let mut pauses = stream::pauses(first_pause);
        loop {
            let kind = kind_of(&self.source);
            let answer = self.room.settings.answer;
            let asked = self.room.kinds.first(&kind, &self.source.versions);
            match tokio::time::timeout(answer, asked).await {
                Ok(Ok(served)) => {
                    pauses = stream::pauses(first_pause);
                    match self.follow(&served).await {
                        Turn::Resync => continue,
                        Turn::Stopped => return,
                        Turn::Vanished => self.missing(),
                    }
                }
                Ok(Err(KindError::Absent)) => self.missing(),
                Ok(Err(KindError::Failed(error))) => self.failing(&reason(&error)),
                Err(_) => self.failing("it does not answer in time"),
            }
            let pause = pauses.next().unwrap_or(stream::LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows the kind in all namespaces until the next resync.
    async fn follow(&mut self, served: &Served) -> Turn {
        let config = watcher::Config {
            label_selector: self.source.label_selector.clone(),
            field_selector: self.source.field_selector.clone(),
            // Objects of a page are all in memory at once, decoded; a Pod is 20 KB as text and several times that so.
            page_size: Some(100),
            ..watcher::Config::default()
        };
        let reads = self.room.catalog.reads(self.id).cloned();
        let reads = Arc::new(reads.unwrap_or_else(Projection::whole));
        let mut streams = SelectAll::new();
        let cluster_wide = !served.namespaced;
        for (place, scope) in self.scopes.iter().enumerate() {
            // A kind without namespaces is watched once.
            if cluster_wide && place > 0 {
                continue;
            }
            let settings = &self.room.settings;
            let limits = Limits {
                answer: settings.answer,
                silence: settings.silence,
            };
            let (client, notes) = connection::observed(self.room.kinds.client(), limits);
            let api = served.api::<Raw>(client, scope.namespace.as_deref());
            let items = stream::items(
                api,
                notes,
                config.clone(),
                settings.first_pause,
                Arc::clone(&reads),
            );
            streams.push(items.map(move |item| (place, item)).boxed());
        }
        if cluster_wide {
            for place in 1..self.scopes.len() {
                self.settle(place, State::Listed);
            }
        }
        let resync = self.room.settings.resync_interval;
        let resync = resync.and_then(|interval| Instant::now().checked_add(interval));
        self.take(&mut streams, served, resync).await
    }

    async fn take(
        &mut self,
        streams: &mut (impl Stream<Item = (usize, Item)> + Unpin),
        served: &Served,
        resync: Option<Instant>,
    ) -> Turn {
        let due = async {
            match resync {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(due);
        loop {
            let next = tokio::select! {
                biased;
                () = &mut due => return Turn::Resync,
                next = streams.next() => next,
            };
            // The streams do not end by themselves.
            let Some((place, item)) = next else {
                return Turn::Resync;
            };
            let turn = match item {
                Item::Event(event) => self.event(place, event, served).await,
                Item::Error(error) => self.error(place, &error, served),
                Item::Following => {
                    self.alive(place);
                    None
                }
                Item::Silent => {
                    self.count("silent");
                    tracing::debug!(kind = %self.label, "a watch said nothing for too long");
                    None
                }
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
    }

    async fn event(&mut self, place: usize, event: Event<Raw>, served: &Served) -> Option<Turn> {
        let several = self.scopes.len() > 1;
        match event {
            Event::Init => {
                if let Some(scope) = self.scopes.get_mut(place) {
                    scope.listing.clear();
                }
                None
            }
            Event::InitApply(raw) => {
                self.count("listed");
                if let (Some(uid), Some(scope)) = (raw.uid(), self.scopes.get_mut(place)) {
                    scope.listing.insert(uid);
                }
                self.applied(raw, served).await
            }
            Event::InitDone => {
                if let Some(scope) = self.scopes.get_mut(place) {
                    scope.objects = std::mem::take(&mut scope.listing);
                }
                self.settle(place, State::Listed);
                self.relisted(several).await
            }
            Event::Apply(raw) => {
                self.count("applied");
                self.alive(place);
                if several && let (Some(uid), Some(scope)) = (raw.uid(), self.scopes.get_mut(place))
                {
                    scope.objects.insert(uid);
                }
                self.applied(raw, served).await
            }
            Event::Delete(raw) => {
                self.count("deleted");
                self.alive(place);
                if let (Some(uid), Some(scope)) = (raw.uid(), self.scopes.get_mut(place)) {
                    scope.objects.remove(&uid);
                }
                let object = self.object(raw, served)?;
                self.send(Fact::Deleted(self.id, Box::new(object))).await
            }
        }
    }

    async fn applied(&mut self, raw: Raw, served: &Served) -> Option<Turn> {
        let object = self.object(raw, served)?;
        self.send(Fact::Applied(self.id, Box::new(object))).await
    }

    fn object(&mut self, raw: Raw, served: &Served) -> Option<Object> {
        match usable(raw, &served.resource, &self.room.catalog, self.id) {
            Ok(object) => Some(object),
            Err(error) => {
                self.count("unusable");
                if !std::mem::replace(&mut self.odd_objects, true) {
                    tracing::warn!(
                        kind = %self.label,
                        "an object is left out, and further ones like it without a word: {error}"
                    );
                }
                None
            }
        }
    }

    /// Tells which objects there are, once every namespace has said so. Another namespace may be in the middle
    /// of a list of its own: what it had and what it has listed are both there.
    async fn relisted(&mut self, several: bool) -> Option<Turn> {
        if !self.scopes.iter().all(|scope| scope.settled) {
            return None;
        }
        let objects = if several {
            self.scopes
                .iter()
                .flat_map(|scope| scope.objects.iter().chain(&scope.listing))
                .cloned()
                .collect()
        } else {
            self.scopes
                .first_mut()
                .map(|scope| std::mem::take(&mut scope.objects))
                .unwrap_or_default()
        };
        self.count("relisted");
        self.send(Fact::Relisted(self.id, objects)).await
    }

    async fn send(&self, fact: Fact) -> Option<Turn> {
        match self.room.facts.send(fact).await {
            Ok(()) => None,
            Err(_) => Some(Turn::Stopped),
        }
    }

    fn error(&mut self, place: usize, error: &watcher::Error, served: &Served) -> Option<Turn> {
        self.count("error");
        let (status, text) = said(error);
        if matches!(error, watcher::Error::WatchFailed(_)) {
            // It is taken up again at once.
            tracing::debug!(kind = %self.label, "a watch was interrupted: {text}");
            return None;
        }
        match status {
            Some(403) => {
                let rule = served.rule(&["list", "watch"]);
                let role = match self
                    .scopes
                    .get(place)
                    .and_then(|scope| scope.namespace.as_deref())
                {
                    Some(namespace) => format!("the Role in namespace {namespace}"),
                    None => "the ClusterRole".to_owned(),
                };
                self.settle(
                    place,
                    State::Forbidden(format!("add this rule to {role}: {rule}")),
                );
                None
            }
            Some(404) => Some(Turn::Vanished),
            // The resource version is too old: what was missed comes with the list that follows.
            Some(410) => {
                tracing::debug!(kind = %self.label, "listed anew: {text}");
                None
            }
            _ => {
                self.report(place, unreachable(&text));
                None
            }
        }
    }

    fn missing(&mut self) {
        let versions = self.source.versions.join(" or ");
        let detail = format!(
            "the cluster does not serve {} in version {versions}; install it, or ignore this if it is not used",
            self.label
        );
        for place in 0..self.scopes.len() {
            self.settle(place, State::Missing(detail.clone()));
        }
    }

    fn failing(&mut self, reason: &str) {
        for place in 0..self.scopes.len() {
            self.report(place, unreachable(reason));
        }
    }

    fn settle(&mut self, place: usize, state: State) {
        if let Some(scope) = self.scopes.get_mut(place) {
            scope.settled = true;
        }
        self.report(place, state);
    }

    /// It is followed: a failure is over.
    fn alive(&self, place: usize) {
        self.report(place, State::Listed);
    }

    fn report(&self, place: usize, state: State) {
        let Some(scope) = self.scopes.get(place) else {
            return;
        };
        let name = WatchName {
            source: self.id,
            namespace: scope.namespace.clone(),
        };
        let namespace = scope.namespace.as_deref().unwrap_or("all");
        if !self.room.watches.set(&name, state.clone()) {
            return;
        }
        // A kind may be watched with several selectors.
        let selector = [&self.source.label_selector, &self.source.field_selector];
        let selector = selector.into_iter().flatten().next();
        match state.detail() {
            Some(detail) => {
                tracing::warn!(kind = %self.label, namespace, selector, "not watched: {detail}");
            }
            None => tracing::info!(kind = %self.label, namespace, selector, "watched"),
        }
    }

    fn count(&self, event: &'static str) {
        self.room.metrics.watch_event(&self.label, event);
    }
}

/// The code of the API server's answer, if it gave one, and what went wrong.
fn said(error: &watcher::Error) -> (Option<u16>, String) {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        // The connection broke or was ended.
        | watcher::Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => (Some(status.code), reason(error)),
            error => (None, reason(error)),
        },
        watcher::Error::WatchError(status) => (
            Some(status.code),
            format!("{} ({})", status.message, status.code),
        ),
        watcher::Error::NoResourceVersion => (
            None,
            "it sends no resource versions; see whether it is a Kubernetes API server".to_owned(),
        ),
    }
}

fn unreachable(reason: &str) -> State {
    State::Failing(format!(
        "the API server cannot be asked: {reason}; this is tried again until it works"
    ))
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
