//! What goes on beneath kube's events: whether a request is answered in time, whether a watch is followed and still
//! says anything, and when the API server wants to be asked again.
//!
//! kube tells of a watch only what changes. That it was taken up again after a failure, or that its connection has been
//! dead for minutes, can be seen here alone.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tower_service::Service;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For an answer: its head, and of anything but a watch the whole.
    pub answer: Duration,
    /// For a watch that says nothing, not even where it is.
    pub silence: Duration,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A watch was accepted: from here on it tells what changes.
    Following,
    /// A watch has said nothing for too long, and was ended.
    Silent,
    /// The API server does not want to be asked again before so much time has passed.
    NotBefore(Duration),
}

/// The API server took too long for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it does not answer within {0:?}; see whether it is overloaded")]
struct NoAnswer(Duration);

type Answer = UnsyncBoxBody<Bytes, kube::Error>;

/// A client that sends through this one and does not wait for ever, and what it sees.
pub fn observed(client: Client, limits: Limits) -> (Client, UnboundedReceiver<Note>) {
    let (notes, seen) = unbounded_channel();
    let namespace = client.default_namespace().to_owned();
    let observed = Observed {
        client,
        limits,
        notes,
    };
    (Client::new(observed, namespace), seen)
}

struct Observed {
    client: Client,
    limits: Limits,
    notes: UnboundedSender<Note>,
}

impl Service<Request<Body>> for Observed {
    type Response = Response<Answer>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(send(
            self.client.clone(),
            self.limits,
            self.notes.clone(),
            request,
        ))
    }
}

async fn send(
    client: Client,
    limits: Limits,
    notes: UnboundedSender<Note>,
    request: Request<Body>,
) -> Result<Response<Answer>, kube::Error> {
    let due = Instant::now() + limits.answer;
    let watches = request
        .uri()
        .query()
        .is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let response = tokio::time::timeout_at(due, client.send(request))
        .await
        .map_err(|_| late(limits))??;
    // Nobody listens any more where the watch has ended.
    if let Some(pause) = not_before(&response) {
        let _ = notes.send(Note::NotBefore(pause));
    }
    if !watches || !response.status().is_success() {
        return Ok(response.map(|body| in_time(body, due, limits)));
    }
    let _ = notes.send(Note::Following);
    Ok(response.map(|body| while_it_speaks(body, limits, notes)))
}

fn late(limits: Limits) -> kube::Error {
    kube::Error::Service(Box::new(NoAnswer(limits.answer)))
}

/// How long the answer says to wait; an answer may also say until when, which the API server does not.
fn not_before(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The body, if it has come to its end by then.
fn in_time(body: Body, due: Instant, limits: Limits) -> Answer {
    let frames = futures::stream::try_unfold(body, move |mut body| async move {
        match tokio::time::timeout_at(due, body.frame()).await {
            Ok(Some(frame)) => Ok(Some((frame?, body))),
            Ok(None) => Ok(None),
            Err(_) => Err(late(limits)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The body until it says nothing for too long: then it ends, and the watch goes on from where it was on another
/// connection.
fn while_it_speaks(body: Body, limits: Limits, notes: UnboundedSender<Note>) -> Answer {
    let frames = futures::stream::try_unfold((body, notes), move |(mut body, notes)| async move {
        match tokio::time::timeout(limits.silence, body.frame()).await {
            Ok(Some(frame)) => Ok(Some((frame?, (body, notes)))),
            Ok(None) => Ok(None),
            Err(_) => {
                let _ = notes.send(Note::Silent);
                Ok(None)
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
