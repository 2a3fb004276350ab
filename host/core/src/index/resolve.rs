//! Where a tree of spans hangs: the first of its mapper's candidates that can be a parent.
//!
//! Everything here only reads the index. What is found out, and what has to happen before more can be found
//! out, is returned.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Index;
use super::run::{Sketch, run_at, span_of};
use super::subject::{Adopter, Life, Silence, Subject, controller};
use crate::context::{Mark, Origin, SpanContext, origin};
use crate::identity::{SpanId, TraceKey};
use crate::mapping::{LabelMatch, OwnerParent, Parent, Remote, Target, TraceStart};
use crate::object::{GroupKind, ObjectReference, Owner, Uid};
use crate::time::Time;

/// Owners that are passed through until one is mapped. Kubernetes' own chains have two (Pod, ReplicaSet,
/// Deployment).
const CHAIN_LIMIT: usize = 16;

/// Whether and where a tree hangs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolution {
    /// The best parent that is possible is not known yet, or has no place itself. With its uid, where that is known.
    Pending(Option<Uid>),
    /// The parent is known.
    Resolved(Place),
    /// No parent is possible: the object belongs to no trace.
    Unrelated,
}

impl Resolution {
    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Pending(_))
    }
}

/// Where a tree hangs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// The main span's own context.
    pub(super) own: SpanContext,
    pub(super) parent: Option<SpanId>,
    /// The object whose span the parent is.
    pub(super) parent_object: Option<Uid>,
    /// Spans between the main span and the root.
    pub(super) depth: u32,
    /// The event whose root is the parent.
    pub(super) event: Option<TraceKey>,
    /// The context that the object had when it was made and that decides its place; ours takes its place in the
    /// annotations.
    pub(super) replaces: Option<SpanContext>,
    /// When the event of the trace was received.
    pub(super) received: Option<Time>,
    /// The deadline passed before the parent was known.
    pub(super) orphan: Option<Box<Missing>>,
    /// It, or what it hangs below, has this place only because what was to come first did not before a deadline.
    pub(super) by_deadline: bool,
    /// Its owners go round in a circle, which is broken here.
    pub(super) cyclic: bool,
    /// All above ended before the replay window.
    pub(super) too_old: bool,
}

/// A parent that was named but never seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing {
    pub(super) kind: GroupKind,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) name: Arc<str>,
    pub(super) uid: Option<Uid>,
    /// The first label by which it was sought.
    pub(super) label: Option<(Arc<str>, Arc<str>)>,
}

impl Missing {
    /// The trace that all orphans of one missing parent share.
    pub(super) fn trace(&self) -> TraceKey {
        match &self.uid {
            Some(uid) => TraceKey::object(uid),
            None => TraceKey::missing(
                &self.kind.group,
                &self.kind.kind,
                self.namespace.as_deref().unwrap_or_default(),
                &self.name,
            ),
        }
    }

    /// What those wait for who wait for this parent.
    pub(super) fn want(&self) -> Want {
        if let Some(uid) = &self.uid {
            return Want::Uid(Uid::clone(uid));
        }
        let (kind, namespace) = (self.kind.clone(), self.namespace.clone());
        match &self.label {
            Some((key, value)) => Want::Label(kind, namespace, Arc::clone(key), Arc::clone(value)),
            None => Want::Name(kind, namespace, Arc::clone(&self.name)),
        }
    }

    /// The span that stands for the missing parent.
    pub(super) fn span_id(&self) -> SpanId {
        match &self.uid {
            Some(uid) => SpanId::of(uid, "", ""),
            None => self.trace().root_span_id(),
        }
    }
}

/// Something whose appearance or change may decide a resolution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Want {
    /// An object, or the outcome of a look-up of it.
    Uid(Uid),
    /// An object by kind, namespace and name.
    Name(GroupKind, Option<Arc<str>>, Arc<str>),
    /// An object by kind, namespace and a label.
    Label(GroupKind, Option<Arc<str>>, Arc<str>, Arc<str>),
}

