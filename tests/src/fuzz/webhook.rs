//! What anybody sends to the port of webhooks.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request};
use lighthouse_telemetry::clock::Clock;
use lighthouse_telemetry::config::{Secret, Verification};
use lighthouse_telemetry::journal::Journal;
use lighthouse_telemetry::leader::Standing;
use lighthouse_telemetry::metrics::Metrics;
use lighthouse_telemetry::webhook::{
    KIND, PATH, ROOM, Receiver, Refusals, SIGNATURE, router, sign,
};
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, watch};
use tower_service::Service;

use super::MAPPERS;
use crate::process::KEY;
use crate::pure::Pure;
use crate::scenario::What;

/// The value of a header of signature that stands for the right one.
const SIGNED: &str = "right";
/// What such a request may be answered, by the path.
const ANSWERS: [u16; 5] = [202, 400, 401, 405, 413];
const OTHER_ANSWERS: [u16; 3] = [200, 404, 405];

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
}

/// A method and a path; lines of headers; an empty line; the body. It is answered with a documented status, and what is
/// accepted is mapped, and exported as the event that it is.
pub fn webhook(data: &[u8]) {
    let Some((request, body)) = request(data) else {
        return;
    };
    let to_us = request.uri().path() == PATH;
    let kind = request.headers().get(KIND).cloned();
    let (facts, mut taken) = mpsc::channel(1);
    let (_, ready) = watch::channel(true);
    let receiver = Receiver {
        verification: Verification::Key(Secret::from(KEY)),
        catalog: watch::channel(Arc::clone(&MAPPERS.catalog)).1,
        clock: Clock::stepped(Time::EPOCH),
        taken: facts,
        journal: Journal::off(),
        ready,
        standing: Standing::alone(),
        metrics: Metrics::default(),
        body_timeout: Duration::from_secs(60),
        room: Arc::new(Semaphore::new(ROOM)),
        refusals: Refusals::default(),
    };
    let mut router = router(receiver);
    let answer = RUNTIME.with(|runtime| runtime.block_on(router.call(request)));
    let Ok(answer) = answer;
    let status = answer.status().as_u16();
    let documented: &[u16] = if to_us { &ANSWERS } else { &OTHER_ANSWERS };
    assert!(documented.contains(&status), "answered {status}");
    if taken.try_recv().is_err() {
        return;
    }
    assert_eq!(status, 202, "taken, and answered otherwise");
    let kind = kind.as_ref().and_then(|kind| kind.to_str().ok());
    let body = serde_json::from_slice::<Value>(&body);
    let mut ground = Pure::new(&MAPPERS);
    let what = What::Webhook {
        kind: kind.expect("taken without a kind").trim().to_owned(),
        body: body.expect("taken without being JSON"),
        received: Time::EPOCH,
    };
    ground.take(&what, 1).expect("it is taken");
    ground.finish().expect("an end");
}

/// What a server would make a request of.
fn request(data: &[u8]) -> Option<(Request<Body>, Vec<u8>)> {
    let mut rest = data;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        Some(line)
    };
    let first = std::str::from_utf8(line()?).ok()?;
    let (method, path) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    let mut signed = false;
    while let Some(line) = line().filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = value.get(1..)?.trim_ascii();
        let name = HeaderName::from_bytes(name).ok()?;
        if name == SIGNATURE && value == SIGNED.as_bytes() {
            signed = true;
        } else {
            request = request.header(name, HeaderValue::from_bytes(value).ok()?);
        }
    }
    let body = rest.to_vec();
    if signed {
        request = request.header(SIGNATURE, sign(&Secret::from(KEY), &body));
    }
    let request = request.body(Body::from(body.clone())).ok()?;
    Some((request, body))
}
