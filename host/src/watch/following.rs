//! Which sources are watched: those of a catalog, and then of the one that takes its place. A source that is wanted as before
//! keeps its streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::select_all;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::description::ObjectSource;
use lighthouse_telemetry_core::object::SourceId;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Room, Scope, Task, kind_of, label};
use crate::config::Namespaces;
use crate::health::WatchName;

/// All watches at work. Dropping it stops them.
#[derive(Debug)]
pub struct Watching {
    room: Room,
    stop: CancellationToken,
    sources: BTreeMap<SourceId, Following>,
}

/// The watches of a source.
#[derive(Debug)]
struct Following {
    /// What they tell is as this catalog wants it.
    catalog: Arc<Catalog>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Watching {
    /// Starts to watch all sources of the room's catalog, until `stop` is cancelled.
    #[must_use]
    pub fn start(room: Room, stop: &CancellationToken) -> Self {
        let catalog = Arc::clone(&room.catalog);
        let mut watching = Self {
            room,
            stop: stop.clone(),
            sources: BTreeMap::new(),
        };
        let names = watching.names(catalog.sources());
        watching.room.watches.declare(names);
        watching.spawn(&catalog);
        watching
    }

    /// Stops the watches of sources that another catalog does not want, or wants to know more of. Once it returns they tell
    /// nothing any more.
    pub async fn leave(&mut self, catalog: &Catalog) {
        let left = self.sources.extract_if(.., |source, following| {
            !catalog.is_watched(*source) || catalog.must_list(*source, &following.catalog)
        });
        let left: Vec<(SourceId, Following)> = left.collect();
        for (source, following) in left {
            drop(following.stop);
            // One that has panicked has said so itself.
            let _ = following.task.await;
            if !catalog.is_watched(source) {
                let kind = self.label_of(source);
                tracing::info!(kind, "not watched any more: no mapper wants it");
                self.room.watches.remove(source);
            }
        }
    }

    /// Watches all sources of another catalog that are not watched.
    pub fn follow(&mut self, catalog: &Arc<Catalog>) {
        self.room.catalog = Arc::clone(catalog);
        let sources = catalog.sources();
        let new = sources.filter(|(id, _)| !self.sources.contains_key(id));
        let names = self.names(new);
        self.room.watches.add(names);
        self.spawn(catalog);
    }

    /// Returns if a watch ends though nobody has stopped it, which is a bug.
    pub async fn ended(&mut self) {
        let tasks = self
            .sources
            .values_mut()
            .map(|following| &mut following.task);
        let tasks: Vec<_> = tasks.collect();
        if tasks.is_empty() {
            return std::future::pending().await;
        }
        let _ = select_all(tasks).await;
    }

    /// Returns once all watches have ended; `stop` must be cancelled before.
    pub async fn stopped(self) {
        for following in self.sources.into_values() {
            let _ = following.task.await;
        }
    }

    fn label_of(&self, source: SourceId) -> String {
        let mut sources = self.room.catalog.sources();
        let known = sources.find(|(id, _)| *id == source);
        known.map_or_else(String::new, |(_, source)| label(source))
    }

    fn namespaces(&self) -> Vec<Option<String>> {
        match &self.room.settings.namespaces {
            Namespaces::All => vec![None],
            Namespaces::Only(names) => names.iter().cloned().map(Some).collect(),
        }
    }

    /// The watches of these sources.
    fn names<'a>(
        &self,
        sources: impl Iterator<Item = (SourceId, &'a ObjectSource)>,
    ) -> Vec<(WatchName, String)> {
        let namespaces = self.namespaces();
        let of = |(id, source): (SourceId, &ObjectSource)| {
            let names = namespaces.iter().map(|namespace| WatchName {
                source: id,
                namespace: namespace.clone(),
            });
            let names = names.map(|name| (name, label(source)));
            names.collect::<Vec<_>>()
        };
        sources.flat_map(of).collect()
    }

    fn spawn(&mut self, catalog: &Arc<Catalog>) {
        let namespaces = self.namespaces();
        let subjects: Vec<SourceId> = catalog
            .sources()
            .filter(|(_, source)| catalog.maps(&kind_of(source)))
            .map(|(id, _)| id)
            .collect();
        for (id, source) in catalog.sources() {
            if self.sources.contains_key(&id) {
                continue;
            }
            let task = Task {
                room: self.room.clone(),
                id,
                label: label(source),
                source: source.clone(),
                scopes: namespaces.iter().cloned().map(Scope::new).collect(),
                odd_objects: false,
            };
            // Mappers are in the order of a trace. A child whose parent is known need not be kept until it is: it is placed, and
            // where it ended long ago, forgotten. Those that are attached to others come last.
            let before = subjects.iter().copied();
            let first = before.take_while(|before| *before != id).collect();
            let stop = self.stop.child_token();
            let stopped = stop.clone();
            let task = tokio::spawn(async move {
                tokio::select! {
                    () = task.run(first) => {}
                    () = stopped.cancelled() => {}
                }
            });
            let following = Following {
                catalog: Arc::clone(catalog),
                task,
                stop: stop.drop_guard(),
            };
            self.sources.insert(id, following);
        }
    }
}
