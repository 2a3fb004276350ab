//! The objects, and what changed since when. Pure state: no I/O, no clock.
//!
//! Every change has a resource version one greater than the one before, over all kinds, as etcd's revisions. The
//! history of changes is bounded; what it no longer reaches back to is *compacted* and answered with 410 Gone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use lighthouse_telemetry_core::catalog::group_version;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::resource::{Resource, ResourceKey};
use super::selector::Selector;

/// How many changes the history keeps. Far more than a demo or a test makes; a watch that lags behind by more
/// than that is told 410 Gone, as by a real server.
const HISTORY: usize = 100_000;

/// Names an object; in the order in which they are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectKey {
    pub(super) resource: ResourceKey,
    /// Empty for a cluster-wide object.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// One version of an object.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) value: Value,
    /// The same as JSON text.
    pub(super) text: Bytes,
}

impl Stored {
    fn revision(&self) -> Option<u64> {
        let version = self.value.pointer("/metadata/resourceVersion")?;
        version.as_str()?.parse().ok()
    }
}

/// A change of an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: ObjectKey,
    pub(super) before: Option<Arc<Stored>>,
    /// After the change; of a deleted object its last state with the resource version of the deletion.
    pub(super) now: Arc<Stored>,
    pub(super) deleted: bool,
}

#[derive(Debug)]
struct Kept {
    stored: Arc<Stored>,
    /// Metadata of the last [`Store::apply`]: labels and annotations that are not from there are somebody else's.
    applied: Option<Value>,
}

#[derive(Debug)]
pub(super) struct Store {
    resources: Vec<Resource>,
    objects: BTreeMap<ObjectKey, Kept>,
    history: VecDeque<Change>,
    revision: u64,
    /// What was before this resource version cannot be told any more.
    compacted: u64,
}

impl Store {
    pub(super) fn new(resources: Vec<Resource>) -> Self {
        Self {
            resources,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            // A list of nothing needs a resource version to watch from, and 0 means "any" in a request.
            revision: 1,
            compacted: 0,
        }
    }

