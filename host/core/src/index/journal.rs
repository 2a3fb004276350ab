//! What must survive a restart: noted where it changes, written when it is asked for.
//!
//! What is written at one time belongs together: it is the state after the facts so far, and nothing of it may be kept
//! without the rest. Spans that were given to be exported before are exported in that state, so that they must be
//! kept with it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Index;
use super::attached::AttachedKey;
use super::record::{
    self, AttachedRecord, CatalogRecord, EventRecord, JobRecord, LifeRecord, LookupRecord,
    RunRecord, SubjectRecord, Table,
};
use super::run::Run;
use super::subject::{FinishedRun, Life, Subject};
use crate::description::ObjectSource;
use crate::identity::{TraceId, TraceKey};
use crate::object::{SourceId, Uid};
use crate::time::Time;

/// A change of what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This key has this value now.
    Put(Vec<u8>, Vec<u8>),
    /// There is no such key any more.
    Remove(Vec<u8>),
    /// No key begins so any more.
    RemoveAll(Vec<u8>),
    /// This webhook, by the number that it came with, need not be kept any more.
    WebhookDone(u64),
}

/// What has changed since it was written last.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Whether anybody wants to know.
    is_kept: bool,
    /// Something that cannot be found in the cluster again.
    is_urgent: bool,
    catalog_written: bool,
    subjects: HashSet<Uid>,
    attached: HashMap<Uid, BTreeSet<AttachedKey>>,
    /// Subjects whose attached objects are all gone, before others came.
    emptied: Vec<Uid>,
    events: HashSet<TraceKey>,
    over: HashSet<TraceId>,
    lookups: HashSet<Uid>,
    webhooks: Vec<u64>,
    /// How many events need a webhook.
    uses: HashMap<u64, u32>,
}

impl Changed {
    /// Whether anybody wants to know.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The numbers of watches and sources mean something else now.
    pub(super) fn catalog(&mut self) {
        self.catalog_written = false;
    }

    /// What came along with these subjects was written with other numbers.
    pub(super) fn renumbered(&mut self, uids: impl Iterator<Item = Uid>) {
        if self.is_kept {
            self.emptied.extend(uids);
        }
    }

    /// A subject is another one now.
    pub(super) fn subject(&mut self, uid: &Uid) {
        if self.is_kept && !self.subjects.contains(uid) {
            self.subjects.insert(Uid::clone(uid));
        }
    }

    /// A subject has changed in a way that the cluster will not tell again.
    pub(super) fn subject_for_good(&mut self, uid: &Uid) {
        self.subject(uid);
        self.is_urgent = self.is_kept;
    }

    /// An attached object of a subject is another one now.
    pub(super) fn attached(&mut self, uid: &Uid, key: &AttachedKey) {
        if self.is_kept {
            let keys = self.attached.entry(Uid::clone(uid)).or_default();
            keys.insert(key.clone());
        }
    }

    /// A subject is called by another key, and so is what came along with it.
    pub(super) fn renamed<'a>(
        &mut self,
        from: &Uid,
        to: &Uid,
        attached: impl Iterator<Item = &'a AttachedKey>,
    ) {
        if self.is_kept {
            self.attached.remove(from);
            self.emptied.push(Uid::clone(from));
            for key in attached {
                self.attached(to, key);
            }
            self.subject(from);
            self.subject(to);
        }
    }

    /// A git event is another one now.
    pub(super) fn event(&mut self, key: &TraceKey) {
        if self.is_kept {
            self.events.insert(key.clone());
            self.is_urgent = true;
        }
    }

    /// An event is over, or that it was is forgotten.
    pub(super) fn over(&mut self, trace: TraceId) {
        if self.is_kept {
            self.over.insert(trace);
        }
    }

    /// A look-up was answered, or forgotten.
    pub(super) fn lookup(&mut self, uid: &Uid) {
        if self.is_kept {
            self.lookups.insert(Uid::clone(uid));
        }
    }

    /// An event needs a webhook.
    pub(super) fn use_webhook(&mut self, number: u64) {
        *self.uses.entry(number).or_default() += 1;
    }

    /// Something does not need a webhook any more, or never did.
    pub(super) fn webhook_unused(&mut self, number: u64) {
        let uses = self.uses.get(&number).copied().unwrap_or_default();
        if uses > 1 {
            self.uses.insert(number, uses - 1);
            return;
        }
        self.uses.remove(&number);
        if self.is_kept {
            self.webhooks.push(number);
        }
    }
}

