//! What Kubernetes objects have in common: metadata, owners, conditions.

use crate::contract::{Span, Timestamp};
use crate::read::{Boolean, List, Map, Text, Time};
use crate::record;

record! {
    /// `metadata` of an object.
    pub struct Metadata<'a> {
        /// Its annotations, as far as the mapper reads them.
        pub annotations: Map<'a, Text<'a>> = "annotations",
        /// When it was created.
        pub created: Time = "creationTimestamp",
        /// When it will be gone, at the latest: somebody has asked to delete it.
        pub deleted: Time = "deletionTimestamp",
        /// The prefix from which the API server made its name; empty if it was given a whole name.
        pub generate_name: Text<'a> = "generateName",
        /// Its labels, as far as the mapper reads them.
        pub labels: Map<'a, Text<'a>> = "labels",
        /// Its name.
        pub name: Text<'a> = "name",
        /// Its namespace; empty for a cluster-wide object.
        pub namespace: Text<'a> = "namespace",
        /// Its owners, as far as the mapper reads them.
        pub owners: List<OwnerReference<'a>> = "ownerReferences",
        /// Its uid.
        pub uid: Text<'a> = "uid",
    }

    /// An owner reference.
    pub struct OwnerReference<'a> {
        /// Group and version.
        pub api_version: Text<'a> = "apiVersion",
        /// Whether it is the managing controller.
        pub controller: Boolean = "controller",
        /// Kind.
        pub kind: Text<'a> = "kind",
        /// Name.
        pub name: Text<'a> = "name",
        /// Uid.
        pub uid: Text<'a> = "uid",
    }

    /// A condition in `status.conditions`.
    pub struct Condition<'a> {
        /// When the status changed last.
        pub changed: Time = "lastTransitionTime",
        /// Why, for people.
        pub message: Text<'a> = "message",
        /// Why, in CamelCase.
        pub reason: Text<'a> = "reason",
        /// `True`, `False` or `Unknown`.
        pub status: Text<'a> = "status",
        /// What it is about.
        pub kind: Text<'a> = "type",
    }
}

impl<'a> Metadata<'a> {
    /// The managing controller.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference<'a>> {
        self.owners.iter().find(|owner| owner.controller.is_true())
    }

    /// When the object was created. An object without that time is odd enough to be placed at the epoch.
    #[must_use]
    pub fn created_or_epoch(&self) -> Timestamp {
        self.created.get().unwrap_or(Timestamp::nanoseconds(0))
    }
}

impl OwnerReference<'_> {
    /// The owner's API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .as_str()
            .split_once('/')
            .map_or("", |(group, _)| group)
    }
}

impl Condition<'_> {
    /// Whether the condition holds.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Whether the condition does not hold.
    #[must_use]
    pub fn is_false(&self) -> bool {
        self.status == "False"
    }
}

/// The condition of a type.
#[must_use]
pub fn condition<'s, 'a>(conditions: &'s [Condition<'a>], kind: &str) -> Option<&'s Condition<'a>> {
    conditions
        .iter()
        .find(|condition| condition.kind.as_str() == kind)
}

impl<'a> Span<'a> {
    /// With who the object is: `k8s.namespace.name`, `k8s.object.kind`, `k8s.object.name`, `k8s.object.uid`.
    #[must_use]
    pub fn about(self, kind: &'static str, metadata: &Metadata<'a>) -> Self {
        self.with("k8s.object.kind", kind)
            .with("k8s.object.name", &metadata.name)
            .with("k8s.object.uid", &metadata.uid)
            .with("k8s.namespace.name", &metadata.namespace)
    }
}
