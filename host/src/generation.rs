//! The mappers that are in use together. They are replaced as a whole: what was asked of one generation is answered by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{MapRequest, MappingFailure};
use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_core::object::WatchId;
use tokio::sync::watch;

use crate::mappers::{Mappers, Report};

/// How mappers are asked.
pub type Map = dyn Fn(&MapRequest) -> Result<Outcome, MappingFailure> + Send + Sync;

/// Mappers that are in use together. Clones are the same.
#[derive(Clone)]
pub struct Generation {
    /// What they want.
    pub catalog: Arc<Catalog>,
    map: Arc<Map>,
    /// Digests of what is behind each mapper, by name.
    digests: Arc<BTreeMap<String, String>>,
}

impl Generation {
    /// Any function as the mappers of a catalog.
    pub fn of(
        catalog: Arc<Catalog>,
        map: impl Fn(&MapRequest) -> Result<Outcome, MappingFailure> + Send + Sync + 'static,
    ) -> Self {
        Self {
            catalog,
            map: Arc::new(map),
            digests: Arc::default(),
        }
    }

    /// Asks a mapper.
    ///
    /// # Errors
    /// If it gives nothing.
    pub fn map(&self, request: &MapRequest) -> Result<Outcome, MappingFailure> {
        (self.map)(request)
    }

    /// Whether two are one and the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.catalog, &other.catalog)
    }

    /// The names of the mappers whose code is another than it was in the generation before.
    #[must_use]
    pub fn changed(&self, before: &Self) -> BTreeSet<String> {
        let changed = |(name, digest): &(&String, &String)| {
            before
                .digests
                .get(*name)
                .is_some_and(|before| before != *digest)
        };
        let changed = self.digests.iter().filter(changed);
        changed.map(|(name, _)| name.clone()).collect()
    }

    /// The names of the mappers of the generation before that are in use no more.
    pub fn gone(&self, before: &Self) -> impl Iterator<Item = String> {
        let names = before.digests.keys();
        let gone = names.filter(|name| !self.digests.contains_key(*name));
        gone.cloned().collect::<Vec<_>>().into_iter()
    }

    /// The watches behind which there is another mapper than in the generation before.
    #[must_use]
    pub fn others(&self, before: &Self) -> BTreeSet<WatchId> {
        let changed = self.changed(before);
        let watches = changed.iter().map(|name| self.catalog.watches_of(name));
        watches.flatten().collect()
    }
}

impl From<Mappers> for Generation {
    fn from(mappers: Mappers) -> Self {
        let digests = mappers.mappers.iter();
        let digests = digests.map(|mapper| (mapper.name().to_owned(), mapper.digest().to_owned()));
        Self {
            catalog: Arc::clone(&mappers.catalog),
            digests: Arc::new(digests.collect()),
            map: Arc::new(move |request| mappers.map(request)),
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Generation")
            .field("digests", &self.digests)
            .finish_non_exhaustive()
    }
}

/// The generation in use, and those that take over from it.
#[derive(Clone, Debug)]
pub struct InUse {
    first: Generation,
    generations: watch::Receiver<Generation>,
    /// What is to be told of the mappers.
    pub report: Report,
}

impl InUse {
    /// The generations that somebody else provides.
    #[must_use]
    pub fn new(generations: watch::Receiver<Generation>, report: Report) -> Self {
        let first = generations.borrow().clone();
        Self {
            first,
            generations,
            report,
        }
    }

    /// One generation for ever.
    #[must_use]
    pub fn only(generation: Generation) -> Self {
        Self::new(watch::channel(generation).1, Report::default())
    }

    /// The generation with which everything begins.
    #[must_use]
    pub const fn first(&self) -> &Generation {
        &self.first
    }

    /// Returns once there is another generation than this; perhaps never.
    pub async fn other_than(&mut self, generation: &Generation) -> Generation {
        let other = self.generations.wait_for(|newest| !newest.is(generation));
        if let Ok(other) = other.await {
            return other.clone();
        }
        // Nobody provides another one.
        std::future::pending().await
    }
}

impl From<Mappers> for InUse {
    fn from(mappers: Mappers) -> Self {
        let report = Report::of(&mappers);
        Self::new(watch::channel(mappers.into()).1, report)
    }
}
