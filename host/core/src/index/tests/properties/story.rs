//! From words to what the API server and the git provider would tell: every version of every object, and the webhooks.

use std::collections::BTreeSet;

use super::super::{event, object};
use super::identity::{hexadecimal_span, hexadecimal_trace};
use super::mapper::{Body, Candidate, ChildSpec, Key, LABEL, RunSpec, Says, Spec};
use super::pipeline::{
    ContextShape, EventShape, Hangs, JobShape, Last, Life, Moment, Pipeline, RunShape, TaskShape,
};
use super::*;
use crate::object::{Object, Owner};

/// All there is to be told.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) catalog: Arc<Catalog>,
    pub(super) webhooks: Vec<super::super::super::Webhook>,
    pub(super) things: Vec<Thing>,
    /// Owners of objects that no mapper watches.
    pub(super) lookups: BTreeMap<String, Vec<Owner>>,
    /// Trace keys of the events.
    pub(super) events: Vec<String>,
}

/// An object of the cluster.
#[derive(Debug)]
pub(super) struct Thing {
    pub(super) uid: Arc<str>,
    /// What its ids derive from.
    pub(super) identity: String,
    pub(super) source: SourceId,
    pub(super) versions: Vec<Version>,
    /// It is gone in the end.
    pub(super) deleted: bool,
    /// The thing whose annotations its controller copies to it.
    pub(super) copies: Option<usize>,
    /// The JSON that its mapper reads has the annotations in it.
    pub(super) annotations_matter: bool,
    /// Trace keys of the events that it may belong to.
    pub(super) events: BTreeSet<String>,
    /// It must be in the trace of its event, if it is exported; and it is exported, if it ends.
    pub(super) sure: bool,
    pub(super) ends: bool,
}

/// A version of an object.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) value: Value,
    pub(super) object: Object,
    /// Nothing has ended in it.
    pub(super) open: bool,
}

/// How one of several objects of a uid differs from the others.
#[derive(Clone, Debug)]
pub(super) struct Twin {
    pub(super) name: String,
    /// Seconds.
    pub(super) created: u64,
    pub(super) identity: String,
}

/// An object that is about to be told of.
#[derive(Default)]
pub(super) struct Draft<'a> {
    pub(super) kind: &'a str,
    pub(super) uid: String,
    /// If it is one of several objects of its uid.
    pub(super) twin: Option<Twin>,
    pub(super) owner: Option<(&'a str, &'a str)>,
    /// If that is not its uid.
    pub(super) owner_name: Option<String>,
    pub(super) late_owner: bool,
    pub(super) late_label: bool,
    pub(super) annotations: Vec<(&'a str, String)>,
    pub(super) parent: Option<usize>,
    pub(super) sure: bool,
    pub(super) spec: Spec,
}

impl Story {
    pub(super) fn of(pipeline: &Pipeline) -> Self {
        let mut story = Self {
            catalog: Arc::new(mapper::catalog()),
            webhooks: Vec::new(),
            things: Vec::new(),
            lookups: BTreeMap::new(),
            events: Vec::new(),
        };
        let mut contexts = Vec::new();
        for (number, shape) in pipeline.events.iter().enumerate() {
            story.event(number, shape, &mut contexts);
        }
        for (number, stray) in pipeline.strays.iter().enumerate() {
            story.stray(number, stray);
        }
        story
    }

    fn event(&mut self, number: usize, shape: &EventShape, contexts: &mut Vec<String>) {
        // Near misses: whatever is not part of the key is the same for all.
        let key = |repository: &str| match shape.form {
            0 => Key::Delivery(format!("{repository}{number}"), "g".to_owned()),
            1 => Key::Push(repository.to_owned(), format!("b{number}"), "c".to_owned()),
            _ => Key::Change(repository.to_owned(), number as u64, "c".to_owned()),
        };
        let text = match shape.form {
            0 => format!("delivery:acme/shop{number}:g"),
            1 => format!("push:acme/shop:b{number}:c"),
            _ => format!("change:acme/shop:{number}:c"),
        };
        for (place, received) in shape.webhooks.iter().enumerate() {
            let body = Body {
                key: key("Acme/Shop"),
                claimed_by: u32::from(place == 1),
                title: format!("webhook {place}"),
            };
            let received = at(0).plus(Duration::from_millis(u64::from(*received)));
            let body = serde_json::to_value(body).unwrap();
            self.webhooks
                .push(self.catalog.webhook("push", received, &body));
        }
        self.events.push(text.clone());
        for (place, job) in shape.jobs.iter().enumerate() {
            let uid = format!("e{number}j{place}");
            self.job(&uid, &text, key("acme/shop"), job, contexts);
        }
    }

