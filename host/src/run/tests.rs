use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::journal::Journal;
use crate::mappers::Mappers;
use crate::receiver::Receiver;
use crate::testing::{Asked, api, lines, status};
use crate::webhook;

const TOKEN: &str = "a token";

fn job(version: &str, state: &str) -> Value {
    let ended = (state == "success").then_some("2026-01-01T00:00:09Z");
    json!({
        "apiVersion": "lighthouse.jenkins.io/v1alpha1",
        "kind": "LighthouseJob",
        "metadata": {
            "name": "job-1",
            "namespace": "jx",
            "uid": "uid-1",
            "resourceVersion": version,
            "creationTimestamp": "2026-01-01T00:00:01Z",
            "labels": {"created-by-lighthouse": "true", "event-GUID": "guid-1"},
        },
        "spec": {"type": "postsubmit", "job": "release", "refs": {"org": "acme", "repo": "shop"}},
        "status": {"state": state, "startTime": "2026-01-01T00:00:02Z", "completionTime": ended},
    })
}

/// A cluster with one job, which ends once it is annotated.
fn cluster(annotated: &Arc<AtomicBool>) -> impl Fn(&Asked) -> Response + Send + Sync + use<> {
    let annotated = Arc::clone(annotated);
    move |asked| {
        if !asked.path.contains("/lighthousejobs") {
            return status(404, "the server could not find the requested resource");
        }
        if asked.method == "PATCH" {
            annotated.store(true, Ordering::Release);
            return axum::Json(job("3", "pending")).into_response();
        }
        if !asked.path.contains("watch=true") {
            return axum::Json(json!({
                "kind": "LighthouseJobList",
                "apiVersion": "lighthouse.jenkins.io/v1alpha1",
                "metadata": {"resourceVersion": "2"},
                "items": [job("2", "pending")],
            }))
            .into_response();
        }
        if annotated.load(Ordering::Acquire) {
            lines(
                &[json!({"type": "MODIFIED", "object": job("4", "success")})],
                true,
            )
        } else {
            lines(&[], false)
        }
    }
}

async fn request(address: SocketAddr, request: http::Request<String>) -> (u16, String) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP");
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.expect("an answer");
    let code = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (code, String::from_utf8(body.to_vec()).expect("text"))
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let get = http::Request::get(path).header("host", "test");
    request(address, get.body(String::new()).expect("a request")).await
}

async fn post(address: SocketAddr, body: Value) -> u16 {
    let body = body.to_string();
    let post = http::Request::post(webhook::PATH)
        .header("host", "test")
        .header(
            webhook::SIGNATURE,
            webhook::sign(&TOKEN.into(), body.as_bytes()),
        )
        .header(webhook::PAYLOAD_TYPE, "webhook")
        .header(webhook::KIND, "push")
        .body(body)
        .expect("a request");
    request(address, post).await.0
}

/// A receiver, and an exporter that keeps spans until it is flushed.
async fn exporter() -> (Receiver, export::Handle) {
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into())
        .await
        .expect("a receiver");
    let destination = export::Destination::otlp(export::Protocol::Grpc, receiver.grpc_endpoint());
    let mut settings = export::Settings {
        destinations: vec![destination],
        ..export::Settings::default()
    };
    settings.batching.delay = Duration::from_secs(3_600);
    (
        receiver,
        export::start(settings, Journal::off(), Vec::new()).expect("an exporter"),
    )
}

fn none(mappers: &Mappers, clock: &Clock) -> State {
    State::none(&mappers.catalog, index::Settings::default(), clock.now())
}

/// A receiver, a clock that stands, and all rooms on the cluster.
async fn started(now: &str, annotated: &Arc<AtomicBool>) -> (Receiver, Clock, Running) {
    let (receiver, exporter) = exporter().await;
    let client = api(cluster(annotated)).await;
    let clock = Clock::stepped(Time::parse(now).expect("a time"));
    let mappers = Mappers::builtin().expect("mappers");
    let running = start(
        Settings::loopback(TOKEN.into()),
        client,
        clock.clone(),
        mappers.clone(),
        exporter,
        none(&mappers, &clock),
    )
    .await
    .expect("all rooms");
    (receiver, clock, running)
}

/// Steps the clock on whenever all is quiet, until the rooms are where they should be.
async fn advance(clock: &Clock, running: &Running, arrived: impl Fn(&Progress) -> bool) {
    let mut progress = running.progress();
    loop {
        let now = progress.borrow_and_update().clone();
        if arrived(&now) {
            return;
        }
        if let Some(wake_at) = now.wake_at
            && now.mappings == 0
            && now.patches == 0
        {
            clock.step_to(wake_at);
        }
        progress.changed().await.expect("the index lives");
    }
}

