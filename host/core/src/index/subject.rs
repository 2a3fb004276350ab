//! What the index keeps of an object that is mapped.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::attached::{AttachedKey, AttachedObject, AttachedObjects, SmallUid, Version};
use super::hold::Unmapped;
use super::packed::{Packed, Samples};
use super::run::Run;
use super::texts::Pairs;
use crate::catalog::Catalog;
use crate::context::SpanContext;
use crate::identity::{SpanId, TraceKey};
use crate::mapping::{Attached, ObjectSubject, Subject as MapperSubject};
use crate::object::{Object, ObjectReference, Owner, SourceId, Uid, WatchId};
use crate::time::Time;

/// More attached objects of one subject are counted, not kept. A Pod of seven containers has about 40 Events; the
/// Kubernetes recorder lets a burst of 25 through for each source.
pub(super) const ATTACHED_LIMIT: usize = 512;

/// Omitted objects are counted exactly up to this number for each watch.
const OMITTED_LIMIT: usize = 16_384;

/// An object of the cluster, from when it is first seen until it is forgotten.
#[derive(Debug)]
pub(super) struct Subject {
    /// What the index calls it, and what its ids derive from: its uid, unless that is another one's.
    pub(super) key: Uid,
    pub(super) reference: ObjectReference,
    pub(super) version: Version,
    pub(super) created: Option<Time>,
    pub(super) owners: Box<[Owner]>,
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
    /// By whoever saw it first: before a restart, if it was kept over one.
    pub(super) first_seen: Time,
    /// Since when its parent is waited for.
    pub(super) waits_since: Time,
    pub(super) deleted: bool,
    /// Sources that have told its end.
    pub(super) out_of_sight: Box<[SourceId]>,
    /// What each watch that wants the object reads of it, in the order in which they are asked; the first that claims it
    /// maps it.
    pub(super) inputs: Vec<(WatchId, Packed)>,
    pub(super) attached: AttachedObjects,
    /// By watch: mappers that share a kind have each their own.
    #[expect(clippy::box_collection, reason = "hardly any object has them")]
    omitted: Option<Box<BTreeSet<(WatchId, u64)>>>,
    pub(super) mapping: MappingState,
    pub(super) life: Life,
    /// Names that others would wait for have been told; what this object itself waits for.
    pub(super) waits_for: Box<[super::resolve::Want]>,
    /// The context whose annotation was asked for.
    pub(super) annotated: Option<SpanContext>,
    /// Whether there is a record of it.
    pub(super) is_kept: bool,
}

/// How far the mapping of a subject is.
#[derive(Debug, Default)]
pub(super) struct MappingState {
    /// Number of the input; grows with each change.
    pub(super) revision: u64,
    /// Revision at which the object itself changed last, and not only what came along with it.
    own_change: u64,
    /// The watch whose mapper has claimed the object.
    pub(super) watch: Option<WatchId>,
    /// Of the watches that have declined the object or were not asked yet, the first for which it has changed since.
    changed: Option<WatchId>,
    /// Revision and watch of the mapping that was asked for and has not come back.
    pub(super) in_flight: Option<(u64, WatchId)>,
    /// It was not asked for yet, as its mapper has enough to do.
    pub(super) waits_for_turn: bool,
    /// Revision of the last mapping that came back.
    pub(super) mapped: Option<u64>,
    /// Which changes are not mapped.
    pub(super) unmapped: Unmapped,
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
    /// Where children hang.
    pub(super) runs: Box<[FinishedRun]>,
    /// Why it has no spans.
    pub(super) silence: Option<Silence>,
    /// When the newest attached object that was exported with it was created.
    pub(super) latest_attached: Option<Time>,
    /// It had ended too long before it was seen first, whatever becomes of its parents. Whoever is told of it after a restart
    /// will say the same, so that there need be no record of it: most of what a first start finds is so.
    pub(super) passed_over: bool,
}

/// What is remembered of a run.
#[derive(Debug)]
pub(super) struct FinishedRun {
    pub(super) run: Box<str>,
    pub(super) start: Time,
    /// None if it belongs to no trace.
    pub(super) adopter: Option<Adopter>,
    /// The event whose job it is.
    pub(super) event: Option<TraceKey>,
    /// The object whose span its parent is.
    pub(super) parent: Option<Uid>,
    /// Ids of the child spans that an object may hang under, in their order.
    pub(super) children: Box<[SpanId]>,
}

