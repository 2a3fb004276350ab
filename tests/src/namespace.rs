//! A namespace of a real cluster, into which the objects of a scenario are written as their controllers would.
//!
//! The server gives uids and creation times of its own. What it gave is kept, so that the same scenario can be played
//! elsewhere with exactly the server's.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use lighthouse_telemetry_core::catalog::group_version;
use serde_json::{Map, Value, json};

use crate::cluster::{request, string};
use crate::outcome::{added_annotations, title};

/// A namespace, and what the server made of the scenario's objects in it.
pub struct Namespace {
    client: kube::Client,
    name: String,
    objects: BTreeMap<String, Written>,
}

#[derive(Debug)]
struct Written {
    /// As the scenario has it.
    state: Value,
    uid: String,
    created: Value,
    /// When the object was asked to be deleted, and how much grace there was, as the server wrote it.
    deletion: Value,
    deleted: bool,
}

impl Namespace {
    /// Creates it.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create(client: &kube::Client, name: &str) -> Result<Self> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        request(client, "POST", "/api/v1/namespaces", Some(&body)).await?;
        Ok(Self {
            client: client.clone(),
            name: name.to_owned(),
            objects: BTreeMap::new(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the object like this: creates it, or changes what changed since the scenario's last state.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn apply(&mut self, object: &Value) -> Result<()> {
        let alias = string(object, "/metadata/uid")?;
        let context = || format!("writing {}", title(object));
        if self.objects.contains_key(&alias) {
            self.change(&alias, object).await.with_context(context)
        } else {
            self.create_object(alias, object)
                .await
                .with_context(context)
        }
    }

    /// Deletes the object at once.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn delete(&mut self, object: &Value) -> Result<()> {
        let alias = string(object, "/metadata/uid")?;
        let written = self.objects.get(&alias);
        if written.context("deleted before it was created")?.deleted {
            return Ok(());
        }
        self.request_deletion(&alias, object, 0).await
    }

    /// Asks for the object to be deleted after so many seconds of grace.
    async fn request_deletion(&mut self, alias: &str, object: &Value, grace: i64) -> Result<()> {
        let path = self.path(object)?;
        let options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace});
        let answer = request(&self.client, "DELETE", &path, Some(&options)).await?;
        let written = self
            .objects
            .get_mut(alias)
            .context("deleted before it was created")?;
        written.deleted = grace == 0;
        for key in DELETION {
            if let Some(value) = answer.pointer(&format!("/metadata/{key}")) {
                json_patch::merge(&mut written.deletion, &json!({key: value}));
            }
        }
        Ok(())
    }

    /// The object as the server has it: its uids, its creation time, this namespace.
    ///
    /// # Errors
    /// If the object was never written.
    pub fn as_served(&self, object: &Value) -> Result<Value> {
        let alias = string(object, "/metadata/uid")?;
        let written = self.objects.get(&alias).context("never written")?;
        let mut object = self.translated(object)?;
        let metadata = object.pointer_mut("/metadata").context("no metadata")?;
        json_patch::merge(metadata, &json!({"creationTimestamp": written.created}));
        if is_terminating(metadata) {
            json_patch::merge(metadata, &written.deletion);
        }
        Ok(object)
    }

    /// The object when it was deleted, as the server had it.
    ///
    /// # Errors
    /// If the object was never written.
    pub fn as_deleted(&self, object: &Value) -> Result<Value> {
        let mut served = self.as_served(object)?;
        let alias = string(object, "/metadata/uid")?;
        if let (Some(written), Some(metadata)) =
            (self.objects.get(&alias), served.pointer_mut("/metadata"))
        {
            json_patch::merge(metadata, &written.deletion);
        }
        Ok(served)
    }

    /// By kind and name of the objects that exist: the annotations that the scenario did not give them.
    ///
    /// # Errors
    /// If one cannot be read.
    pub async fn annotations(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let mut annotations = BTreeMap::new();
        for written in self.objects.values().filter(|written| !written.deleted) {
            let path = self.path(&written.state)?;
            let now = request(&self.client, "GET", &path, None).await?;
            let added = added_annotations(&written.state, &now);
            if !added.is_empty() {
                annotations.insert(title(&now), added);
            }
        }
        Ok(annotations)
    }

    async fn create_object(&mut self, alias: String, object: &Value) -> Result<()> {
        let mut body = self.translated(object)?;
        let status = body
            .as_object_mut()
            .and_then(|members| members.remove("status"));
        let metadata = body.pointer_mut("/metadata").context("no metadata")?;
        json_patch::merge(metadata, &json!({"uid": null, "creationTimestamp": null}));
        let created = request(&self.client, "POST", &self.collection(object)?, Some(&body)).await?;
        let written = Written {
            state: object.clone(),
            uid: string(&created, "/metadata/uid")?,
            created: json!(string(&created, "/metadata/creationTimestamp")?),
            deletion: json!({}),
            deleted: false,
        };
        self.objects.insert(alias, written);
        match status {
            Some(status) => self.patch_status(object, status).await,
            None => Ok(()),
        }
    }

    async fn change(&mut self, alias: &str, object: &Value) -> Result<()> {
        let written = self.objects.get(alias).context("never written")?;
        let before = self.translated(&written.state)?;
        let mut patch = difference(&before, &self.translated(object)?);
        if let Some(metadata) = patch.get_mut("metadata")
            && is_terminating(metadata)
        {
            let grace = metadata.get("deletionGracePeriodSeconds");
            let grace = grace.and_then(Value::as_i64).unwrap_or_default();
            self.request_deletion(alias, object, grace).await?;
            for key in DELETION {
                json_patch::merge(metadata, &json!({key: null}));
            }
            if metadata.as_object().is_some_and(Map::is_empty) {
                patch.remove("metadata");
            }
        }
        let status = patch.remove("status");
        let node = patch
            .get("spec")
            .and_then(|spec| spec.get("nodeName"))
            .and_then(Value::as_str)
            .filter(|_| object.get("kind") == Some(&json!("Pod")))
            .map(str::to_owned);
        if let Some(node) = node {
            self.bind(object, &node).await?;
            patch.remove("spec");
        }
        if !patch.is_empty() {
            let path = self.path(object)?;
            request(&self.client, "PATCH", &path, Some(&Value::Object(patch))).await?;
        }
        if let Some(status) = status {
            self.patch_status(object, status).await?;
        }
        if let Some(written) = self.objects.get_mut(alias) {
            written.state = object.clone();
        }
        Ok(())
    }

    /// What the scheduler does.
    async fn bind(&self, pod: &Value, node: &str) -> Result<()> {
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": string(pod, "/metadata/name")?},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("{}/binding", self.path(pod)?);
        request(&self.client, "POST", &path, Some(&body))
            .await
            .map(drop)
    }

    async fn patch_status(&self, object: &Value, status: Value) -> Result<()> {
        let path = format!("{}/status", self.path(object)?);
        let body = json!({ "status": status });
        request(&self.client, "PATCH", &path, Some(&body))
            .await
            .map(drop)
    }

    fn path(&self, object: &Value) -> Result<String> {
        Ok(format!(
            "{}/{}",
            self.collection(object)?,
            string(object, "/metadata/name")?
        ))
    }

    fn collection(&self, object: &Value) -> Result<String> {
        let (api_version, kind) = (string(object, "/apiVersion")?, string(object, "/kind")?);
        let (group, version) = group_version(&api_version);
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let prefix = if group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{group}")
        };
        Ok(format!(
            "{prefix}/{version}/namespaces/{}/{}",
            self.name, resource.plural
        ))
    }

    /// With the server's uids wherever the scenario's stand, and this namespace.
    fn translated(&self, object: &Value) -> Result<Value> {
        let mut text = serde_json::to_string(object)?;
        for (alias, written) in &self.objects {
            text = text.replace(alias, &written.uid);
        }
        let mut object: Value = serde_json::from_str(&text)?;
        for pointer in ["/metadata/namespace", "/involvedObject/namespace"] {
            if let Some(namespace) = object.pointer_mut(pointer) {
                *namespace = json!(self.name);
            }
        }
        Ok(object)
    }
}

