//! What the index keeps of an object that is mapped.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::attached::{AttachedKey, AttachedObject, AttachedObjects, SmallUid, Version};
use super::packed::{Packed, Samples};
use super::run::Run;
use super::texts::Pairs;
use crate::context::SpanContext;
use crate::identity::SpanId;
use crate::mapping::{Attached, ObjectSubject, Subject as MapperSubject};
use crate::object::{Object, ObjectReference, Owner, WatchId};
use crate::time::Time;

/// More attached objects of one subject are counted, not kept. A Pod of seven containers has about 40 Events; the
/// Kubernetes recorder lets a burst of 25 through for each source.
pub(super) const ATTACHED_LIMIT: usize = 512;

/// Omitted objects are counted exactly up to this number.
const OMITTED_LIMIT: usize = 16_384;

/// An object of the cluster, from when it is first seen until it is forgotten.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) reference: ObjectReference,
    version: Version,
    pub(super) created: Option<Time>,
    pub(super) owners: Vec<Owner>,
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
    pub(super) first_seen: Time,
    pub(super) deleted: bool,
    /// What each watch that wants the object reads of it; the first that claims it maps it.
    pub(super) inputs: Vec<(WatchId, Packed)>,
    pub(super) attached: AttachedObjects,
    omitted: BTreeSet<u64>,
    pub(super) mapping: MappingState,
    pub(super) life: Life,
    /// Names that others would wait for have been told; what this object itself waits for.
    pub(super) waits_for: Box<[super::resolve::Want]>,
    /// A context of ours that was copied to the object when it was made: it repeats an earlier one.
    pub(super) repeats: Option<SpanContext>,
    /// The context whose annotation was asked for.
    pub(super) annotated: Option<SpanContext>,
}

/// How far the mapping of a subject is.
#[derive(Debug, Default)]
pub(super) struct MappingState {
    /// Number of the input; grows with each change.
    pub(super) revision: u64,
    /// Revision at which the object itself changed last, and not only what came along with it.
    own_change: u64,
    /// The watch to be asked next, or whose mapper has claimed the object.
    pub(super) watch: Option<WatchId>,
    /// Revision of the mapping that was asked for and has not come back.
    pub(super) in_flight: Option<u64>,
    /// Revision of the last mapping that came back.
    pub(super) mapped: Option<u64>,
    /// When a mapping was last asked for.
    pub(super) asked_at: Option<Time>,
}

/// Where an object is on its way.
#[derive(Debug)]
pub(super) enum Life {
    /// Not mapped yet, or its mapper wants to wait.
    Unknown,
    /// No mapper claims it.
    NotOurs,
    /// It has runs.
    Runs(Vec<Run>),
    /// All that it has to say is exported, or it belongs to no trace.
    Finished(Finished),
}

/// What is remembered of an object that is exported, for its children.
#[derive(Debug)]
pub(super) struct Finished {
    /// Where children hang; none if the object belongs to no trace.
    pub(super) context: Option<Adopter>,
    /// Its mapper wanted to wait until it was gone: it should have had a place, but never will.
    pub(super) waited: bool,
    /// The last run, and its child spans that an object may hang under.
    pub(super) run: Box<str>,
    pub(super) children: Box<[SpanId]>,
    /// When the newest attached object that was exported with it was created.
    pub(super) latest_attached: Option<Time>,
}

/// The context of an object's main span and what its children inherit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adopter {
    pub(super) context: SpanContext,
    /// Spans between it and the root.
    pub(super) depth: u32,
    /// It ended before the replay window; nothing of it is exported.
    pub(super) too_old: bool,
    /// When the event of the trace was received.
    pub(super) received: Option<Time>,
}

impl Subject {
    pub(super) fn new(object: &Object, now: Time) -> Self {
        Self {
            reference: object.reference.clone(),
            version: Version::default(),
            created: None,
            owners: Vec::new(),
            labels: Pairs::default(),
            annotations: Pairs::default(),
            first_seen: now,
            deleted: false,
            inputs: Vec::new(),
            attached: AttachedObjects::default(),
            omitted: BTreeSet::new(),
            mapping: MappingState::default(),
            life: Life::Unknown,
            waits_for: Box::default(),
            repeats: None,
            annotated: None,
        }
    }

    /// Takes over a version of the object, unless a newer one is known. Says whether its mapper would see a
    /// difference.
    pub(super) fn update(
        &mut self,
        object: Object,
        labels: Pairs,
        annotations: Pairs,
        samples: &Samples,
    ) -> bool {
        let version = Version::new(&object.resource_version);
        if version.is_older_than(self.version) {
            return false;
        }
        self.version = version;
        self.created = object.created;
        self.owners = object.owners;
        self.labels = labels;
        self.annotations = annotations;
        let mut changed = false;
        for (watch, json) in object.subject_of {
            changed |= self.take_input(watch, &json, samples);
        }
        if changed {
            self.change();
        }
        changed
    }

