//! The mappers in use, and what they want: which kinds are watched, and how an object of the cluster or a
//! webhook becomes what the index takes.

mod succession;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use crate::description::{Annotation, Description, ObjectSource, Relation, Source, Watch};
use crate::index::Webhook;
use crate::object::{
    AttachedTo, GroupKind, Mention, Object, ObjectReference, Owner, SourceId, SubjectName, Uid,
    WatchId,
};
use crate::projection::{PointerError, Projection};
use crate::span::Scope;
use crate::time::Time;

/// A fixed set of mappers. Its numbers of watches and sources are those of the catalog that it comes after, as far as they
/// are the same.
#[derive(Debug, Default)]
pub struct Catalog {
    mappers: Vec<Mapper>,
    sources: Vec<SourceEntry>,
    /// Annotation keys that an object keeps in the index.
    annotation_keys: Vec<String>,
    /// Places of a watch's mapper and of the watch in its description: their order is that in which mappers are asked.
    places: BTreeMap<WatchId, (usize, usize)>,
    /// Numbers that no mapper and no source has had.
    next_mapper: u32,
    next_source: u32,
}

#[derive(Debug)]
struct Mapper {
    number: u32,
    /// A number that none of its watches has had.
    next_watch: u32,
    scope: Arc<Scope>,
    watches: Vec<WatchEntry>,
}

#[derive(Debug)]
struct WatchEntry {
    id: WatchId,
    watch: Watch,
    /// Group and kind of the subjects; none for webhooks.
    subject: Option<GroupKind>,
    projection: Projection,
}

#[derive(Debug)]
struct SourceEntry {
    id: SourceId,
    source: ObjectSource,
    subjects: Vec<WatchId>,
    attachments: Vec<AttachmentEntry>,
    /// All that [`Catalog::object`] looks at.
    reads: Projection,
}

/// What is read of an object whatever mappers want: who it is, and whom it belongs to.
const ALWAYS_READ: [&str; 9] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/resourceVersion",
    "/metadata/creationTimestamp",
    "/metadata/ownerReferences",
    "/metadata/labels",
];
/// What is read of an Event.
const INVOLVED: &str = "/involvedObject";

#[derive(Debug)]
struct AttachmentEntry {
    watch: WatchId,
    attachment: u32,
    relation: Relation,
    /// Group and kind of the subjects.
    subject: GroupKind,
    projection: Projection,
}

/// A description that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CatalogError {
    /// A field is no JSON pointer.
    #[error("mapper '{mapper}': {source}")]
    Pointer {
        /// Name of the mapper.
        mapper: String,
        /// What is wrong.
        source: PointerError,
    },
    /// A source names no kind, or no version of it.
    #[error("mapper '{mapper}': a watch names no kind or no version of kind '{kind}'")]
    Source {
        /// Name of the mapper.
        mapper: String,
        /// The kind.
        kind: String,
    },
    /// Two mappers of one name.
    #[error("there are two mappers of the name '{0}'")]
    Twice(String),
}

/// An object that cannot be used: a field without which it is nobody.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the object {name} has no {field}, or one of the wrong type")]
pub struct ObjectError {
    /// Its name, as far as it can be told.
    pub name: String,
    /// JSON pointer to the field.
    pub field: &'static str,
}

impl Catalog {
    /// The catalog of these mappers by name, the first to be asked first.
    ///
    /// # Errors
    /// If a description cannot be used.
    pub fn new(
        descriptions: impl IntoIterator<Item = (String, Description)>,
    ) -> Result<Self, CatalogError> {
        Self::after(&Self::default(), descriptions)
    }

    /// The catalog of these mappers, in place of the one before: watches and sources that were there before have the numbers
    /// that they had, and no other has ever had those of the rest.
    ///
    /// # Errors
    /// If a description cannot be used.
    pub fn after(
        before: &Self,
        descriptions: impl IntoIterator<Item = (String, Description)>,
    ) -> Result<Self, CatalogError> {
        let mut catalog = Self {
            next_mapper: before.next_mapper,
            next_source: before.next_source,
            ..Self::default()
        };
        for (name, description) in descriptions {
            catalog.add(name, description, before)?;
        }
        catalog.annotation_keys.sort();
        catalog.annotation_keys.dedup();
        for place in 0..catalog.sources.len() {
            let reads = catalog.all_reads(place);
            if let Some(entry) = catalog.sources.get_mut(place) {
                entry.reads = reads;
            }
        }
        Ok(catalog)
    }