    fn job(
        &mut self,
        uid: &str,
        event: &str,
        key: Key,
        shape: &JobShape,
        contexts: &mut Vec<String>,
    ) {
        let mut annotations = Vec::new();
        let mut trace = hexadecimal_trace(event);
        match shape.context {
            ContextShape::None => {}
            ContextShape::Foreign => {
                trace = hexadecimal_trace("elsewhere");
                let span = hexadecimal_span("elsewhere", "", "");
                annotations.push(("traceparent", format!("00-{trace}-{span}-01")));
                annotations.push(("tracestate", "vendor=1".to_owned()));
            }
            ContextShape::Rerun(of) => {
                if let Some(of) = contexts.get(usize::from(of) % contexts.len().max(1)) {
                    let span = &of[36..52];
                    annotations.push(("traceparent", of.clone()));
                    annotations.push(("tracestate", format!("vendor=1,lighthouse={span}-1f")));
                    trace = hexadecimal_trace(&format!("object:{uid}"));
                }
            }
        }
        contexts.push(format!("00-{trace}-{}-01", hexadecimal_span(uid, "", "")));
        let at_home = annotations.is_empty();
        let number = contexts.len() as u64;
        let job = self.tell(
            Draft {
                kind: "Job",
                uid: uid.to_owned(),
                late_label: shape.late_label,
                annotations,
                sure: at_home,
                spec: Spec {
                    safe: true,
                    parents: vec![Candidate::Remote, Candidate::Event(key), Candidate::Root],
                    runs: vec![once(number, 90 + number, &[("queue", 0)])],
                    ..Spec::default()
                },
                ..Draft::default()
            },
            &shape.life,
        );
        if at_home {
            self.things[job].events.insert(event.to_owned());
        }
        for (place, run) in shape.runs.iter().enumerate() {
            self.run(&format!("{uid}r{place}"), job, uid, run);
        }
    }

    fn run(&mut self, uid: &str, job: usize, job_uid: &str, shape: &RunShape) {
        let plain_owner = || Candidate::Owner {
            span: String::new(),
        };
        let named = |uid: Option<&str>, name: &str| Candidate::Named {
            kind: "Job".to_owned(),
            name: name.to_owned(),
            uid: uid.map(str::to_owned),
            span: "queue".to_owned(),
        };
        let mut owner = Some(("Job", job_uid.to_owned()));
        let mut parents = vec![plain_owner()];
        let mut sure = true;
        match shape.hangs {
            Hangs::Owner | Hangs::LateOwner => {}
            Hangs::Name => {
                owner = None;
                parents = vec![named(None, job_uid)];
            }
            Hangs::NameAndUid => {
                owner = None;
                parents = vec![named(Some(job_uid), job_uid)];
            }
            Hangs::Label => {
                owner = None;
                parents = vec![Candidate::Labelled {
                    kind: "Job".to_owned(),
                    value: job_uid.to_owned(),
                }];
            }
            Hangs::Through(owners) => {
                owner = Some((
                    "ReplicaSet",
                    self.owners(uid, owners, Some(("Job", job_uid))),
                ));
            }
            Hangs::SecondChoice => {
                // The first is waited for until the run has ended.
                sure = shape.life.ends || shape.life.deleted;
                parents.insert(0, named(None, "nobody"));
            }
            Hangs::OwnerOrRoot => {
                sure = false;
                owner = Some(("Job", format!("{uid}-nobody")));
                parents.push(Candidate::Root);
            }
            Hangs::Orphan => {
                sure = false;
                owner = Some(("Job", "nobody".to_owned()));
            }
        }
        let links = shape.link.map(|number| format!("e{}j0r0", number % 3));
        let run = self.tell(
            Draft {
                kind: "Run",
                uid: uid.to_owned(),
                owner: owner.as_ref().map(|(kind, uid)| (*kind, uid.as_str())),
                late_owner: shape.hangs == Hangs::LateOwner,
                parent: Some(job),
                sure,
                spec: Spec {
                    safe: true,
                    parents,
                    runs: vec![RunSpec {
                        links: links.into_iter().collect(),
                        ..once(2, 80, &[("queue", 1)])
                    }],
                    ..Spec::default()
                },
                ..Draft::default()
            },
            &shape.life,
        );
        for number in 0..shape.notes {
            self.note(&format!("{uid}n{number}"), uid);
        }
        for (place, task) in shape.tasks.iter().enumerate() {
            self.task(&format!("{uid}t{place}"), run, uid, task);
        }
    }

