//! What is to be told of the mappers: which are in use, where they come from, and what became of the last reload.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighthouse_telemetry_core::description::{ObjectSource, Source};
use lighthouse_telemetry_core::object::SourceId;
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_engine::Mapper;
use serde_json::{Value, json};

use super::Mappers;
use super::directory::Form;
use crate::health::Watches;
use crate::metrics::Metrics;

/// What is to be told of the mappers. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    mappers: Option<Mappers>,
    /// Where they come from, in their order.
    origins: Vec<Origin>,
    /// Modules that are no mappers, by name, and why.
    refused: BTreeMap<String, (Loaded, String)>,
    places: Vec<Place>,
    last: Option<Reload>,
    /// Reloads by outcome.
    reloads: BTreeMap<&'static str, u64>,
}

/// A module of a name: what is in use of it, and what is not.
#[derive(Debug)]
pub(super) struct Entry {
    /// Place of its directory.
    pub(super) place: usize,
    /// The mapper that is in use, and what it was loaded from.
    pub(super) mapper: Option<Arc<Mapper>>,
    pub(super) source: Option<Loaded>,
    /// What was found in its place and is no mapper, and why.
    pub(super) refused: Option<(Loaded, String)>,
}

/// Where a mapper comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The executable.
    BuiltIn,
    /// A file.
    Module(Loaded),
}

/// A file as it was read.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) form: Form,
    pub(super) digest: String,
    /// When it was read first.
    pub(super) at: Time,
}

/// A directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) modules: usize,
    pub(super) troubles: Vec<String>,
}

/// What came of reading the directories.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reload {
    pub(super) at: Time,
    pub(super) outcome: Outcome,
}

/// What came of reading the directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Other mappers are in use.
    Swapped,
    /// Other mappers are in use, and some were refused.
    SwappedInPart,
    /// Nothing was to be done.
    Unchanged,
    /// What is new was refused.
    Refused,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::SwappedInPart => "swapped-in-part",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

impl Report {
    /// Of mappers that stay as they are.
    #[must_use]
    pub fn of(mappers: &Mappers) -> Self {
        let report = Self::default();
        report.state().mappers = Some(mappers.clone());
        report
    }

    pub(super) fn set(
        &self,
        mappers: &Mappers,
        origins: Vec<Origin>,
        refused: BTreeMap<String, (Loaded, String)>,
        places: Vec<Place>,
        reload: Reload,
    ) {
        let mut state = self.state();
        state.mappers = Some(mappers.clone());
        state.origins = origins;
        state.refused = refused;
        state.places = places;
        state.last = Some(reload);
        *state.reloads.entry(reload.outcome.name()).or_default() += 1;
    }

    pub(super) fn troubles_of_places(&self) -> Vec<String> {
        let state = self.state();
        let troubles = state.places.iter().flat_map(|place| place.troubles.clone());
        troubles.collect()
    }