    fn all_reads(&self, source: usize) -> Projection {
        let mut pointers: Vec<Cow<'_, str>> = ALWAYS_READ.map(Cow::from).into();
        pointers.extend(self.annotation_keys.iter().map(|key| {
            let segment = key.replace('~', "~0").replace('/', "~1");
            format!("/metadata/annotations/{segment}").into()
        }));
        let mut fields: Vec<&[String]> = Vec::new();
        if let Some(entry) = self.sources.get(source) {
            let subjects = entry.subjects.iter().filter_map(|id| self.entry(*id));
            fields.extend(subjects.map(|entry| entry.watch.fields.as_slice()));
            for attachment in &entry.attachments {
                if attachment.relation == Relation::Involved {
                    pointers.push(INVOLVED.into());
                }
                let watch = self.entry(attachment.watch).map(|entry| &entry.watch);
                let declared = watch.and_then(|watch| {
                    let place = usize::try_from(attachment.attachment).ok()?;
                    watch.attachments.get(place)
                });
                fields.extend(declared.map(|declared| declared.fields.as_slice()));
            }
        }
        // No fields at all stand for the whole object, which the empty pointer names.
        pointers.extend(fields.into_iter().flat_map(|fields| {
            let whole = fields.is_empty().then_some("");
            whole
                .into_iter()
                .chain(fields.iter().map(String::as_str))
                .map(Cow::from)
        }));
        // All are pointers that were read before, but for annotation keys, which are escaped.
        Projection::of_object(pointers.iter().map(AsRef::as_ref))
            .unwrap_or_else(|_| Projection::whole())
    }

    /// What of an object of this source is read at all: [`Catalog::object`] makes the same of that as of the whole.
    #[must_use]
    pub fn reads(&self, source: SourceId) -> Option<&Projection> {
        self.source_entry(source).map(|entry| &entry.reads)
    }

    fn add(
        &mut self,
        name: String,
        description: Description,
        before: &Self,
    ) -> Result<(), CatalogError> {
        if self.mappers.iter().any(|mapper| mapper.scope.name == name) {
            return Err(CatalogError::Twice(name));
        }
        let numbers = self.numbers(&name, &description.watches, before);
        let pointer = |source| CatalogError::Pointer {
            mapper: name.clone(),
            source,
        };
        let mut watches = Vec::new();
        for (id, watch) in numbers.watches.into_iter().zip(description.watches) {
            let fields = watch.fields.iter().map(String::as_str);
            let (subject, projection) = match &watch.source {
                Source::Webhooks(_) => (None, Projection::of(fields).map_err(pointer)?),
                Source::Objects(source) => {
                    let subject = GroupKind {
                        group: source.group.as_str().into(),
                        kind: source.kind.as_str().into(),
                    };
                    self.source(&name, source, before)?.subjects.push(id);
                    for (place, attachment) in watch.attachments.iter().enumerate() {
                        let fields = attachment.fields.iter().map(String::as_str);
                        let entry = AttachmentEntry {
                            watch: id,
                            attachment: number(place),
                            relation: attachment.relation.clone(),
                            subject: subject.clone(),
                            projection: Projection::of(fields).map_err(pointer)?,
                        };
                        self.source(&name, &attachment.source, before)?
                            .attachments
                            .push(entry);
                    }
                    let projection = Projection::of_object(fields).map_err(pointer)?;
                    (Some(subject), projection)
                }
            };
            let keys = watch.annotations.iter().map(|annotation| &annotation.key);
            self.annotation_keys.extend(keys.cloned());
            self.places.insert(id, (self.mappers.len(), watches.len()));
            watches.push(WatchEntry {
                id,
                watch,
                subject,
                projection,
            });
        }
        self.mappers.push(Mapper {
            number: numbers.mapper,
            next_watch: numbers.next_watch,
            scope: Arc::new(Scope {
                name,
                version: description.version,
            }),
            watches,
        });
        Ok(())
    }

    fn source(
        &mut self,
        mapper: &str,
        source: &ObjectSource,
        before: &Self,
    ) -> Result<&mut SourceEntry, CatalogError> {
        let error = || CatalogError::Source {
            mapper: mapper.to_owned(),
            kind: source.kind.clone(),
        };
        if source.kind.is_empty() || source.versions.iter().all(String::is_empty) {
            return Err(error());
        }
        let place = self
            .sources
            .iter()
            .position(|entry| entry.source == *source);
        let place = place.unwrap_or_else(|| {
            let id = self.source_number(source, before);
            self.sources.push(SourceEntry {
                id,
                source: source.clone(),
                subjects: Vec::new(),
                attachments: Vec::new(),
                reads: Projection::default(),
            });
            self.sources.len() - 1
        });
        self.sources.get_mut(place).ok_or_else(error)
    }