    pub(super) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Resource version of the newest change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Forgets all history.
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
    }

    pub(super) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        let mut resources = self.resources.iter();
        resources.find(|resource| resource.plural == plural && resource.serves(group, version))
    }

    pub(super) fn resource_of_kind(&self, group: &str, kind: &str) -> Option<&Resource> {
        let mut resources = self.resources.iter();
        resources.find(|resource| resource.kind == kind && resource.group == group)
    }

    /// Serves a kind, or one more version of it, from now on.
    pub(super) fn serve(&mut self, resource: Resource) {
        let known = self
            .resources
            .iter_mut()
            .find(|known| known.kind == resource.kind && known.group == resource.group);
        match known {
            None => self.resources.push(resource),
            Some(known) => {
                for version in resource.versions {
                    if !known.versions.contains(&version) {
                        known.versions.push(version);
                    }
                }
            }
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.objects.get(key).map(|kept| &kept.stored)
    }

    /// The objects of a resource, in one namespace or all. Only those after a namespace and name, if there are some.
    pub(super) fn objects<'store>(
        &'store self,
        resource: &'store ResourceKey,
        namespace: Option<&'store str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = (&'store ObjectKey, &'store Arc<Stored>)> {
        let key = |namespace: &str, name: &str| ObjectKey {
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let start = match after {
            Some((namespace, name)) => Bound::Excluded(key(namespace, name)),
            None => Bound::Included(key(namespace.unwrap_or_default(), "")),
        };
        self.objects
            .range((start, Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.resource == *resource && namespace.is_none_or(|wanted| wanted == key.namespace)
            })
            .map(|(key, kept)| (key, &kept.stored))
    }

    /// The changes after a resource version, oldest first.
    ///
    /// # Errors
    /// If the history does not reach back that far.
    pub(super) fn changes_after(
        &self,
        revision: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &Change>, Failure> {
        if revision < self.compacted {
            return Err(Failure::expired(revision, self.compacted));
        }
        let start = self
            .history
            .partition_point(|change| change.revision <= revision);
        Ok(self.history.range(start..))
    }

    /// Resource version of the newest change that concerns a selector; 0 if there is none.
    pub(super) fn newest(&self, resource: &ResourceKey, selector: &Selector) -> u64 {
        let newest = self.history.iter().rev().find(|change| {
            let before = change.before.as_ref();
            change.key.resource == *resource
                && (selector.selects(&change.now.value)
                    || before.is_some_and(|before| selector.selects(&before.value)))
        });
        // What exists and is not in the history is older than all that is.
        newest.map_or_else(
            || {
                self.objects(resource, None, None)
                    .filter(|(_, stored)| selector.selects(&stored.value))
                    .filter_map(|(_, stored)| stored.revision())
                    .max()
                    .unwrap_or_default()
            },
            |change| change.revision,
        )
    }

    /// Replaces an object by a state that a controller recorded. Labels and annotations that others set in the
    /// meantime stay, since a controller writes back what it has read. A kind that is not served yet is from
    /// now on. Returns the resource version.
    pub(super) fn apply(&mut self, mut object: Value) -> Result<u64, Failure> {
        let key = self.key_of_recorded(&object)?;
        let applied = object.get("metadata").cloned();
        if let Some(kept) = self.objects.get(&key) {
            carry_over(&mut object, &kept.stored.value, kept.applied.as_ref());
        }
        self.write(key.clone(), object)?;
        if let Some(kept) = self.objects.get_mut(&key) {
            kept.applied = applied;
        }
        Ok(self.revision)
    }

    /// Where an object belongs that says so itself; serves its kind if nobody did.
    pub(super) fn key_of_recorded(&mut self, object: &Value) -> Result<ObjectKey, Failure> {
        let text = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let need = |pointer| {
            text(pointer)
                .ok_or_else(|| Failure::bad_request(format!("the object has no {pointer}")))
        };
        let (group, version) = group_version(need("/apiVersion")?);
        let kind = need("/kind")?;
        let namespace = text("/metadata/namespace");
        self.serve(if namespace.is_some() {
            Resource::namespaced(group, &[version], kind)
        } else {
            Resource::cluster_wide(group, &[version], kind)
        });
        let resource = self
            .resource_of_kind(group, kind)
            .ok_or_else(Failure::no_such_path)?;
        Ok(ObjectKey {
            resource: resource.key(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: need("/metadata/name")?.to_owned(),
        })
    }

    /// Creates or replaces an object. Nothing happens if it is the same already.
    pub(super) fn write(
        &mut self,
        key: ObjectKey,
        mut object: Value,
    ) -> Result<Arc<Stored>, Failure> {
        let (before, applied) = match self.objects.get(&key) {
            Some(kept) => (Some(Arc::clone(&kept.stored)), kept.applied.clone()),
            None => (None, None),
        };
        if let Some(before) = &before
            && let Some(revision) = before.revision()
        {
            set_resource_version(&mut object, revision)?;
            if before.value == object {
                return Ok(Arc::clone(before));
            }
        }
        let now = self.next_version(object)?;
        self.objects.insert(
            key.clone(),
            Kept {
                stored: Arc::clone(&now),
                applied,
            },
        );
        self.remember(key, before, Arc::clone(&now), false);
        Ok(now)
    }

    /// Deletes an object; returns its last state.
    pub(super) fn delete(&mut self, key: &ObjectKey) -> Result<Arc<Stored>, Failure> {
        let kept = self
            .objects
            .remove(key)
            .ok_or_else(|| Failure::no_such_object(&key.resource.to_string(), &key.name))?;
        let last = self.next_version(kept.stored.value.clone())?;
        self.remember(key.clone(), Some(kept.stored), Arc::clone(&last), true);
        Ok(last)
    }

    fn next_version(&mut self, mut object: Value) -> Result<Arc<Stored>, Failure> {
        set_resource_version(&mut object, self.revision + 1)?;
        self.revision += 1;
        Ok(Arc::new(Stored {
            text: object.to_string().into(),
            value: object,
        }))
    }

    fn remember(
        &mut self,
        key: ObjectKey,
        before: Option<Arc<Stored>>,
        now: Arc<Stored>,
        deleted: bool,
    ) {
        self.history.push_back(Change {
            revision: self.revision,
            key,
            before,
            now,
            deleted,
        });
        while self.history.len() > HISTORY {
            self.compacted = self
                .history
                .pop_front()
                .map_or(self.revision, |change| change.revision);
        }
    }

    /// A uid in the form of a random one, the same in every run for the same object in the same history.
    pub(super) fn new_uid(&self, key: &ObjectKey) -> String {
        let named = format!(
            "{}/{}/{}@{}",
            key.resource, key.namespace, key.name, self.revision
        );
        let digest = hex::encode(Sha256::digest(named.as_bytes()));
        let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-8{}-{}",
            part(0, 8),
            part(8, 12),
            part(12, 15),
            part(15, 18),
            part(18, 30)
        )
    }
}

fn set_resource_version(object: &mut Value, revision: u64) -> Result<(), Failure> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata
        .ok_or_else(|| Failure::bad_request("the object has no metadata"))?
        .insert("resourceVersion".to_owned(), json!(revision.to_string()));
    Ok(())
}

