//! PipelineActivities as Jenkins X writes them, cut down to what the mapper declares to read, and what becomes of
//! them.

use proptest::prelude::*;
use serde_json::{Value, json};
use span_mapper_sdk::read;
use span_mapper_sdk::testing::{fault, subject};
use span_mapper_sdk::{
    Annotation, AnnotationValue, AttributeValue, Mapper, Object, Outcome, Parent, Span, SpanStatus,
    SpanTree, Subject, Timestamp,
};

use crate::{JenkinsX, description};

/// The time so many seconds after 10:00.
fn at(seconds: u64) -> String {
    format!("2026-03-02T10:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::parse(&at(seconds)).unwrap()
}

fn step(name: &str, status: &str, started: u64, completed: u64) -> Value {
    json!({
        "name": name, "status": status, "startedTimestamp": at(started), "completedTimestamp": at(completed),
    })
}

fn stage(name: &str, status: &str, started: u64, completed: u64, steps: &[Value]) -> Value {
    let mut stage = step(name, status, started, completed);
    stage["steps"] = json!(steps);
    json!({"kind": "Stage", "stage": stage})
}

/// A release with a stage, and a promotion to staging.
fn release() -> Value {
    json!({
        "apiVersion": "jenkins.io/v1",
        "kind": "PipelineActivity",
        "metadata": {
            "name": "acme-shop-main-7", "namespace": "jx", "uid": "pa-uid", "creationTimestamp": at(3),
            "labels": {
                "branch": "main", "build": "7", "owner": "acme", "repository": "shop", "context": "release",
                "event-GUID": "guid",
                "lighthouse.jenkins-x.io/buildNum": "1772445600123",
                "lighthouse.jenkins-x.io/id": "acme-shop-main-release-job",
                "lighthouse.jenkins-x.io/refs.org": "acme",
                "lighthouse.jenkins-x.io/refs.repo": "shop",
            },
            "annotations": {"lighthouse.jenkins-x.io/job": "release"},
        },
        "spec": {
            "pipeline": "acme/shop/main", "build": "7", "version": "1.2.3", "status": "Succeeded",
            "startedTimestamp": at(5), "completedTimestamp": at(300),
            "context": "release", "gitOwner": "acme", "gitRepository": "shop", "gitBranch": "main",
            "gitUrl": "https://user:token@github.com/acme/shop.git",
            "lastCommitSHA": "bbbb", "baseSHA": "aaaa",
            "buildLogsUrl": "gs://bucket/jenkins-x/logs/acme/shop/main/7.log",
            "releaseNotesURL": "https://github.com/acme/shop/releases/tag/v1.2.3",
            "steps": [
                stage("from build pack", "Succeeded", 5, 120, &[
                    step("Git Clone", "Succeeded", 5, 9),
                    step("Build Make", "Succeeded", 9, 120),
                ]),
                {
                    "kind": "Promote",
                    "promote": {
                        "name": "Promote: staging", "status": "Succeeded", "environment": "staging",
                        "startedTimestamp": at(120), "completedTimestamp": at(290),
                        "applicationURL": "https://shop.staging.example.com",
                        "pullRequest": {
                            "name": "PullRequest", "status": "Succeeded",
                            "startedTimestamp": at(121), "completedTimestamp": at(200),
                            "pullRequestURL": "https://github.com/acme/environment-staging/pull/44",
                            "mergeCommitSHA": "cccc",
                        },
                        "update": {
                            "status": "Succeeded", "startedTimestamp": at(200), "completedTimestamp": at(290),
                            "statuses": [{"url": "x", "status": "success"}],
                        },
                    },
                },
            ],
        },
    })
}

fn outcome(activity: &Value, deleted: bool) -> Outcome<'static> {
    let mut subject = subject(&description(), 0, activity, &[]);
    subject.deleted = deleted;
    JenkinsX::map(read::keep(subject.into())).unwrap()
}

fn tree(activity: &Value) -> SpanTree<'static> {
    let Outcome::Spans(mut trees) = outcome(activity, false) else {
        panic!("no spans");
    };
    let tree = trees.remove(0);
    assert_eq!(trees, []);
    assert_eq!(fault(&tree), None);
    tree
}