    /// All that cannot be used, and why.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = self.troubles_of_places();
        let state = self.state();
        let refused = state.refused.values();
        troubles
            .extend(refused.map(|(loaded, reason)| format!("{}: {reason}", loaded.path.display())));
        troubles
    }

    /// How many mappers are in use.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        let state = self.state();
        let mappers = state.mappers.as_ref();
        mappers.map_or(0, |mappers| mappers.mappers.len() as u64)
    }

    /// Names of the modules that are refused.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.keys().cloned().collect()
    }

    /// How often the directories were read with which outcome.
    #[must_use]
    pub fn reloads(&self) -> BTreeMap<&'static str, u64> {
        self.state().reloads.clone()
    }

    /// What `/api/mappers` answers.
    #[must_use]
    pub fn to_json(&self, metrics: &Metrics, watches: &Watches) -> Value {
        let state = self.state();
        let last = state.last.map(Reload::to_json);
        let mut mappers = Vec::new();
        if let Some(in_use) = &state.mappers {
            let origins = state
                .origins
                .iter()
                .map(Some)
                .chain(std::iter::repeat(None));
            for (mapper, origin) in in_use.mappers.iter().zip(origins) {
                let calls = metrics.calls(mapper.name());
                let (form, source, digest, loaded) = match origin {
                    Some(Origin::Module(loaded)) => (
                        loaded.form.name(),
                        loaded.path.display().to_string(),
                        loaded.digest.as_str(),
                        Some(loaded.at.to_string()),
                    ),
                    Some(Origin::BuiltIn) | None => {
                        let built_in = "built-in";
                        (built_in, built_in.to_owned(), mapper.digest(), None)
                    }
                };
                let refused = state.refused.get(mapper.name());
                mappers.push(json!({
                    "name": mapper.name(),
                    "version": mapper.description().version,
                    "contract": mapper.contract(),
                    "digest": digest,
                    "form": form,
                    "source": source,
                    "loaded": loaded,
                    "inUse": true,
                    "refused": refused.map(refusal),
                    "kinds": kinds(in_use, mapper, watches),
                    "conflicts": conflicts(in_use, mapper),
                    "calls": calls.calls,
                    "errors": calls.failures,
                    "meanSeconds": calls.mean(),
                    "longestSeconds": calls.longest,
                    "resting": calls.rests,
                    "timesIll": calls.times_ill,
                }));
            }
        }
        let is_in_use = |name: &str| {
            let mut names = mappers.iter().filter_map(|mapper| mapper.get("name"));
            names.any(|known| known == name)
        };
        let unused = state.refused.iter().filter(|(name, _)| !is_in_use(name));
        let unused: Vec<Value> = unused
            .map(|(name, refused)| {
                json!({
                    "name": name,
                    "form": refused.0.form.name(),
                    "digest": refused.0.digest,
                    "source": refused.0.path,
                    "inUse": false,
                    "refused": refusal(refused),
                    "kinds": [],
                    "conflicts": [],
                })
            })
            .collect();
        mappers.extend(unused);
        let directories = state.places.iter().map(|place| {
            json!({
                "path": place.path,
                "modules": place.modules,
                "troubles": place.troubles,
            })
        });
        let directories: Vec<Value> = directories.collect();
        json!({"mappers": mappers, "directories": directories, "lastReload": last})
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reload {
    fn to_json(self) -> Value {
        json!({"at": self.at.to_string(), "outcome": self.outcome.name()})
    }
}

fn refusal((loaded, reason): &(Loaded, String)) -> Value {
    json!({
        "source": loaded.path,
        "digest": loaded.digest,
        "at": loaded.at.to_string(),
        "reason": reason,
    })
}

/// What a mapper wants watched, and how that goes.
fn kinds(in_use: &Mappers, mapper: &Mapper, watches: &Watches) -> Vec<Value> {
    let mut kinds = Vec::new();
    for watch in &mapper.description().watches {
        match &watch.source {
            Source::Webhooks(wanted) => kinds.push(json!({"webhooks": wanted})),
            Source::Objects(source) => {
                kinds.push(kind(in_use, source, "subject", watches));
                for attachment in &watch.attachments {
                    kinds.push(kind(in_use, &attachment.source, "attached", watches));
                }
            }
        }
    }
    kinds
}

fn kind(in_use: &Mappers, source: &ObjectSource, role: &str, watches: &Watches) -> Value {
    let mut sources = in_use.catalog.sources();
    let id: Option<SourceId> = sources
        .find(|(_, known)| *known == source)
        .map(|(id, _)| id);
    json!({
        "group": source.group,
        "versions": source.versions,
        "kind": source.kind,
        "labelSelector": source.label_selector,
        "fieldSelector": source.field_selector,
        "role": role,
        "watches": id.map(|id| watches.of(id)).unwrap_or_default(),
    })
}

/// Kinds that several mappers want, by the same or overlapping selectors: who is asked first.
fn conflicts(in_use: &Mappers, mapper: &Mapper) -> Vec<String> {
    let wanted = |mapper: &Mapper| -> Vec<ObjectSource> {
        let watches = mapper.description().watches.clone();
        let sources = watches.into_iter().filter_map(|watch| match watch.source {
            Source::Objects(source) => Some(source),
            Source::Webhooks(_) => None,
        });
        sources.collect()
    };
    let own = wanted(mapper);
    let mut conflicts = Vec::new();
    let mut comes_before = true;
    for other in &in_use.mappers {
        if other.name() == mapper.name() {
            comes_before = false;
            continue;
        }
        for theirs in wanted(other) {
            let overlaps = |own: &&ObjectSource| {
                (&own.group, &own.kind) == (&theirs.group, &theirs.kind) && overlap(own, &theirs)
            };
            let Some(own) = own.iter().find(overlaps) else {
                continue;
            };
            conflicts.push(if comes_before {
                format!(
                    "'{}' is asked before it about each {}: what that claims it does not get",
                    other.name(),
                    own.kind
                )
            } else {
                format!(
                    "it is asked before '{}' about each {}: what it claims that does not get",
                    other.name(),
                    own.kind
                )
            });
        }
    }
    conflicts
}

/// Whether selectors may select the same objects: two that are there and differ are taken to be disjoint.
fn overlap(left: &ObjectSource, right: &ObjectSource) -> bool {
    let meets = |left: &Option<String>, right: &Option<String>| match (left, right) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    };
    meets(&left.label_selector, &right.label_selector)
        && meets(&left.field_selector, &right.field_selector)
}