/// Why an object that is gone never had spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// No mapper claimed it.
    NotOurs,
    /// Its mapper wanted to wait until it was gone: it should have had a place, but never will.
    Waited,
}

/// The context of an object's main span and what its children inherit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adopter {
    pub(super) context: SpanContext,
    /// Spans between it and the root.
    pub(super) depth: u32,
    /// It ended before the replay window; nothing of it is exported.
    pub(super) too_old: bool,
    /// It has a place only because its deadline or that of an object above has passed.
    pub(super) by_deadline: bool,
    /// When the event of the trace was received.
    pub(super) received: Option<Time>,
}

impl Subject {
    pub(super) fn new(key: Uid, object: &Object, now: Time) -> Self {
        Self {
            key,
            reference: object.reference.clone(),
            version: Version::default(),
            created: None,
            owners: Box::default(),
            labels: Pairs::default(),
            annotations: Pairs::default(),
            first_seen: now,
            waits_since: now,
            deleted: false,
            out_of_sight: Box::default(),
            inputs: Vec::new(),
            attached: AttachedObjects::default(),
            omitted: None,
            mapping: MappingState::default(),
            life: Life::Unknown,
            waits_for: Box::default(),
            annotated: None,
            is_kept: false,
        }
    }

    /// Forgets what came of it under another key.
    pub(super) fn begin_anew(&mut self, key: Uid) {
        self.key = key;
        self.mapping = MappingState {
            revision: self.mapping.revision,
            own_change: self.mapping.own_change,
            unmapped: self.mapping.unmapped,
            ..MappingState::default()
        };
        self.life = Life::Unknown;
        self.waits_for = Box::default();
        self.annotated = None;
        self.is_kept = false;
    }

    /// Whether no newer version of the object is known than this.
    pub(super) fn is_newest(&self, object: &Object) -> bool {
        !Version::new(&object.resource_version).is_older_than(self.version)
    }

    /// Whether this very version of the object is known.
    pub(super) fn is_same(&self, object: &Object) -> bool {
        let version = Version::new(&object.resource_version).number();
        version.is_some() && version == self.version.number()
    }

    /// Takes over a version of the object, unless a newer one is known. Says whether its mapper would see a
    /// difference.
    pub(super) fn update(
        &mut self,
        object: Object,
        labels: Pairs,
        annotations: Pairs,
        catalog: &Catalog,
        samples: &Samples,
    ) -> bool {
        if !self.is_newest(&object) {
            return false;
        }
        self.version = Version::new(&object.resource_version);
        self.created = object.created;
        self.owners = object.owners.into();
        self.labels = labels;
        self.annotations = annotations;
        let mut changed = false;
        for (watch, json) in object.subject_of {
            if self.take_input(watch, &json, catalog, samples) {
                self.change_input(watch);
                changed = true;
            }
        }
        if changed {
            self.mapping.own_change = self.mapping.revision;
        }
        changed
    }

    /// Takes over what a watch reads; says whether that has changed.
    fn take_input(
        &mut self,
        watch: WatchId,
        json: &str,
        catalog: &Catalog,
        samples: &Samples,
    ) -> bool {
        let like = samples.of(watch, None);
        if let Some((_, known)) = self.inputs.iter_mut().find(|(known, _)| *known == watch) {
            if *known.text(like) == *json {
                return false;
            }
            *known = Packed::new(json, like);
            return true;
        }
        let rank = catalog.rank(watch);
        let comes_before = |(known, _): &(WatchId, Packed)| catalog.rank(*known) < rank;
        let place = self.inputs.partition_point(comes_before);
        self.inputs.reserve_exact(1);
        self.inputs.insert(place, (watch, Packed::new(json, like)));
        true
    }

    /// In which turn a watch is asked; one that does not want the object comes after all that do.
    fn turn(&self, watch: WatchId) -> usize {
        let mut watches = self.inputs.iter();
        let place = watches.position(|(known, _)| *known == watch);
        place.unwrap_or(usize::MAX)
    }

    /// Of two watches the one that is asked first.
    fn first_of(&self, left: WatchId, right: WatchId) -> WatchId {
        if self.turn(right) < self.turn(left) {
            right
        } else {
            left
        }
    }

