//! Goes on where it was: the index as it was written, before anything is told of the cluster.
//!
//! Objects that were under way are mapped anew, from the input that was kept: they come to the same place, and, by
//! confluence, to the same spans. Time stands still meanwhile and until all lists are complete, so that nothing is
//! given up that a list is about to tell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Index;
use super::assemble::Bounds;
use super::attached::{AttachedObject, Version};
use super::effect::Effect;
use super::event::Event;
use super::record::{
    self, AttachedRecord, CatalogRecord, EventRecord, LifeRecord, LookupRecord, SubjectRecord,
    Table, WatchNumber,
};
use super::resolve::{Place, Resolution};
use super::run::{Run, Sketch};
use super::schedule::Deadline;
use super::subject::{Finished, FinishedRun, Life, Subject};
use crate::identity::{TraceId, TraceKey};
use crate::object::{Object, Owner, SourceId, Uid, WatchId};
use crate::time::Time;

/// Gives the rows whose keys begin with this byte, one after the other.
pub type Scan<'a> = &'a mut dyn FnMut(u8, &mut dyn FnMut(&[u8], &[u8]));

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Objects that are under way.
    pub live: u64,
    /// Objects that are exported.
    pub finished: u64,
    /// Git events.
    pub events: u64,
    /// Records that make no sense.
    pub unreadable: u64,
}

/// What numbers were, and what they are now.
#[derive(Default)]
struct Numbers {
    watches: HashMap<WatchNumber, WatchId>,
    sources: HashMap<u32, SourceId>,
    /// Something is called otherwise.
    differ: bool,
}

impl Index {
    /// Lets time stand still: nothing is due until [`Self::go_on`].
    pub fn stand_still(&mut self, now: Time) {
        self.advance(now);
        self.stands_still = true;
    }

    /// All lists are complete: what is due happens with the next fact.
    pub fn go_on(&mut self) {
        self.stands_still = false;
        self.wake_at = None;
    }

    /// Takes over what was kept. Call it once, first, and [`Self::resume`] then.
    pub fn restore(&mut self, now: Time, scan: Scan<'_>) -> Restored {
        let now = self.advance(now);
        let mut restored = Restored::default();
        let numbers = self.numbers(&mut *scan);
        scan(Table::Lookup as u8, &mut |key, value| {
            let Some((uid, owners)) = Table::name(key).zip(record::read::<LookupRecord>(value))
            else {
                restored.unreadable += 1;
                return;
            };
            let owners: Vec<Owner> = owners.into_iter().map(Into::into).collect();
            self.look_up_restored(now, uid.into(), owners);
        });
        scan(Table::Event as u8, &mut |key, value| {
            let Some((key, record)) = Table::name(key).zip(record::read::<EventRecord>(value))
            else {
                restored.unreadable += 1;
                return;
            };
            restored.events += 1;
            self.event_restored(now, TraceKey::from_text(key), record);
        });
        scan(Table::Over as u8, &mut |key, value| {
            let trace = Table::name(key).and_then(TraceId::parse);
            let Some((trace, until)) = trace.zip(record::read::<u64>(value)) else {
                restored.unreadable += 1;
                return;
            };
            restored.events += 1;
            self.remember_until(Time::from_nanoseconds(until), trace, None);
        });
        scan(
            Table::Subject as u8,
            &mut |_, value| match record::read::<SubjectRecord>(value) {
                None => restored.unreadable += 1,
                Some(record) => {
                    let live = self.subject_restored(now, record, &numbers);
                    restored.live += u64::from(live);
                    restored.finished += u64::from(!live);
                }
            },
        );
        scan(Table::Attached as u8, &mut |key, value| {
            let Some((uid, record)) =
                Table::subject(key).zip(record::read::<AttachedRecord>(value))
            else {
                restored.unreadable += 1;
                return;
            };
            self.attached_restored(uid, record, &numbers);
        });
        if numbers.differ && self.changed.is_kept() {
            // The numbers of now must not be read together with those of then.
            self.changed.renumbered(self.subjects.keys().cloned());
            self.keep_all();
        }
        restored
    }

