//! Watch streams as the embedded API sends them, recorded once and then served from memory: the same bytes for both
//! sides, and no server that takes time on the same core.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, StatusCode, Uri, header};
use lighthouse_telemetry::embedded::{self, Server};
use lighthouse_telemetry::recording::{Entry, Happening, Recording};
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::description::ObjectSource;
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

/// What a socket gives at once.
const CHUNK: usize = 16 * 1024;

/// Everything a client asks for when it lists nothing and then watches.
pub struct Canned {
    /// Discovery documents and empty lists, by path and query.
    documents: HashMap<String, Bytes>,
    /// Watch streams, by path and field selector.
    streams: HashMap<String, Bytes>,
    /// Webhooks, with the times when they came.
    pub webhooks: Vec<(Time, String, Value)>,
    /// When each resource version was written; the first one is 2.
    times: Vec<Time>,
    /// How many changes the streams tell together.
    pub changes: usize,
    /// Length of all streams.
    pub bytes: usize,
}

impl Canned {
    /// Records what a catalog's sources are told of so many pull requests at once.
    pub async fn record(catalog: &Catalog, pull_requests: u16) -> anyhow::Result<Self> {
        let mut entries = many(pull_requests)?;
        entries.sort_by_key(|entry| entry.at);
        let server = Server::start().await?;
        let mut canned = Self {
            documents: HashMap::new(),
            streams: HashMap::new(),
            webhooks: Vec::new(),
            times: Vec::new(),
            changes: 0,
            bytes: 0,
        };
        for entry in entries {
            match entry.happening {
                Happening::Webhook(webhook) => {
                    canned.webhooks.push((entry.at, webhook.kind, webhook.body));
                    continue;
                }
                Happening::Applied(object) => server.apply(object)?,
                Happening::Deleted(object) => server.delete(&object)?,
            };
            let written = usize::try_from(server.newest_resource_version())?;
            if written > canned.times.len() + 1 {
                canned.times.push(entry.at);
            }
        }
        let client = server.client()?;
        for (_, source) in catalog.sources() {
            canned.add(&client, source).await?;
        }
        Ok(canned)
    }

    async fn add(&mut self, client: &kube::Client, source: &ObjectSource) -> anyhow::Result<()> {
        let version = source
            .versions
            .first()
            .context("a source names a version")?;
        let plural = embedded::Resource::namespaced(&source.group, &[version], &source.kind).plural;
        let discovery = if source.group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{}/{version}", source.group)
        };
        let path = format!("{discovery}/{plural}");
        let selector = source.field_selector.as_deref().unwrap_or_default();
        let encoded = selector.replace('=', "%3D");
        let document = get(client, &discovery).await?;
        let watch =
            format!("{path}?watch=true&resourceVersion=1&timeoutSeconds=1&fieldSelector={encoded}");
        let lines = get(client, &watch).await?;
        self.changes += lines.iter().filter(|byte| **byte == b'\n').count();
        self.bytes += lines.len();
        self.documents.insert(discovery, document);
        self.documents
            .insert(path.clone(), self.empty_list(source, version)?);
        self.streams.insert(format!("{path} {selector}"), lines);
        Ok(())
    }

    fn empty_list(&self, source: &ObjectSource, version: &str) -> anyhow::Result<Bytes> {
        let api_version = if source.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", source.group)
        };
        let list = serde_json::json!({
            "kind": format!("{}List", source.kind),
            "apiVersion": api_version,
            "metadata": {"resourceVersion": "1"},
            "items": [],
        });
        Ok(serde_json::to_vec(&list)?.into())
    }

    /// When a resource version was written.
    pub fn time(&self, resource_version: &str) -> Option<Time> {
        let version: usize = resource_version.parse().ok()?;
        self.times.get(version.checked_sub(2)?).copied()
    }

    /// A client that is answered from memory.
    pub fn client(self: &Arc<Self>) -> kube::Client {
        let router = Router::new().fallback(answer).with_state(Arc::clone(self));
        kube::Client::new(router, "default")
    }
}

async fn answer(State(canned): State<Arc<Canned>>, uri: Uri) -> Response {
    let parameter = |wanted: &str| {
        let mut pairs = uri.query().unwrap_or_default().split('&');
        pairs.find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='))
    };
    let path = uri.path().trim_end_matches('/');
    if parameter("watch") == Some("true") {
        let selector = parameter("fieldSelector").unwrap_or_default();
        let key = format!("{path} {}", selector.replace("%3D", "="));
        return match canned.streams.get(&key) {
            Some(lines) => Body::from_stream(chunks(lines)).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    match canned.documents.get(path) {
        Some(document) => (
            [(header::CONTENT_TYPE, "application/json")],
            document.clone(),
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The stream, and then silence.
fn chunks(
    lines: &Bytes,
) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
    let lines = lines.clone();
    let starts = (0..lines.len()).step_by(CHUNK);
    let chunks: Vec<_> = starts
        .map(|start| Ok(lines.slice(start..lines.len().min(start + CHUNK))))
        .collect();
    stream::iter(chunks).chain(stream::pending())
}

async fn get(client: &kube::Client, path: &str) -> anyhow::Result<Bytes> {
    let request = Request::get(path).body(Vec::new())?;
    let text = client.request_text(request).await;
    Ok(text
        .with_context(|| format!("the embedded API refuses {path}"))?
        .into())
}

/// The recorded pull request so many times, each with uids, names and a GUID of its own.
fn many(pull_requests: u16) -> anyhow::Result<Vec<Entry>> {
    let text = include_str!("../../recordings/pull-request.ndjson");
    let one = Recording::parse(text)?;
    let uids: BTreeSet<&str> = one
        .entries()
        .iter()
        .filter_map(|entry| match &entry.happening {
            Happening::Applied(object) => object.pointer("/metadata/uid")?.as_str(),
            _ => None,
        })
        .collect();
    let mut entries = Vec::new();
    for copy in 0..pull_requests {
        // The GUID and the names of jobs are version 1 UUIDs of one moment, the other names begin alike.
        let mut text = text
            .replace("-1618-11f1-", &format!("-{copy:04x}-11f1-"))
            .replace("acme-shop-pr-128", &format!("acme-shop-pr-{}", 128 + copy));
        for uid in &uids {
            let rest = uid.get(4..).context("a uid is long")?;
            text = text.replace(uid, &format!("{copy:04x}{rest}"));
        }
        entries.extend(Recording::parse(&text)?.entries().iter().cloned());
    }
    Ok(entries)
}