/// Copies labels and annotations of `current` that whoever applies has not touched: those that the new state leaves
/// as they were in the last.
fn carry_over(object: &mut Value, current: &Value, applied: Option<&Value>) {
    for field in ["labels", "annotations"] {
        let others: Map<String, Value> = current
            .pointer("/metadata")
            .and_then(|metadata| metadata.get(field)?.as_object())
            .into_iter()
            .flatten()
            .filter(|(key, _)| {
                let last = applied.and_then(|applied| applied.get(field)?.get(key));
                let new = object
                    .pointer("/metadata")
                    .and_then(|new| new.get(field)?.get(key));
                last == new
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata.filter(|_| !others.is_empty())
            && let Some(members) = metadata
                .entry(field)
                .or_insert_with(|| json!({}))
                .as_object_mut()
        {
            for (key, value) in others {
                members.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, annotations: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
               "metadata": {"name": name, "namespace": "jx", "uid": name, "annotations": annotations}})
    }

    fn store() -> Store {
        Store::new(Resource::of_jenkins_x())
    }

    #[test]
    fn resource_versions_grow_by_one_over_all_kinds_and_sameness_is_no_change() {
        let mut store = store();
        assert_eq!(store.apply(pod("a", json!({}))), Ok(2));
        assert_eq!(store.apply(pod("b", json!({}))), Ok(3));
        assert_eq!(store.apply(pod("a", json!({}))), Ok(3));
        let key = store.key_of_recorded(&pod("a", json!({}))).unwrap();
        let last = store.delete(&key).unwrap();
        assert_eq!(last.value["metadata"]["resourceVersion"], "4");
        let changes: Vec<_> = store.changes_after(1).unwrap().collect();
        assert_eq!(
            changes
                .iter()
                .map(|change| (change.revision, change.deleted))
                .collect::<Vec<_>>(),
            [(2, false), (3, false), (4, true)]
        );
        assert!(store.delete(&key).is_err());
    }

    #[test]
    fn an_applied_state_keeps_what_others_annotated_and_drops_its_own() {
        let mut store = store();
        store
            .apply(pod("a", json!({"own": "1", "stays": "1"})))
            .unwrap();
        let key = store.key_of_recorded(&pod("a", json!({}))).unwrap();
        store
            .write(
                key.clone(),
                pod("a", json!({"own": "1", "stays": "1", "patched": "x"})),
            )
            .unwrap();
        store.apply(pod("a", json!({"stays": "2"}))).unwrap();
        store.apply(pod("a", json!({"stays": "3"}))).unwrap();
        let annotations = &store.get(&key).unwrap().value["metadata"]["annotations"];
        assert_eq!(*annotations, json!({"stays": "3", "patched": "x"}));
    }

    #[test]
    fn what_is_compacted_is_gone() {
        let mut store = store();
        for name in ["a", "b", "c"] {
            store.apply(pod(name, json!({}))).unwrap();
        }
        assert_eq!(store.changes_after(3).unwrap().count(), 1);
        store.compact();
        assert_eq!(store.changes_after(4).unwrap().count(), 0);
        let failure = store.changes_after(3).err().unwrap();
        assert_eq!((failure.code.as_u16(), failure.reason), (410, "Expired"));
    }

    #[test]
    fn an_unknown_kind_is_served_from_its_first_object_on() {
        let mut store = store();
        assert!(store.resource("shop.example", "v1", "policies").is_none());
        let policy = json!({"apiVersion": "shop.example/v1", "kind": "Policy",
                            "metadata": {"name": "a", "namespace": "jx", "uid": "u"}});
        store.apply(policy).unwrap();
        assert!(store.resource("shop.example", "v1", "policies").is_some());
        assert!(store.apply(json!({"kind": "Pod"})).is_err());
    }

    #[test]
    fn new_uids_look_random_and_differ() {
        let mut store = store();
        let a = store.key_of_recorded(&pod("a", json!({}))).unwrap();
        let b = store.key_of_recorded(&pod("b", json!({}))).unwrap();
        assert_ne!(store.new_uid(&a), store.new_uid(&b));
        assert_eq!(store.new_uid(&a).len(), 36);
    }
}
