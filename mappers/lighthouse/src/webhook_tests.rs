use proptest::prelude::*;
use serde_json::{Value, json};
use span_mapper_sdk::contract::{Change, Delivery, Push};
use span_mapper_sdk::read;
use span_mapper_sdk::testing::{self, attributes, project};
use span_mapper_sdk::{EventKey, TraceStart};

use super::*;
use crate::webhook_payload::FIELDS;

fn webhook(kind: &str, guid: Option<&str>, body: &Value) -> Webhook {
    let fields = FIELDS.map(str::to_owned);
    Webhook {
        watch: 0,
        kind: kind.to_owned(),
        guid: guid.map(str::to_owned),
        received: Timestamp::nanoseconds(1_700_000_000_000_000_000),
        json: project(body, &fields).to_string(),
    }
}

fn tree(kind: &str, guid: Option<&str>, body: &Value) -> SpanTree<'static> {
    match map(read::keep(webhook(kind, guid, body))).unwrap() {
        Outcome::Spans(mut trees) => trees.remove(0),
        other => panic!("{other:?}"),
    }
}

fn key(tree: &SpanTree<'_>) -> EventKey {
    match tree.parents.as_slice() {
        [Parent::Root(TraceStart::Event(key))] => key.clone(),
        other => panic!("{other:?}"),
    }
}

fn repository() -> Value {
    json!({
        "Namespace": "Acme", "Name": "Shop", "FullName": "Acme/Shop", "Private": true,
        "Clone": "https://github.com/Acme/Shop.git", "Link": "https://github.com/Acme/Shop",
    })
}

fn pull_request() -> Value {
    json!({
        "Action": "synchronized",
        "Repo": repository(),
        "Label": {"Name": ""},
        "PullRequest": {
            "Number": 7, "Title": "Sell more", "Body": "…", "Labels": null, "Sha": "0a1b", "Ref": "refs/pull/7/head",
            "Source": "feature/x", "Target": "main", "Link": "https://github.com/Acme/Shop/pull/7",
            "Closed": false, "Draft": false, "Merged": false, "Author": {"Login": "ada"},
            "Base": {"Ref": "main", "Sha": "cafe", "Repo": repository()},
            "Head": {"Ref": "feature/x", "Sha": "0a1b"},
            "Updated": "2023-11-14T22:13:19Z",
        },
        "Sender": {"Login": "grace"},
        "GUID": "72d3162e",
    })
}

#[test]
fn a_pull_request_is_the_root_of_its_delivery() {
    let tree = tree("pull_request", Some("72d3162e"), &pull_request());
    assert_eq!(tree.service, "WebHookEvent");
    assert_eq!(tree.main.name, "LighthouseEvent");
    assert_eq!(tree.main.start.nanoseconds, 1_700_000_000_000_000_000);
    assert_eq!(tree.main.end, None);
    assert_eq!(tree.diagnostics, []);
    assert_eq!(
        key(&tree),
        EventKey::Delivery(Delivery {
            repository: "acme/shop".to_owned(),
            guid: "72d3162e".to_owned()
        })
    );
    assert_eq!(
        attributes(&tree.main.attributes),
        json!({
            "event.guid": "72d3162e", "event.kind": "pull_request", "event.action": "synchronized",
            "event.sender": "grace", "event.time": "2023-11-14T22:13:19Z",
            "event.url": "https://github.com/Acme/Shop/pull/7",
            "vcs.provider.name": "github", "vcs.owner.name": "Acme", "vcs.repository.name": "Shop",
            "vcs.repository.url.full": "https://github.com/Acme/Shop",
            "pr.owner": "Acme", "pr.repo": "Shop", "pr.number": 7, "pr.title": "Sell more", "pr.author": "ada",
            "pr.link": "https://github.com/Acme/Shop/pull/7",
            "vcs.change.id": "7", "vcs.change.title": "Sell more", "vcs.change.state": "open",
            "vcs.ref.head.name": "feature/x", "vcs.ref.head.type": "branch", "vcs.ref.head.revision": "0a1b",
            "vcs.ref.base.name": "main", "vcs.ref.base.type": "branch", "vcs.ref.base.revision": "cafe",
        })
    );
}

#[test]
fn without_a_guid_the_head_commit_tells_the_change() {
    let mut body = pull_request();
    body["GUID"] = Value::Null;
    body["PullRequest"]["Merged"] = json!(true);
    let tree = tree("pull_request", None, &body);
    assert_eq!(
        key(&tree),
        EventKey::Change(Change {
            repository: "acme/shop".to_owned(),
            number: 7,
            revision: "0a1b".to_owned()
        })
    );
    assert_eq!(
        attributes(&tree.main.attributes)["vcs.change.state"],
        "merged"
    );
}