    /// Asks for the mappings of some of the objects that were restored or whose mapper was replaced; nothing is left to ask
    /// for if this is nothing.
    pub fn resume(&mut self, now: Time, limit: usize) -> Vec<Effect> {
        let now = self.advance(now);
        let mut asked = 0;
        while asked < limit {
            let Some(uid) = self.to_map.pop() else {
                break;
            };
            let before = self.effects.len();
            self.map_now(now, &uid);
            asked += usize::from(self.effects.len() > before);
        }
        self.ask_to_be_woken();
        std::mem::take(&mut self.effects)
    }

    /// Whether there are such objects that no mapping was asked for yet.
    #[must_use]
    pub fn is_resuming(&self) -> bool {
        !self.to_map.is_empty()
    }

    fn numbers(&self, scan: Scan<'_>) -> Numbers {
        let mut before = None;
        scan(Table::Catalog as u8, &mut |_, value| {
            before = record::read::<CatalogRecord>(value);
        });
        let Some(before) = before else {
            return Numbers::default();
        };
        let now = self.catalog_record();
        let mut numbers = Numbers {
            differ: before != now,
            ..Numbers::default()
        };
        let mut taken = BTreeSet::new();
        for (old, mapper, group, kind) in before.watches {
            // A mapper may have come or gone, or watch more or fewer kinds than before. Several watches of one kind stand in
            // the same order.
            let same = |watch: &&(WatchNumber, String, String, String)| {
                (&watch.1, &watch.2, &watch.3) == (&mapper, &group, &kind)
            };
            let mut watches = now.watches.iter();
            let next = watches.find(|watch| same(watch) && !taken.contains(&watch.0));
            if let Some((number, ..)) = next.or_else(|| now.watches.iter().find(same)) {
                taken.insert(*number);
                let (mapper, watch) = *number;
                numbers.watches.insert(old, WatchId { mapper, watch });
            }
        }
        for (old, selection) in before.sources {
            let same = now.sources.iter().find(|(_, now)| *now == selection);
            if let Some((number, _)) = same {
                numbers.sources.insert(old, SourceId(*number));
            }
        }
        numbers
    }

    fn look_up_restored(&mut self, now: Time, uid: Uid, owners: Vec<Owner>) {
        self.schedule.add(
            now.plus(super::intake::LOOKUP_MEMORY),
            Deadline::ForgetLookup(Uid::clone(&uid)),
        );
        self.lookups.insert(uid, Some(owners));
    }

    fn event_restored(&mut self, now: Time, key: TraceKey, record: EventRecord) {
        let exported = record.exported;
        let jobs = record.jobs.into_iter();
        let jobs = jobs.map(|(uid, run, job)| ((uid, run), job.into()));
        let event = Event::restored(exported, jobs.collect(), now);
        if exported {
            self.forget_jobs_later(now, &key);
        } else {
            let at = now.plus(self.settings.settle);
            self.schedule.add(at, Deadline::Event(key.clone()));
        }
        self.events.insert(key, event);
    }

