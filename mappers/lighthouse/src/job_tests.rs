use proptest::prelude::*;
use serde_json::{Value, json};
use span_mapper_sdk::contract::{Change, Delivery, Push};
use span_mapper_sdk::read;
use span_mapper_sdk::testing::{self, attributes};
use span_mapper_sdk::{Configuration, Mapper, SpanStatus, Timestamp, TraceStart};

use super::*;
use crate::Lighthouse;

fn subject(job: &Value) -> Object {
    let description = Lighthouse::configure(&testing::configuration()).unwrap();
    let watch = testing::watch_of(&description, "LighthouseJob").unwrap();
    testing::subject(&description, watch, job, &[])
}

fn tree_of(subject: &Object) -> SpanTree<'static> {
    match map(read::keep(subject.clone())).unwrap() {
        Outcome::Spans(mut trees) => {
            let tree = trees.remove(0);
            assert_eq!(testing::fault(&tree), None);
            tree
        }
        other => panic!("{other:?}"),
    }
}

fn tree(job: &Value) -> SpanTree<'static> {
    tree_of(&subject(job))
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(&["2023-11-14T22:", text, "Z"].concat())
}

fn job() -> Value {
    json!({
        "apiVersion": "lighthouse.jenkins.io/v1alpha1",
        "kind": "LighthouseJob",
        "metadata": {
            "name": "f00d", "namespace": "jx", "uid": "u", "creationTimestamp": "2023-11-14T22:13:20Z",
            "labels": {"event-GUID": "72d3162e", "lighthouse.jenkins-x.io/buildNum": "3",
                "lighthouse.jenkins-x.io/type": "presubmit"},
            "annotations": {"lighthouse.jenkins-x.io/cloneURI": "https://bot:secret@github.com/Acme/Shop.git"},
        },
        "spec": {
            "type": "presubmit", "agent": "tekton-pipeline", "job": "pr-build", "context": "build",
            "refs": {
                "org": "Acme", "repo": "Shop", "repo_link": "https://github.com/Acme/Shop",
                "clone_uri": "https://bot:secret@github.com/Acme/Shop.git", "base_ref": "main", "base_sha": "cafe",
                "pulls": [{"number": 7, "author": "ada", "sha": "0a1b", "title": "Sell more", "ref": "pull/7/head",
                    "link": "https://github.com/Acme/Shop/pull/7"}],
            },
        },
        "status": {
            "state": "success", "activityName": "acme-shop-pr-7-3", "description": "Pipeline successful",
            "reportURL": "https://dashboard.example/3", "startTime": "2023-11-14T22:13:23Z",
            "completionTime": "2023-11-14T22:15:20Z",
        },
    })
}

