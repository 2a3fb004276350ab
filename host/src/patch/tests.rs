use std::sync::atomic::{AtomicU32, Ordering};

use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::testing::{Asked, api, pod, status};

fn settings() -> Settings {
    Settings {
        first_pause: Duration::from_millis(1),
        timeout: Duration::from_secs(5),
        ..Settings::at(1_000)
    }
}

fn annotate(object: ObjectReference) -> Annotate {
    Annotate {
        object,
        annotations: vec![("a/traceparent".into(), "00-1".into())],
        urgent: false,
    }
}

async fn patches(
    settings: Settings,
    answer: impl Fn(&Asked) -> Response + Send + Sync + 'static,
) -> (Patches, UnboundedReceiver<Fact>) {
    let kinds = Arc::new(Kinds::new(api(answer).await));
    let (results, answers) = unbounded_channel();
    (
        Patches::start(
            settings,
            kinds,
            results,
            Metrics::default(),
            Permit::always(),
        ),
        answers,
    )
}

async fn answer(answers: &mut UnboundedReceiver<Fact>) -> (String, Annotated) {
    match answers.recv().await {
        Some(Fact::Annotated(uid, annotated)) => (uid.to_string(), annotated),
        other => panic!("{other:?}"),
    }
}

/// What the API server answers to a patch: the metadata of the object.
fn patched() -> Response {
    let metadata = json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {"name": "a", "namespace": "jx"},
    });
    axum::Json(metadata).into_response()
}

#[tokio::test]
async fn annotations_are_merged_into_the_object_with_this_uid_alone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let (patches, mut answers) = patches(settings(), move |asked| {
        note.lock().expect("the list").push(asked.clone());
        patched()
    })
    .await;
    patches.push(annotate(pod("a")));
    assert_eq!(
        answer(&mut answers).await,
        ("uid-a".to_owned(), Annotated::Done)
    );
    assert!(patches.is_empty());
    let seen = seen.lock().expect("the list");
    let [asked] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(asked.method, "PATCH");
    assert_eq!(
        asked.path,
        "/api/v1/namespaces/jx/pods/a?&fieldManager=lighthouse-telemetry"
    );
    assert_eq!(asked.content_type, "application/merge-patch+json");
    assert_eq!(
        asked.body,
        json!({"metadata": {"uid": "uid-a", "annotations": {"a/traceparent": "00-1"}}})
    );
}

#[tokio::test]
async fn refusals_are_facts() {
    let immutable = "Pod \"f\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable";
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let (patches, mut answers) = patches(settings(), move |asked| {
        match asked.path.split(['/', '?']).nth(6) {
            Some("b") => status(404, "not found"),
            Some("d") => status(422, "invalid"),
            Some("e") => {
                counted.fetch_add(1, Ordering::Relaxed);
                status(409, "conflict")
            }
            Some("f") => status(422, immutable),
            other => panic!("{other:?}"),
        }
    })
    .await;
    for name in ["b", "d", "e", "f"] {
        patches.push(annotate(pod(name)));
        assert_eq!(
            answer(&mut answers).await,
            (format!("uid-{name}"), Annotated::Impossible)
        );
    }
    assert_eq!(attempts.load(Ordering::Relaxed), CONFLICTS);
    assert!(patches.is_empty());
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let attempts = AtomicU32::new(0);
    let (patches, mut answers) = patches(settings(), move |_| {
        match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => status(429, "too many requests"),
            1 => status(503, "unavailable"),
            2 => status(500, "etcd"),
            3 => "not JSON".into_response(),
            4 => status(409, "conflict"),
            _ => patched(),
        }
    })
    .await;
    patches.push(annotate(pod("a")));
    assert_eq!(answer(&mut answers).await.1, Annotated::Done);
}

