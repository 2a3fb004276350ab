//! Other mappers take over: in the watches, in the index and among those who map, in the order in which nothing is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::object::WatchId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::generation::{Generation, InUse};
use crate::watch::Watching;

/// Mappers that take over.
pub struct Replacement {
    /// They.
    pub generation: Generation,
    /// The watches behind which there are others than before.
    pub others: BTreeSet<WatchId>,
    /// Told once the index knows.
    pub done: oneshot::Sender<()>,
}

/// Whoever follows which mappers are in use.
pub struct Succession {
    pub watching: Watching,
    /// The mappers that the index knows.
    pub generation: Generation,
    pub in_use: InUse,
    pub replace: mpsc::Sender<Replacement>,
    /// What those who take webhooks know.
    pub catalog: watch::Sender<Arc<Catalog>>,
}

impl Succession {
    /// Follows until it is told to stop. Returns before that only if a watch or the index has ended, which is a bug.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let generation = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.watching.ended() => return,
                generation = self.in_use.other_than(&self.generation) => generation,
            };
            if self.replace(generation).await.is_none() {
                break;
            }
        }
        stop.cancelled().await;
        self.watching.stopped().await;
    }

    /// Replaces the mappers; none if nobody is there any more.
    async fn replace(&mut self, generation: Generation) -> Option<()> {
        // What is told from now on is as both want it.
        self.watching.leave(&generation.catalog).await;
        let (done, told) = oneshot::channel();
        let replacement = Replacement {
            others: generation.others(&self.generation),
            generation: generation.clone(),
            done,
        };
        self.replace.send(replacement).await.ok()?;
        told.await.ok()?;
        self.catalog.send_replace(Arc::clone(&generation.catalog));
        self.watching.follow(&generation.catalog);
        self.generation = generation;
        Some(())
    }
}