fn text<'t>(span: &'t Span<'t>, key: &str) -> Option<&'t str> {
    let attribute = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key)?;
    match &attribute.value {
        AttributeValue::Text(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

fn keys<'t>(tree: &'t SpanTree<'t>) -> Vec<&'t str> {
    tree.children.iter().map(|child| &*child.span.key).collect()
}

fn child<'t>(tree: &'t SpanTree<'t>, key: &str) -> &'t Span<'t> {
    let keys = keys(tree);
    let place = keys.iter().position(|known| *known == key);
    let place = place.unwrap_or_else(|| panic!("no {key} among {keys:?}"));
    &tree.children[place].span
}

fn error<'t>(span: &'t Span<'t>) -> Option<&'t str> {
    match &span.status {
        SpanStatus::Error(description) => Some(description),
        _ => None,
    }
}

#[test]
fn a_release_has_its_stages_and_promotions() {
    let tree = tree(&release());
    let main = &tree.main;
    assert_eq!(tree.service, "PipelineActivity");
    assert_eq!(main.name, "release");
    assert_eq!((main.start, main.end), (time(5), Some(time(300))));
    assert_eq!(main.status, SpanStatus::Unset);
    for (key, value) in [
        ("k8s.object.name", "acme-shop-main-7"),
        ("jenkins_x.status", "Succeeded"),
        ("jenkins_x.version", "1.2.3"),
        ("jenkins_x.build", "7"),
        ("pipeline.owner", "acme"),
        ("pipeline.repository", "shop"),
        ("pipeline.branch", "main"),
        ("pipeline.build", "1772445600123"),
        ("pipeline.context", "release"),
        ("event.guid", "guid"),
        ("vcs.repository.url.full", "https://github.com/acme/shop"),
        ("vcs.ref.head.name", "main"),
        ("vcs.ref.head.revision", "bbbb"),
    ] {
        assert_eq!(text(main, key), Some(value), "{key}");
    }
    // The pipeline run of the conventions is the PipelineRun.
    assert!(
        main.attributes
            .iter()
            .all(|attribute| !attribute.key.starts_with("cicd."))
    );
    assert!(tree.may_annotate);
    assert_eq!(tree.diagnostics, []);
    assert_eq!(
        keys(&tree),
        [
            "stage/from build pack",
            "stage/from build pack/step/Git Clone",
            "stage/from build pack/step/Build Make",
            "promote/staging",
            "promote/staging/pull-request",
            "promote/staging/update",
        ]
    );
    let step = child(&tree, "stage/from build pack/step/Build Make");
    assert_eq!(step.name, "Build Make");
    assert_eq!((step.start, step.end), (time(9), Some(time(120))));
    let promote = child(&tree, "promote/staging");
    assert_eq!(text(promote, "jenkins_x.environment"), Some("staging"));
    assert_eq!(
        text(
            child(&tree, "promote/staging/pull-request"),
            "jenkins_x.pull_request.url"
        ),
        Some("https://github.com/acme/environment-staging/pull/44")
    );
    assert_eq!(child(&tree, "promote/staging/update").name, "update");
    assert_eq!(tree.children[4].under, Some(3));
}

#[test]
fn both_trace_ids_are_annotated() {
    let ids: Vec<_> = description().watches[0]
        .annotations
        .iter()
        .filter(|annotation| annotation.value == AnnotationValue::TraceId)
        .map(|Annotation { key, .. }| key.clone())
        .collect();
    assert_eq!(
        ids,
        [
            "lighthouse.jenkins-x.io/traceID",
            "pipeline.jenkins-x.io/traceID"
        ]
    );
}

#[test]
fn it_belongs_to_its_job_or_to_nobody() {
    let mut activity = release();
    let parents = tree(&activity).parents;
    let [Parent::Target(target)] = parents.as_slice() else {
        panic!("{parents:?}");
    };
    assert_eq!(target.kind, "LighthouseJob");
    assert_eq!(target.name, "acme-shop-main-release-job");

    activity["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "r", "uid": "r", "controller": true},
    ]);
    assert_eq!(tree(&activity).parents.len(), 2);
    activity["metadata"]["labels"] = json!({});
    assert!(matches!(
        tree(&activity).parents.as_slice(),
        [Parent::Owner(_)]
    ));

    activity["metadata"]["ownerReferences"] = json!([]);
    assert_eq!(outcome(&activity, false), Outcome::NotOurs);
    activity["spec"]["status"] = json!("Running");
    activity["spec"]["completedTimestamp"] = json!(null);
    assert_eq!(
        outcome(&activity, false),
        Outcome::wait("no-lighthouse-job")
    );
    assert_eq!(outcome(&activity, true), Outcome::NotOurs);
}

#[test]
fn what_a_jenkins_server_writes_is_not_ours() {
    let mut blue_ocean = release();
    blue_ocean["spec"]["buildUrl"] =
        json!("https://jenkins.example.com/blue/organizations/jenkins/shop/detail/main/7/pipeline");
    assert_eq!(outcome(&blue_ocean, false), Outcome::NotOurs);
    let mut classic = release();
    classic["spec"]["buildLogsUrl"] =
        json!("https://jenkins.example.com/job/acme/job/shop/job/main/7/console");
    assert_eq!(outcome(&classic, false), Outcome::NotOurs);
}

