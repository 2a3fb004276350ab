//! What a process does with bad input, at its start and at its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::cluster::{self, ApiServer};
use lighthouse_telemetry_tests::load::Load;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::outcome::count;
use lighthouse_telemetry_tests::process::{KEY, Process, command};
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario};
use lighthouse_telemetry_tests::webhook::{self, headers};
use lighthouse_telemetry_tests::{wait, web};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Ground, Test};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[
    ("bad_webhooks_are_refused_each_with_its_status", |ground| {
        Box::pin(bad_webhooks(ground))
    }),
    ("a_process_told_to_end_exports_what_has_ended", |ground| {
        Box::pin(drain(ground))
    }),
    (
        "an_api_server_that_is_away_is_said_and_waited_for",
        |ground| Box::pin(outage(ground)),
    ),
    (
        "a_state_directory_in_use_is_refused_and_one_that_cannot_be_is_done_without",
        |ground| Box::pin(state_directories(ground)),
    ),
    ("a_bad_command_line_is_said_in_one_line", |ground| {
        Box::pin(bad_command_lines(ground))
    }),
    ("a_pipeline_run_is_counted_once_over_a_kill", |ground| {
        Box::pin(counted_once(ground))
    }),
];

/// A run that has ended is counted by the process that exports it, and not by the one that goes on from its state.
async fn counted_once(ground: &Ground) -> Result<()> {
    const RUN: &str = "cicd_pipeline_run_duration_seconds_count{cicd_pipeline_name=\"release\",\
        cicd_pipeline_run_state=\"executing\",cicd_pipeline_result=\"success\"} 1";
    let receiver = receiver().await?;
    let mut scenarios = Scenario::all(ANYWHERE)?.into_iter();
    let scenario = scenarios.find(|scenario| scenario.name == "push");
    let scenario = scenario.context("no such scenario")?;
    let mut load = Load::create(ground.new.client(), "counted-once", &scenario).await?;
    let endpoint = receiver.grpc_endpoint();
    let arguments = ["--namespace", load.name(), "--settle", "1s"].map(str::to_owned);
    let state = tempfile::tempdir()?;
    let kubeconfig = ground.new.kubeconfig();
    let start = || {
        Process::start_from(
            state.path(),
            &ground.binary,
            kubeconfig,
            &endpoint,
            &arguments,
        )
    };
    let process = start().await?;
    process.ready().await?;
    for place in 0..load.steps().len() {
        load.act(place, Some(process.webhooks())).await?;
    }
    let mut text = String::new();
    let counted = wait::until(PATIENCE, async || {
        text = web::get(process.admin(), "/metrics").await?;
        // Acknowledged, and written down as such.
        Ok(text.contains(RUN) && text.contains("export_spans_waiting 0"))
    });
    counted
        .await
        .with_context(|| format!("not counted: {text}"))?;
    ensure!(
        !text.contains("cicd_pipeline_run_active{"),
        "still active: {text}"
    );
    process.kill()?;
    let process = start().await?;
    process.ready().await?;
    let sent = count(&receiver.spans());
    let again = web::get(process.admin(), "/metrics").await?;
    ensure!(
        again.contains("lighthouse_telemetry_ready 1")
            && !again.contains("cicd_pipeline_run_duration_seconds_count"),
        "counted again: {again}"
    );
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    ensure!(
        count(&receiver.spans()) == sent,
        "exported again at its end"
    );
    Ok(())
}

/// Of a state directory that another process has, and of one that cannot be.
async fn state_directories(ground: &Ground) -> Result<()> {
    let receiver = receiver().await?;
    let mut namespace = Namespace::create(ground.new.client(), "state-directories").await?;
    let endpoint = receiver.grpc_endpoint();
    let arguments = ["--namespace", namespace.name(), "--settle", "1s"].map(str::to_owned);
    let kubeconfig = ground.new.kubeconfig();
    let state = tempfile::tempdir()?;
    let start = |directory: PathBuf| {
        let (endpoint, arguments) = (&endpoint, &arguments);
        let binary = &ground.binary;
        async move { Process::start_from(&directory, binary, kubeconfig, endpoint, arguments).await }
    };
    let first = start(state.path().to_owned()).await?;
    let second = start(state.path().to_owned()).await;
    let error = second.err().context("two processes share a directory")?;
    let said = error.to_string();
    ensure!(
        said.contains("in use") && said.contains("--state-dir"),
        "{said}"
    );
    ensure!(first.terminate().await?.status.success(), "the first one");

    let file = state.path().join("file");
    std::fs::write(&file, "")?;
    let process = start(file.join("below")).await?;
    process.ready().await?;
    let metrics = web::get(process.admin(), "/metrics").await?;
    ensure!(
        metrics.contains("lighthouse_telemetry_journal_written 0"),
        "{metrics}"
    );
    let status = webhook::send(process.webhooks(), "push", KEY, &push()).await?;
    ensure!(status == 202, "a webhook was answered {status}");
    namespace.apply(&job("in-memory", "pending")).await?;
    annotated(&namespace, 1).await?;
    namespace.apply(&job("in-memory", "success")).await?;
    let arrived = receiver.wait_for(|spans| count(spans) >= 2);
    let arrived = tokio::time::timeout(PATIENCE, arrived).await;
    arrived.context("the trace in memory did not arrive")?;
    Ok(())
}

