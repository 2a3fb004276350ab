//! The mappers in use: the built-in ones, and those of directories.

mod candidate;
mod compiler;
mod component;
mod directory;
mod library;
mod reload;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{MapRequest, MappingFailure};
use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_engine::{Code, Engine, Limits, Mapper};

pub use self::candidate::{Candidate, Rule, candidates, rules};
pub use self::compiler::{CompileLimits, Compiler, Program, SMALL_BYTES, compile};
pub use self::component::component;
pub use self::directory::Form;
pub use self::library::Library;
pub use self::reload::{Settings, watch};
pub use self::report::Report;
use crate::clock::Clock;

macro_rules! built_in {
    ($($name:literal),*) => {
        /// Name and native code of the built-in mappers, as the build script made them.
        const BUILT_IN: &[(&str, &[u8])] = &[
            $(($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".compiled")))),*
        ];
    };
}

built_in!("lighthouse", "tekton", "kubernetes", "jenkins-x");

/// Whether a mapper of this name is built in.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}
/// Native code of what reads declarative mappers, as the build script made it.
const INTERPRETER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/declarative.compiled"));

/// The built-in mappers, those of the objects that come first in a trace first.
///
/// # Errors
/// If one cannot be used, which is a mistake in the build.
pub fn builtin(engine: &Engine) -> anyhow::Result<Vec<Mapper>> {
    thread::scope(|scope| {
        let loading: Vec<_> = BUILT_IN
            .iter()
            .map(|(name, code)| {
                let load = || engine.load(name, Code::Precompiled(code), "");
                (name, scope.spawn(load))
            })
            .collect();
        loading
            .into_iter()
            .map(|(name, thread)| {
                let loaded = thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("its thread panicked"))
                    .and_then(|result| Ok(result?));
                loaded.with_context(|| format!("the built-in mapper '{name}' cannot be used"))
            })
            .collect()
    })
}

/// A fixed set of mappers.
#[derive(Clone, Debug)]
pub struct Mappers {
    /// What they want, together.
    pub catalog: Arc<Catalog>,
    /// The mappers, in the order of the catalog.
    pub mappers: Vec<Arc<Mapper>>,
    /// Their places by their numbers in the catalog.
    places: BTreeMap<u32, usize>,
}

impl Mappers {
    /// The built-in mappers.
    ///
    /// # Errors
    /// If this machine cannot run WebAssembly.
    pub fn builtin() -> anyhow::Result<Self> {
        let engine = Engine::new(Limits::default())?;
        Self::new(builtin(&engine)?)
    }

    /// The mappers of these directories, those of the first to be asked first, and the built-in ones.
    ///
    /// # Errors
    /// If this machine cannot run WebAssembly, or anything in a directory cannot be used.
    pub fn strictly(directories: Vec<PathBuf>, compiler: Compiler) -> anyhow::Result<Self> {
        let library = Library::open(directories, compiler, Clock::system())?;
        match library.report().troubles().as_slice() {
            [] => Ok(library.mappers().clone()),
            troubles => anyhow::bail!("{}", troubles.join("; ")),
        }
    }

    /// These mappers, the first to be asked first.
    ///
    /// # Errors
    /// If two have one name.
    pub fn new(mappers: Vec<Mapper>) -> anyhow::Result<Self> {
        let mappers = mappers.into_iter().map(Arc::new).collect();
        Self::after(&Catalog::default(), mappers)
    }

    /// These mappers in place of those of another catalog.
    fn after(before: &Catalog, mappers: Vec<Arc<Mapper>>) -> anyhow::Result<Self> {
        let described = mappers
            .iter()
            .map(|mapper| (mapper.name().to_owned(), mapper.description().clone()));
        let catalog = Catalog::after(before, described)?;
        let places = mappers.iter().enumerate().filter_map(|(place, mapper)| {
            let watch = catalog.watches_of(mapper.name()).next()?;
            Some((watch.mapper, place))
        });
        Ok(Self {
            places: places.collect(),
            catalog: Arc::new(catalog),
            mappers,
        })
    }

    /// Maps what the index asks for. Takes microseconds, seconds at worst: not for a thread that others wait for.
    ///
    /// # Errors
    /// If the mapper gives nothing.
    pub fn map(&self, request: &MapRequest) -> Result<Outcome, MappingFailure> {
        let place = self.places.get(&request.ticket.watch.mapper);
        let mapper = place.and_then(|place| self.mappers.get(*place));
        let mapper = mapper.ok_or_else(|| MappingFailure {
            message: format!("there is no mapper {}", request.ticket.watch.mapper),
        })?;
        mapper
            .map(&request.subject)
            .map_err(|error| MappingFailure {
                message: format!("mapper '{}': {error}", mapper.name()),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::webhook_request;

    #[test]
    fn the_built_in_mappers_load_and_agree_on_a_catalog() {
        let mappers = Mappers::builtin().unwrap();
        let names: Vec<_> = mappers.mappers.iter().map(|mapper| mapper.name()).collect();
        assert_eq!(names, ["lighthouse", "tekton", "kubernetes", "jenkins-x"]);
        for mapper in &mappers.mappers {
            assert!(!mapper.description().version.is_empty());
        }
    }

    #[test]
    fn a_mapper_that_is_not_there_is_a_failure() {
        let failure = Mappers::builtin()
            .unwrap()
            .map(&webhook_request(0, 99))
            .unwrap_err();
        assert_eq!(failure.message, "there is no mapper 99");
    }
}