    /// What is to be watched. Sources that are only attached come last, so that a list finds their subjects.
    pub fn sources(&self) -> impl Iterator<Item = (SourceId, &ObjectSource)> {
        let sources = || self.sources.iter();
        sources()
            .filter(|entry| !entry.subjects.is_empty())
            .chain(sources().filter(|entry| entry.subjects.is_empty()))
            .map(|entry| (entry.id, &entry.source))
    }

    /// The watches of objects: their mapper's name, and group and kind of their subjects.
    pub fn watches(&self) -> impl Iterator<Item = (WatchId, &str, &GroupKind)> {
        self.mappers.iter().flat_map(|mapper| {
            let name = mapper.scope.name.as_str();
            let watches = mapper.watches.iter();
            watches.filter_map(move |entry| Some((entry.id, name, entry.subject.as_ref()?)))
        })
    }

    /// Whether objects of this kind are subjects of some mapper: then one that is not known yet may come.
    #[must_use]
    pub fn maps(&self, kind: &GroupKind) -> bool {
        self.sources.iter().any(|entry| {
            !entry.subjects.is_empty()
                && *entry.source.group == *kind.group
                && *entry.source.kind == *kind.kind
        })
    }

    /// Name and version of the mapper of a watch.
    #[must_use]
    pub fn scope(&self, watch: WatchId) -> Option<&Arc<Scope>> {
        let (mapper, _) = self.places.get(&watch)?;
        self.mappers.get(*mapper).map(|mapper| &mapper.scope)
    }

    /// Group and kind of the subjects of a watch; none for webhooks.
    #[must_use]
    pub fn subject_kind(&self, watch: WatchId) -> Option<&GroupKind> {
        self.entry(watch)?.subject.as_ref()
    }

    /// The annotations that the mapper of a watch asks for.
    #[must_use]
    pub fn annotations(&self, watch: WatchId) -> &[Annotation] {
        self.entry(watch)
            .map(|entry| entry.watch.annotations.as_slice())
            .unwrap_or_default()
    }

    fn entry(&self, watch: WatchId) -> Option<&WatchEntry> {
        let (mapper, place) = self.places.get(&watch)?;
        self.mappers.get(*mapper)?.watches.get(*place)
    }

    fn source_entry(&self, source: SourceId) -> Option<&SourceEntry> {
        self.sources.iter().find(|entry| entry.id == source)
    }

    /// An object of a source, as the index takes it.
    ///
    /// # Errors
    /// If the object has no name, uid, kind or API version.
    pub fn object(&self, source: SourceId, value: &Value) -> Result<Object, ObjectError> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
        let need = |pointer: &'static str| {
            text(pointer)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| ObjectError {
                    name: text("/metadata/name")
                        .unwrap_or("without a name")
                        .to_owned(),
                    field: pointer,
                })
        };
        let (group, version) = group_version(need("/apiVersion")?);
        let reference = ObjectReference {
            kind: GroupKind {
                group: group.into(),
                kind: need("/kind")?.into(),
            },
            version: version.into(),
            namespace: text("/metadata/namespace").map(Arc::from),
            name: need("/metadata/name")?.into(),
            uid: need("/metadata/uid")?.into(),
        };
        let owners = owners(value);
        let labels = texts(value, "/metadata/labels", |_| true);
        let entry = self.source_entry(source);
        let subject_of = entry
            .into_iter()
            .flat_map(|entry| &entry.subjects)
            .filter_map(|id| Some((*id, self.entry(*id)?.projection.apply(value).into())))
            .collect();
        let attached_to = entry
            .into_iter()
            .flat_map(|entry| &entry.attachments)
            .flat_map(|attachment| {
                attachment
                    .subjects(value, &reference, &owners, &labels)
                    .into_iter()
                    .map(|subject| AttachedTo {
                        watch: attachment.watch,
                        attachment: attachment.attachment,
                        subject,
                        json: attachment.projection.apply(value).into(),
                    })
            })
            .collect();
        Ok(Object {
            resource_version: text("/metadata/resourceVersion").unwrap_or_default().into(),
            created: text("/metadata/creationTimestamp").and_then(Time::parse),
            annotations: texts(value, "/metadata/annotations", |key| {
                self.annotation_keys
                    .binary_search_by(|known| known.as_str().cmp(key))
                    .is_ok()
            }),
            reference,
            owners,
            labels,
            subject_of,
            attached_to,
        })
    }

    /// A webhook, as the index takes it. `subject_of` is empty if no mapper wants it.
    #[must_use]
    pub fn webhook(&self, kind: &str, received: Time, body: &Value) -> Webhook {
        let guid = body
            .get("GUID")
            .and_then(Value::as_str)
            .filter(|guid| !guid.is_empty());
        let subject_of = self
            .mappers
            .iter()
            .flat_map(|mapper| &mapper.watches)
            .filter(|entry| match &entry.watch.source {
                Source::Webhooks(kinds) => {
                    kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind)
                }
                Source::Objects(_) => false,
            })
            .map(|entry| (entry.id, entry.projection.apply(body).into()))
            .collect();
        Webhook {
            kind: kind.to_owned(),
            guid: guid.map(str::to_owned),
            received,
            number: None,
            subject_of,
        }
    }
}

