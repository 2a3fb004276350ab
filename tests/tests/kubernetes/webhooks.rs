//! Webhooks of those who mean no good, or do too much of it: floods, replays and forgeries.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::journal::{Store, WebhookRecord};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::outcome::{count, without_resends};
use lighthouse_telemetry_tests::process::{KEY, Process};
use lighthouse_telemetry_tests::webhook::{self, headers};
use lighthouse_telemetry_tests::{wait, web};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::processes::{annotated, job, push, receiver};
use super::{Ground, Test};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[
    (
        "a_flood_of_webhooks_loses_nothing_that_was_accepted_and_takes_no_memory",
        |ground| Box::pin(flood(ground)),
    ),
    ("a_webhook_that_comes_again_makes_nothing_again", |ground| {
        Box::pin(replays(ground))
    }),
    ("a_forged_webhook_leaves_no_trace", |ground| {
        Box::pin(forgeries(ground))
    }),
];

/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(
    ground: &Ground,
    state: &Path,
    namespace: &str,
    receiver: &Receiver,
    more: &[&str],
) -> Result<Process> {
    let mut arguments = vec!["--namespace", namespace, "--settle", "1s"];
    arguments.extend(more);
    let endpoint = receiver.grpc_endpoint();
    let kubeconfig = ground.new.kubeconfig();
    let process = Process::start_from(state, &ground.binary, kubeconfig, &endpoint, &arguments);
    let process = process.await?;
    process.ready().await?;
    Ok(process)
}

/// What is in the journal of a process that is dead.
fn kept(state: &Path) -> Result<Vec<WebhookRecord>> {
    let webhooks = Store::open(state, 1 << 30)?.webhooks()?;
    ensure!(webhooks.unreadable.is_empty(), "some make no sense");
    Ok(webhooks
        .rows
        .into_iter()
        .map(|(_, record)| record)
        .collect())
}

/// A push of this delivery.
pub fn push_of(guid: &str) -> Value {
    let mut push = push();
    json_patch::merge(&mut push, &json!({ "GUID": guid }));
    push
}

/// Clients at once, as many as are served at once.
const CLIENTS: usize = 500;
/// Webhooks of each.
const EACH: usize = 4;

/// All webhooks of a flood at once, and the deliveries that were accepted.
async fn pour(to: SocketAddr, flood: &str) -> Result<BTreeSet<String>> {
    let mut clients = JoinSet::new();
    let sender = web::client()?;
    for client in 0..CLIENTS {
        let (flood, sender) = (flood.to_owned(), sender.clone());
        clients.spawn(async move {
            let mut accepted = Vec::new();
            for number in 0..EACH {
                let guid = format!("{flood}-{client}-{number}");
                let body = serde_json::to_vec(&push_of(&guid))?;
                let answer = post(&sender, to, body).await?;
                match answer.status().as_u16() {
                    202 => accepted.push(guid),
                    503 => ensure!(
                        answer.headers().contains_key("retry-after"),
                        "503 without Retry-After"
                    ),
                    status => anyhow::bail!("answered {status}"),
                }
            }
            anyhow::Ok(accepted)
        });
    }
    let mut accepted = BTreeSet::new();
    while let Some(client) = clients.join_next().await {
        accepted.extend(client??);
    }
    Ok(accepted)
}

/// As Lighthouse does it: tries again if there is no connection, or no answer by it.
async fn post(
    sender: &reqwest::Client,
    to: SocketAddr,
    body: Vec<u8>,
) -> Result<reqwest::Response> {
    let mut attempts = 0;
    loop {
        let post = sender
            .post(format!("http://{to}/lighthouse/events"))
            .headers(headers("push", KEY, &body)?)
            .body(body.clone());
        match post.send().await {
            Ok(answer) => return Ok(answer),
            Err(error) if attempts == 5 => return Err(error.into()),
            Err(_) => attempts += 1,
        }
    }
}

/// A figure of the process, now.
async fn figure(process: &Process, name: &str) -> Result<u64> {
    let start = format!("lighthouse_telemetry_{name} ");
    let text = web::get(process.admin(), "/metrics").await?;
    let value = text.lines().find_map(|line| line.strip_prefix(&start));
    let value = value.with_context(|| format!("no metric {name}:\n{text}"))?;
    Ok(value.parse()?)
}