    fn task(&mut self, uid: &str, run: usize, run_uid: &str, shape: &TaskShape) {
        let attempts: Vec<String> = (0..shape.attempts.len())
            .map(|number| format!("attempt/{number}"))
            .collect();
        let children: Vec<(&str, u64)> = attempts
            .iter()
            .zip(0..)
            .map(|(key, at)| (key.as_str(), 10 * at))
            .collect();
        let task = self.tell(
            Draft {
                kind: "Task",
                uid: uid.to_owned(),
                owner: Some(("Run", run_uid)),
                parent: Some(run),
                sure: true,
                spec: Spec {
                    safe: true,
                    parents: vec![Candidate::Owner {
                        span: String::new(),
                    }],
                    runs: vec![once(3, 75, &children)],
                    ..Spec::default()
                },
                ..Draft::default()
            },
            &shape.life,
        );
        for (number, pods) in shape.attempts.iter().enumerate() {
            for (place, pod) in pods.iter().enumerate() {
                let pod_uid = format!("{uid}a{number}p{place}");
                let start = 4 + 10 * number as u64;
                let under = &attempts[number];
                self.pod(
                    &pod_uid,
                    Some(("Task", uid)),
                    Some(task),
                    start,
                    under,
                    &pod.life,
                );
            }
        }
    }

    pub(super) fn pod(
        &mut self,
        uid: &str,
        owner: Option<(&str, &str)>,
        parent: Option<usize>,
        start: u64,
        under: &str,
        life: &Life,
    ) {
        let spec = Spec {
            parents: vec![Candidate::Owner {
                span: under.to_owned(),
            }],
            runs: vec![once(
                start,
                start + 6,
                &[("pull", start), ("step", start + 100)],
            )],
            ..Spec::default()
        };
        self.tell(
            Draft {
                kind: "Pod",
                uid: uid.to_owned(),
                owner,
                parent,
                sure: parent.is_some(),
                spec,
                ..Draft::default()
            },
            life,
        );
    }

    /// So many owners that no mapper watches, of which the last is owned by this.
    pub(super) fn owners(&mut self, uid: &str, count: u8, end: Option<(&str, &str)>) -> String {
        let name = |number: u8| format!("{uid}-set{number}");
        for number in 0..count {
            let next = name(number + 1);
            let owner = if number + 1 < count {
                Some(("ReplicaSet", next.as_str()))
            } else {
                end
            };
            let value = object("ReplicaSet", &name(number), owner, Value::Null);
            self.lookups
                .insert(name(number), crate::catalog::owners(&value));
        }
        name(0)
    }

    fn note(&mut self, uid: &str, about: &str) {
        let values = (1..3u64).map(|count| {
            let mut value = object("Note", uid, None, Value::Null);
            value["metadata"]["labels"] = json!({"about": about});
            value["at"] = (4 + count).into();
            value["count"] = count.into();
            value
        });
        self.tell_versions("Note", uid, values.map(|value| (value, true)).collect());
    }

    fn events_of(&mut self, involved: &Value, events: &[u8]) {
        let text = |key: &str| involved[key].as_str().unwrap();
        let (uid, name) = (text("uid"), text("name"));
        for (place, versions) in events.iter().enumerate() {
            let event_uid = if uid == name {
                format!("{uid}e{place}")
            } else {
                format!("{uid}-{name}e{place}")
            };
            // The third says again what the first said.
            let values = [0, 1, 0].iter().take(usize::from(*versions)).map(|count| {
                // Some are later than their object.
                let mut value = event(&event_uid, uid, 5 + count + 150 * place as u64);
                value["count"] = (count + 1).into();
                value["involvedObject"] = involved.clone();
                (value, true)
            });
            self.tell_versions("Event", &event_uid, values.collect());
        }
    }