    /// A source has told the object's end.
    pub(super) fn lose_sight(&mut self, source: SourceId) {
        if self.is_seen(source) {
            let mut sources = std::mem::take(&mut self.out_of_sight).into_vec();
            sources.push(source);
            self.out_of_sight = sources.into();
        }
    }

    /// Whether a source has not told the object's end.
    pub(super) fn is_seen(&self, source: SourceId) -> bool {
        !self.out_of_sight.contains(&source)
    }

    /// The object is gone, or is not after all, which all mappers are told.
    pub(super) fn set_deleted(&mut self, deleted: bool) {
        self.deleted = deleted;
        if let Some((first, _)) = self.inputs.first() {
            self.change_input(*first);
        }
        self.mapping.own_change = self.mapping.revision;
    }

    /// What a watch reads has changed.
    fn change_input(&mut self, watch: WatchId) {
        // A mapper that has declined the object before may claim it now.
        let changed = self.mapping.changed;
        let first = changed.map_or(watch, |changed| self.first_of(changed, watch));
        self.mapping.changed = Some(first);
        self.mapping.revision += 1;
    }

    /// Another mapper is behind a watch, or another watch is to be asked first: unless one that goes before it has
    /// claimed the object, that is a change of the object to it.
    pub(super) fn ask_anew(&mut self, watch: WatchId) {
        let claimed = self.mapping.watch;
        if claimed.is_none_or(|claimed| self.turn(watch) <= self.turn(claimed)) {
            self.change_input(watch);
            self.mapping.own_change = self.mapping.revision;
        }
    }

    /// Takes in an attached object, unless a newer version of it is known. Says whether the mapper would see a
    /// difference, and which are there that were not, or the other way round.
    pub(super) fn attach(
        &mut self,
        key: AttachedKey,
        object: AttachedObject,
        samples: &Samples,
        mut moved: impl FnMut(&AttachedKey),
    ) -> bool {
        let watch = key.watch;
        // A watch of the kind that does not select the object may do so some time.
        let is_wanted = self.is_wanted(watch);
        if let Some(changed) = self.attached.update(&key, &object, samples) {
            if changed {
                moved(&key);
            }
            if changed && is_wanted {
                self.change_input(watch);
            }
            return changed && is_wanted;
        }
        let omitted = self.omitted.as_ref();
        if omitted.is_some_and(|omitted| omitted.contains(&(watch, hash(&key.uid)))) {
            return false;
        }
        moved(&key);
        self.attached.insert(key, object, samples);
        if let Some(last) = self.attached.one_too_many(watch, ATTACHED_LIMIT) {
            moved(&last);
            let omitted = self.omitted.get_or_insert_default();
            if omitted.len() < OMITTED_LIMIT * self.inputs.len() {
                omitted.insert((watch, hash(&last.uid)));
            }
        }
        if is_wanted {
            self.change_input(watch);
        }
        is_wanted
    }

    /// How many attached objects of a watch are not kept.
    pub(super) fn omitted(&self, watch: WatchId) -> u32 {
        let omitted = self.omitted.as_ref().map_or(0, |omitted| {
            omitted.range((watch, 0)..=(watch, u64::MAX)).count()
        });
        u32::try_from(omitted).unwrap_or(u32::MAX)
    }

    /// Forgets what watches read that are not asked any more, and what came along for them or is not as it was; gives the
    /// keys of the latter. If one of them had claimed the object, was asked or was to be, the first of the rest is asked anew.
    pub(super) fn drop_watches(
        &mut self,
        is_asked: impl Fn(WatchId) -> bool,
        comes_along: impl Fn(&AttachedKey) -> bool,
        samples: &Samples,
    ) -> Vec<AttachedKey> {
        self.inputs.retain(|(watch, _)| is_asked(*watch));
        if let Some(omitted) = &mut self.omitted {
            omitted.retain(|(watch, _)| is_asked(*watch));
        }
        let mapping = &mut self.mapping;
        let before = (mapping.watch, mapping.changed);
        mapping.watch = mapping.watch.filter(|watch| is_asked(*watch));
        mapping.changed = mapping.changed.filter(|watch| is_asked(*watch));
        let in_flight = mapping.in_flight.map(|(_, watch)| watch);
        let asks_in_vain = in_flight.is_some_and(|watch| !is_asked(watch));
        if asks_in_vain && std::mem::take(&mut mapping.waits_for_turn) {
            mapping.in_flight = None;
        }
        if (asks_in_vain || (mapping.watch, mapping.changed) != before)
            && let Some((first, _)) = self.inputs.first()
        {
            self.ask_anew(*first);
        }
        let stays = |key: &AttachedKey| is_asked(key.watch) && comes_along(key);
        self.attached.retain(stays, samples)
    }

