//! Receives webhooks from Lighthouse.
//!
//! A webhook is verified, decoded and queued, then answered with 202. The sender ignores what it is answered
//! and tries again only when it gets no connection, so that an answer must come at once and the queue must be
//! taken from. Neither bodies nor signatures are logged.

pub mod forwarded;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::Webhook;
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::clock::Clock;
use crate::config::{Secret, Verification};
use crate::journal::{Journal, Row, WebhookRecord, Written};
use crate::leader::{Role, Standing};
use crate::metrics::Metrics;
use forwarded::Receipt;

/// Where Lighthouse posts to.
pub const PATH: &str = "/lighthouse/events";
/// `sha256=` and the HMAC-SHA256 of the body in hexadecimal.
pub const SIGNATURE: &str = "x-lighthouse-signature";
/// `webhook` or `activity`.
pub const PAYLOAD_TYPE: &str = "x-lighthouse-payload-type";
/// Lighthouse's kind of webhook.
pub const KIND: &str = "x-lighthouse-webhook-kind";

/// The limit of Lighthouse's own parser of such requests.
const BODY_LIMIT: usize = 10_000_000;

/// Kinds that Lighthouse sends: `WebhookKind` of go-scm.
const KINDS: [&str; 23] = [
    "branch",
    "check_run",
    "check_suite",
    "deploy",
    "deployment_status",
    "fork",
    "installation",
    "installation_repository",
    "issue",
    "issue_comment",
    "label",
    "ping",
    "pull_request",
    "pull_request_comment",
    "push",
    "release",
    "repository",
    "review",
    "review_comment",
    "star",
    "status",
    "tag",
    "watch",
];

/// Kinds whose body names its repository in `Repo`, an object: go-scm's structs.
const KINDS_OF_A_REPOSITORY: [&str; 5] = [
    "push",
    "pull_request",
    "issue_comment",
    "pull_request_comment",
    "review",
];

/// Signs a body as Lighthouse does: the value of the header [`SIGNATURE`].
#[must_use]
pub fn sign(key: &Secret, body: &[u8]) -> String {
    let signature = mac(key)
        .map(|mac| mac.chain_update(body).finalize().into_bytes())
        .unwrap_or_default();
    format!("sha256={}", hex::encode(signature))
}

/// HMAC takes keys of any length.
fn mac(key: &Secret) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(key.bytes()).ok()
}

/// A webhook that was answered with 202.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What the mappers read of it.
    pub webhook: Webhook,
    /// All of it, where the journal does not have it.
    pub unkept: Option<WebhookRecord>,
}

/// What the handler needs.
#[derive(Debug)]
pub struct Receiver {
    /// How webhooks are verified.
    pub verification: Verification,
    /// Which mappers want what of a webhook, now.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// What time it is.
    pub clock: Clock,
    /// Where webhooks go.
    pub taken: mpsc::Sender<Taken>,
    /// Keeps what is answered with 202.
    pub journal: Journal,
    /// Whether the watches are ready.
    pub ready: watch::Receiver<bool>,
    /// Whether this replica leads.
    pub standing: Standing,
    /// Counts.
    pub metrics: Metrics,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Bytes of bodies that are being received or written down, of all at once.
    pub room: Arc<Semaphore>,
    /// Refusals that were logged, and when.
    pub refusals: Refusals,
}

/// When each sort of refusal was logged last: anybody can cause them.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<&'static str, Instant>>);

impl Refusals {
    /// Whether this one is to be logged: one of its sort a minute.
    fn worth_a_line(&self, outcome: &'static str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = logged
            .get(outcome)
            .is_some_and(|last| last.elapsed() < Duration::from_secs(60));
        if !recent {
            logged.insert(outcome, Instant::now());
        }
        !recent
    }
}

/// Default of [`Receiver::body_timeout`]: 10 MB in it is 330 KB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Default of [`Receiver::room`]. Anybody can send bodies, and whether they may is known only at the end of each.
pub const ROOM: usize = 64 << 20;

/// How much of a refused body is still read, in bytes: as much as of one that is taken.
const DISCARDED: usize = BODY_LIMIT;
/// How long a refused body is still read.
const DISCARDING: Duration = Duration::from_secs(2);

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Unused,
    UnknownKind,
    Activity,
    UnknownPayload,
    Unsigned,
    WrongSignature,
    TooLarge,
    TooSlow,
    Incomplete,
    NoKind,
    NotJson,
    WrongShape,
    Full,
    NotLeader,
    Stopping,
}

