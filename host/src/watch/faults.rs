//! What a watch does on the API server's bad days.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::tests::{Watching, follow, list, pod, pods, watch};
use super::*;
use crate::embedded::{Answer, Fault, Resource, Server};
use crate::testing::{lines, status};

/// Long enough that only a test that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it did not happen")
}

fn labelled(name: &str) -> Value {
    let mut pod = pod(name, "0");
    json_patch::merge(
        &mut pod,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "x"}, "resourceVersion": null}}),
    );
    pod
}

/// A server with the Pod `a`, and a watch that has listed it and follows.
async fn following(change: impl FnOnce(&mut Settings)) -> (Server, Watching) {
    let server = Server::start_with(vec![Resource::namespaced("", &["v1"], "Pod")])
        .await
        .expect("a server");
    server.apply(labelled("a")).expect("a Pod");
    let client = crate::testing::client(&server.url());
    let mut watching = follow(pods(), &[], change, client);
    assert_eq!(
        soon(watching.next()).await.split(" at").next(),
        Some("Pod/a applied")
    );
    assert_eq!(soon(watching.next()).await, "relisted {\"uid-a\"}");
    // It is followed as soon as a change comes through.
    server.apply(labelled("b")).expect("a Pod");
    assert!(soon(watching.next()).await.starts_with("Pod/b applied"));
    (server, watching)
}

fn fault(path: &str, times: Option<u32>, answer: Answer) -> Fault {
    Fault {
        method: Some(Method::GET),
        path: path.to_owned(),
        times,
        answer,
    }
}