    /// Brings the watches into the order in which they are asked now; says whether it was another one.
    pub(super) fn order_watches(&mut self, catalog: &Catalog) -> bool {
        let rank = |(watch, _): &(WatchId, Packed)| catalog.rank(*watch);
        if self.inputs.is_sorted_by_key(rank) {
            return false;
        }
        self.inputs.sort_by_key(rank);
        true
    }

    /// The watch to ask first: the one that has claimed the object, unless there is a change for one before it.
    pub(super) fn watch(&self) -> Option<WatchId> {
        let MappingState { watch, changed, .. } = self.mapping;
        let first = || self.inputs.first().map(|(watch, _)| *watch);
        match (watch, changed) {
            (Some(watch), Some(changed)) => Some(self.first_of(watch, changed)),
            (watch, changed) => watch.or(changed).or_else(first),
        }
    }

    /// A watch is asked about the newest input.
    pub(super) fn asked(&mut self, watch: WatchId) {
        if self.mapping.changed == Some(watch) {
            self.mapping.changed = None;
        }
    }

    /// A watch has claimed the object; those after it are not asked.
    pub(super) fn claimed(&mut self, by: WatchId) {
        self.mapping.watch = Some(by);
        let turn = self.turn(by);
        let changed = self.mapping.changed;
        if changed.is_some_and(|changed| self.turn(changed) > turn) {
            self.mapping.changed = None;
        }
    }

    /// The watch to ask if this one declines.
    pub(super) fn watch_after(&self, declined: WatchId) -> Option<WatchId> {
        let watches = || self.inputs.iter().map(|(watch, _)| *watch);
        let next = watches().position(|watch| watch == declined);
        watches().nth(next.map_or(0, |place| place + 1))
    }

    /// Whether a watch wants the object.
    pub(super) fn is_wanted(&self, watch: WatchId) -> bool {
        self.inputs.iter().any(|(known, _)| *known == watch)
    }

    /// What the mapper of a watch is given. `place`: what the mapper calls the watch.
    pub(super) fn input(
        &self,
        watch: WatchId,
        place: u32,
        samples: &Samples,
    ) -> Option<MapperSubject> {
        let (_, json) = self.inputs.iter().find(|(known, _)| *known == watch)?;
        Some(MapperSubject::Object(ObjectSubject {
            watch: place,
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
            omitted: self.omitted(watch),
        }))
    }

    /// Whether the object itself has changed since it was mapped.
    pub(super) fn has_changed(&self) -> bool {
        let MappingState {
            mapped,
            own_change,
            watch,
            changed,
            ..
        } = self.mapping;
        let declined_before =
            |changed| watch.is_none_or(|watch| self.turn(changed) < self.turn(watch));
        mapped.is_none_or(|mapped| mapped < own_change) || changed.is_some_and(declined_before)
    }

    /// Whether the last mapping is of the newest input.
    pub(super) fn is_mapped(&self) -> bool {
        let mapping = &self.mapping;
        // An earlier mapper may be asked again about what a later one has mapped or declined.
        mapping.mapped == Some(mapping.revision)
            && mapping.changed.is_none()
            && mapping.in_flight.is_none()
    }

    /// Whether a mapping of this revision or a later one has come back.
    pub(super) fn has_mapped(&self, revision: u64) -> bool {
        let MappingState {
            mapped,
            watch,
            changed,
            in_flight,
            ..
        } = self.mapping;
        let asked = changed.into_iter().chain(in_flight.map(|(_, asked)| asked));
        let asks_before = asked
            .into_iter()
            .any(|asked| watch.is_none_or(|watch| self.turn(asked) < self.turn(watch)));
        mapped.is_some_and(|mapped| mapped >= revision) && !asks_before
    }

    /// Whether no mapper claims it.
    pub(super) fn is_not_ours(&self) -> bool {
        match &self.life {
            Life::NotOurs => true,
            Life::Finished(finished) => finished.silence == Some(Silence::NotOurs),
            Life::Unknown | Life::Runs(_) => false,
        }
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
