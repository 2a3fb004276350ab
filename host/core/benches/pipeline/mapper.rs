//! A mapper of plain Rust whose trees are as large as those of the built-in mappers: as many spans, attributes and span
//! events, of the same names.

use lighthouse_telemetry_core::mapping::{
    Attribute, AttributeValue, Child, EventKey, MappedEvent, MappedSpan, ObjectSubject, Outcome,
    OwnerParent, Parent, SpanKind, SpanStatus, SpanTree, Subject, Timestamp, TraceStart,
    WebhookSubject,
};
use lighthouse_telemetry_core::time::{Precision, Time};
use serde_json::Value;

use super::objects::{CONTAINERS, INIT};

/// Maps as the built-in mappers do.
pub fn map(subject: &Subject) -> Outcome {
    let tree = match subject {
        Subject::Webhook(webhook) => of_webhook(webhook),
        Subject::Object(object) => of_object(object),
    };
    Outcome::Spans(vec![tree])
}

fn event_key(guid: &str) -> EventKey {
    EventKey::Delivery {
        repository: "acme/shop".to_owned(),
        guid: guid.to_owned(),
    }
}

fn of_webhook(webhook: &WebhookSubject) -> SpanTree {
    let body: Value = serde_json::from_str(&webhook.json).unwrap_or_default();
    let guid = body["GUID"].as_str().unwrap_or_default();
    let received = Timestamp {
        time: webhook.received,
        precision: Precision::Nanosecond,
    };
    let mut main = span("", "LighthouseEvent", received, None);
    main.attributes = ROOT.iter().map(|key| from(&body, key)).collect();
    tree(
        "WebHookEvent",
        main,
        vec![Parent::Root(TraceStart::Event(event_key(guid)))],
    )
}

const ROOT: [(&str, &str); 18] = [
    ("event.action", "/Action"),
    ("event.guid", "/GUID"),
    ("event.sender", "/Sender/Login"),
    ("event.url", "/PullRequest/Link"),
    ("pr.author", "/PullRequest/Author/Login"),
    ("pr.link", "/PullRequest/Link"),
    ("pr.number", "/PullRequest/Number"),
    ("pr.title", "/PullRequest/Title"),
    ("vcs.change.id", "/PullRequest/Number"),
    ("vcs.change.title", "/PullRequest/Title"),
    ("vcs.owner.name", "/Repo/FullName"),
    ("vcs.ref.base.name", "/PullRequest/Base/Ref"),
    ("vcs.ref.base.revision", "/PullRequest/Base/Sha"),
    ("vcs.ref.head.name", "/PullRequest/Source"),
    ("vcs.ref.head.revision", "/PullRequest/Sha"),
    ("vcs.repository.name", "/Repo/FullName"),
    ("vcs.repository.url.full", "/Repo/Link"),
    ("event.kind", "/Action"),
];

fn of_object(object: &ObjectSubject) -> SpanTree {
    let value: Value = serde_json::from_str(&object.json).unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or_default();
    let created = time(&value["metadata"]["creationTimestamp"]).unwrap_or_default();
    let end = time(match kind {
        "PipelineActivity" => &value["spec"]["completedTimestamp"],
        _ => &value["status"]["completionTime"],
    });
    let mut main = span("", "from-build-pack", created, end);
    main.attributes.extend([
        from(&value, &("k8s.namespace.name", "/metadata/namespace")),
        from(&value, &("k8s.object.kind", "/kind")),
        from(&value, &("k8s.object.name", "/metadata/name")),
        from(&value, &("k8s.object.uid", "/metadata/uid")),
    ]);
    let owner = |span: &str| {
        vec![Parent::Owner(OwnerParent {
            span: span.to_owned(),
            ..OwnerParent::default()
        })]
    };
    match kind {
        "LighthouseJob" => {
            main.attributes
                .extend(JOB.iter().map(|key| from(&value, key)));
            let guid = value.pointer("/metadata/labels/event-GUID");
            let key = event_key(guid.and_then(Value::as_str).unwrap_or_default());
            let mut tree = tree("LighthouseJob", main, vec![Parent::Event(key)]);
            add(&mut tree, span("queue", "queue", created, Some(created)));
            tree
        }
        "PipelineRun" | "TaskRun" => of_run(kind, &value, main, owner("")),
        "Pod" => of_pod(object, &value, main, owner("pod")),
        "PipelineActivity" => of_activity(&value, main),
        _ => tree(kind, main, vec![Parent::Root(TraceStart::Subject)]),
    }
}

