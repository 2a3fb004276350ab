//! Two replicas and one Lease: who leads, who takes over and when, and that no trace suffers from it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::cluster::request;
use lighthouse_telemetry_tests::host::{ELECTION, Kills, LEASE};
use lighthouse_telemetry_tests::mount::Mount;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::outcome::count;
use lighthouse_telemetry_tests::process::{KEY, Process};
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario};
use lighthouse_telemetry_tests::{real, webhook};
use serde_json::{Value, json};

use super::foreign::{build, definition, main_span, mapper, mappers, pod, text};
use super::processes::{annotated, job, push, receiver};
use super::{Ground, Test, compare};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[
    (
        "a_leader_killed_half_way_is_followed_and_the_trace_is_whole",
        |ground| Box::pin(killed(ground)),
    ),
    ("a_leader_told_to_end_hands_over_at_once", |ground| {
        Box::pin(handed_over(ground))
    }),
    (
        "a_leader_whose_lease_is_taken_stops_and_says_so",
        |ground| Box::pin(taken_away(ground)),
    ),
    (
        "a_leader_that_was_suspended_does_not_go_on_as_such",
        |ground| Box::pin(suspended(ground)),
    ),
    (
        "a_follower_whose_mappers_are_replaced_takes_over_with_the_new_ones",
        |ground| Box::pin(replaced_in_follower(ground)),
    ),
];

/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a test waits: nobody leads because a Lease has run out.
const LONG: [&str; 2] = ["--leader-election", "--lease-duration=5m"];

/// Webhooks go to the follower only; the leader dies with its disk.
async fn killed(ground: &Ground) -> Result<()> {
    let mut scenarios = Scenario::all(ANYWHERE)?.into_iter();
    let scenario = scenarios
        .find(|scenario| scenario.name == "pull-request")
        .context("no such scenario")?;
    let kills = Kills {
        leader: true,
        seed: 1_000,
        ..Kills::NONE
    };
    let (cluster, binary, mappers) = (&ground.new, &ground.binary, &ground.mappers);
    let comparison = real::play_disturbed(&scenario, cluster, binary, mappers, kills).await?;
    compare(&comparison).map_err(anyhow::Error::msg)
}

async fn replica(
    ground: &Ground,
    namespace: &str,
    receiver: &Receiver,
    options: &[&str],
) -> Result<Process> {
    let mut arguments = vec!["--namespace", namespace, "--settle", "1s"];
    arguments.extend(options);
    let endpoint = receiver.grpc_endpoint();
    Process::start(
        &ground.binary,
        ground.new.kubeconfig(),
        &endpoint,
        &arguments,
    )
    .await
}

/// The job of [`push`].
fn triggered(state: &str) -> Value {
    let mut job = job("triggered", state);
    let labels = json!({"created-by-lighthouse": "true", "event-GUID": "guid-1"});
    json_patch::merge(&mut job, &json!({"metadata": {"labels": labels}}));
    job
}

/// The webhook went to the leader only, and its disk ends with it.
async fn handed_over(ground: &Ground) -> Result<()> {
    let mut namespace = Namespace::create(ground.new.client(), "handed-over").await?;
    let receiver = receiver().await?;
    let first = replica(ground, namespace.name(), &receiver, &LONG).await?;
    first.leads(PATIENCE).await?;
    let second = replica(ground, namespace.name(), &receiver, &LONG).await?;
    let follows =
        |status: u16, text: &str| status == 200 && text.contains("\"role\":\"follower of");
    second.readiness(follows).await?;
    let status = webhook::send(first.webhooks(), "push", KEY, &push()).await?;
    ensure!(status == 202, "answered {status}");
    namespace.apply(&triggered("running")).await?;
    annotated(&namespace, 1).await?;

    let ended = first.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    ensure!(
        ended.log.contains("webhooks were handed over"),
        "the webhook was not handed over: {}",
        ended.log
    );
    second.leads(PATIENCE).await?;
    let mut over = triggered("success");
    json_patch::merge(
        &mut over,
        &json!({"status": {"completionTime": "2026-03-02T09:01:00Z"}}),
    );
    namespace.apply(&over).await?;
    let spans = tokio::time::timeout(PATIENCE, receiver.wait_for(|spans| count(spans) >= 2));
    let text = lighthouse_telemetry::view::snapshot(&spans.await.context("no trace")?);
    // The revision is in the webhook only.
    ensure!(
        text.contains("1f0e6c4d9b7a"),
        "no trace of the webhook:\n{text}"
    );
    let ended = second.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    Ok(())
}