impl Index {
    /// From now on notes what changes; [`Self::changes`] tells.
    pub fn keep_journal(&mut self) {
        self.changed.is_kept = true;
    }

    /// Notes all there is as changed: what was written before is lost.
    pub fn keep_all(&mut self) {
        let changed = &mut self.changed;
        changed.is_kept = true;
        changed.is_urgent = true;
        changed.catalog_written = false;
        for subject in self.subjects.values_mut() {
            subject.is_kept = false;
        }
        changed.subjects = self.subjects.keys().cloned().collect();
        changed.events = self.events.keys().cloned().collect();
        changed.over = self.over.traces().collect();
        changed.lookups = self.lookups.keys().cloned().collect();
        changed.attached = self
            .subjects
            .iter()
            .map(|(uid, subject)| {
                let keys = subject.attached.keys().cloned();
                (Uid::clone(uid), keys.collect())
            })
            .collect();
    }

    /// Whether something has changed that must be written.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        let changed = &self.changed;
        self.must_be_kept()
            || !changed.subjects.is_empty()
            || !changed.attached.is_empty()
            || !changed.over.is_empty()
            || !changed.lookups.is_empty()
            || !changed.webhooks.is_empty()
    }

    /// Whether something has changed that must be written soon, because the cluster cannot tell of it again.
    #[must_use]
    pub fn must_be_kept(&self) -> bool {
        self.changed.is_urgent
    }

    /// What has changed since this was called last.
    pub fn changes(&mut self) -> Vec<Change> {
        let changed = &mut self.changed;
        let subjects = std::mem::take(&mut changed.subjects);
        let attached = std::mem::take(&mut changed.attached);
        let emptied = std::mem::take(&mut changed.emptied);
        let events = std::mem::take(&mut changed.events);
        let over = std::mem::take(&mut changed.over);
        let lookups = std::mem::take(&mut changed.lookups);
        let webhooks = std::mem::take(&mut changed.webhooks);
        let catalog = !std::mem::replace(&mut changed.catalog_written, true);
        changed.is_urgent = false;

        let mut changes = Vec::with_capacity(subjects.len() + attached.len() + events.len());
        if catalog {
            let record = self.catalog_record();
            changes.push(Change::Put(Table::Catalog.key(""), record::write(&record)));
        }
        for uid in emptied {
            changes.push(Change::RemoveAll(Table::attached_to(&uid)));
        }
        for uid in subjects {
            let key = Table::Subject.key(&uid);
            let Some(subject) = self.subjects.get_mut(&uid) else {
                changes.push(Change::Remove(key));
                continue;
            };
            let was_kept = std::mem::replace(&mut subject.is_kept, true);
            if let Life::Finished(finished) = &subject.life {
                subject.is_kept = !finished.passed_over;
                if was_kept {
                    changes.push(Change::RemoveAll(Table::attached_to(&uid)));
                }
                if finished.passed_over {
                    if was_kept {
                        changes.push(Change::Remove(key));
                    }
                    continue;
                }
            }
            let Some(subject) = self.subjects.get(&uid) else {
                continue;
            };
            let record = self.subject_record(subject);
            changes.push(Change::Put(key, record::write(&record)));
        }
        for (uid, keys) in attached {
            let Some(subject) = self.subjects.get(&uid) else {
                continue;
            };
            if matches!(subject.life, Life::Finished(_)) {
                continue;
            }
            for key in keys {
                let row = Table::attached(&uid, &key);
                changes.push(match subject.attached.get(&key, &self.samples) {
                    None => Change::Remove(row),
                    Some(object) => {
                        let record = AttachedRecord {
                            watch: record::number(key.watch),
                            attachment: key.attachment,
                            created: key.created.map(Time::nanoseconds),
                            uid: key.uid.to_string().into(),
                            version: object.version.number(),
                            json: object.json,
                        };
                        Change::Put(row, record::write(&record))
                    }
                });
            }
        }
        for key in events {
            let row = Table::Event.key(key.as_str());
            changes.push(match self.events.get(&key) {
                Some(event) if event.is_worth_keeping() => {
                    let jobs = event.exported_jobs();
                    let record = EventRecord {
                        exported: event.is_exported(),
                        jobs: jobs
                            .map(|((uid, run), job)| (Uid::clone(uid), run.clone(), job.into()))
                            .collect::<Vec<(Uid, String, JobRecord)>>(),
                    };
                    Change::Put(row, record::write(&record))
                }
                Some(_) | None => Change::Remove(row),
            });
        }
        for trace in over {
            let row = Table::Over.key(&trace.to_string());
            changes.push(match self.over.until(trace) {
                Some(until) => Change::Put(row, record::write(&until.nanoseconds())),
                None => Change::Remove(row),
            });
        }
        for uid in lookups {
            let row = Table::Lookup.key(&uid);
            changes.push(match self.lookups.get(&uid) {
                Some(Some(owners)) => {
                    let record: LookupRecord = owners.iter().map(Into::into).collect();
                    Change::Put(row, record::write(&record))
                }
                Some(None) | None => Change::Remove(row),
            });
        }
        changes.extend(webhooks.into_iter().map(Change::WebhookDone));
        changes
    }

    pub(super) fn catalog_record(&self) -> CatalogRecord {
        let watches = self.catalog.watches();
        CatalogRecord {
            watches: watches
                .map(|(watch, mapper, kind)| {
                    let number = record::number(watch);
                    (
                        number,
                        mapper.to_owned(),
                        kind.group.to_string(),
                        kind.kind.to_string(),
                    )
                })
                .collect(),
            sources: self
                .catalog
                .sources()
                .map(|(id, source)| (id.0, selection(source)))
                .collect(),
        }
    }

    fn subject_record(&self, subject: &Subject) -> SubjectRecord {
        let key = &subject.key;
        let pairs = |pairs: &super::texts::Pairs| {
            let pairs = pairs.iter().map(|(key, value)| (key.into(), value.into()));
            pairs.collect()
        };
        let life = match &subject.life {
            Life::Finished(finished) => LifeRecord::Finished {
                runs: finished.runs.iter().map(RunRecord::from).collect(),
                annotated: subject
                    .annotated
                    .and(subject.mapping.watch)
                    .map(record::number),
                silence: finished.silence.map(Into::into),
                latest_attached: finished.latest_attached.map(Time::nanoseconds),
            },
            life => LifeRecord::Live {
                annotations: pairs(&subject.annotations),
                inputs: subject
                    .inputs
                    .iter()
                    .map(|(watch, json)| {
                        let like = self.samples.of(*watch, None);
                        (record::number(*watch), json.text(like))
                    })
                    .collect(),
                exported: exported(life)
                    .map(|run| RunRecord::from(&FinishedRun::of(run)))
                    .collect(),
            },
        };
        let sources = self.by_source.iter();
        let out_of_sight = subject.out_of_sight.iter();
        SubjectRecord {
            key: (*key != subject.reference.uid).then(|| Uid::clone(key)),
            out_of_sight: out_of_sight.map(|source| source.0).collect(),
            reference: (&subject.reference).into(),
            version: subject.version.number(),
            created: subject.created.map(Time::nanoseconds),
            owners: subject.owners.iter().map(Into::into).collect(),
            labels: pairs(&subject.labels),
            first_seen: subject.first_seen.nanoseconds(),
            deleted: subject.deleted,
            sources: sources
                .filter(|(_, known)| known.contains(key))
                .map(|(SourceId(number), _)| *number)
                .collect(),
            life,
        }
    }
}

fn exported(life: &Life) -> impl Iterator<Item = &Run> {
    let runs = match life {
        Life::Runs(runs) => runs.as_slice(),
        _ => &[],
    };
    runs.iter().filter(|run| run.exported)
}

/// What a source selects, as text: the versions of a kind do not matter.
pub(super) fn selection(source: &ObjectSource) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}\n{}\n{}\n{}",
        source.group,
        source.kind,
        text(&source.label_selector),
        text(&source.field_selector)
    )
}
