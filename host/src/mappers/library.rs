//! Judges what is in the directories, all at one time: which modules are mappers, which of them are in use from now on,
//! and which stay because what came in their place is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_engine::{
    Code, Engine, Interpreter, Limits, LoadError, Mapper, Rejection,
};

use super::compiler::Compiler;
use super::directory::{self, Form, Listing, Module, ReadError, Stamp};
use super::report::{Entry, Loaded, Origin, Outcome, Place, Reload, Report};
use super::{INTERPRETER, Mappers, builtin};
use crate::clock::Clock;

/// All mappers there are, and where they come from.
pub struct Library {
    judge: Judge,
    clock: Clock,
    directories: Vec<Directory>,
    built_in: Vec<Arc<Mapper>>,
    /// Of directories, by name.
    modules: BTreeMap<String, Entry>,
    mappers: Mappers,
    report: Report,
}

/// A directory, as it was read last.
struct Directory {
    path: PathBuf,
    stamp: Stamp,
    modules: Vec<Found>,
    troubles: Vec<String>,
    /// Why it is not as it is now.
    outdated: Option<String>,
}

/// A module as it was found, and the mapper that it is, or why it is none.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) form: Form,
    pub(super) digest: String,
    pub(super) judged: Result<Arc<Mapper>, String>,
    at: Time,
}

impl Library {
    /// The mappers of these directories, those of the first to be asked first, and after them the built-in ones. What cannot
    /// be used is said and left out.
    ///
    /// # Errors
    /// If this machine cannot run WebAssembly.
    pub fn open(
        directories: Vec<PathBuf>,
        compiler: Compiler,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let engine = Engine::new(Limits::default())?;
        let built_in: Vec<_> = builtin(&engine)?.into_iter().map(Arc::new).collect();
        let directories = directories.into_iter().map(|path| Directory {
            path,
            stamp: Stamp::default(),
            modules: Vec::new(),
            troubles: Vec::new(),
            outdated: None,
        });
        let mut library = Self {
            mappers: Mappers::after(&Default::default(), built_in.clone())?,
            directories: directories.collect(),
            modules: BTreeMap::new(),
            report: Report::default(),
            judge: Judge::new(engine, compiler),
            clock,
            built_in,
        };
        library.reload();
        Ok(library)
    }

    /// The mappers that are in use.
    #[must_use]
    pub fn mappers(&self) -> &Mappers {
        &self.mappers
    }