impl Answer {
    /// Status, label of the metric, and what to do.
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Accepted => (StatusCode::ACCEPTED, "accepted", "accepted"),
            Self::Unused => (
                StatusCode::ACCEPTED,
                "unused",
                "accepted, but no mapper wants this kind",
            ),
            Self::UnknownKind => (
                StatusCode::ACCEPTED,
                "unknown-kind",
                "accepted, but this kind of webhook is unknown",
            ),
            Self::Activity => (
                StatusCode::ACCEPTED,
                "activity",
                "accepted, but activities are taken from the cluster",
            ),
            Self::UnknownPayload => (
                StatusCode::ACCEPTED,
                "unknown-payload",
                "accepted, but this type of payload is unknown",
            ),
            Self::Unsigned => (
                StatusCode::UNAUTHORIZED,
                "unsigned",
                "send the header X-Lighthouse-Signature: sha256=<64 hexadecimal digits>",
            ),
            Self::WrongSignature => (
                StatusCode::UNAUTHORIZED,
                "wrong-signature",
                "the signature is wrong: use the same HMAC key in Lighthouse and here",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "the body is too large: send at most 10000000 bytes",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "too-slow",
                "the body did not arrive in time: send it again",
            ),
            Self::Incomplete => (
                StatusCode::BAD_REQUEST,
                "incomplete",
                "the body ended early: send it again",
            ),
            Self::NoKind => (
                StatusCode::BAD_REQUEST,
                "no-kind",
                "send the header X-Lighthouse-Webhook-Kind",
            ),
            Self::NotJson => (
                StatusCode::BAD_REQUEST,
                "not-json",
                "the body is not JSON: send the webhook as Lighthouse does",
            ),
            Self::WrongShape => (
                StatusCode::BAD_REQUEST,
                "wrong-shape",
                "the body is not a webhook of this kind: send it as Lighthouse does",
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "full",
                "too many webhooks wait: send it again later",
            ),
            Self::NotLeader => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not-leader",
                "another replica leads: forward it to that one",
            ),
            Self::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "the plugin is being stopped: send it again later",
            ),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (status, _, text) = self.parts();
        let mut response = (status, format!("{text}\n")).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Full | Self::Stopping | Self::NotLeader => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What was not read of the body will not be.
            Self::TooLarge | Self::TooSlow | Self::Unsigned => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// What is served on the port that Lighthouse knows.
pub fn router(receiver: Receiver) -> Router {
    let (ready, standing) = (receiver.ready.clone(), receiver.standing.clone());
    let readiness = move || {
        // What is kept can be taken whenever there are other replicas to forward it to, or this one leads.
        let ready = *ready.borrow() || standing.role() != Role::Alone;
        std::future::ready(if ready {
            (StatusCode::OK, "ready\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: /readyz on the port of the metrics says why\n",
            )
        })
    };
    Router::new()
        .route(PATH, post(receive).fallback(only_post))
        .route("/healthz", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(readiness))
        .with_state(Arc::new(receiver))
}

async fn only_post(State(receiver): State<Arc<Receiver>>) -> Response {
    receiver.metrics.webhook("wrong-method");
    (
        StatusCode::METHOD_NOT_ALLOWED,
        [(header::ALLOW, "POST")],
        "webhooks are sent by POST\n",
    )
        .into_response()
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let answer = receiver.take(request).await;
    let (status, outcome, text) = answer.parts();
    receiver.metrics.webhook(outcome);
    if status.is_success() {
        tracing::debug!(outcome, "webhook");
    } else if receiver.refusals.worth_a_line(outcome) {
        tracing::warn!(outcome, "a webhook was refused: {text}");
    } else {
        tracing::debug!(outcome, "a webhook was refused");
    }
    answer.into_response()
}

