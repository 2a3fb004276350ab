//! Facts in, effects out.

mod effect;
mod fact;

pub use effect::{Annotate, Effect};
pub use fact::{Annotated, Fact, Fetched, MapRequest, MappingFailure, SubjectId, Ticket, Webhook};
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::time::Time;

/// How long the index waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// After an object has ended: for its late Events; after the last job of an event has: for another one.
    pub settle: Duration,
    /// For the parent of an object.
    pub orphan_deadline: Duration,
    /// An object that had ended longer ago than this when it was first seen is left alone.
    pub replay_window: Duration,
    /// `k8s.cluster.name` of every span.
    pub cluster_name: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(5),
            orphan_deadline: Duration::from_secs(600),
            replay_window: Duration::from_secs(3600),
            cluster_name: None,
        }
    }
}

/// How often what happened; from the start of the index. For metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live subjects (now, not in total).
    pub subjects: u64,
    /// Subjects whose parent is not known yet (now, not in total).
    pub orphans: u64,
    /// Attached objects that wait for their subject (now, not in total).
    pub waiting_attachments: u64,
    /// Spans exported.
    pub spans_exported: u64,
    /// Orphans exported under a synthesised root because their deadline passed.
    pub orphans_exported: u64,
    /// Webhooks that no job ever belonged to.
    pub webhooks_without_job: u64,
    /// Jobs that arrived after the root of their trace was exported.
    pub late_jobs: u64,
    /// Attached objects, such as Events, that arrived after their subject was exported.
    pub late_attachments: u64,
    /// Objects that belong to no trace.
    pub unrelated: u64,
    /// Mappings that failed.
    pub mapping_failures: u64,
    /// Objects that had ended too long ago when they were first seen.
    pub too_old: u64,
}

/// What is known about a cluster, and what follows from it.
#[derive(Debug)]
pub struct Index {
    catalog: Arc<Catalog>,
    settings: Settings,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, settings: Settings) -> Self {
        Self { catalog, settings }
    }

    /// Takes a fact in, observed at `now`, and gives what is to be done. `now` never runs backwards.
    pub fn observe(&mut self, now: Time, fact: Fact) -> Vec<Effect> {
        let _ = (now, fact, &self.catalog, &self.settings);
        Vec::new()
    }

    /// Exports what has ended without waiting any longer: for the shutdown.
    pub fn drain(&mut self, now: Time) -> Vec<Effect> {
        let _ = now;
        Vec::new()
    }

    /// How often what happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