#[tokio::test]
async fn what_never_passes_is_given_up() {
    let short = Settings {
        give_up: Duration::from_millis(20),
        ..settings()
    };
    let (patches, mut answers) = patches(short, |_| status(503, "unavailable")).await;
    patches.push(annotate(pod("a")));
    assert_eq!(answer(&mut answers).await.1, Annotated::Impossible);
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let small = Settings {
        capacity: 1,
        ..settings()
    };
    let (patches, mut answers) = patches(small, |_| status(503, "unavailable")).await;
    patches.push(annotate(pod("a")));
    patches.push(annotate(pod("b")));
    assert_eq!(
        answer(&mut answers).await,
        ("uid-b".to_owned(), Annotated::Impossible)
    );
    assert_eq!(patches.len(), 1);
    patches.stop().await;
}

#[tokio::test]
async fn a_kind_that_is_not_served_cannot_be_annotated() {
    let (patches, mut answers) = patches(settings(), |_| status(404, "not found")).await;
    let mut object = pod("a");
    object.kind.kind = "NoSuchKind".into();
    patches.push(annotate(object));
    assert_eq!(answer(&mut answers).await.1, Annotated::Impossible);
}

#[tokio::test]
async fn a_name_that_makes_no_address_is_given_up_at_once() {
    let (patches, mut answers) = patches(settings(), |_| patched()).await;
    let object = ObjectReference {
        name: "two words".into(),
        ..pod("a")
    };
    patches.push(annotate(object));
    assert_eq!(answer(&mut answers).await.1, Annotated::Impossible);
}

#[tokio::test]
async fn what_may_not_be_set_is_set_once_it_may_be() {
    let forbidden = Arc::new(AtomicU32::new(0));
    let given = Arc::new(tokio::sync::Notify::new());
    let (asked, wanted) = (Arc::clone(&forbidden), Arc::clone(&given));
    let often = Settings {
        forbidden_pause: Duration::from_millis(5),
        workers: 1,
        ..settings()
    };
    let (patches, mut answers) = patches(often, move |_| {
        // Two objects, and the first of them twice more.
        if asked.fetch_add(1, Ordering::Relaxed) < 4 {
            return status(403, "forbidden");
        }
        wanted.notify_one();
        patched()
    })
    .await;
    patches.push(annotate(pod("a")));
    patches.push(annotate(pod("b")));
    given.notified().await;
    let mut done = [answer(&mut answers).await, answer(&mut answers).await];
    done.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = ["uid-a", "uid-b"].map(|uid| (uid.to_owned(), Annotated::Done));
    assert_eq!(done, expected);
    assert_eq!(forbidden.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn what_may_never_be_set_keeps_nobody_waiting_and_is_given_up() {
    let short = Settings {
        forbidden_pause: Duration::from_millis(1),
        give_up: Duration::from_millis(20),
        ..settings()
    };
    let (patches, mut answers) = patches(short, |_| status(403, "forbidden")).await;
    patches.push(annotate(pod("a")));
    assert_eq!(answer(&mut answers).await.1, Annotated::Impossible);
    assert!(patches.is_empty());
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_tried_again() {
    let server = crate::embedded::Server::start().await.expect("a server");
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "jx", "uid": "uid-a"}});
    server.apply(object.clone()).expect("a Pod");
    let hanging = server.break_with(crate::embedded::Fault {
        method: Some(http::Method::PATCH),
        path: "/pods/a".to_owned(),
        times: Some(2),
        answer: crate::embedded::Answer::Hang,
    });
    let kinds = Arc::new(Kinds::new(crate::testing::client(&server.url())));
    let (results, mut answers) = unbounded_channel();
    let impatient = Settings {
        timeout: Duration::from_millis(100),
        ..settings()
    };
    let patches = Patches::start(
        impatient,
        kinds,
        results,
        Metrics::default(),
        Permit::always(),
    );
    patches.push(annotate(pod("a")));
    assert_eq!(answer(&mut answers).await.1, Annotated::Done);
    assert_eq!(server.hits(hanging), 2);
    let now = server.get(&object).expect("the Pod");
    assert_eq!(now["metadata"]["annotations"]["a/traceparent"], "00-1");
}
