use std::sync::atomic::AtomicU32;

use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::testing::{Asked, api, pod, status};

async fn lookups(
    answer: impl Fn(&Asked) -> Response + Send + Sync + 'static,
) -> (Lookups, UnboundedReceiver<Fact>) {
    let kinds = Arc::new(Kinds::new(api(answer).await));
    let (results, answers) = unbounded_channel();
    let settings = Settings {
        pause: Duration::from_millis(1),
        give_up: Duration::from_millis(500),
        ..Settings::default()
    };
    (
        Lookups::new(settings, kinds, results, Metrics::default()),
        answers,
    )
}

async fn answer(answers: &mut UnboundedReceiver<Fact>) -> Fetched {
    match answers.recv().await {
        Some(Fact::Fetched(_, fetched)) => fetched,
        other => panic!("{other:?}"),
    }
}

fn metadata(uid: &str) -> Response {
    axum::Json(json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {
            "name": "a",
            "uid": uid,
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "uid-j", "controller": true},
            ],
        },
    }))
    .into_response()
}

#[tokio::test]
async fn owners_are_found_and_remembered() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let (lookups, mut answers) = lookups(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(request.path, "/api/v1/namespaces/jx/pods/a");
        metadata("uid-a")
    })
    .await;
    let owner = Owner {
        kind: GroupKind {
            group: "batch".into(),
            kind: "Job".into(),
        },
        version: "v1".into(),
        name: "j".into(),
        uid: "uid-j".into(),
        controller: true,
    };
    for _ in 0..3 {
        lookups.push(pod("a"));
        assert_eq!(
            answer(&mut answers).await,
            Fetched::Found(vec![owner.clone()])
        );
        assert!(lookups.is_empty());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn one_that_is_gone_or_is_another_is_missing() {
    let (lookups, mut answers) = lookups(|asked| {
        if asked.path.ends_with("/a") {
            metadata("uid-of-another")
        } else {
            status(404, "not found")
        }
    })
    .await;
    for name in ["a", "b"] {
        lookups.push(pod(name));
        assert_eq!(answer(&mut answers).await, Fetched::Missing);
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_unknown() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let (lookups, mut answers) = lookups(move |request| {
        if request.path.ends_with("/a") {
            return status(403, "forbidden");
        }
        counted.fetch_add(1, Ordering::Relaxed);
        status(500, "etcd")
    })
    .await;
    lookups.push(pod("a"));
    assert_eq!(answer(&mut answers).await, Fetched::Unknown);
    lookups.push(pod("b"));
    assert_eq!(answer(&mut answers).await, Fetched::Unknown);
    assert!(asked.load(Ordering::Relaxed) > 3, "it was asked again");
    let mut object = pod("c");
    object.kind.kind = "NoSuchKind".into();
    lookups.push(object);
    assert_eq!(answer(&mut answers).await, Fetched::Unknown);
    lookups.stop();
    lookups.push(pod("d"));
    assert_eq!(answer(&mut answers).await, Fetched::Unknown);
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_while_is_asked_until_it_is_back() {
    let asked = AtomicU32::new(0);
    let (lookups, mut answers) = lookups(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => status(401, "Unauthorized"),
        1 => status(429, "too many requests"),
        2..5 => status(500, "etcd"),
        5 => "not JSON".into_response(),
        _ => metadata("uid-a"),
    })
    .await;
    lookups.push(pod("a"));
    assert!(matches!(answer(&mut answers).await, Fetched::Found(_)));
}

#[tokio::test]
async fn a_right_that_was_taken_away_may_be_given_back() {
    let asked = AtomicU32::new(0);
    let (lookups, mut answers) = lookups(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => metadata("uid-a"),
        1..4 => status(403, "forbidden"),
        _ => metadata("uid-b"),
    })
    .await;
    for name in ["a", "b"] {
        lookups.push(pod(name));
        assert!(matches!(answer(&mut answers).await, Fetched::Found(_)));
    }
}