impl AttachmentEntry {
    /// Whom an Event is about, if that is none of another kind.
    fn involved(&self, involved: &Value) -> Option<Mention> {
        let text = |key| {
            let text = involved.get(key).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let kind = text("kind");
        let group = text("apiVersion").map(|version| group_version(version).0);
        if kind.is_some_and(|kind| kind != &*self.subject.kind)
            || group.is_some_and(|group| group != &*self.subject.group)
        {
            return None;
        }
        Some(Mention {
            uid: text("uid")?.into(),
            kind: kind.map(|_| self.subject.clone()),
            namespace: text("namespace").map(Arc::from),
            name: text("name").map(Arc::from),
        })
    }

    fn subjects(
        &self,
        value: &Value,
        reference: &ObjectReference,
        owners: &[Owner],
        labels: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Vec<SubjectName> {
        match &self.relation {
            Relation::Involved => value
                .get("involvedObject")
                .and_then(|involved| self.involved(involved))
                .map(SubjectName::Uid)
                .into_iter()
                .collect(),
            Relation::Owned => owners
                .iter()
                .filter(|owner| owner.kind == self.subject)
                .map(|owner| {
                    SubjectName::Uid(Mention {
                        uid: Uid::clone(&owner.uid),
                        kind: Some(owner.kind.clone()),
                        namespace: reference.namespace.clone(),
                        name: Some(Arc::clone(&owner.name)),
                    })
                })
                .collect(),
            Relation::Labelled(key) => labels
                .get(key.as_str())
                .map(|name| {
                    SubjectName::Name(
                        self.subject.clone(),
                        reference.namespace.clone(),
                        Arc::clone(name),
                    )
                })
                .into_iter()
                .collect(),
        }
    }
}

/// Splits an `apiVersion` into group and version.
#[must_use]
pub fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The owner references of an object; those that name nobody are left out.
#[must_use]
pub fn owners(value: &Value) -> Vec<Owner> {
    let references = value.pointer("/metadata/ownerReferences");
    references
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|reference| {
            let text = |key| reference.get(key).and_then(Value::as_str);
            let (group, version) = group_version(text("apiVersion")?);
            Some(Owner {
                kind: GroupKind {
                    group: group.into(),
                    kind: text("kind")?.into(),
                },
                version: version.into(),
                name: text("name")?.into(),
                uid: text("uid")?.into(),
                controller: reference.get("controller") == Some(&Value::Bool(true)),
            })
        })
        .collect()
}

/// Labels and annotations as Kubernetes allows them are shorter, and so are those that we write; a longer one leads
/// to nothing.
const METADATA_TEXT_LIMIT: usize = 4096;

fn texts(
    value: &Value,
    pointer: &str,
    keep: impl Fn(&str) -> bool,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let members = value.pointer(pointer).and_then(Value::as_object);
    members
        .into_iter()
        .flatten()
        .filter(|(key, _)| keep(key))
        .filter_map(|(key, member)| Some((key, member.as_str()?)))
        .filter(|(key, text)| key.len().max(text.len()) <= METADATA_TEXT_LIMIT)
        .map(|(key, text)| (key.as_str().into(), text.into()))
        .collect()
}

/// Places in lists of mappers and watches, which are short.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