    /// What is to be told of them.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The directories, the first to be asked first.
    pub fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.directories.iter().map(|directory| &directory.path)
    }

    /// Reads the directories anew and judges what is there. Says whether other mappers are in use. Compiles, which takes a
    /// while.
    pub fn reload(&mut self) -> bool {
        let now = self.clock.now();
        let mut is_news = false;
        for place in 0..self.directories.len() {
            is_news |= self.read(place, now);
        }
        if !is_news {
            return false;
        }
        let before = std::mem::take(&mut self.modules);
        self.modules = self.choose(&before);
        let swapped = self.swap();
        self.tell(&before, now, swapped);
        swapped
    }

    /// Reads a directory; says whether it is another than before.
    fn read(&mut self, place: usize, now: Time) -> bool {
        let Some(directory) = self.directories.get_mut(place) else {
            return false;
        };
        let listing = match directory::read(&directory.path, &directory.stamp) {
            Ok(Some(listing)) => listing,
            Ok(None) => return directory.outdated.take().is_some(),
            Err(error) => {
                if matches!(error, ReadError::Unreadable { .. }) {
                    // It may be another one when it is there again, for all that can be told.
                    directory.stamp = Stamp::default();
                }
                let said = Some(error.to_string());
                let is_news = directory.outdated != said;
                directory.outdated = said;
                return is_news;
            }
        };
        let Listing {
            modules,
            troubles,
            stamp,
        } = listing;
        let mut known: Vec<Found> = std::mem::take(&mut directory.modules);
        let judged = modules.into_iter().map(|module| {
            let same = |found: &Found| {
                (&found.name, found.form, &found.digest)
                    == (&module.name, module.form, &module.digest)
            };
            match known.iter().position(same) {
                // What was judged before is judged no other way.
                Some(place) => Found {
                    path: module.path,
                    ..known.swap_remove(place)
                },
                None => self.judge.judge(module, now),
            }
        });
        directory.modules = judged.collect();
        directory.stamp = stamp;
        directory.troubles = troubles;
        directory.outdated = None;
        true
    }

    /// Which modules are in use: of each name the first, or what was in use of that name if it is no mapper.
    fn choose(&self, before: &BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
        let mut chosen = BTreeMap::new();
        for (place, directory) in self.directories.iter().enumerate() {
            for found in &directory.modules {
                if chosen.contains_key(&found.name) {
                    continue;
                }
                let known = before.get(&found.name);
                let loaded = Loaded {
                    path: found.path.clone(),
                    form: found.form,
                    digest: found.digest.clone(),
                    at: found.at,
                };
                let entry = match &found.judged {
                    Ok(mapper) => Entry {
                        place,
                        mapper: Some(Arc::clone(mapper)),
                        source: Some(loaded),
                        refused: None,
                    },
                    Err(reason) => Entry {
                        place,
                        mapper: known.and_then(|known| known.mapper.clone()),
                        source: known.and_then(|known| known.source.clone()),
                        refused: Some((loaded, reason.clone())),
                    },
                };
                chosen.insert(found.name.clone(), entry);
            }
        }
        chosen
    }

    /// Takes the chosen mappers into use, if they are others than before.
    fn swap(&mut self) -> bool {
        let mut modules: Vec<(&String, &Entry)> = self.modules.iter().collect();
        // Of one directory they stay in the order of their names.
        modules.sort_by_key(|(_, entry)| entry.place);
        let of_directories: Vec<Arc<Mapper>> = modules
            .iter()
            .filter_map(|(_, entry)| entry.mapper.clone())
            .collect();
        let replaced: BTreeSet<&str> = of_directories.iter().map(|mapper| mapper.name()).collect();
        let built_in = self.built_in.iter();
        let built_in = built_in.filter(|mapper| !replaced.contains(mapper.name()));
        let mappers: Vec<_> = of_directories.iter().chain(built_in).cloned().collect();
        let same = |(left, right): (&Arc<Mapper>, &Arc<Mapper>)| Arc::ptr_eq(left, right);
        if mappers.len() == self.mappers.mappers.len()
            && mappers.iter().zip(&self.mappers.mappers).all(same)
        {
            return false;
        }
        match Mappers::after(&self.mappers.catalog, mappers) {
            Ok(mappers) => {
                self.mappers = mappers;
                true
            }
            // Each was found to be fine by itself, and no two have one name.
            Err(error) => {
                tracing::error!(
                    "the mappers cannot be used together; those before stay in use: {error}"
                );
                false
            }
        }
    }

    /// Says what has changed, in the log and in the report.
    fn tell(&self, before: &BTreeMap<String, Entry>, now: Time, swapped: bool) {
        let mut refused = 0;
        for (name, entry) in &self.modules {
            let known = before.get(name);
            let digest = |entry: &Entry| entry.source.as_ref().map(|source| source.digest.clone());
            if let Some((loaded, reason)) = &entry.refused {
                let said = known.and_then(|known| known.refused.as_ref());
                if said.is_none_or(|(said, _)| said.digest != loaded.digest) {
                    refused += 1;
                    let kept = match (&entry.mapper, self.is_built_in(name)) {
                        (Some(_), _) => "the one before stays in use",
                        (None, true) => "the built-in one stays in use",
                        (None, false) => "there is none of this name",
                    };
                    tracing::error!(
                        mapper = %name,
                        file = %loaded.path.display(),
                        digest = %loaded.digest,
                        "a mapper is not taken, and {kept}: {reason}"
                    );
                }
            } else if known.and_then(digest) != digest(entry)
                && let (Some(mapper), Some(source)) = (&entry.mapper, &entry.source)
            {
                tracing::info!(
                    mapper = %name,
                    version = %mapper.description().version,
                    contract = mapper.contract(),
                    digest = %source.digest,
                    file = %source.path.display(),
                    "a mapper is in use"
                );
            }
        }
        for (name, entry) in before {
            if entry.mapper.is_some() && !self.modules.contains_key(name) {
                let instead = if self.is_built_in(name) {
                    "the built-in one is in use again"
                } else {
                    "what it watched is not watched any more"
                };
                tracing::info!(mapper = %name, "a mapper is gone, and {instead}");
            }
        }
        let places = self.directories.iter().map(|directory| {
            let troubles = directory.troubles.iter().chain(&directory.outdated);
            let troubles: Vec<String> = troubles.cloned().chain(self.shadowed(directory)).collect();
            Place {
                path: directory.path.clone(),
                modules: directory.modules.len(),
                troubles,
            }
        });
        let places: Vec<Place> = places.collect();
        let known = self.report.troubles_of_places();
        let troubles = places.iter().flat_map(|place| &place.troubles);
        for trouble in troubles.filter(|trouble| !known.contains(*trouble)) {
            tracing::error!("{trouble}");
        }
        let outcome = match (swapped, refused) {
            (true, 0) => Outcome::Swapped,
            (true, _) => Outcome::SwappedInPart,
            (false, 0) => Outcome::Unchanged,
            (false, _) => Outcome::Refused,
        };
        let origins = self.mappers.mappers.iter().map(|mapper| {
            let entry = self.modules.get(mapper.name());
            let entry = entry.filter(|entry| entry.mapper.is_some());
            match entry.and_then(|entry| entry.source.clone()) {
                Some(source) => Origin::Module(source),
                None => Origin::BuiltIn,
            }
        });
        let refusals = self.modules.iter().filter_map(|(name, entry)| {
            let refused = entry.refused.clone()?;
            Some((name.clone(), refused))
        });
        let reload = Reload { at: now, outcome };
        self.report.set(
            &self.mappers,
            origins.collect(),
            refusals.collect(),
            places,
            reload,
        );
    }

    fn is_built_in(&self, name: &str) -> bool {
        self.built_in.iter().any(|mapper| mapper.name() == name)
    }

    /// Modules that are not asked since a directory before has one of their name.
    fn shadowed(&self, directory: &Directory) -> Vec<String> {
        let mut directories = self.directories.iter();
        let own = directories.position(|other| std::ptr::eq(other, directory));
        let shadowed = directory.modules.iter().filter_map(|found| {
            let place = self.modules.get(&found.name)?.place;
            let first = self.directories.get(place).filter(|_| Some(place) != own)?;
            Some(format!(
                "the module {} is not used: {} has one of that name, and comes first",
                found.path.display(),
                first.path.display()
            ))
        });
        shadowed.collect()
    }
}