/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing is exported by itself while a test runs.
const NEVER: &str = "1h";

pub async fn receiver() -> Result<Receiver> {
    Receiver::start(([127, 0, 0, 1], 0).into()).await
}

async fn start(ground: &Ground, namespace: &str, receiver: &Receiver) -> Result<Process> {
    let arguments = ["--namespace", namespace, "--settle", NEVER];
    let kubeconfig = ground.new.kubeconfig();
    Process::start(
        &ground.binary,
        kubeconfig,
        &receiver.grpc_endpoint(),
        &arguments,
    )
    .await
}

pub fn push() -> Value {
    json!({
        "GUID": "guid-1", "Ref": "refs/heads/main", "After": "1f0e6c4d9b7a3f5281c0d6e8f4a2b7c9d1e3f5a7",
        "Repo": {"Namespace": "acme", "Name": "shop", "FullName": "acme/shop"},
    })
}

pub fn job(name: &str, state: &str) -> Value {
    json!({
        "apiVersion": "lighthouse.jenkins.io/v1alpha1", "kind": "LighthouseJob",
        "metadata": {"name": name, "namespace": "jx", "uid": format!("alias-of-{name}")},
        "spec": {"type": "postsubmit", "job": name, "context": name, "refs": {"org": "acme", "repo": "shop"}},
        "status": {"state": state, "startTime": "2026-03-02T09:00:00Z"},
    })
}

pub async fn annotated(namespace: &Namespace, count: usize) -> Result<()> {
    let are_annotated = async || Ok(namespace.annotations().await?.len() >= count);
    let waited = wait::until(PATIENCE, are_annotated).await;
    waited.with_context(|| format!("fewer than {count} objects were annotated"))
}

/// Announces a body of this length and sends none of it.
async fn announce(to: SocketAddr, length: u64) -> Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let head = format!(
        "POST /lighthouse/events HTTP/1.1\r\nHost: plugin\r\nX-Lighthouse-Webhook-Kind: push\r\n\
         X-Lighthouse-Payload-Type: webhook\r\nX-Lighthouse-Signature: sha256={}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n",
        "0".repeat(64)
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

async fn bad_webhooks(ground: &Ground) -> Result<()> {
    let namespace = Namespace::create(ground.new.client(), "bad-webhooks").await?;
    let receiver = receiver().await?;
    let process = start(ground, namespace.name(), &receiver).await?;
    process.ready().await?;
    let client = web::client()?;
    let url = format!("http://{}/lighthouse/events", process.webhooks());
    let body = serde_json::to_vec(&push())?;
    let post = async |name: &str, headers: http::HeaderMap, body: Vec<u8>, expected: u16| {
        let response = client.post(&url).headers(headers).body(body).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        ensure!(
            status == expected,
            "{name}: answered {status} ({text}) instead of {expected}"
        );
        anyhow::Ok(())
    };

    let mut unsigned = headers("push", KEY, &body)?;
    unsigned.remove("x-lighthouse-signature");
    post("no signature", unsigned, body.clone(), 401).await?;
    let other = headers("push", "another token", &body)?;
    post("the signature of another key", other, body.clone(), 401).await?;
    let mut other = body.clone();
    other.push(b' ');
    post(
        "the signature of another body",
        headers("push", KEY, &body)?,
        other,
        401,
    )
    .await?;
    let mut weak = headers("push", KEY, &body)?;
    weak.insert("x-lighthouse-signature", "sha1=0123".parse()?);
    post("a signature by SHA-1", weak, body.clone(), 401).await?;

    let answer = announce(process.webhooks(), 10_000_001).await?;
    ensure!(
        answer.starts_with("HTTP/1.1 413"),
        "more than 10 MB announced: {answer}"
    );
    // One that is on its way is read to its end, or the client would not see the answer.
    let large = vec![b' '; 10_000_001];
    post("more than 10 MB", headers("push", KEY, &large)?, large, 413).await?;
    let mut unsigned = headers("push", KEY, &body)?;
    unsigned.remove("x-lighthouse-signature");
    let large = vec![b' '; 5_000_000];
    post("a large one without a signature", unsigned, large, 401).await?;
    let broken = b"{\"GUID\": ".to_vec();
    post("not JSON", headers("push", KEY, &broken)?, broken, 400).await?;
    let list = b"[1]".to_vec();
    post("not an object", headers("push", KEY, &list)?, list, 400).await?;
    let shape = serde_json::to_vec(&json!({"Repo": 5, "Ref": []}))?;
    post(
        "not the shape of a push",
        headers("push", KEY, &shape)?,
        shape,
        400,
    )
    .await?;

    let strange = headers("full_moon", KEY, &body)?;
    post("an unknown kind", strange, body.clone(), 202).await?;
    post(
        "a good one",
        headers("push", KEY, &body)?,
        body.clone(),
        202,
    )
    .await?;
    let status = client.get(&url).send().await?.status().as_u16();
    ensure!(status == 405, "GET was answered {status}");
    let status = client.put(&url).body(body).send().await?.status().as_u16();
    ensure!(status == 405, "PUT was answered {status}");

    let metrics = web::get(process.admin(), "/metrics").await?;
    let unknown = metrics
        .lines()
        .any(|line| line.contains("unknown") && line.ends_with(" 1"));
    ensure!(unknown, "the unknown kind is not counted:\n{metrics}");
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}", ended.status);
    ensure!(!ended.log.contains(KEY), "the key is in the log");
    Ok(())
}