/// What came of resolving.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) resolution: Resolution,
    /// What may change it.
    pub(super) wants: BTreeSet<Want>,
    /// Look-ups without which it stays pending.
    pub(super) fetch: Vec<ObjectReference>,
}

/// What came of one candidate.
enum Candidate {
    Parent(Adopter, Uid),
    /// It is known and will have a place, if only by its own deadline.
    Placeless(Uid),
    Missing(Missing),
    /// It hangs below the very object; of all in the circle, that is the one that starts a trace.
    Circle,
    Void,
}

/// What remains to be decided after the candidates were tried.
#[derive(Default)]
struct Open {
    placeless: Option<Uid>,
    missing: Option<Missing>,
    cyclic: bool,
}

/// Collects while candidates are tried.
struct Search<'a> {
    index: &'a Index,
    subject: &'a Subject,
    start: Time,
    wants: BTreeSet<Want>,
    fetch: Vec<ObjectReference>,
}

impl Index {
    /// Tries the candidates of a tree. `expired`: the deadline of the subject has passed, so that nothing is
    /// waited for any more.
    pub(super) fn resolve(&self, subject: &Subject, sketch: &Sketch, expired: bool) -> Found {
        let mut search = Search {
            index: self,
            subject,
            start: sketch.bounds.start,
            wants: BTreeSet::new(),
            fetch: Vec::new(),
        };
        let uid = &subject.key;
        let span_id = SpanId::of(uid, &sketch.run, "");
        let place = |trace_id, parent, depth| Place {
            own: SpanContext { trace_id, span_id },
            parent,
            parent_object: None,
            depth,
            event: None,
            replaces: None,
            received: None,
            orphan: None,
            by_deadline: false,
            cyclic: false,
            too_old: false,
        };
        let own_trace = TraceKey::object(uid);
        // The object was made as a copy of the one that had this context.
        let mut repeats = None;
        let mut open = Open::default();
        let mut resolution = Resolution::Unrelated;
        for parent in &sketch.parents {
            let found = match parent {
                Parent::Root(start) => {
                    let key = match start {
                        TraceStart::Subject => own_trace.clone(),
                        TraceStart::Event(key) => TraceKey::event(key),
                        TraceStart::PullRequest(pull_request) => {
                            TraceKey::pull_request(pull_request)
                        }
                    };
                    Some(place(key.trace_id(), None, 0))
                }
                // A copy of an earlier job still names that job's event, which it has nothing to do with.
                Parent::Event(_) if repeats.is_some() => Some(Place {
                    replaces: repeats,
                    ..place(own_trace.trace_id(), None, 0)
                }),
                Parent::Event(key) => {
                    let key = TraceKey::event(key);
                    Some(Place {
                        received: self.event_received(&key),
                        event: Some(key.clone()),
                        ..place(key.trace_id(), Some(key.root_span_id()), 1)
                    })
                }
                Parent::Remote(Remote {
                    traceparent,
                    tracestate,
                }) => SpanContext::parse(traceparent).and_then(|context| {
                    let outside = |context: SpanContext| Place {
                        replaces: Some(context),
                        ..place(context.trace_id, Some(context.span_id), 1)
                    };
                    match origin(&context, tracestate.as_deref(), span_id) {
                        Origin::Own => {
                            let mark = tracestate.as_deref().and_then(Mark::parse);
                            match mark.and_then(|mark| mark.replaced) {
                                // What we replace by a context of the same trace was an outside one.
                                Some(replaced) if replaced.trace_id == context.trace_id => {
                                    Some(outside(replaced))
                                }
                                replaced => {
                                    repeats = repeats.or(replaced);
                                    None
                                }
                            }
                        }
                        Origin::Copied => {
                            repeats.get_or_insert(context);
                            None
                        }
                        Origin::Foreign => Some(outside(context)),
                    }
                }),
                Parent::Owner(owner) => search.owner(owner).place(&mut open, &place),
                Parent::Target(target) => search.target(target).place(&mut open, &place),
                Parent::Labelled(labels) => search.labelled(labels).place(&mut open, &place),
            };
            if let Some(mut found) = found {
                found.by_deadline |= open.missing.is_some();
                resolution = Resolution::Resolved(found);
                break;
            }
            if open.placeless.is_some() {
                resolution = Resolution::Pending(open.placeless.take());
                break;
            }
            if let Some(missing) = &open.missing
                && !expired
            {
                resolution = Resolution::Pending(missing.uid.clone());
                break;
            }
        }
        if resolution == Resolution::Unrelated && open.cyclic {
            resolution = Resolution::Resolved(Place {
                cyclic: true,
                ..place(own_trace.trace_id(), None, 0)
            });
        } else if let (Resolution::Unrelated, Some(missing)) = (&resolution, open.missing) {
            resolution = Resolution::Resolved(Place {
                event: Some(missing.trace()),
                orphan: Some(Box::new(missing.clone())),
                by_deadline: true,
                ..place(missing.trace().trace_id(), Some(missing.span_id()), 1)
            });
        }
        Found {
            resolution,
            wants: search.wants,
            fetch: search.fetch,
        }
    }