impl Receiver {
    async fn take(&self, request: Request) -> Answer {
        let received = self.clock.now();
        let (parts, mut body) = request.into_parts();
        let signature = match &self.verification {
            Verification::None => None,
            Verification::Key(key) => match signature(&parts.headers) {
                Some(signature) => Some((key, signature)),
                None => {
                    self.discard(&mut body).await;
                    return Answer::Unsigned;
                }
            },
        };
        let announced = parts.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
            self.discard(&mut body).await;
            return Answer::TooLarge;
        }
        let (body, _room) = match self.read(&mut body).await {
            Ok(read) => read,
            Err(answer) => {
                self.discard(&mut body).await;
                return answer;
            }
        };
        if let Some((key, signature)) = signature {
            // Compares in constant time.
            let verified = mac(key)
                .is_some_and(|mac| mac.chain_update(&body).verify_slice(&signature).is_ok());
            if !verified {
                return Answer::WrongSignature;
            }
        }
        let receipt = forwarded::receipt(&self.verification, &parts.headers, &body);
        match receipt {
            Receipt::Wrong => return Answer::WrongSignature,
            // Or it could go round in circles.
            Receipt::At(_) if !self.standing.role().leads() => return Answer::NotLeader,
            Receipt::At(_) | Receipt::Now => {}
        }
        match text(&parts.headers, PAYLOAD_TYPE) {
            None | Some("webhook") => {}
            Some("activity") => return Answer::Activity,
            Some(_) => return Answer::UnknownPayload,
        }
        let Some(kind) = text(&parts.headers, KIND) else {
            return Answer::NoKind;
        };
        let Ok(value) = serde_json::from_slice::<Value>(&body) else {
            return Answer::NotJson;
        };
        if !is_webhook(kind, &value) {
            return Answer::WrongShape;
        }
        if !KINDS.contains(&kind) {
            return Answer::UnknownKind;
        }
        let received = match receipt {
            Receipt::At(time) => time,
            Receipt::Now | Receipt::Wrong => received,
        };
        let catalog = Arc::clone(&self.catalog.borrow());
        let mut webhook = catalog.webhook(kind, received, &value);
        drop(value);
        if webhook.subject_of.is_empty() {
            return Answer::Unused;
        }
        // A place first: what is kept is also taken.
        let place = match self.taken.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Full(())) => return Answer::Full,
            Err(TrySendError::Closed(())) => return Answer::Stopping,
        };
        webhook.number = self.journal.webhook_number();
        let record = WebhookRecord {
            kind: kind.to_owned(),
            received: received.nanoseconds(),
            body,
        };
        let written = match webhook.number {
            Some(number) => {
                let row = Row::Webhook(number, record.write());
                self.journal.write(vec![row]).await
            }
            None => Ok(Written::Not),
        };
        // While the disk cannot be written, which the journal says, a webhook is still worth a trace.
        let unkept = (written != Ok(Written::Durably)).then_some(record);
        place.send(Taken { webhook, unkept });
        Answer::Accepted
    }

    /// Reads what is left of a body that is refused, within limits: a client that still writes when the connection is
    /// closed never sees the answer, takes it for a fault of the network and sends the same again.
    async fn discard(&self, body: &mut Body) {
        let reading = async {
            let mut left = DISCARDED;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(length) {
                    Some(less) => left = less,
                    None => break,
                }
            }
        };
        // Who sends more, or slowly, is cut off.
        let _ = tokio::time::timeout(self.body_timeout.min(DISCARDING), reading).await;
    }

    /// A body, and the room that it takes.
    async fn read(&self, body: &mut Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Answer> {
        let collect = async {
            let mut bytes = BytesMut::new();
            let mut room: Option<OwnedSemaphorePermit> = None;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Answer::Incomplete)?;
                let Some(data) = frame.data_ref() else {
                    continue;
                };
                if bytes.len() + data.len() > BODY_LIMIT {
                    return Err(Answer::TooLarge);
                }
                let length = u32::try_from(data.len()).map_err(|_| Answer::TooLarge)?;
                let more = Arc::clone(&self.room).try_acquire_many_owned(length);
                let more = more.map_err(|_| Answer::Full)?;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
                bytes.extend_from_slice(data);
            }
            Ok((bytes.freeze(), room))
        };
        let read = tokio::time::timeout(self.body_timeout, collect).await;
        read.unwrap_or(Err(Answer::TooSlow))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The bytes of the signature, if there is one of the right form.
fn signature(headers: &HeaderMap) -> Option<[u8; 32]> {
    signature_in(headers, SIGNATURE)
}

fn signature_in(headers: &HeaderMap, name: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text(headers, name)?.strip_prefix("sha256=")?;
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// Whether a body has the shape of go-scm's struct, as far as anybody here relies on it.
fn is_webhook(kind: &str, body: &Value) -> bool {
    let Value::Object(members) = body else {
        return false;
    };
    let guid = matches!(
        members.get("GUID"),
        None | Some(Value::Null | Value::String(_))
    );
    let repository = matches!(members.get("Repo"), Some(Value::Object(_)));
    guid && (repository || !KINDS_OF_A_REPOSITORY.contains(&kind))
}

#[cfg(test)]
mod tests;