/// Those of an object that was asked to be deleted.
const DELETION: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

fn is_terminating(metadata: &Value) -> bool {
    metadata.get("deletionTimestamp").is_some()
}

/// The JSON merge patch (RFC 7396) that makes `after` of `before`.
fn difference(before: &Value, after: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let members = |value: &Value| value.as_object().unwrap_or(&empty).clone();
    let (before, after) = (members(before), members(after));
    let mut patch = Map::new();
    for (key, value) in &after {
        match before.get(key) {
            Some(old) if old == value => {}
            Some(old) if old.is_object() && value.is_object() => {
                patch.insert(key.clone(), Value::Object(difference(old, value)));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_makes_the_one_of_the_other() {
        let before = json!({"a": 1, "b": {"c": 1, "d": [1]}, "e": {"f": 1}});
        let after = json!({"a": 1, "b": {"c": 2, "d": [1]}, "e": 3, "g": {"h": 1}});
        let patch = Value::Object(difference(&before, &after));
        assert_eq!(patch, json!({"b": {"c": 2}, "e": 3, "g": {"h": 1}}));
        let mut patched = before.clone();
        json_patch::merge(&mut patched, &patch);
        assert_eq!(patched, after);
        assert_eq!(
            Value::Object(difference(&after, &json!({}))),
            json!({"a": null, "b": null, "e": null, "g": null})
        );
    }
}
