//! A leader that is lost and comes back with its state directory: what it has not passed on is neither lost nor there twice.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry::view::snapshot;
use lighthouse_telemetry_tests::cluster::{self, ApiServer};
use lighthouse_telemetry_tests::host::{ELECTION, LEASE};
use lighthouse_telemetry_tests::link::{Link, Way};
use lighthouse_telemetry_tests::load::Load;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::outcome::{count, without_resends};
use lighthouse_telemetry_tests::process::{KEY, Process};
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario};
use lighthouse_telemetry_tests::{pure, wait, web, webhook};
use tempfile::TempDir;

use super::processes::receiver;
use super::webhooks::{SPANS, metric, push_of, triggered};
use super::{Ground, Test, difference};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[
    (
        "chaos_a_lost_leader_that_comes_back_passes_on_what_it_has",
        |ground| Box::pin(comes_back(ground)),
    ),
    (
        "chaos_replicas_whose_api_server_is_away_longer_than_a_lease_never_lead_both",
        |ground| Box::pin(away_api_server(ground)),
    ),
];

/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replicas with state directories that outlive them.
struct Replicas<'a> {
    binary: &'a Path,
    kubeconfig: &'a Path,
    endpoint: String,
    arguments: Vec<String>,
    state: [TempDir; 2],
}

impl<'a> Replicas<'a> {
    fn new(
        binary: &'a Path,
        kubeconfig: &'a Path,
        endpoint: String,
        namespace: &str,
        settle: &str,
    ) -> Result<Self> {
        let arguments = ["--namespace", namespace, "--settle", settle].into_iter();
        Ok(Self {
            binary,
            kubeconfig,
            endpoint,
            arguments: arguments.chain(ELECTION).map(str::to_owned).collect(),
            state: [tempfile::tempdir()?, tempfile::tempdir()?],
        })
    }

    async fn start(&self, state: &TempDir) -> Result<Process> {
        let Self {
            endpoint,
            arguments,
            ..
        } = self;
        Process::start_from(
            state.path(),
            self.binary,
            self.kubeconfig,
            endpoint,
            arguments,
        )
        .await
    }
}

impl Replicas<'_> {
    /// Starts those again that have ended because they lost the Lease, as their kubelet does: also one that an API server which
    /// has only just come back did not answer in time.
    async fn start_again(&self, both: &mut [Process; 2]) -> Result<()> {
        for (process, state) in both.iter_mut().zip(&self.state) {
            if process.has_ended()? {
                let ended = std::mem::replace(process, self.start(state).await?);
                lost_the_lease(ended).await?;
            }
        }
        Ok(())
    }

    /// Waits until the leader has ended, which is the first or the second, and starts it again. Nobody leads meanwhile, though
    /// it takes longer than a Lease.
    async fn give_up(&self, both: &mut [Process; 2], leader: usize) -> Result<()> {
        let [first, second] = both;
        let (leader, other, state) = match (leader, &self.state) {
            (0, [state, _]) => (first, second, state),
            (_, [_, state]) => (second, first, state),
        };
        let ended = wait::until(PATIENCE, async || leader.has_ended()).await;
        ended.context("the leader does not give up")?;
        lost_the_lease(std::mem::replace(leader, self.start(state).await?)).await?;
        let other_leads = other.leads(LEASE + LEASE / 2).await;
        ensure!(
            other_leads.is_err() && !leads(leader).await?,
            "one leads though nobody could give it the Lease"
        );
        Ok(())
    }

    /// Waits until one of them leads, and the other one does not. Says which.
    async fn one_leads(&self, both: &mut [Process; 2]) -> Result<usize> {
        let leader = wait::answer(PATIENCE, async || {
            self.start_again(both).await?;
            let [first, second] = &*both;
            match tokio::try_join!(leads(first), leads(second))? {
                (true, true) => anyhow::bail!("both lead"),
                (false, false) => Ok(None),
                (first, _) => Ok(Some(usize::from(!first))),
            }
        });
        leader.await.context("nobody leads")
    }
}

async fn lost_the_lease(process: Process) -> Result<()> {
    let ended = process.end().await?;
    ensure!(!ended.status.success(), "it ended as if all were well");
    ensure!(
        ended.log.contains("does not lead any more"),
        "it does not say why it ended: {}",
        ended.log
    );
    Ok(())
}

