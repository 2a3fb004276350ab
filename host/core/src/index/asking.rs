//! Of one mapper only so many mappings are asked for at a time. Of one that keeps others waiting the rest waits here, where it
//! costs a name, and is asked for as it is by then.

use std::collections::{BTreeMap, VecDeque};

use super::Index;
use super::effect::Effect;
use super::fact::{MapRequest, SubjectId, Ticket};
use super::schedule::Deadline;
use crate::object::{Uid, WatchId};
use crate::time::Time;

/// So many mappings of objects are asked for of one mapper. Whoever carries them out holds what is to be mapped in memory.
const OF_ONE_MAPPER: usize = 512;

/// Mappings of objects, by mapper.
#[derive(Debug)]
pub(super) struct Asking {
    /// So many at a time.
    pub(super) limit: usize,
    mappers: BTreeMap<u32, Line>,
}

/// What is asked of one mapper.
#[derive(Debug, Default)]
struct Line {
    /// Mappings that were asked for and have not come back.
    asked: usize,
    /// Objects whose turn has not come. Whether it still will is said by themselves.
    waiting: VecDeque<Uid>,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            limit: OF_ONE_MAPPER,
            mappers: BTreeMap::new(),
        }
    }
}

impl Asking {
    /// Takes out the object whose turn it is, if there is room.
    fn next(&mut self, mapper: u32) -> Option<Uid> {
        let line = self.mappers.get_mut(&mapper)?;
        if line.asked >= self.limit {
            return None;
        }
        line.waiting.pop_front()
    }

    /// A mapping has come back.
    fn answered(&mut self, mapper: u32) {
        if let Some(line) = self.mappers.get_mut(&mapper) {
            // An answer may come twice.
            line.asked = line.asked.saturating_sub(1);
            if line.asked == 0 && line.waiting.is_empty() {
                self.mappers.remove(&mapper);
            }
        }
    }
}

impl Index {
    /// Asks the mapper of a watch about an object, as soon as it is its turn. Until then it counts as asked.
    pub(super) fn ask(&mut self, now: Time, uid: &Uid, watch: WatchId) {
        if self.catalog_of(watch).place(watch).is_none() {
            return;
        }
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if !subject.is_wanted(watch) {
            return;
        }
        subject.asked(watch);
        subject.mapping.in_flight = Some((subject.mapping.revision, watch));
        subject.mapping.waits_for_turn = true;
        subject.mapping.asked_at = Some(now);
        let line = self.asking.mappers.entry(watch.mapper).or_default();
        line.waiting.push_back(Uid::clone(uid));
        self.ask_next(now, watch.mapper);
    }

    /// A mapper has answered, whatever has become of the object.
    pub(super) fn has_answered(&mut self, now: Time, mapper: u32) {
        self.asking.answered(mapper);
        self.ask_next(now, mapper);
    }

    /// Asks a mapper about those whose turn it is.
    fn ask_next(&mut self, now: Time, mapper: u32) {
        while let Some(uid) = self.asking.next(mapper) {
            let Some(subject) = self.subjects.get_mut(&uid) else {
                continue;
            };
            let Some((_, watch)) = subject.mapping.in_flight else {
                continue;
            };
            // It may have been asked about by another entry, or another object has the uid now.
            if watch.mapper != mapper || !std::mem::take(&mut subject.mapping.waits_for_turn) {
                continue;
            }
            match self.request(now, &uid, watch) {
                Some(request) => {
                    let line = self.asking.mappers.entry(mapper).or_default();
                    line.asked += 1;
                    self.effects.push(Effect::Map(request));
                }
                // Nobody can be asked by this watch any more.
                None => {
                    if let Some(subject) = self.subjects.get_mut(&uid) {
                        subject.mapping.in_flight = None;
                    }
                    self.schedule.add(now, Deadline::Map(uid));
                }
            }
        }
    }

    /// An object's newest input.
    fn request(&mut self, now: Time, uid: &Uid, watch: WatchId) -> Option<MapRequest> {
        let place = self.catalog_of(watch).place(watch)?;
        let subject = self.subjects.get_mut(uid)?;
        let input = subject.input(watch, place, &self.samples)?;
        let revision = subject.mapping.revision;
        // What has changed while it waited is in it.
        subject.asked(watch);
        subject.mapping.in_flight = Some((revision, watch));
        subject.mapping.asked_at = Some(now);
        Some(MapRequest {
            ticket: Ticket {
                subject: SubjectId::Object(Uid::clone(uid)),
                revision,
                watch,
            },
            subject: input,
        })
    }
}