const JOB: [(&str, &str); 26] = [
    ("event.guid", "/metadata/labels/event-GUID"),
    ("job.agent", "/spec/agent"),
    ("job.description", "/status/description"),
    ("job.name", "/spec/job"),
    ("job.state", "/status/state"),
    ("job.type", "/spec/type"),
    ("job.url", "/status/reportURL"),
    ("pipeline.context", "/spec/context"),
    ("pipeline.owner", "/spec/refs/org"),
    ("pipeline.repository", "/spec/refs/repo"),
    ("pr.author", "/spec/refs/pulls/0/author"),
    ("pr.link", "/spec/refs/pulls/0/link"),
    ("pr.number", "/spec/refs/pulls/0/number"),
    ("pr.owner", "/spec/refs/org"),
    ("pr.repo", "/spec/refs/repo"),
    ("pr.title", "/spec/refs/pulls/0/title"),
    ("vcs.change.id", "/spec/refs/pulls/0/number"),
    ("vcs.change.title", "/spec/refs/pulls/0/title"),
    ("vcs.owner.name", "/spec/refs/org"),
    ("vcs.ref.base.name", "/spec/refs/base_ref"),
    ("vcs.ref.base.revision", "/spec/refs/base_sha"),
    ("vcs.ref.base.type", "/spec/type"),
    ("vcs.ref.head.name", "/spec/refs/pulls/0/ref"),
    ("vcs.ref.head.revision", "/spec/refs/pulls/0/sha"),
    ("vcs.repository.name", "/spec/refs/repo"),
    ("vcs.repository.url.full", "/spec/refs/repo_link"),
];

fn of_run(kind: &str, value: &Value, mut main: MappedSpan, parents: Vec<Parent>) -> SpanTree {
    let start = main.start;
    main.attributes.extend([
        from(
            value,
            &(
                "cicd.pipeline.name",
                "/metadata/labels/tekton.dev~1pipeline",
            ),
        ),
        from(value, &("cicd.pipeline.run.id", "/metadata/uid")),
        from(value, &("k8s.pod.name", "/status/podName")),
        from(value, &("tekton.reason", "/status/conditions/0/reason")),
    ]);
    let condition = &value["status"]["conditions"][0];
    let mut changed = event(
        "Condition Succeeded",
        time(&condition["lastTransitionTime"]).unwrap_or(start),
    );
    changed.attributes = [
        ("message", "/message"),
        ("reason", "/reason"),
        ("status", "/status"),
        ("type", "/type"),
    ]
    .iter()
    .map(|key| from(condition, key))
    .collect();
    main.events.extend([event("Start", start), changed]);
    let mut tree = tree(&format!("Tekton.{kind}"), main, parents);
    add(&mut tree, span("queue", "queue", start, Some(start)));
    for step in value["status"]["steps"].as_array().into_iter().flatten() {
        let name = step["name"].as_str().unwrap_or_default();
        let ended = &step["terminated"];
        let started = time(&ended["startedAt"]).unwrap_or(start);
        let mut span = span(
            &format!("step/{name}"),
            name,
            started,
            time(&ended["finishedAt"]),
        );
        span.attributes = vec![
            from(step, &("container.image.name", "/imageID")),
            from(step, &("k8s.container.name", "/container")),
            from(step, &("process.exit.code", "/terminated/exitCode")),
            from(step, &("tekton.reason", "/terminated/reason")),
            from(step, &("tekton.step.name", "/name")),
        ];
        add(&mut tree, span);
    }
    tree
}

fn of_pod(
    object: &ObjectSubject,
    value: &Value,
    mut main: MappedSpan,
    parents: Vec<Parent>,
) -> SpanTree {
    let start = main.start;
    let over = value["status"]["phase"] == "Succeeded" || object.deleted;
    main.end = over
        .then(|| time(&value["status"]["conditions"][0]["lastTransitionTime"]))
        .flatten();
    main.attributes.extend([
        from(value, &("k8s.node.name", "/spec/nodeName")),
        from(value, &("k8s.pod.status.phase", "/status/phase")),
    ]);
    for attached in &object.attached {
        let value: Value = serde_json::from_str(&attached.json).unwrap_or_default();
        let mut event = event(
            value["reason"].as_str().unwrap_or_default(),
            time(&value["firstTimestamp"]).unwrap_or(start),
        );
        event.attributes = [
            ("reason", "/reason"),
            ("message", "/message"),
            ("type", "/type"),
            ("fieldPath", "/involvedObject/fieldPath"),
            ("component", "/source/component"),
            ("host", "/source/host"),
            ("count", "/count"),
            ("k8s.container.name", "/involvedObject/fieldPath"),
        ]
        .iter()
        .map(|key| from(&value, key))
        .collect();
        main.events.push(event);
    }
    let mut tree = tree("Pod", main, parents);
    let mut schedule = span("schedule", "schedule", start, Some(start));
    schedule.attributes = vec![from(value, &("k8s.node.name", "/spec/nodeName"))];
    add(&mut tree, schedule);
    add(&mut tree, span("prepare", "prepare", start, Some(start)));
    for (place, name) in CONTAINERS.iter().enumerate() {
        let role = if place < INIT { "init" } else { "app" };
        let (list, within) = if place < INIT {
            ("initContainer", place)
        } else {
            ("container", place - INIT)
        };
        let pointer = |field: &str| format!("/status/{list}Statuses/{within}/{field}");
        let image = format!("/spec/{list}s/{within}/image");
        for does in ["pull", "create", "start", "run"] {
            let mut span = span(
                &format!("{does}/{name}"),
                &format!("{does} {name}"),
                start,
                Some(start),
            );
            span.attributes = vec![
                Attribute::new("k8s.container.name", *name),
                Attribute::new("container.role", role),
            ];
            if does == "pull" {
                span.attributes.extend([
                    from(value, &("container.image.name", &image)),
                    Attribute::new(
                        "container.image.tags",
                        AttributeValue::Texts(vec!["3.10".into()]),
                    ),
                    Attribute::new("image.pull.duration", AttributeValue::Number(0.796)),
                    Attribute::new("image.pull.waiting", AttributeValue::Number(0.798)),
                    Attribute::new("image.size", 182_736_451),
                ]);
            }
            if does == "run" {
                span.attributes.extend([
                    from(value, &("container.id", &pointer("containerID"))),
                    from(value, &("container.image.name", &image)),
                    Attribute::new(
                        "container.image.tags",
                        AttributeValue::Texts(vec!["3.10".into()]),
                    ),
                    from(
                        value,
                        &("k8s.container.restart_count", &pointer("restartCount")),
                    ),
                    from(value, &("exit-code", &pointer("state/terminated/exitCode"))),
                    from(
                        value,
                        &("process.exit.code", &pointer("state/terminated/exitCode")),
                    ),
                    from(value, &("reason", &pointer("state/terminated/reason"))),
                ]);
            }
            add(&mut tree, span);
        }
    }
    tree
}