#[test]
fn a_job_belongs_to_its_event() {
    let tree = tree(&job());
    assert_eq!(tree.service, "LighthouseJob");
    assert_eq!(
        attributes(&tree.resource_attributes),
        json!({"service.namespace": "jx"})
    );
    assert_eq!(tree.main.name, "pr-build");
    assert_eq!(Some(tree.main.start), time("13:20"));
    assert_eq!(tree.main.end, time("15:20"));
    assert_eq!(tree.main.status, SpanStatus::Unset);
    assert!(tree.may_annotate);
    assert_eq!(tree.diagnostics, []);
    assert_eq!(
        tree.parents,
        [Parent::Event(EventKey::Delivery(Delivery {
            repository: "acme/shop".to_owned(),
            guid: "72d3162e".to_owned()
        }))]
    );
    assert_eq!(tree.children.len(), 1);
    let queue = &tree.children[0].span;
    assert_eq!((&*queue.key, queue.end), ("queue", time("13:23")));
    assert_eq!(
        attributes(&tree.main.attributes),
        json!({
            "k8s.object.kind": "LighthouseJob", "k8s.object.name": "f00d", "k8s.object.uid": "u",
            "k8s.namespace.name": "jx", "event.guid": "72d3162e",
            "job.name": "pr-build", "job.type": "presubmit", "job.agent": "tekton-pipeline",
            "job.description": "Pipeline successful", "job.activity": "acme-shop-pr-7-3",
            "job.url": "https://dashboard.example/3", "job.state": "success", "job.result": "success",
            "pipeline.owner": "Acme", "pipeline.repository": "Shop", "pipeline.branch": "PR-7",
            "pipeline.build": "3", "pipeline.context": "build",
            "pr.owner": "Acme", "pr.repo": "Shop", "pr.number": 7, "pr.title": "Sell more", "pr.author": "ada",
            "pr.link": "https://github.com/Acme/Shop/pull/7",
            "vcs.provider.name": "github", "vcs.owner.name": "Acme", "vcs.repository.name": "Shop",
            "vcs.repository.url.full": "https://github.com/Acme/Shop",
            "vcs.change.id": "7", "vcs.change.title": "Sell more",
            "vcs.ref.head.name": "pull/7/head", "vcs.ref.head.revision": "0a1b",
            "vcs.ref.base.name": "main", "vcs.ref.base.type": "branch", "vcs.ref.base.revision": "cafe",
        })
    );
}

#[test]
fn the_password_in_a_clone_address_stays_out() {
    let mut job = job();
    job["spec"]["refs"]["repo_link"] = json!("");
    let tree = tree(&job);
    assert_eq!(
        attributes(&tree.main.attributes)["vcs.repository.url.full"],
        "https://github.com/Acme/Shop"
    );
    assert!(!format!("{tree:?}").contains("secret"));
}

#[test]
fn an_empty_guid_leaves_the_change_or_the_push() {
    let mut job = job();
    job["metadata"]["labels"]["event-GUID"] = json!("");
    assert_eq!(
        tree(&job).parents,
        [Parent::Event(EventKey::Change(Change {
            repository: "acme/shop".to_owned(),
            number: 7,
            revision: "0a1b".to_owned()
        }))]
    );
    job["spec"]["refs"]["pulls"] = Value::Null;
    job["spec"]["type"] = json!("postsubmit");
    let tree = tree(&job);
    assert_eq!(
        tree.parents,
        [Parent::Event(EventKey::Push(Push {
            repository: "acme/shop".to_owned(),
            reference: "main".to_owned(),
            revision: "cafe".to_owned()
        }))]
    );
    let attributes = attributes(&tree.main.attributes);
    assert_eq!(attributes["vcs.ref.head.name"], "main");
    assert_eq!(attributes["pipeline.branch"], "main");
}

#[test]
fn the_guid_of_bitbucket_cloud_is_not_of_the_delivery() {
    let mut job = job();
    let refs = &mut job["spec"]["refs"];
    refs["repo_link"] = json!("https://bitbucket.org/Acme/Shop");
    assert!(matches!(
        tree(&job).parents.as_slice(),
        [Parent::Event(EventKey::Change(_))]
    ));
}