/// Waits until a figure of the process is as wished.
pub async fn metric(process: &Process, name: &str, wished: impl Fn(u64) -> bool) -> Result<()> {
    let is_so = async || Ok(wished(figure(process, name).await?));
    let waited = wait::until(PATIENCE, is_so).await;
    waited.with_context(|| format!("{name} does not become so"))
}

/// Resident memory in kilobytes: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>.
fn resident(process: &Process) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

async fn flood(ground: &Ground) -> Result<()> {
    let namespace = Namespace::create(ground.new.client(), "flood").await?;
    let receiver = receiver().await?;
    // What no job follows is forgotten soon.
    let state = tempfile::tempdir()?;
    let process = start(
        ground,
        state.path(),
        namespace.name(),
        &receiver,
        &["--orphan-deadline", "2s"],
    )
    .await?;
    let mut after_each = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for flood in ["first", "second", "third"] {
        let taken = pour(process.webhooks(), flood).await?.len();
        accepted += taken;
        refused += CLIENTS * EACH - taken;
        // It may have taken some whose senders have not heard so.
        let all = figure(&process, "webhooks_total{outcome=\"accepted\"}").await?;
        ensure!(
            all >= u64::try_from(accepted)?,
            "more were accepted than it says"
        );
        metric(&process, "webhooks_without_job_total", |count| count >= all).await?;
        // What says what the numbers of watches mean, and no webhook.
        metric(&process, "journal_bytes", |bytes| bytes < 1_000).await?;
        after_each.push(resident(&process)?);
    }
    process.kill()?;
    ensure!(kept(state.path())?.is_empty(), "some are still kept");

    // Killed while it is flooded, it has all that it has accepted; and so has the one after it.
    let state = tempfile::tempdir()?;
    let process = start(ground, state.path(), namespace.name(), &receiver, &[]).await?;
    let taken = pour(process.webhooks(), "killed").await?;
    process.kill()?;
    let process = start(ground, state.path(), namespace.name(), &receiver, &[]).await?;
    process.kill()?;
    let deliveries: Result<BTreeSet<String>> = kept(state.path())?
        .iter()
        .map(|record| {
            let body: Value = serde_json::from_slice(&record.body)?;
            let guid = body.get("GUID").and_then(Value::as_str);
            Ok(guid.context("no GUID")?.to_owned())
        })
        .collect();
    ensure!(
        deliveries?.is_superset(&taken),
        "not all that was accepted is kept"
    );
    accepted += taken.len();
    refused += CLIENTS * EACH - taken.len();
    println!(
        "{accepted} webhooks were accepted, {refused} were refused; resident after each flood: {after_each:?} kB"
    );
    let (first, last) = (after_each.first(), after_each.last());
    let (first, last) = first.zip(last).context("no floods")?;
    ensure!(
        *last < first + first / 2,
        "memory grows with each flood: {after_each:?} kB"
    );
    Ok(())
}

/// Of a delivery and its job: a root, the job, and its time in the queue.
pub const SPANS: usize = 3;

/// A job of this delivery.
pub fn triggered(guid: &str, ended: bool) -> Value {
    let mut job = job(guid, if ended { "success" } else { "running" });
    let labels = json!({"created-by-lighthouse": "true", "event-GUID": guid});
    json_patch::merge(&mut job, &json!({"metadata": {"labels": labels}}));
    if ended {
        let end = json!({"status": {"completionTime": "2026-03-02T09:01:00Z"}});
        json_patch::merge(&mut job, &end);
    }
    job
}