    /// Says whether the subject is under way.
    fn subject_restored(&mut self, now: Time, record: SubjectRecord, numbers: &Numbers) -> bool {
        let is_live = matches!(record.life, LifeRecord::Live { .. });
        let (annotations, inputs) = match &record.life {
            LifeRecord::Live {
                annotations,
                inputs,
                ..
            } => (annotations.as_slice(), inputs.as_slice()),
            LifeRecord::Finished { .. } => (Default::default(), Default::default()),
        };
        let inputs = inputs
            .iter()
            .filter_map(|(watch, json)| Some((*numbers.watches.get(watch)?, Arc::clone(json))));
        let mut inputs: Vec<_> = inputs.collect();
        inputs.sort_unstable_by_key(|(watch, _)| self.catalog.rank(*watch));
        if is_live && inputs.is_empty() {
            // No mapper wants it any more; what is still there will be listed.
            let uid = record.key.unwrap_or_else(|| record.reference.uid());
            self.changed.subject(&uid);
            self.changed.renumbered(std::iter::once(uid));
            return false;
        }
        let version = record.version.map(|version| version.to_string());
        let mut object = Object {
            reference: record.reference.into(),
            resource_version: version.unwrap_or_default().into(),
            created: record.created.map(Time::from_nanoseconds),
            owners: record.owners.into_iter().map(Into::into).collect(),
            labels: record.labels.into_iter().collect(),
            annotations: annotations.iter().cloned().collect(),
            subject_of: inputs,
            attached_to: Vec::new(),
        };
        for (watch, json) in &object.subject_of {
            self.samples.see(*watch, None, json);
        }
        let (labels, annotations) = self.texts.share_object(&mut object);
        let uid = match record.key {
            None => Uid::clone(&object.reference.uid),
            Some(key) => {
                self.note_twin(&object.reference.uid, &key);
                key
            }
        };
        let mut subject = Box::new(Subject::new(Uid::clone(&uid), &object, now));
        for source in &record.out_of_sight {
            if let Some(source) = numbers.sources.get(source) {
                subject.lose_sight(*source);
            }
        }
        subject.first_seen = Time::from_nanoseconds(record.first_seen);
        subject.update(object, labels, annotations, &self.catalog, &self.samples);
        subject.deleted = record.deleted;
        subject.is_kept = true;
        match record.life {
            LifeRecord::Live { exported, .. } => {
                if !exported.is_empty() {
                    let runs = exported.into_iter().map(FinishedRun::from);
                    subject.life = Life::Runs(runs.map(Run::restored).collect());
                }
                self.schedule.add(
                    now.plus(self.settings.orphan_deadline),
                    Deadline::Orphan(Uid::clone(&uid)),
                );
                self.to_map.push(Uid::clone(&uid));
            }
            LifeRecord::Finished {
                runs,
                annotated,
                silence,
                latest_attached,
            } => {
                let runs: Box<[FinishedRun]> = runs.into_iter().map(Into::into).collect();
                if let Some(watch) = annotated.and_then(|watch| numbers.watches.get(&watch)) {
                    let run = runs.last().and_then(|run| run.adopter);
                    subject.annotated = run.map(|adopter| adopter.context);
                    subject.mapping.watch = Some(*watch);
                }
                subject.life = Life::Finished(Finished {
                    runs,
                    silence: silence.map(Into::into),
                    latest_attached: latest_attached.map(Time::from_nanoseconds),
                    // There would be no record of it.
                    passed_over: false,
                });
                if subject.deleted {
                    self.forget_later(now, &uid);
                }
            }
        }
        for source in &record.sources {
            if let Some(source) = numbers.sources.get(source) {
                let uids = self.by_source.entry(*source).or_default();
                uids.insert(Uid::clone(&uid));
            }
        }
        self.subjects.insert(Uid::clone(&uid), subject);
        // Nobody waits yet.
        let _ = self.note_names(&uid);
        self.note_mapped(&uid);
        is_live
    }

    fn attached_restored(&mut self, uid: &str, record: AttachedRecord, numbers: &Numbers) {
        let Some(watch) = numbers.watches.get(&record.watch) else {
            return;
        };
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if matches!(subject.life, Life::Finished(_)) {
            return;
        }
        self.samples
            .see(*watch, Some(record.attachment), &record.json);
        let key = record.key(*watch);
        let object = AttachedObject {
            version: Version::from_number(record.version),
            json: record.json,
        };
        subject.attach(key, object, &self.samples, |_| {});
    }
}

impl Run {
    /// A run that was exported.
    fn restored(run: FinishedRun) -> Self {
        let resolution = match run.adopter {
            None => Resolution::Unrelated,
            Some(adopter) => Resolution::Resolved(Place {
                own: adopter.context,
                parent: None,
                parent_object: run.parent,
                depth: adopter.depth,
                event: run.event,
                replaces: None,
                received: adopter.received,
                orphan: None,
                by_deadline: adopter.by_deadline,
                cyclic: false,
                too_old: adopter.too_old,
            }),
        };
        Self {
            sketch: Sketch {
                run: run.run,
                parents: Box::default(),
                bounds: Bounds {
                    start: run.start,
                    end: run.start,
                },
                error_type: None,
                may_annotate: false,
                children: run.children,
            },
            tree: None,
            resolution,
            ended: Some(run.start),
            ended_at_first_sight: false,
            exported: true,
            plain: false,
            counted: None,
        }
    }
}