async fn taken_away(ground: &Ground) -> Result<()> {
    let client = ground.new.client();
    let namespace = Namespace::create(client, "taken-away").await?;
    let receiver = receiver().await?;
    let process = replica(ground, namespace.name(), &receiver, &ELECTION).await?;
    process.leads(PATIENCE).await?;
    let path = "/apis/coordination.k8s.io/v1/namespaces/taken-away/leases/lighthouse-telemetry";
    let patch = json!({"spec": {"holderIdentity": "an intruder"}});
    request(client, "PATCH", path, Some(&patch)).await?;
    let ended = process.end().await?;
    ensure!(!ended.status.success(), "it ended as if all were well");
    if !ended.log.contains("the Lease was taken by an intruder") {
        bail!("it does not say why it ended: {}", ended.log);
    }
    let lease = request(client, "GET", path, None).await?;
    let holder = lease.pointer("/spec/holderIdentity");
    ensure!(holder == Some(&json!("an intruder")), "it wrote {lease}");
    Ok(())
}

/// It runs again after somebody else has begun to lead.
async fn suspended(ground: &Ground) -> Result<()> {
    let mut namespace = Namespace::create(ground.new.client(), "suspended").await?;
    let receiver = receiver().await?;
    let first = replica(ground, namespace.name(), &receiver, &ELECTION).await?;
    first.leads(PATIENCE).await?;
    let second = replica(ground, namespace.name(), &receiver, &ELECTION).await?;
    first.signal("STOP")?;
    second.leads(LEASE * 2).await?;
    let mut job = triggered("success");
    json_patch::merge(
        &mut job,
        &json!({"status": {"completionTime": "2026-03-02T09:01:00Z"}}),
    );
    namespace.apply(&job).await?;
    first.signal("CONT")?;
    let ended = first.end().await?;
    ensure!(!ended.status.success(), "it ended as if all were well");
    ensure!(
        ended.log.contains("does not lead any more") && !ended.log.contains("spans finished"),
        "{}",
        ended.log
    );
    // The other one does the work.
    let spans = receiver.wait_for(|spans| count(spans) >= 2);
    let spans = tokio::time::timeout(PATIENCE, spans).await;
    spans.context("nobody exported the job")?;
    let ended = second.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    Ok(())
}

/// The kubelets of two nodes do not look at a ConfigMap at the same time: the leader never gets the new mapper.
async fn replaced_in_follower(ground: &Ground) -> Result<()> {
    let (group, api_version) = ("replicas.example.com", "replicas.example.com/v1");
    let text = text(ground, &format!("{api_version}/Build")).await?;
    let other = text.replace("service: Build", "service: Replaced");
    ensure!(other != text, "{text}");
    ground
        .new
        .establish(&definition(group, "v1", "Build"))
        .await?;
    let mut namespace = Namespace::create(ground.new.client(), "replaced-in-follower").await?;
    let receiver = receiver().await?;
    let (mut of_leader, mut of_follower) = (Mount::new()?, Mount::new()?);
    for mount in [&mut of_leader, &mut of_follower] {
        mount.swap(&[("build.mapper.yaml", text.as_bytes())])?;
    }
    let start = async |mount: &Mount| {
        let directory = mount.path().display().to_string();
        let options = [&ELECTION[..], &["--mappers", &directory]].concat();
        replica(ground, "replaced-in-follower", &receiver, &options).await
    };
    let first = start(&of_leader).await?;
    first.leads(PATIENCE).await?;
    let second = start(&of_follower).await?;
    let follows =
        |status: u16, text: &str| status == 200 && text.contains("\"role\":\"follower of");
    second.readiness(follows).await?;

    // One Build has a Pod that the leader exports, and both are under way when the leader dies.
    for name in ["one", "two"] {
        namespace.apply(&build(api_version, name, false)?).await?;
    }
    namespace
        .apply(&pod("pod", (api_version, "Build", "one")))
        .await?;
    let pod_span = main_span(&receiver, "pod").await?;

    let digest = |said: &Value| mapper(said, "build")?.get("digest").cloned();
    let said = mappers(&second, "it has no mapper", |said| digest(said).is_some()).await?;
    let before = digest(&said);
    of_follower.swap(&[("build.mapper.yaml", other.as_bytes())])?;
    let replaced = |said: &Value| digest(said).is_some_and(|digest| Some(digest) != before);
    mappers(&second, "the follower keeps its mapper", replaced).await?;
    second.readiness(follows).await?;
    first.kill()?;
    second.leads(LEASE * 2).await?;

    // What was under way is mapped by what the follower has loaded, and so is what is new.
    for name in ["one", "two", "three"] {
        namespace.apply(&build(api_version, name, true)?).await?;
        let span = main_span(&receiver, name).await?;
        ensure!(span.service == "Replaced", "{span:?}");
    }
    let one = main_span(&receiver, "one").await?;
    ensure!(pod_span.parent == one.id, "{pod_span:?} {one:?}");
    ensure!(pod_span.trace == one.trace, "{pod_span:?} {one:?}");
    let ended = second.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    Ok(())
}