#[test]
fn a_failure_fails_what_failed() {
    let mut activity = release();
    activity["spec"]["status"] = json!("Failed");
    let mut failed = step("Build Make", "Failed", 9, 120);
    failed["description"] = json!("make: *** [test] Error 2");
    activity["spec"]["steps"] = json!([
        stage("from build pack", "Failed", 5, 120, &[
            step("Git Clone", "Succeeded", 5, 9),
            failed,
            // Never reached: its container ended with code 1 when the one before failed.
            step("Push", "Failed", 120, 120),
            json!({"name": "Promote", "status": "Pending"}),
        ]),
        stage("deploy", "NotExecuted", 120, 120, &[]),
        {"kind": "Promote", "promote": {"name": "Promote", "status": "Pending", "environment": "staging"}},
    ]);
    let tree = tree(&activity);
    assert_eq!(
        keys(&tree),
        [
            "stage/from build pack",
            "stage/from build pack/step/Git Clone",
            "stage/from build pack/step/Build Make",
        ]
    );
    assert_eq!(error(&tree.main), Some("Failed"));
    assert_eq!(text(&tree.main, "error.type"), Some("Failed"));
    let stage = child(&tree, "stage/from build pack");
    assert_eq!(error(stage), Some("Failed"));
    assert_eq!(stage.events.len(), 1);
    assert_eq!(
        error(child(&tree, "stage/from build pack/step/Build Make")),
        Some("make: *** [test] Error 2")
    );
    assert_eq!(tree.main.events.len(), 1);
}

#[test]
fn timeouts_fail_and_cancellations_do_not() {
    for (status, failed) in [
        ("TimedOut", true),
        ("Error", true),
        ("Cancelled", false),
        ("Aborted", false),
    ] {
        let mut activity = release();
        activity["spec"]["status"] = json!(status);
        // Such an activity is not always given an end.
        activity["spec"]["completedTimestamp"] = json!(null);
        activity["spec"]["steps"] = json!([stage(
            "build",
            status,
            5,
            60,
            &[step("make", status, 9, 60), step("push", status, 9, 60),]
        )]);
        let tree = tree(&activity);
        assert_eq!(tree.main.end, Some(time(60)), "{status}");
        assert_eq!(error(&tree.main), failed.then_some(status));
        assert_eq!(
            error(child(&tree, "stage/build/step/make")),
            failed.then_some(status)
        );
    }
    let mut activity = release();
    activity["spec"]["steps"] = json!([stage(
        "build",
        "TimedOut",
        5,
        60,
        &[
            step("make", "TimedOut", 9, 60),
            step("push", "TimedOut", 9, 60),
        ]
    )]);
    assert_eq!(
        keys(&tree(&activity)),
        ["stage/build", "stage/build/step/make"]
    );
}

#[test]
fn what_runs_is_open() {
    let mut activity = release();
    activity["spec"]["status"] = json!("Running");
    activity["spec"]["completedTimestamp"] = json!(null);
    activity["spec"]["steps"] = json!([
        stage(
            "build",
            "Running",
            5,
            0,
            &[
                step("clone", "Succeeded", 5, 9),
                json!({"name": "make", "status": "Running", "startedTimestamp": at(9)}),
            ]
        ),
        stage("wait", "WaitingForApproval", 9, 0, &[]),
    ]);
    let tree = tree(&activity);
    assert_eq!(tree.main.end, None);
    for key in ["stage/build", "stage/build/step/make", "stage/wait"] {
        assert_eq!(child(&tree, key).end, None, "{key}");
    }
    assert_eq!(child(&tree, "stage/build/step/clone").end, Some(time(9)));

    let Outcome::Spans(trees) = outcome(&activity, true) else {
        panic!("no spans");
    };
    assert_eq!(fault(&trees[0]), None);
    assert_eq!(trees[0].main.end, Some(time(9)));
}

#[test]
fn keys_do_not_depend_on_the_order_of_stages() {
    let stages = [
        stage("a", "Succeeded", 5, 9, &[]),
        stage("b", "Succeeded", 5, 9, &[]),
    ];
    let keys_of = |stages: &[Value]| {
        let mut activity = release();
        activity["spec"]["steps"] = json!(stages);
        let mut keys: Vec<_> = keys(&tree(&activity))
            .into_iter()
            .map(str::to_owned)
            .collect();
        keys.sort();
        keys
    };
    let [a, b] = stages.clone();
    assert_eq!(keys_of(&stages), keys_of(&[b, a.clone()]));
    assert_eq!(keys_of(&[a.clone(), a]), ["stage/a", "stage/a/2"]);
}