fn of_activity(value: &Value, mut main: MappedSpan) -> SpanTree {
    main.attributes.extend(
        [
            ("jenkins_x.build", "/spec/build"),
            ("jenkins_x.status", "/spec/status"),
            ("pipeline.branch", "/spec/gitBranch"),
            ("pipeline.build", "/spec/build"),
            ("pipeline.context", "/spec/context"),
            ("pipeline.owner", "/spec/gitOwner"),
            ("pipeline.repository", "/spec/gitRepository"),
            ("vcs.owner.name", "/spec/gitOwner"),
            ("vcs.ref.head.revision", "/spec/lastCommitSHA"),
            ("vcs.repository.name", "/spec/gitRepository"),
            ("vcs.repository.url.full", "/spec/gitUrl"),
        ]
        .iter()
        .map(|key| from(value, key)),
    );
    let start = main.start;
    let job = value.pointer("/metadata/labels/lighthouse.jenkins-x.io~1id");
    let parents = vec![Parent::Target(lighthouse_telemetry_core::mapping::Target {
        group: "lighthouse.jenkins.io".to_owned(),
        kind: "LighthouseJob".to_owned(),
        namespace: None,
        name: job.and_then(Value::as_str).unwrap_or_default().to_owned(),
        uid: None,
        span: String::new(),
    })];
    let mut tree = tree("PipelineActivity", main, parents);
    for (stage, place) in value["spec"]["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .zip(0..)
    {
        let stage = &stage["stage"];
        let under = u32::try_from(tree.children.len()).ok();
        let name = stage["name"].as_str().unwrap_or_default();
        add(
            &mut tree,
            span(&format!("stage/{place}"), name, start, None),
        );
        for (step, place) in stage["steps"].as_array().into_iter().flatten().zip(0..) {
            let name = step["name"].as_str().unwrap_or_default();
            let started = time(&step["startedTimestamp"]).unwrap_or(start);
            let end = time(&step["completedTimestamp"]);
            let mut span = span(&format!("stage/{place}/{name}"), name, started, end);
            span.attributes = vec![from(step, &("jenkins_x.status", "/status"))];
            tree.children.push(Child { under, span });
        }
    }
    tree
}

fn add(tree: &mut SpanTree, span: MappedSpan) {
    tree.children.push(Child { under: None, span });
}

fn tree(service: &str, main: MappedSpan, parents: Vec<Parent>) -> SpanTree {
    SpanTree {
        run: String::new(),
        service: service.to_owned(),
        resource_attributes: vec![Attribute::new("service.namespace", "jx")],
        parents,
        main,
        children: Vec::new(),
        may_annotate: true,
        diagnostics: Vec::new(),
    }
}

fn span(key: &str, name: &str, start: Timestamp, end: Option<Timestamp>) -> MappedSpan {
    MappedSpan {
        key: key.into(),
        name: name.into(),
        kind: SpanKind::Internal,
        start,
        end,
        status: SpanStatus::Unset,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

fn event(name: &str, time: Timestamp) -> MappedEvent {
    MappedEvent {
        name: name.into(),
        time,
        attributes: Vec::new(),
    }
}

/// An attribute from a field.
fn from(value: &Value, (key, pointer): &(&str, &str)) -> Attribute {
    let value = match value.pointer(pointer) {
        Some(Value::String(text)) => AttributeValue::Text(text.into()),
        Some(Value::Number(number)) => AttributeValue::Integer(number.as_i64().unwrap_or_default()),
        _ => AttributeValue::Text("".into()),
    };
    Attribute::new(*key, value)
}

fn time(value: &Value) -> Option<Timestamp> {
    Some(Timestamp {
        time: Time::parse(value.as_str()?)?,
        precision: Precision::Second,
    })
}