/// The settle window would last an hour; a process told to end does not wait for it.
async fn drain(ground: &Ground) -> Result<()> {
    let mut namespace = Namespace::create(ground.new.client(), "drain").await?;
    let receiver = receiver().await?;
    let process = start(ground, namespace.name(), &receiver).await?;
    process.ready().await?;
    for name in ["ended", "open"] {
        namespace.apply(&job(name, "running")).await?;
    }
    annotated(&namespace, 2).await?;
    let mut ended = job("ended", "success");
    json_patch::merge(
        &mut ended,
        &json!({"status": {"completionTime": "2026-03-02T09:01:00Z"}}),
    );
    namespace.apply(&ended).await?;
    // An object that is written later is seen later.
    namespace.apply(&job("later", "running")).await?;
    annotated(&namespace, 3).await?;
    ensure!(
        count(&receiver.spans()) == 0,
        "something was exported before the settle window was over"
    );

    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    let text = lighthouse_telemetry::view::snapshot(&receiver.spans());
    ensure!(
        text.contains("ended"),
        "the job that has ended was not exported:\n{text}"
    );
    ensure!(
        !text.contains("later"),
        "a job that runs was exported:\n{text}"
    );
    Ok(())
}

/// It starts before the API server does, and goes on after one that went away.
async fn outage(ground: &Ground) -> Result<()> {
    let mut server = ApiServer::start().await?;
    server.define(cluster::everything).await?;
    let mut namespace = Namespace::create(server.client(), "outage").await?;
    let receiver = receiver().await?;
    server.go_down().await?;
    let arguments = ["--namespace", "outage", "--settle", NEVER];
    let process = Process::start(
        &ground.binary,
        server.kubeconfig(),
        &receiver.grpc_endpoint(),
        &arguments,
    )
    .await?;
    // It takes a first attempt until there is something to say.
    let (_, text) = process
        .readiness(|status, text| status == 503 && text.to_lowercase().contains("connect"))
        .await?;
    ensure!(
        text.contains("LighthouseJob"),
        "it does not say what it waits for: {text}"
    );
    let alive = web::get(process.admin(), "/healthz").await;
    ensure!(alive.is_ok(), "it is not even alive: {alive:?}");
    let status = webhook::send(process.webhooks(), "push", KEY, &push()).await?;
    ensure!(
        status == 202 || status == 503,
        "a webhook was answered {status}"
    );

    server.come_back().await?;
    process.ready().await?;
    namespace.apply(&job("first", "running")).await?;
    annotated(&namespace, 1).await?;

    server.go_down().await?;
    server.come_back().await?;
    namespace.apply(&job("second", "running")).await?;
    annotated(&namespace, 2).await?;
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    Ok(())
}

async fn bad_command_lines(ground: &Ground) -> Result<()> {
    let kubeconfig = ground.new.kubeconfig().display().to_string();
    let cases: &[(&str, &[&str], &str)] = &[
        ("no key", &["serve"], "LIGHTHOUSE_HMAC_KEY"),
        (
            "an unreadable key file",
            &["serve", "--lighthouse-hmac-key-file", "/no/such/key"],
            "/no/such/key",
        ),
        (
            "a bad duration",
            &["serve", "--insecure-webhooks", "--settle", "soon"],
            "soon",
        ),
        ("an unknown flag", &["serve", "--setle", "5s"], "--setle"),
        (
            "no such kubeconfig",
            &[
                "serve",
                "--insecure-webhooks",
                "--kubeconfig",
                "/no/such/config",
            ],
            "/no/such/config",
        ),
        (
            "a bad exporter",
            &[
                "serve",
                "--insecure-webhooks",
                "--kubeconfig",
                &kubeconfig,
                "--traces-exporter-type",
                "carrier:pigeon",
            ],
            "carrier:pigeon",
        ),
    ];
    for (name, arguments, said) in cases {
        let mut command = command(&ground.binary);
        command.args(*arguments);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .with_context(|| format!("{name}: it runs on"))???;
        let text = String::from_utf8(output.stderr)?;
        ensure!(!output.status.success(), "{name}: it ended well");
        ensure!(
            text.contains(said),
            "{name}: it says nothing of {said}: {text}"
        );
        // clap adds a hint below its line.
        let first = text.lines().next().unwrap_or_default();
        ensure!(
            first.contains(said),
            "{name}: its first line says nothing of {said}: {text}"
        );
        ensure!(!text.contains("panicked"), "{name}: it panicked: {text}");
    }
    Ok(())
}