/// Makes mappers of modules and of texts.
pub(super) struct Judge {
    engine: Engine,
    compiler: Compiler,
    /// What reads texts, once there is one.
    interpreter: Option<Interpreter>,
}

impl Judge {
    pub(super) const fn new(engine: Engine, compiler: Compiler) -> Self {
        Self {
            engine,
            compiler,
            interpreter: None,
        }
    }

    /// Makes a mapper of a module or a text. Takes a while.
    pub(super) fn judge(&mut self, module: Module, now: Time) -> Found {
        let judged = match module.form {
            Form::Component => self
                .compiler
                .load(&self.engine, &module)
                .map_err(|error| error.to_string()),
            Form::Declarative => self.read(&module),
        };
        let Module {
            name,
            path,
            form,
            digest,
            bytes: _,
        } = module;
        Found {
            judged: judged.map(Arc::new),
            name,
            path,
            form,
            digest,
            at: now,
        }
    }

    fn read(&mut self, module: &Module) -> Result<Mapper, String> {
        let text = str::from_utf8(&module.bytes)
            .map_err(|error| format!("it is not UTF-8 from byte {} on", error.valid_up_to()))?;
        let interpreter = match &mut self.interpreter {
            Some(interpreter) => interpreter,
            none => {
                let made = self.engine.interpreter(Code::Precompiled(INTERPRETER));
                none.insert(made.map_err(|error| error.to_string())?)
            }
        };
        let mapper = interpreter.mapper(&module.name, text);
        mapper.map_err(|error| match error {
            // Line and column say where in the file.
            LoadError::ConfigureFailed(Rejection::Configuration(located)) => located.to_string(),
            other => other.to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