    pub(super) fn tell(&mut self, draft: Draft<'_>, life: &Life) -> usize {
        let mut versions: Vec<(Spec, bool)> = Vec::new();
        for moment in &life.history {
            versions.push(at_moment(&draft.spec, *moment));
        }
        if draft.late_owner || draft.late_label {
            // Its mapper will not see a difference.
            versions.push(at_last(&draft.spec, draft.kind, life));
        }
        versions.push(at_last(&draft.spec, draft.kind, life));
        let last = versions.len() - 1;
        let values: Vec<(Value, bool)> = (0..)
            .zip(versions)
            .map(|(place, (spec, open))| {
                let is_last = place == last;
                let owner = draft.owner.filter(|_| is_last || !draft.late_owner);
                let spec = serde_json::to_value(spec).unwrap();
                let mut value = object(draft.kind, &draft.uid, owner, spec);
                if is_last || !draft.late_label {
                    value["metadata"]["labels"] = json!({LABEL: draft.uid});
                }
                if let Some(name) = &draft.owner_name {
                    value["metadata"]["ownerReferences"][0]["name"] = name.clone().into();
                }
                if let Some(twin) = &draft.twin {
                    value["metadata"]["name"] = twin.name.clone().into();
                    value["metadata"]["creationTimestamp"] = at(twin.created).to_string().into();
                }
                for (key, text) in &draft.annotations {
                    value["metadata"]["annotations"][key] = text.clone().into();
                }
                (value, open)
            })
            .collect();
        let number = self.tell_versions(draft.kind, &draft.uid, values);
        let parent = draft.parent.map(|parent| &self.things[parent]);
        let events = parent
            .map(|parent| parent.events.clone())
            .unwrap_or_default();
        let parent_is_sure = parent.is_none_or(|parent| parent.sure);
        let is_told = matches!(life.last, Last::Spans | Last::Second);
        let thing = &mut self.things[number];
        thing.deleted = life.deleted;
        thing.copies = draft.parent;
        thing.annotations_matter = draft.kind == "Job";
        thing.events = events;
        thing.sure = draft.sure && parent_is_sure && is_told;
        thing.ends = life.ends || life.deleted;
        if let Some(twin) = draft.twin {
            thing.identity = twin.identity;
        }
        let involved = &thing.versions[0].value;
        let metadata = &involved["metadata"];
        let involved = json!({
            "apiVersion": involved["apiVersion"], "kind": involved["kind"], "uid": metadata["uid"],
            "namespace": metadata["namespace"], "name": metadata["name"],
        });
        self.events_of(&involved, &life.events);
        number
    }

    fn tell_versions(&mut self, kind: &str, uid: &str, values: Vec<(Value, bool)>) -> usize {
        let mut sources = self.catalog.sources();
        let source = sources.find(|(_, source)| source.kind == kind).unwrap().0;
        drop(sources);
        let versions = (1..).zip(values).map(|(number, (mut value, open))| {
            value["metadata"]["resourceVersion"] = (100 * number).to_string().into();
            Version {
                object: self.catalog.object(source, &value).unwrap(),
                value,
                open,
            }
        });
        let thing = Thing {
            uid: uid.into(),
            identity: uid.to_owned(),
            source,
            versions: versions.collect(),
            deleted: false,
            copies: None,
            annotations_matter: false,
            events: BTreeSet::new(),
            sure: false,
            ends: false,
        };
        self.things.push(thing);
        self.things.len() - 1
    }
}

/// The one run of an object, with child spans that start at these times and end when it does.
pub(super) fn once(start: u64, end: u64, children: &[(&str, u64)]) -> RunSpec {
    RunSpec {
        start,
        end: Some(end),
        children: children
            .iter()
            .zip(0..)
            .map(|((key, start), place)| ChildSpec {
                key: (*key).to_owned(),
                under: (place == 1).then_some(0),
                start: *start,
                end: (place == 0).then_some(start + 9),
            })
            .collect(),
        ..RunSpec::default()
    }
}

/// What an object says at some time before its last word, and whether nothing of it has ended.
fn at_moment(spec: &Spec, moment: Moment) -> (Spec, bool) {
    let mut spec = spec.clone();
    if moment == Moment::Ended {
        for run in &mut spec.runs {
            run.end = run.end.map(|end| end - 3);
            run.failed = !run.failed;
        }
        return (spec, false);
    }
    if moment == Moment::Bare {
        spec.runs.truncate(1);
        for run in &mut spec.runs {
            run.children.clear();
        }
    }
    if let Some(run) = spec.runs.last_mut() {
        run.end = None;
    }
    match moment {
        Moment::Waiting => spec.says = Says::Wait,
        Moment::Nonsense => spec.says = Says::Nonsense,
        Moment::NotOurs => spec.says = Says::NotOurs,
        Moment::Others => spec.claimed_by = 1,
        Moment::Open | Moment::Bare | Moment::Ended => {}
    }
    let open = spec.says != Says::Spans || spec.runs.iter().all(|run| run.end.is_none());
    (spec, open)
}

/// An object's last word, and whether nothing of it has ended.
fn at_last(spec: &Spec, kind: &str, life: &Life) -> (Spec, bool) {
    let mut spec = spec.clone();
    if let Some(run) = spec.runs.last_mut() {
        run.failed |= life.fails;
        if !life.ends {
            run.end = None;
        }
    }
    match life.last {
        Last::Spans => {}
        Last::Second => spec.claimed_by = u32::from(kind == "Run"),
        Last::Waiting => spec.says = Says::Wait,
        Last::Nonsense => spec.says = Says::Nonsense,
        Last::NotOurs => spec.says = Says::NotOurs,
    }
    let open = spec.says != Says::Spans || spec.runs.iter().all(|run| run.end.is_none());
    (spec, open)
}
