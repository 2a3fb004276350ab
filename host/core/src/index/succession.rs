//! Other mappers take over while objects are under way.
//!
//! A watch that both catalogs know is the same, whoever is behind it now: its subjects stay where they are and are mapped
//! again by the new mapper, once they were seen as it wants them. What no mapper watches any more is as good as gone: it is
//! mapped to its end by the mapper that it had.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Index;
use super::attached::AttachedKey;
use super::schedule::Deadline;
use super::subject::{Life, Subject};
use crate::catalog::Catalog;
use crate::object::{Uid, WatchId};
use crate::time::Time;

/// So often it is looked whether mappers that were replaced are still needed.
const OLDER_INTERVAL: Duration = Duration::from_secs(60);

/// What an object waits for before it is mapped again.
#[derive(Debug)]
pub(super) struct Awaiting {
    /// Then it is mapped as it was seen last.
    until: Time,
    /// Watches that read other fields than those that are kept of it.
    watches: BTreeSet<WatchId>,
}

/// What is different.
struct Difference<'a> {
    /// Watches with other mappers behind them.
    others: &'a BTreeSet<WatchId>,
    /// Watches that read other fields.
    read_otherwise: BTreeSet<WatchId>,
    /// What came along and does not any more, or is something else now.
    lost: BTreeSet<(WatchId, u32)>,
}

impl Index {
    /// Other mappers are in use.
    pub(super) fn replaced(
        &mut self,
        now: Time,
        catalog: Arc<Catalog>,
        others: &BTreeSet<WatchId>,
    ) {
        let before = std::mem::replace(&mut self.catalog, catalog);
        self.changed.catalog();
        self.take_sources(&before);
        let difference = Difference {
            others,
            read_otherwise: self.catalog.read_otherwise(&before),
            lost: self.lost(&before),
        };
        self.older.push(before);
        for webhook in self.webhooks.values_mut() {
            // The first was asked already.
            let mut is_first = true;
            webhook
                .subject_of
                .retain(|(watch, _)| std::mem::take(&mut is_first) || self.catalog.knows(*watch));
        }
        let catalog = &self.catalog;
        self.unclaimed
            .retain(|key| difference.comes_along(key) && catalog.knows(key.watch));
        let live = self.subjects.iter();
        let live = live.filter(|(_, subject)| !matches!(subject.life, Life::Finished(_)));
        let mut uids: Vec<Uid> = live.map(|(uid, _)| Uid::clone(uid)).collect();
        uids.sort();
        for uid in uids {
            self.taken_over(now, &uid, &difference);
        }
        self.drop_older(now);
        // What was waited for may not be mapped any more, or be mapped now.
        let pending = self.pending.iter().cloned().collect();
        self.place_all(now, pending);
    }

    /// A watch may have another source now, of other versions of its kind: what the one saw the other does.
    fn take_sources(&mut self, before: &Catalog) {
        for (watch, ..) in self.catalog.watches() {
            let sources = before.source_of(watch).zip(self.catalog.source_of(watch));
            if let Some((source, now)) = sources
                && source != now
                && let Some(known) = self.by_source.get(&source).cloned()
            {
                self.by_source.entry(now).or_default().extend(known);
            }
        }
        self.by_source
            .retain(|source, _| self.catalog.is_watched(*source));
    }

    fn lost(&self, before: &Catalog) -> BTreeSet<(WatchId, u32)> {
        let mut lost = BTreeSet::new();
        for (watch, ..) in before.watches() {
            for place in 0.. {
                let Some(attachment) = before.attachment(watch, place) else {
                    break;
                };
                let now = self.catalog.attachment(watch, place);
                let is_same = now.is_some_and(|now| {
                    (&now.source, &now.relation) == (&attachment.source, &attachment.relation)
                });
                if !is_same {
                    lost.insert((watch, place));
                }
            }
        }
        lost
    }

    /// The mappers of an object may be others.
    fn taken_over(&mut self, now: Time, uid: &Uid, difference: &Difference<'_>) {
        let catalog = &self.catalog;
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let revision = subject.mapping.revision;
        let out_of_sight = subject.out_of_sight.iter().copied();
        subject.out_of_sight = out_of_sight
            .filter(|source| catalog.is_watched(*source))
            .collect();
        if !subject.is_watched(catalog) {
            if catalog.maps(&subject.reference.kind) {
                // It may still be selected, which a list will tell.
                let deadline = now.plus(self.settings.orphan_deadline);
                let let_go = Deadline::LetGo(Uid::clone(uid));
                self.schedule.add(deadline, let_go);
            } else {
                self.let_go(uid);
            }
            return;
        }
        self.drop_replaced(uid, |key| difference.comes_along(key));
        let catalog = &self.catalog;
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if subject.order_watches(catalog)
            && let Some((first, _)) = subject.inputs.first()
        {
            subject.ask_anew(*first);
        }
        let watches = || subject.inputs.iter().map(|(watch, _)| *watch);
        let outdated: BTreeSet<WatchId> = watches()
            .filter(|watch| difference.read_otherwise.contains(watch))
            .collect();
        let another =
            watches().find(|watch| outdated.contains(watch) || difference.others.contains(watch));
        if let Some(another) = another {
            subject.ask_anew(another);
        }
        if subject.mapping.revision == revision {
            return;
        }
        if !outdated.is_empty() && !subject.deleted {
            let until = now.plus(self.settings.orphan_deadline);
            let awaiting = Awaiting {
                until,
                watches: outdated,
            };
            self.awaiting.insert(Uid::clone(uid), awaiting);
            self.schedule.add(until, Deadline::Map(Uid::clone(uid)));
        }
        self.note_mapped(uid);
        self.to_map.push(Uid::clone(uid));
    }