#[tokio::test]
async fn a_webhook_and_its_job_become_a_trace() {
    let annotated = Arc::new(AtomicBool::new(false));
    let (receiver, clock, running) = started("2026-01-01T00:00:00Z", &annotated).await;

    let webhook = json!({
        "Ref": "refs/heads/main",
        "Repo": {"Namespace": "acme", "Name": "shop", "FullName": "acme/shop"},
        "GUID": "guid-1",
    });
    assert_eq!(post(running.webhook_address, webhook).await, 202);
    let mut progress = running.progress();
    let ended = |progress: &Progress| {
        progress.ready
            && progress.mappings == 0
            && progress.patches == 0
            && progress
                .resource_versions
                .values()
                .any(|version| *version == 4)
    };
    progress.wait_for(ended).await.expect("the job's end");
    assert!(annotated.load(Ordering::Acquire));

    let (code, report) = get(running.admin_address, "/readyz").await;
    assert_eq!(code, 200);
    assert!(report.contains("TaskRun.tekton.dev"), "{report}");
    let (code, metrics) = get(running.admin_address, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "lighthouse_telemetry_webhooks_total{outcome=\"accepted\"} 1",
        "lighthouse_telemetry_patches_total{outcome=\"done\"} 1",
        "lighthouse_telemetry_watches{kind=\"TaskRun.tekton.dev\",state=\"missing\"} 1",
        "lighthouse_telemetry_ready 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));

    // The job, the time it was queued, and the event.
    advance(&clock, &running, |progress| progress.batches == 3).await;
    let drained = running.stop().await;
    assert_eq!(drained, Drained::default());
    let names: Vec<String> = receiver
        .spans()
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .map(|span| span.name.clone())
        .collect();
    for name in ["LighthouseEvent", "release"] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} in {names:?}"
        );
    }
}

#[tokio::test]
async fn the_stop_exports_what_has_ended_without_waiting() {
    let annotated = Arc::new(AtomicBool::new(true));
    let (receiver, clock, running) = started("2026-01-01T00:00:10Z", &annotated).await;
    let ended = |progress: &Progress| {
        progress.ready
            && progress.mappings == 0
            && progress
                .resource_versions
                .values()
                .any(|version| *version == 4)
    };
    let facts = running
        .progress()
        .wait_for(ended)
        .await
        .expect("the job's end")
        .facts;
    // An object is mapped once a second at most; its settle window is longer.
    let second = Time::parse("2026-01-01T00:00:12Z").expect("a time");
    clock.step_to(second);
    let mapped = |progress: &Progress| progress.facts >= facts + 2 && progress.mappings == 0;
    let mut progress = running.progress();
    let batches = progress
        .wait_for(mapped)
        .await
        .expect("the mapping")
        .batches;
    assert_eq!(batches, 0, "the settle window is open");
    let address = running.webhook_address;
    assert_eq!(running.stop().await, Drained::default());
    assert!(!receiver.spans().is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_stop_pushes_metrics_if_that_is_wanted() {
    let (receiver, exporter) = exporter().await;
    let mappers = Mappers::builtin().expect("mappers");
    let clock = Clock::system();
    let variables = [
        ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let wanted = export::Pushing::parse(&variables.into()).expect("settings");
    assert!(wanted.is_some());
    for (push, pushes) in [(None, 0), (wanted, 1)] {
        let running = start(
            Settings {
                push,
                ..Settings::loopback(TOKEN.into())
            },
            api(|_| status(404, "not found")).await,
            clock.clone(),
            mappers.clone(),
            exporter.clone(),
            none(&mappers, &clock),
        )
        .await
        .expect("all rooms");
        assert_eq!(running.stop().await, Drained::default());
        assert_eq!(receiver.metrics().len(), pushes);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let exporter = export::start(export::Settings::default(), Journal::off(), Vec::new())
        .expect("an exporter");
    let mut settings = Settings::loopback(TOKEN.into());
    settings.admin = taken.local_addr().expect("an address").into();
    let mappers = Mappers::builtin().expect("mappers");
    let clock = Clock::system();
    let error = start(
        settings,
        api(|_| status(404, "not found")).await,
        clock.clone(),
        mappers.clone(),
        exporter,
        none(&mappers, &clock),
    )
    .await
    .expect_err("the address is taken");
    assert!(error.to_string().contains("--admin-addr"), "{error}");
}