    /// Where children of an object may hang, and under which of its spans; none while that is not known.
    pub(super) fn adopter(&self, subject: &Subject, key: &str, start: Time) -> Option<Adopter> {
        let uid = &subject.key;
        match &subject.life {
            Life::Unknown | Life::NotOurs => None,
            Life::Runs(runs) => {
                let run = run_at(runs, start)?;
                let Resolution::Resolved(place) = &run.resolution else {
                    return None;
                };
                let mut adopter = place.adopter();
                adopter.context.span_id = span_of(uid, &run.sketch.run, &run.sketch.children, key);
                Some(adopter)
            }
            Life::Finished(finished) => {
                let run = run_at(&finished.runs, start)?;
                let mut adopter = run.adopter?;
                adopter.context.span_id = span_of(uid, &run.run, &run.children, key);
                Some(adopter)
            }
        }
    }
}

impl Place {
    /// The main span of what this run repeats: what is replaced by a context of the same trace is its parent.
    pub(super) fn repeats(&self) -> Option<SpanContext> {
        let replaced = self.replaces;
        replaced.filter(|replaced| replaced.trace_id != self.own.trace_id)
    }

    /// What children inherit.
    pub(super) fn adopter(&self) -> Adopter {
        Adopter {
            context: self.own,
            depth: self.depth,
            too_old: self.too_old,
            by_deadline: self.by_deadline,
            received: self.received,
        }
    }
}

impl Candidate {
    /// The place below this parent. Of the parents that are missing, remembers the best.
    fn place(
        self,
        open: &mut Open,
        place: &impl Fn(crate::identity::TraceId, Option<SpanId>, u32) -> Place,
    ) -> Option<Place> {
        match self {
            Self::Parent(adopter, uid) => Some(Place {
                parent_object: Some(uid),
                too_old: adopter.too_old,
                by_deadline: adopter.by_deadline,
                received: adopter.received,
                ..place(
                    adopter.context.trace_id,
                    Some(adopter.context.span_id),
                    adopter.depth.saturating_add(1),
                )
            }),
            Self::Placeless(uid) => {
                open.placeless = Some(uid);
                None
            }
            Self::Missing(parent) => {
                open.missing.get_or_insert(parent);
                None
            }
            Self::Circle => {
                open.cyclic = true;
                None
            }
            Self::Void => None,
        }
    }
}