    /// Forgets what replaced watches read of an object that others see.
    fn drop_replaced(&mut self, uid: &Uid, comes_along: impl Fn(&AttachedKey) -> bool) {
        let catalog = &self.catalog;
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let before = subject.inputs.len();
        let is_asked = |watch| catalog.knows(watch);
        let dropped = subject.drop_watches(is_asked, comes_along, &self.samples);
        for key in &dropped {
            self.changed.attached(uid, key);
        }
        if subject.inputs.len() != before {
            self.changed.subject(uid);
        }
    }

    /// No mapper watches an object any more: it is as good as gone.
    pub(super) fn let_go(&mut self, uid: &Uid) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        let is_over = subject.deleted || matches!(subject.life, Life::Finished(_));
        if is_over || subject.is_watched(&self.catalog) {
            return;
        }
        subject.set_deleted(true);
        self.unwatched.insert(Uid::clone(uid));
        self.changed.subject_for_good(uid);
        self.note_mapped(uid);
        self.to_map.push(Uid::clone(uid));
    }

    /// An object was seen as these watches want it: those that took over from others among them. Says whether it waited
    /// for that.
    pub(super) fn seen_by_successors(&mut self, uid: &Uid, watches: &[WatchId]) -> bool {
        let mut waited = false;
        if let Some(awaiting) = self.awaiting.get_mut(uid) {
            for watch in watches {
                awaiting.watches.remove(watch);
            }
            waited = awaiting.watches.is_empty();
        }
        if waited {
            self.awaiting.remove(uid);
        }
        let is_watched = |subject: &Subject| subject.is_watched(&self.catalog);
        if !self.older.is_empty()
            && self
                .subjects
                .get(uid)
                .is_some_and(|subject| is_watched(subject))
        {
            self.drop_replaced(uid, |_| true);
        }
        waited
    }

    /// Whether an object has to be seen again before it is mapped.
    pub(super) fn awaits(&mut self, now: Time, uid: &Uid) -> bool {
        let Some(awaiting) = self.awaiting.get(uid) else {
            return false;
        };
        let is_over = awaiting.until <= now;
        if is_over {
            self.awaiting.remove(uid);
        }
        !is_over
    }

    /// The catalog of a watch: the newest that knows it.
    pub(super) fn catalog_of(&self, watch: WatchId) -> &Catalog {
        if self.catalog.knows(watch) {
            return &self.catalog;
        }
        let mut older = self.older.iter().rev();
        let older = older.find(|catalog| catalog.knows(watch));
        older.unwrap_or(&self.catalog)
    }

    /// How long an object that is exported and gone is remembered. One that is there, though nobody watches it, may be
    /// watched again.
    pub(super) fn memory_of(&mut self, uid: &Uid) -> Duration {
        let usual = self.settings.orphan_deadline;
        if self.unwatched.remove(uid) {
            usual.max(self.settings.replay_window)
        } else {
            usual
        }
    }

    /// Catalogs before the one in use whose mappers are still asked, the newest last.
    #[must_use]
    pub fn older(&self) -> &[Arc<Catalog>] {
        &self.older
    }

    /// Forgets catalogs by whose mappers nothing is mapped any more.
    pub(super) fn drop_older(&mut self, now: Time) {
        if self.older.is_empty() {
            return;
        }
        let mut used = BTreeSet::new();
        for subject in self.subjects.values() {
            used.extend(
                subject
                    .watches()
                    .filter(|watch| !self.catalog.knows(*watch)),
            );
        }
        for webhook in self.webhooks.values() {
            used.extend(webhook.subject_of.first().map(|(watch, _)| *watch));
        }
        let mut needed = Vec::new();
        for older in std::mem::take(&mut self.older).into_iter().rev() {
            let before = used.len();
            used.retain(|watch| !older.knows(*watch));
            if used.len() != before {
                needed.push(older);
            }
        }
        needed.reverse();
        self.older = needed;
        let (catalog, older) = (&self.catalog, &self.older);
        self.samples.retain(|watch| {
            catalog.knows(watch) || older.iter().any(|catalog| catalog.knows(watch))
        });
        if !self.older.is_empty() {
            let at = now.plus(OLDER_INTERVAL);
            self.schedule.add(at, Deadline::Replaced);
        }
    }
}

impl Difference<'_> {
    fn comes_along(&self, key: &AttachedKey) -> bool {
        !self.lost.contains(&(key.watch, key.attachment))
    }
}

impl Subject {
    /// Whether a watch of this catalog wants the object.
    fn is_watched(&self, catalog: &Catalog) -> bool {
        self.inputs.iter().any(|(watch, _)| catalog.knows(*watch))
    }

    /// All watches that have to do with the object, unless it is finished.
    fn watches(&self) -> impl Iterator<Item = WatchId> {
        let is_live = !matches!(self.life, Life::Finished(_));
        let inputs = self.inputs.iter().map(|(watch, _)| *watch);
        let asked = self.mapping.in_flight.map(|(_, watch)| watch);
        inputs
            .chain(asked)
            .chain(self.mapping.watch)
            .chain(self.attached.watches())
            .filter(move |_| is_live)
    }
}