/// Twice at once, once after its trace was exported, once after a restart: and none but the one trace.
async fn replays(ground: &Ground) -> Result<()> {
    let mut namespace = Namespace::create(ground.new.client(), "replays").await?;
    let receiver = receiver().await?;
    let state = tempfile::tempdir()?;
    let process = start(ground, state.path(), namespace.name(), &receiver, &[]).await?;
    let send = async |process: &Process, guid: &str| {
        let status = webhook::send(process.webhooks(), "push", KEY, &push_of(guid)).await?;
        ensure!(status == 202, "answered {status}");
        anyhow::Ok(())
    };
    let arrived = async |spans: usize| {
        // That something was acknowledged a kill may make it forget.
        let arrived = receiver.wait_for(|received| {
            without_resends(received).map_or(true, |received| count(&received) >= spans)
        });
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        arrived.with_context(|| format!("fewer than {spans} spans"))
    };
    tokio::try_join!(send(&process, "replayed"), send(&process, "replayed"))?;
    namespace.apply(&triggered("replayed", false)).await?;
    annotated(&namespace, 1).await?;
    send(&process, "replayed").await?;
    process.kill()?;
    let process = start(ground, state.path(), namespace.name(), &receiver, &[]).await?;
    send(&process, "replayed").await?;
    namespace.apply(&triggered("replayed", true)).await?;
    arrived(SPANS).await?;

    // Of one that is over, and of one before the last start.
    send(&process, "replayed").await?;
    metric(&process, "export_spans_waiting", |waiting| waiting == 0).await?;
    process.kill()?;
    let process = start(ground, state.path(), namespace.name(), &receiver, &[]).await?;
    send(&process, "replayed").await?;
    // What comes after it comes out after it.
    send(&process, "another").await?;
    namespace.apply(&triggered("another", true)).await?;
    arrived(2 * SPANS).await?;
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    let spans = without_resends(&receiver.spans())?;
    let text = lighthouse_telemetry::view::snapshot(&spans);
    ensure!(
        count(&spans) == 2 * SPANS,
        "more than the spans of two events:\n{text}"
    );
    let kept = kept(state.path())?;
    ensure!(
        kept.is_empty(),
        "webhooks of traces that are over are kept: {kept:?}"
    );
    let parcels = Store::open(state.path(), 1 << 30)?.parcels()?.rows;
    ensure!(
        parcels.is_empty(),
        "spans that were acknowledged before the end would be sent again: {parcels:?}"
    );
    Ok(())
}

/// Sends a request as it stands; the status of the answer.
async fn raw(to: SocketAddr, signatures: &[String], body: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let head = format!(
        "POST /lighthouse/events HTTP/1.1\r\nHost: plugin\r\nX-Lighthouse-Webhook-Kind: push\r\n\
         X-Lighthouse-Payload-Type: webhook\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
        body.len(),
        signatures.concat()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    let status = answer.split_whitespace().nth(1);
    Ok(status.context("no status")?.to_owned())
}

async fn forgeries(ground: &Ground) -> Result<()> {
    let namespace = Namespace::create(ground.new.client(), "forgeries").await?;
    let receiver = receiver().await?;
    let state = tempfile::tempdir()?;
    let process = start(ground, state.path(), namespace.name(), &receiver, &[]).await?;
    let body = serde_json::to_vec(&push())?;
    let signature = |key: &str, body: &[u8]| {
        let headers = headers("push", key, body)?;
        let signature = headers.get("x-lighthouse-signature");
        anyhow::Ok(signature.context("no signature")?.to_str()?.to_owned())
    };
    let right = signature(KEY, &body)?;
    let digits = right.trim_start_matches("sha256=");
    let other = signature(KEY, b"{}")?;
    let wrong = signature("another token", &body)?;
    let header = |value: &str| format!("X-Lighthouse-Signature: {value}\r\n");
    let forged = [
        ("no signature", vec![]),
        ("of another key", vec![header(&wrong)]),
        ("of another body", vec![header(&other)]),
        (
            "under another header",
            vec![format!("X-Hub-Signature-256: {right}\r\n")],
        ),
        (
            "the prefix in capitals",
            vec![header(&format!("SHA256={digits}"))],
        ),
        ("without a prefix", vec![header(digits)]),
        ("by SHA-1", vec![header(&format!("sha1={digits}"))]),
        ("cut short", vec![header(right.get(..70).context("short")?)]),
        ("one digit more", vec![header(&format!("{right}0"))]),
        (
            "a right one after a wrong one",
            vec![header(&wrong), header(&right)],
        ),
        ("both in one", vec![header(&format!("{wrong}, {right}"))]),
        ("nothing", vec![header("")]),
    ];
    for (name, signatures) in &forged {
        let status = raw(process.webhooks(), signatures, &body).await?;
        ensure!(status == "401", "{name}: answered {status}");
    }
    // Names of headers have no case: <https://www.rfc-editor.org/rfc/rfc9110#section-5.1>.
    let loud = format!("X-LIGHTHOUSE-SIGNATURE: {right}\r\n");
    let status = raw(process.webhooks(), &[loud], &body).await?;
    ensure!(status == "202", "a right one was answered {status}");
    process.kill()?;
    let kept = kept(state.path())?;
    ensure!(kept.len() == 1, "{} webhooks are kept", kept.len());
    Ok(())
}