/// Whether it says that it leads; one that has ended does not.
async fn leads(process: &Process) -> Result<bool> {
    let url = format!("http://{}/readyz", process.admin());
    match web::client()?.get(url).send().await {
        Ok(answer) => Ok(answer.text().await?.contains("\"role\":\"leader\"")),
        Err(error) if error.is_connect() || error.is_request() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn follows(process: &Process) -> Result<()> {
    let follows =
        |status: u16, text: &str| status == 200 && text.contains("\"role\":\"follower of");
    process.readiness(follows).await.map(drop)
}

/// The receiver is away until the leader has been killed. It has then: a trace that is over and not sent, and the webhook of
/// one that is under way, which nobody else has.
async fn comes_back(ground: &Ground) -> Result<()> {
    let mut namespace = Namespace::create(ground.new.client(), "comes-back").await?;
    let receiver = receiver().await?;
    let link = Link::to(receiver.address())?;
    link.become_(Way::Refused);
    let replicas = Replicas::new(
        &ground.binary,
        ground.new.kubeconfig(),
        link.grpc_endpoint(),
        namespace.name(),
        "1s",
    )?;
    let [first_state, second_state] = &replicas.state;
    let first = replicas.start(first_state).await?;
    first.leads(PATIENCE).await?;
    let second = replicas.start(second_state).await?;
    follows(&second).await?;
    for guid in ["over", "under-way"] {
        let status = webhook::send(first.webhooks(), "push", KEY, &push_of(guid)).await?;
        ensure!(status == 202, "answered {status}");
        namespace.apply(&triggered(guid, guid == "over")).await?;
    }
    metric(&first, "export_spans_waiting", |waiting| {
        waiting == SPANS as u64
    })
    .await?;
    // It has said so in the cluster, so that nobody else exports it.
    let says = wait::until(PATIENCE, async || {
        let annotations = namespace.annotations().await?;
        let mut keys = annotations.values().flat_map(|set| set.keys());
        Ok(annotations.len() == 2 && keys.any(|key| key.ends_with("/traceExported")))
    });
    says.await.context("it does not say so")?;
    first.kill()?;
    second.leads(LEASE * 3).await?;

    let first = replicas.start(first_state).await?;
    follows(&first).await?;
    metric(&first, "webhooks_to_forward", |webhooks| webhooks == 0).await?;
    link.become_(Way::Open);
    namespace.apply(&triggered("under-way", true)).await?;
    arrived(&receiver, SPANS).await?;
    // What the first one has to send it sends when it leads again.
    let ended = second.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    first.leads(PATIENCE).await?;
    arrived(&receiver, 2 * SPANS).await?;
    let ended = first.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);

    let spans = without_resends(&receiver.spans())?;
    let text = snapshot(&spans);
    ensure!(
        count(&spans) == 2 * SPANS,
        "more than the spans of two events:\n{text}"
    );
    ensure!(
        !text.contains("rebuilt")
            && text
                .matches("1f0e6c4d9b7a3f5281c0d6e8f4a2b7c9d1e3f5a7")
                .count()
                >= 2,
        "a webhook is missing:\n{text}"
    );
    Ok(())
}

async fn arrived(receiver: &Receiver, spans: usize) -> Result<()> {
    let arrived = receiver.wait_for(|received| {
        // What came twice with two contents is said later.
        without_resends(received).map_or(true, |received| count(&received) >= spans)
    });
    let arrived = tokio::time::timeout(PATIENCE, arrived).await;
    arrived.with_context(|| {
        let text = snapshot(&receiver.spans());
        format!("fewer than {spans} spans:\n{text}")
    })?;
    Ok(())
}

/// Before which step of the scenario the API server hangs, and before which it is gone: objects of every kind are there, and
/// none or few have ended.
const HANGS: usize = 14;
const GOES: usize = 20;

/// The leader gives up while nobody can lead, and is started anew, as its kubelet does.
async fn away_api_server(ground: &Ground) -> Result<()> {
    let mut server = ApiServer::start().await?;
    server.define(cluster::everything).await?;
    let mut scenarios = Scenario::all(ANYWHERE)?.into_iter();
    let scenario = scenarios.find(|scenario| scenario.name == "pull-request");
    let scenario = scenario.context("no such scenario")?;
    let client = server.client().clone();
    let kubeconfig = server.kubeconfig().to_owned();
    let mut load = Load::create(&client, "away", &scenario).await?;
    let receiver = receiver().await?;
    let endpoint = receiver.grpc_endpoint();
    let replicas = Replicas::new(&ground.binary, &kubeconfig, endpoint, load.name(), "4s")?;
    let [first_state, second_state] = &replicas.state;
    let first = replicas.start(first_state).await?;
    first.leads(PATIENCE).await?;
    let second = replicas.start(second_state).await?;
    follows(&second).await?;
    let mut both = [first, second];

    for place in 0..load.steps().len() {
        let leader = replicas.one_leads(&mut both).await?;
        if place == HANGS || place == GOES {
            match place {
                HANGS => server.suspend().await?,
                _ => server.go_down().await?,
            }
            replicas.give_up(&mut both, leader).await?;
            match place {
                HANGS => server.resume().await?,
                _ => server.come_back().await?,
            }
            replicas.one_leads(&mut both).await?;
        }
        // To either of them.
        let [first, second] = &both;
        let to = if place % 2 == 0 { first } else { second };
        load.act(place, Some(to.webhooks())).await?;
    }
    let due = pure::exported(
        &ground.mappers,
        &load.served(&load.annotations().await?, &[])?,
    )?;
    // If not all comes, the comparison says what.
    wait::answer_within(PATIENCE, async || {
        replicas.one_leads(&mut both).await?;
        let spans = without_resends(&receiver.spans())?;
        Ok((count(&spans) >= count(&due)).then_some(()))
    })
    .await?;
    let annotations = load.annotations().await?;
    for process in both {
        let ended = process.terminate().await?;
        ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    }
    let spans = without_resends(&receiver.spans())?;
    let expected = exported(&ground.mappers, &load, &annotations, &spans)?;
    difference(&expected, &snapshot(&spans)).map_err(anyhow::Error::msg)
}

fn exported(
    mappers: &Mappers,
    load: &Load,
    annotations: &lighthouse_telemetry_tests::outcome::Annotations,
    spans: &[opentelemetry_proto::tonic::trace::v1::ResourceSpans],
) -> Result<String> {
    let expected = pure::exported(mappers, &load.served(annotations, spans)?)?;
    Ok(snapshot(&expected))
}
