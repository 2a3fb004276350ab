//! Kinds that the host does not know: their objects, what the process says of their mappers, and what becomes of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_tests::process::{Process, command};
use lighthouse_telemetry_tests::{wait, web};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Value, json};

use super::Ground;

/// For something to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The definition of a kind, whose objects may be anything.
pub fn definition(group: &str, version: &str, kind: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular},
            "versions": [{
                "name": version, "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
            }],
        },
    })
}

/// The mapper in YAML of a kind that `mapper new` makes.
pub async fn text(ground: &Ground, kind: &str) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let mut new = command(&ground.binary);
    new.args(["mapper", "new", "build", "--lang", "yaml", "--kind", kind]);
    new.current_dir(directory.path());
    let made = tokio::task::spawn_blocking(move || new.output()).await??;
    let said = String::from_utf8_lossy(&made.stderr);
    let text = std::fs::read_to_string(directory.path().join("build/build.mapper.yaml"));
    text.with_context(|| format!("mapper new: {said}"))
}

/// An object as that mapper knows it, which has just ended, if it has.
pub fn build(api_version: &str, name: &str, is_over: bool) -> Result<Value> {
    let now = Time::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH)?);
    let now = now.to_string();
    Ok(json!({
        "apiVersion": api_version, "kind": "Build",
        "metadata": {"name": name, "namespace": "jx", "uid": format!("alias-of-{name}")},
        "spec": {},
        "status": {"startTime": now, "completionTime": is_over.then_some(&now)},
    }))
}

/// A Pod that an object has made, given by its API version, kind and name.
pub fn pod(name: &str, owner: (&str, &str, &str)) -> Value {
    let (api_version, kind, owner) = owner;
    let at = |second: u32| format!("2026-03-02T09:00:{second:02}Z");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "jx", "uid": format!("alias-of-{name}"),
            "ownerReferences": [{
                "apiVersion": api_version, "kind": kind, "name": owner,
                "uid": format!("alias-of-{owner}"), "controller": true,
            }],
        },
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "compiler"}]},
        "status": {
            "phase": "Succeeded", "startTime": at(3),
            "containerStatuses": [{
                "name": "main", "image": "compiler", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": "containerd://1",
                "state": {"terminated": {
                    "exitCode": 0, "reason": "Completed", "startedAt": at(5), "finishedAt": at(30),
                    "containerID": "containerd://1",
                }},
            }],
        },
    })
}

/// A span, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub service: String,
    pub name: String,
    /// Name of the object, if it is a main span.
    pub object: Option<String>,
    /// Where its end comes from, if not from the object.
    pub end: Option<String>,
}

pub fn spans(received: &[ResourceSpans]) -> Vec<Span> {
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
    let text = |attributes: &[KeyValue], key: &str| {
        let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    let mut spans = Vec::new();
    for resource in received.iter().cloned() {
        let of = resource.resource.unwrap_or_default().attributes;
        let service = text(&of, "service.name").unwrap_or_default();
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            spans.push(Span {
                trace: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                service: service.clone(),
                object: text(&span.attributes, "k8s.object.name").or_else(|| {
                    let is_main = span.name == "pod";
                    text(&span.attributes, "k8s.pod.name").filter(|_| is_main)
                }),
                end: text(&span.attributes, "lighthouse.telemetry.end"),
                name: span.name,
            });
        }
    }
    spans
}

/// Waits for the main span of an object.
pub async fn main_span(receiver: &Receiver, object: &str) -> Result<Span> {
    let of = |span: &Span| span.object.as_deref() == Some(object);
    let arrived = receiver.wait_for(|received| spans(received).iter().any(of));
    let arrived = tokio::time::timeout(PATIENCE, arrived).await;
    let spans = spans(&arrived.unwrap_or_else(|_| receiver.spans()));
    let span = spans.iter().find(|span| of(span)).cloned();
    span.with_context(|| format!("no span of {object} arrives; there are {spans:?}"))
}

/// Waits until what the process says of its mappers is as wished.
pub async fn mappers(
    process: &Process,
    what: &str,
    wished: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let mut said = Value::Null;
    let waited = wait::until(PATIENCE, async || {
        said = serde_json::from_str(&web::get(process.admin(), "/api/mappers").await?)?;
        Ok(wished(&said))
    })
    .await;
    waited.with_context(|| format!("{what}: the process says {said}"))?;
    Ok(said)
}

/// A mapper in what the process says.
pub fn mapper<'a>(said: &'a Value, name: &str) -> Option<&'a Value> {
    let mut mappers = said.get("mappers")?.as_array()?.iter();
    mappers.find(|mapper| mapper.get("name") == Some(&json!(name)))
}