#[test]
fn a_job_of_no_event_starts_its_own_trace() {
    let mut job = job();
    job["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove("event-GUID");
    assert_eq!(tree(&job).parents, [Parent::Root(TraceStart::Subject)]);
    job["metadata"]["labels"] = json!({"event-GUID": ""});
    job["spec"]["refs"] = Value::Null;
    assert_eq!(tree(&job).parents, [Parent::Root(TraceStart::Subject)]);
}

#[test]
fn a_batch_of_changes_is_no_single_change() {
    let mut job = job();
    job["metadata"]["labels"]["event-GUID"] = json!("");
    job["spec"]["type"] = json!("batch");
    let pull = job["spec"]["refs"]["pulls"][0].clone();
    job["spec"]["refs"]["pulls"] = json!([pull, pull]);
    let tree = tree(&job);
    assert_eq!(tree.parents, [Parent::Root(TraceStart::Subject)]);
    assert_eq!(
        attributes(&tree.main.attributes)["pipeline.branch"],
        "batch"
    );
    assert_eq!(attributes(&tree.main.attributes).get("pr.number"), None);
}

#[test]
fn a_context_on_the_job_goes_first() {
    let mut job = job();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    job["metadata"]["annotations"] = json!({
        "lighthouse.jenkins-x.io/traceparent": traceparent,
        "lighthouse.jenkins-x.io/tracestate": "vendor=1",
    });
    let parents = tree(&job).parents;
    assert_eq!(
        parents[0],
        Parent::Remote(Remote {
            traceparent: traceparent.to_owned(),
            tracestate: Some("vendor=1".to_owned())
        })
    );
    assert!(matches!(parents[1], Parent::Event(_)));
}

#[test]
fn states_are_results() {
    let with = |state: &str| {
        let mut job = job();
        job["status"]["state"] = json!(state);
        tree(&job)
    };
    let failed = with("failure").main;
    assert_eq!(
        failed.status,
        SpanStatus::Error("Pipeline successful".into())
    );
    assert_eq!(attributes(&failed.attributes)["error.type"], "failure");
    let aborted = with("aborted").main;
    assert_eq!(aborted.status, SpanStatus::Unset);
    assert_eq!(
        attributes(&aborted.attributes)["job.result"],
        "cancellation"
    );
    assert!(with("error").main.has_failed());
    assert_eq!(with("running").main.end, None);
}

#[test]
fn a_job_that_was_not_triggered_yet_waits_in_the_queue() {
    let mut job = job();
    job["status"] = json!({"startTime": null});
    let tree = tree(&job);
    assert!(!tree.may_annotate);
    assert_eq!((tree.main.end, tree.children[0].span.end), (None, None));
}

#[test]
fn a_job_that_is_gone_has_ended() {
    let mut job = job();
    job["status"] = json!({"state": "running", "startTime": "2023-11-14T22:13:23Z"});
    let mut subject = subject(&job);
    subject.deleted = true;
    assert_eq!(tree_of(&subject).main.end, time("13:23"));
    job["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:14:00Z");
    let mut subject = self::subject(&job);
    assert_eq!(tree_of(&subject).main.end, None);
    subject.deleted = true;
    assert_eq!(tree_of(&subject).main.end, time("14:00"));
}

#[test]
fn wrong_types_are_missing_and_told() {
    let mut job = job();
    job["spec"]["refs"]["pulls"] = json!("seven");
    job["status"]["startTime"] = json!(5);
    let tree = tree(&job);
    let pointers: Vec<_> = tree
        .diagnostics
        .iter()
        .map(|odd| odd.pointer.as_str())
        .collect();
    assert_eq!(pointers, ["/spec/refs/pulls", "/status/startTime"]);
    assert_eq!(tree.children[0].span.end, tree.main.end);
}

#[test]
fn a_job_without_any_time_waits() {
    let mut job = job();
    job["metadata"]["creationTimestamp"] = Value::Null;
    job["status"] = json!({});
    assert_eq!(
        map(&subject(&job)).unwrap(),
        Outcome::wait("no-creation-time")
    );
}

#[test]
fn the_operator_has_nothing_to_configure() {
    let configured = |configuration: &Configuration| Lighthouse::configure(configuration).unwrap();
    assert_eq!(configured(&testing::configuration()).watches.len(), 2);
}

proptest! {
    #[test]
    fn any_job_is_mapped(
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        deleted: bool,
    ) {
        let job = testing::mangle(&job(), &changes);
        let mut subject = subject(&job);
        subject.deleted = deleted;
        if let Outcome::Spans(trees) = map(&subject).unwrap() {
            prop_assert_eq!(testing::fault(&trees[0]), None);
            prop_assert!(!deleted || trees[0].main.end.is_some());
        }
    }
}