/// Waits until all is well.
async fn well(watching: &Watching) {
    let well = async {
        while watching.watches.report().1["listed"] != 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(well).await;
}

#[tokio::test]
async fn a_watch_that_is_accepted_by_nobody_is_said_and_taken_up_again() {
    let change = |settings: &mut Settings| settings.answer = Duration::from_millis(100);
    let (server, mut watching) = following(change).await;
    let hanging = server.break_with(fault("watch=true", None, Answer::Hang));
    server.drop_watches();
    let trouble = soon(watching.trouble("failing")).await;
    let detail = trouble["detail"].as_str().expect("a text");
    assert!(detail.contains("does not answer within 100ms"), "{detail}");
    server.apply(labelled("c")).expect("a Pod");
    server.heal(hanging);
    assert!(soon(watching.next()).await.starts_with("Pod/c applied"));
    well(&watching).await;
}

#[tokio::test]
async fn a_list_that_stops_in_the_middle_is_asked_for_again() {
    let lists = AtomicU32::new(0);
    let change = |settings: &mut Settings| settings.answer = Duration::from_millis(100);
    let mut watching = watch(pods(), &[], change, move |asked| {
        if asked.path.contains("watch=true") {
            return lines(&[], true);
        }
        if lists.fetch_add(1, Ordering::Relaxed) > 0 {
            return list(&[pod("a", "1")], "10", None);
        }
        let half = futures::stream::iter([Ok::<_, std::convert::Infallible>("{\"items\": [")]);
        Body::from_stream(half.chain(futures::stream::pending())).into_response()
    })
    .await;
    let trouble = soon(watching.trouble("failing")).await;
    let detail = trouble["detail"].as_str().expect("a text");
    assert!(detail.contains("does not answer"), "{detail}");
    assert_eq!(soon(watching.next()).await, "Pod/a applied at 1");
    assert_eq!(soon(watching.next()).await, "relisted {\"uid-a\"}");
    well(&watching).await;
}

#[tokio::test]
async fn a_watch_that_says_nothing_goes_on_elsewhere() {
    let change = |settings: &mut Settings| settings.silence = Duration::from_millis(200);
    let (server, mut watching) = following(change).await;
    server.silence_watches();
    server.apply(labelled("c")).expect("a Pod");
    server.delete(&labelled("a")).expect("a Pod");
    assert!(soon(watching.next()).await.starts_with("Pod/c applied"));
    assert_eq!(soon(watching.next()).await, "a deleted");
}

#[tokio::test]
async fn a_right_that_was_taken_away_and_is_given_back_needs_no_event_to_be_seen() {
    let (server, watching) = following(|_| {}).await;
    let forbidden = Answer::Refuse(StatusCode::FORBIDDEN, "Forbidden");
    let forbidden = server.break_with(fault("/pods?", None, forbidden));
    server.drop_watches();
    let trouble = soon(watching.trouble("forbidden")).await;
    let detail = trouble["detail"].as_str().expect("a text");
    assert!(detail.contains("resources: [\"pods\"]"), "{detail}");
    server.heal(forbidden);
    well(&watching).await;
}

#[tokio::test]
async fn a_failure_that_is_over_needs_no_event_to_be_seen() {
    let (server, watching) = following(|_| {}).await;
    let broken = Answer::Refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    let broken = server.break_with(fault("watch=true", None, broken));
    server.drop_watches();
    soon(watching.trouble("failing")).await;
    server.heal(broken);
    well(&watching).await;
}

/// What the first watch is answered, after which everything must be listed anew.
async fn listed_anew(first: impl Fn() -> Response + Send + Sync + 'static) {
    let watches = AtomicU32::new(0);
    let mut watching = watch(
        pods(),
        &[],
        |_| {},
        move |asked| {
            let before = watches.load(Ordering::Relaxed);
            if asked.path.contains("watch=true") {
                watches.fetch_add(1, Ordering::Relaxed);
                return if before == 0 {
                    first()
                } else {
                    lines(&[], true)
                };
            }
            if before == 0 {
                list(&[pod("a", "1")], "10", None)
            } else {
                list(&[pod("b", "12")], "20", None)
            }
        },
    )
    .await;
    for expected in [
        "Pod/a applied at 1",
        "relisted {\"uid-a\"}",
        "Pod/b applied at 12",
        "relisted {\"uid-b\"}",
    ] {
        assert_eq!(soon(watching.next()).await, expected);
    }
    well(&watching).await;
}

fn error(code: u16) -> Value {
    json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": code, "message": "no"}})
}

#[tokio::test]
async fn a_watch_that_cannot_go_on_lists_anew() {
    listed_anew(|| lines(&[error(410)], false)).await;
    listed_anew(|| status(410, "too old resource version")).await;
    listed_anew(|| lines(&[error(500)], true)).await;
    listed_anew(|| lines(&[json!({"type": "ADDED"})], true)).await;
}

/// When lists were asked for, all of which failed but the last.
async fn attempts(
    first_pause: Duration,
    failures: usize,
    failure: fn() -> Response,
) -> Vec<Instant> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let change = move |settings: &mut Settings| settings.first_pause = first_pause;
    let mut watching = watch(pods(), &[], change, move |asked| {
        if asked.path.contains("watch=true") {
            return lines(&[], true);
        }
        let mut times = noted.lock().expect("the list");
        times.push(Instant::now());
        if times.len() > failures {
            list(&[], "10", None)
        } else {
            failure()
        }
    })
    .await;
    assert_eq!(soon(watching.next()).await, "relisted {}");
    let times = times.lock().expect("the list");
    times.clone()
}

#[tokio::test]
async fn pauses_grow_while_it_fails() {
    let first = Duration::from_millis(2);
    let times = attempts(first, 6, || status(500, "etcd")).await;
    for (place, pair) in (0..).zip(times.windows(2)) {
        let pause = pair[1] - pair[0];
        assert!(pause >= first * 2_u32.pow(place), "{place}: {pause:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_when_is_not_asked_before() {
    let busy = || ([("retry-after", "1")], status(429, "too many requests")).into_response();
    let times = attempts(Duration::from_millis(1), 1, busy).await;
    let pause = times[1] - times[0];
    assert!(pause >= Duration::from_secs(1), "{pause:?}");
}
