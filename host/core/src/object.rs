//! What the index keeps of an object of the cluster: who it is, who owns it, and the text its mappers read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// `metadata.uid` of an object.
pub type Uid = Arc<str>;

/// Number of an [`crate::description::ObjectSource`] that a [`crate::catalog::Catalog`] wants watched. The catalogs that come
/// after it call it the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SourceId(pub u32);

/// A watch of a mapper. The catalogs that come after the one that numbered it call it the same, wherever it stands in them;
/// which of two goes first, their places decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId {
    /// Number of the mapper: of the mappers of the first catalog, their places in it.
    pub mapper: u32,
    /// Number of the watch among all that the mapper has had: of those of its first description, their places in it.
    pub watch: u32,
}

/// Group and kind of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
}

/// Names an object for a look-up or a patch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectReference {
    /// Group and kind.
    #[serde(flatten)]
    pub kind: GroupKind,
    /// API version within the group, such as `v1`.
    pub version: Arc<str>,
    /// Namespace; none for a cluster-wide object.
    pub namespace: Option<Arc<str>>,
    /// Name.
    pub name: Arc<str>,
    /// The object must have this uid: another one of the same name is not meant.
    pub uid: Uid,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Group and kind of the owner.
    #[serde(flatten)]
    pub kind: GroupKind,
    /// API version within the group.
    pub version: Arc<str>,
    /// Name of the owner, in the object's namespace or cluster-wide.
    pub name: Arc<str>,
    /// Uid of the owner.
    pub uid: Uid,
    /// Whether it is the managing controller; at most one owner is.
    pub controller: bool,
}

/// An object as the watch saw it, decoded and projected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Who it is.
    pub reference: ObjectReference,
    /// Opaque version of the object; where two are numbers, the greater is the newer.
    pub resource_version: Arc<str>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Time>,
    /// Owner references, in the object's order.
    pub owners: Vec<Owner>,
    /// All labels.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// The annotations that some mapper asks to be set, as they are now.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// The object as a subject: what each watch that wants it reads of it.
    pub subject_of: Vec<(WatchId, Arc<str>)>,
    /// The object as an attachment of other subjects.
    pub attached_to: Vec<AttachedTo>,
}

/// The object as an attachment of another subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedTo {
    /// The watch whose subjects it comes along with.
    pub watch: WatchId,
    /// Place of the attachment in the watch.
    pub attachment: u32,
    /// Which subject.
    pub subject: SubjectName,
    /// What the mapper reads of it.
    pub json: Arc<str>,
}

/// An object as another one tells of it: its uid, and what else is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mention {
    /// Uid.
    pub uid: Uid,
    /// Group and kind.
    pub kind: Option<GroupKind>,
    /// Namespace; a cluster-wide object is in all.
    pub namespace: Option<Arc<str>>,
    /// Name.
    pub name: Option<Arc<str>>,
}

impl Mention {
    /// Nothing but a uid. Comes before all others of that uid.
    #[must_use]
    pub fn of(uid: Uid) -> Self {
        Self {
            uid,
            kind: None,
            namespace: None,
            name: None,
        }
    }

    /// Whether all that is said holds for this object.
    #[must_use]
    pub fn agrees_with(&self, reference: &ObjectReference) -> bool {
        let near = |namespace| {
            let actual = reference.namespace.as_ref();
            actual.is_none_or(|actual| actual == namespace)
        };
        self.uid == reference.uid
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| *kind == reference.kind)
            && self
                .name
                .as_ref()
                .is_none_or(|name| *name == reference.name)
            && self.namespace.as_ref().is_none_or(near)
    }
}

/// How an attached object names its subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// By uid.
    Uid(Mention),
    /// By group and kind, namespace and name.
    Name(GroupKind, Option<Arc<str>>, Arc<str>),
}
