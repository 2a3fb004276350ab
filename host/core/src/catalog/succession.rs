//! What stays the same when other mappers take over: numbers, and what need not be listed anew.

use std::collections::BTreeSet;

use super::{Catalog, SourceEntry, number};
use crate::description::{Attachment, ObjectSource, Source, Watch};
use crate::object::{SourceId, WatchId};

/// Numbers of a mapper and its watches.
pub(super) struct Numbers {
    pub(super) mapper: u32,
    pub(super) watches: Vec<WatchId>,
    pub(super) next_watch: u32,
}

/// What a watch reads of the objects of a source.
#[derive(PartialEq, Eq)]
enum Read<'a> {
    /// These fields of its subjects.
    Subject(WatchId, &'a [String]),
    /// What comes along with them, by its place.
    Attached(WatchId, u32, &'a Attachment),
}

impl Catalog {
    /// Whether a watch is one of these mappers'.
    #[must_use]
    pub fn knows(&self, watch: WatchId) -> bool {
        self.places.contains_key(&watch)
    }

    /// Whether a source is watched.
    #[must_use]
    pub fn is_watched(&self, source: SourceId) -> bool {
        self.source_entry(source).is_some()
    }

    /// All watches of a mapper, those of webhooks too.
    pub fn watches_of<'a>(&'a self, mapper: &str) -> impl Iterator<Item = WatchId> + use<'a> {
        let mut mappers = self.mappers.iter();
        let mapper = mappers.find(|known| known.scope.name == mapper);
        let watches = mapper.into_iter().flat_map(|mapper| &mapper.watches);
        watches.map(|entry| entry.id)
    }

    /// Place of a watch in its mapper's description, as the mapper calls it.
    #[must_use]
    pub fn place(&self, watch: WatchId) -> Option<u32> {
        self.places.get(&watch).map(|(_, place)| number(*place))
    }

    /// Of two watches the one with the lesser rank is asked first.
    pub(crate) fn rank(&self, watch: WatchId) -> (usize, usize) {
        let last = (usize::MAX, usize::MAX);
        self.places.get(&watch).copied().unwrap_or(last)
    }

    /// The source of a watch's subjects.
    pub(crate) fn source_of(&self, watch: WatchId) -> Option<SourceId> {
        let mut sources = self.sources.iter();
        let source = sources.find(|entry| entry.subjects.contains(&watch))?;
        Some(source.id)
    }

    /// The watches that were there before and read other fields of their subjects now.
    pub(crate) fn read_otherwise(&self, before: &Self) -> BTreeSet<WatchId> {
        let otherwise = |id: &WatchId| {
            let fields =
                |catalog: &Self| catalog.entry(*id).map(|entry| entry.watch.fields.clone());
            fields(before).is_some_and(|before| Some(before) != fields(self))
        };
        self.places.keys().copied().filter(otherwise).collect()
    }

    /// What comes along with subjects of a watch at this place.
    pub(crate) fn attachment(&self, watch: WatchId, place: u32) -> Option<&Attachment> {
        let place = usize::try_from(place).ok()?;
        self.entry(watch)?.watch.attachments.get(place)
    }

    /// Whether who has watched a source for an older catalog must list it anew, to tell what this one wants to know of it.
    #[must_use]
    pub fn must_list(&self, source: SourceId, older: &Self) -> bool {
        let Some(wanted) = self.source_entry(source) else {
            return false;
        };
        let Some(told) = older.source_entry(source) else {
            return true;
        };
        let keys = |catalog: &Self| catalog.annotation_keys.iter().cloned().collect();
        let (now, then): (BTreeSet<String>, BTreeSet<String>) = (keys(self), keys(older));
        let (read, was_read) = (self.read_of(wanted), older.read_of(told));
        !wanted.subjects.is_empty() && !now.is_subset(&then)
            || read.iter().any(|what| !was_read.contains(what))
    }

    /// What watches read of the objects of a source: of subjects, and of what comes along with some.
    fn read_of<'a>(&'a self, source: &'a SourceEntry) -> Vec<Read<'a>> {
        let subjects = source.subjects.iter().filter_map(|id| {
            let entry = self.entry(*id)?;
            Some(Read::Subject(*id, entry.watch.fields.as_slice()))
        });
        let attachments = source.attachments.iter().filter_map(|attached| {
            let attachment = self.attachment(attached.watch, attached.attachment)?;
            Some(Read::Attached(
                attached.watch,
                attached.attachment,
                attachment,
            ))
        });
        subjects.chain(attachments).collect()
    }

    /// The numbers of a mapper: those that it had before, as far as its watches select the same.
    pub(super) fn numbers(&mut self, name: &str, watches: &[Watch], before: &Self) -> Numbers {
        let mut known = before.mappers.iter();
        let known = known.find(|mapper| mapper.scope.name == name);
        let mapper = known.map_or(self.next_mapper, |mapper| mapper.number);
        self.next_mapper = self.next_mapper.max(mapper.saturating_add(1));
        let mut next_watch = known.map_or(0, |mapper| mapper.next_watch);
        let mut left: Vec<_> = known.into_iter().flat_map(|known| &known.watches).collect();
        let watches = watches.iter().map(|watch| {
            let selects = |known: &Watch| selects_the_same(&known.source, &watch.source);
            let same = left.iter().position(|known| selects(&known.watch));
            if let Some(place) = same {
                return left.remove(place).id;
            }
            let watch = next_watch;
            next_watch = next_watch.saturating_add(1);
            WatchId { mapper, watch }
        });
        Numbers {
            mapper,
            watches: watches.collect(),
            next_watch,
        }
    }

    /// The number of a source: the one that it had before, else a new one.
    pub(super) fn source_number(&mut self, source: &ObjectSource, before: &Self) -> SourceId {
        let mut known = before.sources.iter();
        if let Some(known) = known.find(|known| known.source == *source) {
            return known.id;
        }
        let id = SourceId(self.next_source);
        self.next_source = self.next_source.saturating_add(1);
        id
    }
}

/// Whether two watches of a mapper are about the same subjects, whatever they read of them and in whichever version.
fn selects_the_same(left: &Source, right: &Source) -> bool {
    match (left, right) {
        (Source::Webhooks(_), Source::Webhooks(_)) => true,
        (Source::Objects(left), Source::Objects(right)) => {
            let what = |source: &ObjectSource| {
                let selectors = (source.label_selector.clone(), source.field_selector.clone());
                (source.group.clone(), source.kind.clone(), selectors)
            };
            what(left) == what(right)
        }
        _ => false,
    }
}