    /// Takes over what a watch reads; says whether that has changed.
    fn take_input(&mut self, watch: WatchId, json: &str, samples: &Samples) -> bool {
        let like = samples.of(watch, None);
        let place = self
            .inputs
            .binary_search_by_key(&watch, |(watch, _)| *watch);
        match place {
            Ok(place) => match self.inputs.get_mut(place) {
                Some((_, known)) if *known.text(like) != *json => {
                    *known = Packed::new(json, like);
                }
                _ => return false,
            },
            Err(place) => {
                self.inputs.reserve_exact(1);
                self.inputs.insert(place, (watch, Packed::new(json, like)));
            }
        }
        true
    }

    /// The object itself has changed for its mapper.
    pub(super) fn change(&mut self) {
        self.change_input();
        self.mapping.own_change = self.mapping.revision;
    }

    /// The input of the mapping has changed.
    fn change_input(&mut self) {
        self.mapping.revision += 1;
        // A mapper that did not claim the object before may claim it now.
        if matches!(self.life, Life::NotOurs) {
            self.mapping.watch = None;
        }
    }

    /// Takes in an attached object, unless a newer version of it is known. Says whether the mapper would see a
    /// difference.
    pub(super) fn attach(
        &mut self,
        key: AttachedKey,
        object: AttachedObject,
        samples: &Samples,
    ) -> bool {
        if let Some(changed) = self.attached.update(&key, &object, samples) {
            if changed {
                self.change_input();
            }
            return changed;
        }
        let number = hash(&key.uid);
        if self.omitted.contains(&number) {
            return false;
        }
        self.attached.insert(key, object, samples);
        if self.attached.len() > ATTACHED_LIMIT
            && let Some(last) = self.attached.pop_last()
            && self.omitted.len() < OMITTED_LIMIT
        {
            self.omitted.insert(hash(&last.uid));
        }
        self.change_input();
        true
    }

    /// How many attached objects are not kept.
    pub(super) fn omitted(&self) -> u32 {
        u32::try_from(self.omitted.len()).unwrap_or(u32::MAX)
    }

    /// The watch to ask: the first that has not declined.
    pub(super) fn watch(&self) -> Option<WatchId> {
        self.mapping
            .watch
            .or_else(|| self.inputs.first().map(|(watch, _)| *watch))
    }

    /// The watch to ask if this one declines.
    pub(super) fn watch_after(&self, declined: WatchId) -> Option<WatchId> {
        let mut watches = self.inputs.iter().map(|(watch, _)| *watch);
        watches.find(|watch| *watch > declined)
    }

    /// What the mapper of a watch is given.
    pub(super) fn input(&self, watch: WatchId, samples: &Samples) -> Option<MapperSubject> {
        let (_, json) = self.inputs.iter().find(|(known, _)| *known == watch)?;
        Some(MapperSubject::Object(ObjectSubject {
            watch: watch.watch,
            json: json.text(samples.of(watch, None)),
            deleted: self.deleted,
            attached: self
                .attached
                .of(watch, samples)
                .map(|(key, json)| Attached {
                    attachment: key.attachment,
                    json,
                })
                .collect(),
            omitted: self.omitted(),
        }))
    }

    /// Whether the object itself has changed since it was mapped.
    pub(super) fn has_changed(&self) -> bool {
        let mapped = self.mapping.mapped;
        mapped.is_none_or(|mapped| mapped < self.mapping.own_change)
    }

    /// Whether the last mapping is of the newest input.
    pub(super) fn is_mapped(&self) -> bool {
        self.mapping.mapped == Some(self.mapping.revision)
    }

    /// The controller of the object; where none is marked, its only owner.
    pub(super) fn controller(&self) -> Option<&Owner> {
        controller(&self.owners)
    }
}

/// The controller among owners; where none is marked, the only one.
pub(super) fn controller(owners: &[Owner]) -> Option<&Owner> {
    owners
        .iter()
        .find(|owner| owner.controller)
        .or(match owners {
            [only] => Some(only),
            _ => None,
        })
}

fn hash(uid: &SmallUid) -> u64 {
    let mut number = 0;
    for byte in Sha256::digest(uid.to_string().as_bytes()).iter().take(8) {
        number = number << 8 | u64::from(*byte);
    }
    number
}
