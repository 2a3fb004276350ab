//! Finds objects by name and by label, and those that wait for them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Index;
use super::few::Few;
use super::resolve::Want;
use super::subject::Subject;
use crate::mapping::{Parent, SpanTree};
use crate::object::{GroupKind, Uid};
use crate::time::Time;

/// Name of an object within its kind: namespace and name.
type Name = (GroupKind, Option<Arc<str>>, Arc<str>);

/// Objects by name and by label.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Of several objects of one name, of which all but one are gone, the newest.
    by_name: HashMap<Name, Uid>,
    /// Objects by the labels that some mapper has asked for and no others, the oldest first.
    by_label: BTreeMap<Want, Few<(Option<Time>, Uid)>>,
    label_keys: BTreeMap<GroupKind, BTreeSet<Arc<str>>>,
    /// Who is to be told when something appears or changes.
    waiting: HashMap<Want, Few<Uid>>,
}

impl Names {
    fn labels<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = Want> + 'a {
        let kind = &subject.reference.kind;
        let namespace = &subject.reference.namespace;
        self.label_keys.get(kind).into_iter().flat_map(|keys| {
            let labels = subject.labels.iter();
            labels.filter_map(|(key, value)| {
                let key = Arc::clone(keys.get(key)?);
                Some(Want::Label(
                    kind.clone(),
                    namespace.clone(),
                    key,
                    value.into(),
                ))
            })
        })
    }

    fn wait(&mut self, uid: &Uid, wants: &[Want]) {
        for want in wants {
            let waiting = self.waiting.entry(want.clone()).or_default();
            waiting.insert(Uid::clone(uid));
        }
    }

    fn stop_waiting(&mut self, uid: &Uid, wants: &[Want]) {
        for want in wants {
            if let Some(waiting) = self.waiting.get_mut(want) {
                waiting.remove(uid);
                if waiting.is_empty() {
                    self.waiting.remove(want);
                }
            }
        }
    }

    /// Who waits for this.
    pub(super) fn waiting_for(&self, want: &Want) -> impl Iterator<Item = Uid> + '_ {
        let waiting = self.waiting.get(want).into_iter();
        waiting.flat_map(Few::iter).cloned()
    }
}

impl Index {
    /// The newest object of this name.
    pub(super) fn named(
        &self,
        kind: &GroupKind,
        namespace: Option<&Arc<str>>,
        name: &Arc<str>,
    ) -> Option<&Subject> {
        let name = (kind.clone(), namespace.cloned(), Arc::clone(name));
        let subject = self.subjects.get(self.names.by_name.get(&name)?)?;
        Some(subject)
    }

    /// The objects that have this label, the oldest first.
    pub(super) fn labelled(&self, want: &Want) -> impl Iterator<Item = &Subject> {
        let uids = self.names.by_label.get(want).into_iter();
        let uids = uids.flat_map(Few::iter);
        uids.filter_map(|(_, uid)| Some(&**self.subjects.get(uid)?))
    }

    /// Notes name and labels of an object; gives those who waited for them.
    pub(super) fn note_names(&mut self, uid: &Uid) -> Vec<Uid> {
        let Some(subject) = self.subjects.get(uid) else {
            return Vec::new();
        };
        let reference = &subject.reference;
        let name = (
            reference.kind.clone(),
            reference.namespace.clone(),
            Arc::clone(&reference.name),
        );
        let known = self.names.by_name.get(&name);
        let is_newest = known
            .filter(|known| *known != uid)
            .and_then(|known| self.subjects.get(known))
            .is_none_or(|known| (known.created, &known.key) < (subject.created, &subject.key));
        let labels: Vec<Want> = self.names.labels(subject).collect();
        let mut wants = vec![
            Want::Uid(Uid::clone(uid)),
            Want::Name(name.0.clone(), name.1.clone(), Arc::clone(&name.2)),
        ];
        if reference.uid != *uid {
            wants.push(Want::Uid(Uid::clone(&reference.uid)));
        }
        let place = (subject.created, Uid::clone(uid));
        if is_newest {
            self.names.by_name.insert(name, Uid::clone(uid));
        }
        for label in labels {
            let labelled = self.names.by_label.entry(label.clone()).or_default();
            labelled.insert(place.clone());
            wants.push(label);
        }
        wants
            .iter()
            .flat_map(|want| self.names.waiting_for(want))
            .collect()
    }

    /// Forgets the labels of an object that is about to be changed or forgotten; gives those who waited for them.
    pub(super) fn drop_labels(&mut self, uid: &Uid) -> Vec<Uid> {
        let Some(subject) = self.subjects.get(uid) else {
            return Vec::new();
        };
        let place = (subject.created, Uid::clone(uid));
        let labels: Vec<Want> = self.names.labels(subject).collect();
        let mut waiting = Vec::new();
        for label in labels {
            if let Some(labelled) = self.names.by_label.get_mut(&label) {
                labelled.remove(&place);
                if labelled.is_empty() {
                    self.names.by_label.remove(&label);
                }
            }
            waiting.extend(self.names.waiting_for(&label));
        }
        waiting
    }

    /// Forgets all that leads to an object.
    pub(super) fn drop_names(&mut self, uid: &Uid) {
        self.drop_labels(uid);
        let Some(subject) = self.subjects.get(uid) else {
            return;
        };
        let reference = &subject.reference;
        let name = (
            reference.kind.clone(),
            reference.namespace.clone(),
            Arc::clone(&reference.name),
        );
        if self.names.by_name.get(&name) == Some(uid) {
            self.names.by_name.remove(&name);
        }
        self.names.stop_waiting(uid, &subject.waits_for);
        shrink(&mut self.names.by_name);
        shrink(&mut self.names.waiting);
    }

    /// Sees to it that objects are found by the labels that a tree's candidates name. The first tree that names a
    /// key costs a look at all objects, the others nothing.
    pub(super) fn note_label_keys(&mut self, tree: &SpanTree) {
        for parent in &tree.parents {
            let Parent::Labelled(wanted) = parent else {
                continue;
            };
            let Some((key, _)) = wanted.labels.first() else {
                continue;
            };
            let kind = GroupKind {
                group: wanted.group.as_str().into(),
                kind: wanted.kind.as_str().into(),
            };
            let key: Arc<str> = key.as_str().into();
            let keys = self.names.label_keys.entry(kind.clone()).or_default();
            let is_new = keys.insert(Arc::clone(&key));
            if !is_new {
                continue;
            }
            for (uid, subject) in &self.subjects {
                if subject.reference.kind != kind {
                    continue;
                }
                if let Some(value) = subject.labels.get(&key) {
                    let namespace = subject.reference.namespace.clone();
                    let label =
                        Want::Label(kind.clone(), namespace, Arc::clone(&key), value.into());
                    let labelled = self.names.by_label.entry(label).or_default();
                    labelled.insert((subject.created, Uid::clone(uid)));
                }
            }
        }
    }

    /// Replaces what an object waits for.
    pub(super) fn set_waits(&mut self, uid: &Uid, wants: BTreeSet<Want>) {
        let Some(subject) = self.subjects.get_mut(uid) else {
            return;
        };
        if subject.waits_for.iter().eq(&wants) {
            return;
        }
        let wants: Box<[Want]> = wants.into_iter().collect();
        let before = std::mem::replace(&mut subject.waits_for, wants.clone());
        self.names.stop_waiting(uid, &before);
        self.names.wait(uid, &wants);
    }
}

/// Gives back what a map that has become small does not need any more.
pub(super) fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 8 * map.len().max(64) {
        map.shrink_to(2 * map.len());
    }
}