#[test]
fn a_pull_request_has_a_number_and_a_preview() {
    let mut activity = release();
    activity["spec"]["gitBranch"] = json!("PR-12");
    activity["spec"]["pullTitle"] = json!("Sell more");
    activity["spec"]["steps"] = json!([{
        "kind": "Preview",
        "preview": {
            "name": "Preview", "status": "Succeeded", "environment": "acme-shop-pr-12",
            "startedTimestamp": at(20), "completedTimestamp": at(30),
            "applicationURL": "https://shop-pr-12.example.com",
            "pullRequestURL": "https://github.com/acme/shop/pull/12",
        },
    }]);
    let tree = tree(&activity);
    assert_eq!(text(&tree.main, "vcs.change.id"), Some("12"));
    assert_eq!(text(&tree.main, "vcs.change.title"), Some("Sell more"));
    let preview = child(&tree, "preview/acme-shop-pr-12");
    assert_eq!(preview.name, "Preview");
    assert_eq!(
        text(preview, "jenkins_x.application.url"),
        Some("https://shop-pr-12.example.com")
    );
}

#[test]
fn missing_and_odd_fields_leave_the_rest() {
    let mut activity = release();
    activity["spec"]["startedTimestamp"] = json!(7);
    activity["spec"]["steps"][1] = json!("no step");
    activity["spec"]["version"] = json!({});
    let tree = tree(&activity);
    assert_eq!(tree.main.start, time(3));
    assert_eq!(tree.children.len(), 3);
    assert!(!tree.may_annotate);
    let pointers: Vec<_> = tree
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.pointer.as_str())
        .collect();
    assert!(pointers.contains(&"/spec/startedTimestamp"), "{pointers:?}");
    assert!(pointers.contains(&"/spec/steps/1"), "{pointers:?}");
    assert_eq!(
        outcome(&json!({"kind": "PipelineActivity"}), false),
        Outcome::wait("no-lighthouse-job")
    );
}

const TEXTS: [&str; 14] = [
    "",
    "2026-03-02T10:00:00Z",
    "2026-03-02T10:00:30Z",
    "0001-01-01T00:00:00Z",
    "Pending",
    "Running",
    "Succeeded",
    "Failed",
    "TimedOut",
    "NotExecuted",
    "Stage",
    "Promote",
    "Preview",
    "a/é~\"",
];

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => prop::sample::select(TEXTS.as_slice()).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(json!([{}])),
    ]
}

/// Members with something in each.
fn any_of(members: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(any_leaf(), members.len()).prop_map(move |values| {
        let named = members.iter().map(|member| (*member).to_owned());
        Value::Object(named.zip(values).collect())
    })
}

fn any_core() -> impl Strategy<Value = Value> {
    any_of(&[
        "name",
        "description",
        "status",
        "startedTimestamp",
        "completedTimestamp",
    ])
}

fn any_entry() -> impl Strategy<Value = Value> {
    let steps = prop::collection::vec(any_core(), 0..4);
    (
        any_leaf(),
        any_core(),
        steps,
        any_core(),
        any_core(),
        any_core(),
    )
        .prop_map(
            |(kind, mut stage, steps, mut promote, pull_request, preview)| {
                stage["steps"] = json!(steps);
                promote["update"] = preview.clone();
                promote["pullRequest"] = pull_request;
                json!({"kind": kind, "stage": stage, "promote": promote, "preview": preview})
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_fields_make_well_formed_trees(
        spec in any_of(&["status", "startedTimestamp", "completedTimestamp", "gitUrl", "gitBranch", "context"]),
        entries in prop::collection::vec(prop_oneof![9 => any_entry().boxed(), 1 => any_leaf().boxed()], 0..4),
        created in any_leaf(),
        deleted in any::<bool>(),
    ) {
        let mut activity = json!({
            "kind": "PipelineActivity",
            "metadata": {"creationTimestamp": created, "labels": {"lighthouse.jenkins-x.io/id": "job"}},
            "spec": spec,
        });
        activity["spec"]["steps"] = json!(entries);
        let subject = Subject::Object(Object {
            watch: 0,
            json: activity.to_string(),
            deleted,
            attached: Vec::new(),
            omitted: 0,
        });
        let outcome = JenkinsX::map(&subject).unwrap();
        let Outcome::Spans(trees) = &outcome else {
            return Err(TestCaseError::fail("no spans"));
        };
        for tree in trees {
            prop_assert_eq!(fault(tree), None);
        }
        prop_assert_eq!(&JenkinsX::map(&subject).unwrap(), &outcome);
    }
}
