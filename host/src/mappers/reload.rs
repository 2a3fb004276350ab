//! Watches directories of mappers, and loads what changes in them.
//!
//! The system tells of changes at once, where it can; besides, the directories are looked at every few seconds, so that what
//! it does not tell is found all the same: a directory that was not there yet, or one on a file system of another machine.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Library;
use crate::generation::{Generation, InUse};

/// How patiently directories are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So often they are looked at if the system says nothing.
    pub poll: Duration,
    /// So long nothing must change before they are read: files of one change come one after the other.
    pub quiet: Duration,
    /// After this time they are read even if they still change.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(5),
            quiet: Duration::from_millis(100),
            patience: Duration::from_secs(2),
        }
    }
}

/// Watches the directories of a library until it is told to stop; gives the mappers in use from now on.
#[must_use]
pub fn watch(
    library: Library,
    settings: Settings,
    stop: CancellationToken,
) -> (InUse, JoinHandle<()>) {
    let (sender, generations) = watch::channel(Generation::from(library.mappers().clone()));
    let in_use = InUse::new(generations, library.report().clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = reload_for_ever(library, settings, sender) => {}
            () = stop.cancelled() => {}
        }
    });
    (in_use, task)
}

async fn reload_for_ever(
    mut library: Library,
    settings: Settings,
    generations: watch::Sender<Generation>,
) {
    let directories: Vec<PathBuf> = library.directories().cloned().collect();
    let changed = Arc::new(Notify::new());
    let mut ears = Ears::new(Arc::clone(&changed));
    loop {
        // Before they are read, so that no change is missed in between.
        ears.listen(&directories);
        // Compiling takes longer than others may be kept waiting for.
        let reloaded = spawn_blocking(move || {
            let swapped = library.reload();
            (library, swapped)
        });
        let swapped;
        (library, swapped) = match reloaded.await {
            Ok(reloaded) => reloaded,
            Err(error) => {
                tracing::error!(
                    "mappers are not loaded any more, since the host has failed over one of them; those in use stay: {error}; please report this bug"
                );
                return std::future::pending().await;
            }
        };
        if swapped {
            generations.send_replace(library.mappers().clone().into());
        }
        if tokio::time::timeout(settings.poll, changed.notified())
            .await
            .is_ok()
        {
            let until = Instant::now() + settings.patience;
            while Instant::now() < until
                && tokio::time::timeout(settings.quiet, changed.notified())
                    .await
                    .is_ok()
            {}
        }
    }
}

/// Hears from the system that something has changed in a directory.
struct Ears {
    watcher: Option<RecommendedWatcher>,
    /// Directories that are listened to, and which ones they are: there may be another one of that name.
    known: BTreeMap<PathBuf, (u64, u64)>,
}

impl Ears {
    fn new(changed: Arc<Notify>) -> Self {
        let hear = move |event: notify::Result<Event>| {
            // What we read ourselves is no change. An error is: something may have been missed.
            if event.is_ok_and(|event| is_reading(event.kind)) {
                return;
            }
            changed.notify_one();
        };
        let watcher = notify::recommended_watcher(hear);
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(
                "the system does not tell of changes of the mappers' directories; they are looked at every few seconds: {error}"
            );
        });
        Self {
            watcher: watcher.ok(),
            known: BTreeMap::new(),
        }
    }

    /// Listens to all directories that are there.
    fn listen(&mut self, directories: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for directory in directories {
            let known = self.known.get(directory).copied();
            let found = identity(directory);
            if known == found {
                continue;
            }
            if known.is_some() {
                // The system may have forgotten it together with the directory.
                let _ = watcher.unwatch(directory);
                self.known.remove(directory);
            }
            let Some(found) = found else { continue };
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.known.insert(directory.clone(), found);
                }
                // It is looked at all the same.
                Err(error) => tracing::debug!(
                    directory = %directory.display(),
                    "the system does not tell of changes: {error}"
                ),
            }
        }
    }
}

fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

fn identity(directory: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(directory).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
