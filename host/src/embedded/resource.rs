//! The kinds that the API serves, and the discovery documents that say so.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

/// Verbs of every resource.
const VERBS: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// A kind that the API serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Versions, the preferred first. An object is the same in each but for its `apiVersion`.
    pub versions: Vec<String>,
    /// Kind, as written in objects.
    pub kind: String,
    /// Name in paths: the kind's plural in lower case.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// Names a resource whatever its version: group and plural. Written as `pods`, `taskruns.tekton.dev`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResourceKey {
    pub(super) group: Arc<str>,
    pub(super) plural: Arc<str>,
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            formatter.write_str(&self.plural)
        } else {
            write!(formatter, "{}.{}", self.plural, self.group)
        }
    }
}

impl Resource {
    /// A namespaced kind; its plural is made as English does.
    #[must_use]
    pub fn namespaced(group: &str, versions: &[&str], kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            versions: versions.iter().copied().map(str::to_owned).collect(),
            kind: kind.to_owned(),
            plural: plural(kind),
            namespaced: true,
        }
    }

    /// A cluster-wide kind.
    #[must_use]
    pub fn cluster_wide(group: &str, versions: &[&str], kind: &str) -> Self {
        Self {
            namespaced: false,
            ..Self::namespaced(group, versions, kind)
        }
    }

    /// What a cluster with Jenkins X has, as far as this project looks at it.
    #[must_use]
    pub fn of_jenkins_x() -> Vec<Self> {
        vec![
            Self::cluster_wide("", &["v1"], "Namespace"),
            Self::namespaced("", &["v1"], "Pod"),
            Self::namespaced("", &["v1"], "Event"),
            Self::namespaced("lighthouse.jenkins.io", &["v1alpha1"], "LighthouseJob"),
            Self::namespaced("tekton.dev", &["v1", "v1beta1"], "PipelineRun"),
            Self::namespaced("tekton.dev", &["v1", "v1beta1"], "TaskRun"),
            Self::namespaced("tekton.dev", &["v1beta1"], "CustomRun"),
            Self::namespaced("jenkins.io", &["v1"], "PipelineActivity"),
        ]
    }

    pub(super) fn key(&self) -> ResourceKey {
        ResourceKey {
            group: self.group.as_str().into(),
            plural: self.plural.as_str().into(),
        }
    }

    pub(super) fn serves(&self, group: &str, version: &str) -> bool {
        self.group == group && self.versions.iter().any(|served| served == version)
    }
}

/// `apiVersion` of a group and a version.
pub(super) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The plural that `kubectl` guesses (`UnsafeGuessKindToResource` in apimachinery).
fn plural(kind: &str) -> String {
    let singular = kind.to_ascii_lowercase();
    if singular.ends_with('s') {
        format!("{singular}es")
    } else if let Some(stem) = singular.strip_suffix('y') {
        format!("{stem}ies")
    } else {
        format!("{singular}s")
    }
}

/// `GET /api`.
pub(super) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `GET /apis`.
pub(super) fn groups(resources: &[Resource]) -> Value {
    let mut names: Vec<&str> = Vec::new();
    for resource in resources
        .iter()
        .filter(|resource| !resource.group.is_empty())
    {
        if !names.contains(&resource.group.as_str()) {
            names.push(&resource.group);
        }
    }
    let groups: Vec<Value> = names
        .into_iter()
        .filter_map(|name| group(resources, name))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/GROUP`; none if no kind is of that group.
pub(super) fn group(resources: &[Resource], name: &str) -> Option<Value> {
    let mut versions: Vec<&str> = Vec::new();
    for version in resources
        .iter()
        .filter(|resource| resource.group == name)
        .flat_map(|resource| &resource.versions)
    {
        if !versions.contains(&version.as_str()) {
            versions.push(version);
        }
    }
    let described =
        |version: &&str| json!({"groupVersion": api_version(name, version), "version": version});
    let preferred = described(versions.first()?);
    let versions: Vec<Value> = versions.iter().map(described).collect();
    Some(json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": preferred,
    }))
}

/// `GET /api/v1` or `GET /apis/GROUP/VERSION`; none if no kind is of that group and version.
pub(super) fn resource_list(resources: &[Resource], group: &str, version: &str) -> Option<Value> {
    let served: Vec<Value> = resources
        .iter()
        .filter(|resource| resource.serves(group, version))
        .map(|resource| {
            json!({
                "name": resource.plural,
                "singularName": resource.kind.to_ascii_lowercase(),
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": VERBS,
            })
        })
        .collect();
    (!served.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": api_version(group, version),
            "resources": served,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals() {
        assert_eq!(plural("Pod"), "pods");
        assert_eq!(plural("PipelineActivity"), "pipelineactivities");
        assert_eq!(plural("Ingress"), "ingresses");
    }

    #[test]
    fn groups_name_their_versions_the_preferred_first() {
        let groups = groups(&Resource::of_jenkins_x());
        let tekton = groups
            .pointer("/groups")
            .and_then(Value::as_array)
            .and_then(|groups| groups.iter().find(|group| group["name"] == "tekton.dev"))
            .unwrap();
        assert_eq!(tekton["preferredVersion"]["groupVersion"], "tekton.dev/v1");
        assert_eq!(tekton["versions"][1]["version"], "v1beta1");
        let list = resource_list(&Resource::of_jenkins_x(), "tekton.dev", "v1").unwrap();
        assert_eq!(list["resources"].as_array().unwrap().len(), 2);
        assert_eq!(
            resource_list(&Resource::of_jenkins_x(), "tekton.dev", "v2"),
            None
        );
    }
}