impl Search<'_> {
    fn owner(&mut self, wanted: &OwnerParent) -> Candidate {
        let Some(owner) = self.subject.controller() else {
            return Candidate::Void;
        };
        let is = |wanted: &Option<String>, actual: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == actual)
        };
        if !is(&wanted.group, &owner.kind.group) || !is(&wanted.kind, &owner.kind.kind) {
            return Candidate::Void;
        }
        let mut owner = owner.clone();
        for _ in 0..CHAIN_LIMIT {
            self.wants.insert(Want::Uid(Uid::clone(&owner.uid)));
            let namespace = self.subject.reference.namespace.as_ref();
            let known = self
                .index
                .owner_of(&owner.uid, &owner.kind, namespace, &owner.name);
            // Another one than that of the uid, if that is not the one that is meant.
            self.wants
                .extend(known.map(|known| Want::Uid(Uid::clone(&known.key))));
            let owners = match known {
                Some(subject) if !self.may_own(subject) => {
                    return Candidate::Missing(Missing {
                        // Not that one.
                        uid: None,
                        ..self.missing(&owner)
                    });
                }
                Some(subject) => {
                    if !subject.is_not_ours() {
                        return self.known(subject, &wanted.span);
                    }
                    &subject.owners
                }
                None if self.index.catalog.maps(&owner.kind) => {
                    return Candidate::Missing(self.missing(&owner));
                }
                None => match self.index.lookups.get(&owner.uid) {
                    Some(Some(owners)) => owners.as_slice(),
                    Some(None) => return Candidate::Missing(self.missing(&owner)),
                    None => {
                        self.fetch.push(ObjectReference {
                            kind: owner.kind.clone(),
                            version: Arc::clone(&owner.version),
                            namespace: self.subject.reference.namespace.clone(),
                            name: Arc::clone(&owner.name),
                            uid: Uid::clone(&owner.uid),
                        });
                        return Candidate::Missing(self.missing(&owner));
                    }
                },
            };
            match controller(owners) {
                Some(next) => owner = next.clone(),
                None => return Candidate::Void,
            }
        }
        Candidate::Void
    }

    fn target(&mut self, target: &Target) -> Candidate {
        let kind = GroupKind {
            group: target.group.as_str().into(),
            kind: target.kind.as_str().into(),
        };
        let namespace = match &target.namespace {
            Some(namespace) => Some(Arc::from(namespace.as_str())),
            None => self.subject.reference.namespace.clone(),
        };
        let name: Arc<str> = target.name.as_str().into();
        let missing = Missing {
            kind: kind.clone(),
            namespace: namespace.clone(),
            name: Arc::clone(&name),
            uid: target.uid.as_deref().map(Arc::from),
            label: None,
        };
        let subject = match &missing.uid {
            Some(uid) => {
                self.wants.insert(Want::Uid(Uid::clone(uid)));
                self.index.owner_of(uid, &kind, namespace.as_ref(), &name)
            }
            None => {
                let index = self.index;
                self.wants.insert(Want::Name(
                    kind.clone(),
                    namespace.clone(),
                    Arc::clone(&name),
                ));
                let mut named = index.named(&kind, namespace.as_ref(), &name);
                if named.is_none() && target.namespace.is_none() {
                    self.wants
                        .insert(Want::Name(kind.clone(), None, Arc::clone(&name)));
                    named = index.named(&kind, None, &name);
                }
                named
            }
        };
        match subject {
            Some(subject) => self.known(subject, &target.span),
            None if self.index.catalog.maps(&kind) => Candidate::Missing(missing),
            None => Candidate::Void,
        }
    }

    fn labelled(&mut self, wanted: &LabelMatch) -> Candidate {
        let Some((key, value)) = wanted.labels.first() else {
            return Candidate::Void;
        };
        let kind = GroupKind {
            group: wanted.group.as_str().into(),
            kind: wanted.kind.as_str().into(),
        };
        let want = Want::Label(
            kind.clone(),
            self.subject.reference.namespace.clone(),
            key.as_str().into(),
            value.as_str().into(),
        );
        let subject = self.index.labelled(&want).find(|subject| {
            wanted.labels.iter().all(|(key, value)| {
                subject
                    .labels
                    .get(key)
                    .is_some_and(|actual| actual == value)
            })
        });
        self.wants.insert(want);
        match subject {
            Some(subject) => self.known(subject, &wanted.span),
            None if self.index.catalog.maps(&kind) => Candidate::Missing(Missing {
                kind,
                namespace: self.subject.reference.namespace.clone(),
                name: format!("{key}={value}").into(),
                uid: None,
                label: Some((key.as_str().into(), value.as_str().into())),
            }),
            None => Candidate::Void,
        }
    }

    /// A candidate that is in the index.
    fn known(&mut self, subject: &Subject, span: &str) -> Candidate {
        self.wants.insert(Want::Uid(Uid::clone(&subject.key)));
        let uid = &subject.key;
        match self.circle(subject) {
            Some(true) => return Candidate::Circle,
            Some(false) => return Candidate::Placeless(Uid::clone(uid)),
            None => {}
        }
        if let Some(adopter) = self.index.adopter(subject, span, self.start) {
            return Candidate::Parent(adopter, Uid::clone(uid));
        }
        match &subject.life {
            Life::NotOurs => Candidate::Void,
            Life::Finished(finished) if finished.silence != Some(Silence::Waited) => {
                Candidate::Void
            }
            Life::Finished(_) => Candidate::Missing(Missing {
                kind: subject.reference.kind.clone(),
                namespace: subject.reference.namespace.clone(),
                name: Arc::clone(&subject.reference.name),
                uid: Some(Uid::clone(uid)),
                label: None,
            }),
            Life::Runs(runs)
                if run_at(runs, self.start)
                    .is_some_and(|run| run.resolution == Resolution::Unrelated) =>
            {
                Candidate::Void
            }
            Life::Unknown | Life::Runs(_) => Candidate::Placeless(Uid::clone(uid)),
        }
    }

    /// Whether a candidate hangs below the object whose parent is sought: owner references can go round in a circle.
    /// If so, whether that object is the one of them that starts the trace: the one with the least uid, so that
    /// each of them comes to the same answer.
    fn circle(&self, candidate: &Subject) -> Option<bool> {
        let own = &self.subject.key;
        let mut subject = candidate;
        let mut least = own;
        for _ in 0..CHAIN_LIMIT {
            let uid = &subject.key;
            if uid == own {
                return Some(least == own);
            }
            least = least.min(uid);
            let parent = match &subject.life {
                // What hangs below it can only have been exported before a restart.
                Life::Unknown if subject.mapping.mapped.is_none() => {
                    subject.controller().map(|owner| &owner.uid)
                }
                Life::Unknown | Life::NotOurs => None,
                Life::Runs(runs) => runs.iter().find_map(|run| match &run.resolution {
                    Resolution::Resolved(place) => place.parent_object.as_ref(),
                    Resolution::Pending(uid) => uid.as_ref(),
                    Resolution::Unrelated => None,
                }),
                Life::Finished(finished) => {
                    finished.runs.iter().find_map(|run| run.parent.as_ref())
                }
            }?;
            subject = self.index.subjects.get(parent)?;
        }
        None
    }

    /// An owner is in the namespace of what it owns, or in none. Kubernetes takes any other for absent.
    fn may_own(&self, owner: &Subject) -> bool {
        let namespace = &owner.reference.namespace;
        namespace.is_none() || *namespace == self.subject.reference.namespace
    }

    fn missing(&self, owner: &Owner) -> Missing {
        Missing {
            kind: owner.kind.clone(),
            namespace: self.subject.reference.namespace.clone(),
            name: Arc::clone(&owner.name),
            uid: Some(Uid::clone(&owner.uid)),
            label: None,
        }
    }
}
