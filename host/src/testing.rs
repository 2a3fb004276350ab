//! What the tests of several rooms need: an API server that does what the test says, and objects and requests.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kube::{Client, Config};
use lighthouse_telemetry_core::index::{MapRequest, SubjectId, Ticket};
use lighthouse_telemetry_core::mapping::{Subject, WebhookSubject};
use lighthouse_telemetry_core::object::{GroupKind, ObjectReference, WatchId};
use lighthouse_telemetry_core::time::Time;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A request: method, path with query, content type and body.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub content_type: String,
    pub body: Value,
}

/// A client of an API server that answers discovery of Pods and of LighthouseJobs, serves nothing in version v9, and
/// leaves everything else to `answer`.
pub async fn api<F>(answer: F) -> Client
where
    F: Fn(&Asked) -> Response + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |request: Request| {
        let answer = Arc::clone(&answer);
        async move {
            let asked = read(request).await;
            match discovery(&asked.path) {
                Some(list) => axum::Json(list).into_response(),
                None if asked.path.ends_with("/v9") => status(404, "no such version"),
                None => answer(&asked),
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    client(&format!("http://{address}"))
}

/// A client of the API server at this URL, that does not retry by itself.
pub fn client(url: &str) -> Client {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

async fn read(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let content_type = parts.headers.get(http::header::CONTENT_TYPE);
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        content_type: content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

fn discovery(path: &str) -> Option<Value> {
    let list = |version: &str, name: &str, kind: &str| {
        json!({
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [{
                "name": name,
                "singularName": "",
                "namespaced": true,
                "kind": kind,
                "verbs": ["get", "list", "watch", "patch"],
            }],
        })
    };
    match path {
        "/api/v1" => Some(list("v1", "pods", "Pod")),
        "/apis/lighthouse.jenkins.io/v1alpha1" => Some(list(
            "lighthouse.jenkins.io/v1alpha1",
            "lighthousejobs",
            "LighthouseJob",
        )),
        _ => None,
    }
}

/// An answer that the API server gives where something is wrong.
pub fn status(code: u16, message: &str) -> Response {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": "",
        "code": code,
    });
    let code = StatusCode::from_u16(code).expect("a status");
    (code, axum::Json(body)).into_response()
}

/// Lines of a watch; the connection then stays open if it is to.
pub fn lines(events: &[Value], open: bool) -> Response {
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    let first = futures::stream::iter([Ok::<_, std::convert::Infallible>(text)]);
    let body = if open {
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    } else {
        Body::from_stream(first)
    };
    ([(http::header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A Pod by name, whose uid is its name with `uid-` before it.
pub fn pod(name: &str) -> ObjectReference {
    ObjectReference {
        kind: GroupKind {
            group: "".into(),
            kind: "Pod".into(),
        },
        version: "v1".into(),
        namespace: Some("jx".into()),
        name: name.into(),
        uid: format!("uid-{name}").into(),
    }
}

/// The mapping of a webhook, by this mapper's first watch.
pub fn webhook_request(number: u64, mapper: u32) -> MapRequest {
    MapRequest {
        ticket: Ticket {
            subject: SubjectId::Webhook(number),
            revision: 1,
            watch: WatchId { mapper, watch: 0 },
        },
        subject: Subject::Webhook(WebhookSubject {
            watch: 0,
            kind: "push".to_owned(),
            guid: None,
            received: Time::EPOCH,
            json: "{}".into(),
        }),
    }
}