#[test]
fn a_push_names_its_commits() {
    let body = json!({
        "Ref": "refs/heads/main", "Before": "0".repeat(40), "After": "cafe", "Repo": repository(),
        "Compare": "https://github.com/Acme/Shop/compare/a...b", "Sender": {"Login": "grace"}, "GUID": "",
        "Commits": [{"ID": "cafe", "Message": "long"}],
    });
    let pushed = tree("push", None, &body);
    assert_eq!(
        key(&pushed),
        EventKey::Push(Push {
            repository: "acme/shop".to_owned(),
            reference: "main".to_owned(),
            revision: "cafe".to_owned()
        })
    );
    let attributes = attributes(&pushed.main.attributes);
    assert_eq!(attributes["vcs.ref.head.revision"], "cafe");
    assert_eq!(attributes["vcs.ref.head.name"], "main");
    assert_eq!(attributes.get("vcs.ref.base.revision"), None);
    assert_eq!(
        attributes["event.url"],
        "https://github.com/Acme/Shop/compare/a...b"
    );
}

#[test]
fn a_repository_is_not_where_its_commits_are_compared() {
    let url = |link: &str, clone: &str| {
        let mut body = json!({
            "Ref": "refs/heads/main", "After": "cafe", "Repo": repository(),
            "Compare": "https://github.com/Acme/Shop/compare/a...b",
        });
        body["Repo"]["Link"] = json!(link);
        body["Repo"]["Clone"] = json!(clone);
        let pushed = tree("push", None, &body);
        attributes(&pushed.main.attributes)
            .get("vcs.repository.url.full")
            .cloned()
    };
    let ssh = "git@github.com:Acme/Shop.git";
    assert_eq!(url("", ssh), None);
    assert_eq!(
        url(ssh, "https://github.com/Acme/Shop.git"),
        Some(json!("https://github.com/Acme/Shop"))
    );
}

#[test]
fn a_comment_on_a_pull_request_is_told_from_one_on_an_issue() {
    let comment = |is_pull_request: Value| {
        json!({
            "Action": "created", "Repo": repository(), "GUID": "g",
            "Issue": {"Number": 7, "Title": "t", "Link": "https://git.example/7", "Author": {"Login": "ada"},
                "PullRequest": is_pull_request},
            "Comment": {"Link": "https://git.example/7#c", "Author": {"Login": "grace"},
                "Created": "2023-11-14T22:13:19Z", "Updated": "0001-01-01T00:00:00Z"},
            "Sender": {"Login": ""},
        })
    };
    for is in [json!(true), json!({"Number": 7})] {
        let tree = tree("issue_comment", Some("g"), &comment(is));
        let attributes = attributes(&tree.main.attributes);
        assert_eq!(attributes["pr.number"], 7);
        assert_eq!(attributes["event.sender"], "grace");
        assert_eq!(attributes["event.url"], "https://git.example/7#c");
        assert_eq!(attributes["event.time"], "2023-11-14T22:13:19Z");
        assert_eq!(tree.diagnostics, []);
    }
    for is_not in [json!(false), Value::Null] {
        let tree = tree("issue_comment", Some("g"), &comment(is_not));
        let attributes = attributes(&tree.main.attributes);
        assert_eq!(attributes["issue.number"], 7);
        assert_eq!(attributes.get("pr.number"), None);
    }
}

#[test]
fn a_webhook_that_tells_nothing_of_its_event_is_not_ours() {
    for (kind, body) in [
        ("ping", json!({})),
        ("push", json!([])),
        ("star", json!({"Repo": repository()})),
        (
            "push",
            json!({"Repo": repository(), "Ref": "refs/heads/x", "After": "0".repeat(40)}),
        ),
    ] {
        assert_eq!(
            map(&webhook(kind, None, &body)).unwrap(),
            Outcome::NotOurs,
            "{kind}"
        );
    }
}

#[test]
fn the_reference_of_a_branch_event_is_no_oddity() {
    let body = json!({"Repo": repository(), "Ref": {"Name": "x", "Sha": "cafe"}});
    let branch = tree("branch", Some("g"), &body);
    assert_eq!(branch.diagnostics, []);
    let push = tree("push", Some("g"), &body);
    assert_eq!(push.diagnostics[0].pointer, "/Ref");
}

proptest! {
    #[test]
    fn any_payload_is_mapped(
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        kind in "push|pull_request|issue_comment|branch",
        guid in proptest::option::of("[a-f]{0,3}"),
    ) {
        let body = testing::mangle(&pull_request(), &changes);
        let outcome = map(read::keep(webhook(&kind, guid.as_deref(), &body))).unwrap();
        if let Outcome::Spans(trees) = outcome {
            prop_assert_eq!(testing::fault(&trees[0]), None);
        }
    }
}
