//! The third ground: the unmodified binary, as a process, against a real kube-apiserver with etcd.
//!
//! What the server and the process stamp themselves (uids, creation times, the receipt of a webhook) is read back, and
//! the scenario is played once more on the pure ground with exactly that: the two outcomes must be equal to the byte.
//! So nothing has to be masked, and ids that derive from uids are compared too.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::receiver::Receiver;

use crate::cluster::ApiServer;
use crate::host::{Host, Kills};
use crate::load::Load;
use crate::outcome::{Outcome, count, scrape, without_receipts, without_resends};
use crate::process::Process;
use crate::pure;
use crate::scenario::{ORPHANS, Scenario};

/// For spans to arrive and annotations to be set.
const PATIENCE: Duration = Duration::from_secs(90);
/// Shorter than the default, since nobody waits for a late Event here; long enough for a loaded machine to write the
/// next object of the scenario.
const SETTLE: &str = "4s";
/// Shorter than the default where a scenario is about its end; long enough to write the scenario until then.
const ORPHAN_DEADLINE: &str = "15s";

/// What the binary made of a scenario, and what it should have.
#[derive(Debug)]
pub struct Comparison {
    /// By the pure ground, with the server's uids and times.
    pub expected: Outcome,
    /// By the binary.
    pub actual: Outcome,
}

/// Plays a scenario in a namespace of its own.
///
/// # Errors
/// If the cluster or the process refuses something, or does not come to an end.
pub async fn play(
    scenario: &Scenario,
    cluster: &ApiServer,
    binary: &Path,
    mappers: &Mappers,
) -> Result<Comparison> {
    play_disturbed(scenario, cluster, binary, mappers, Kills::NONE).await
}

/// As [`play`], with the process killed and started again. What it sends twice counts once, if it is the same; what it
/// counts itself does not count.
///
/// # Errors
/// As [`play`], and if it sends something twice with two contents.
pub async fn play_disturbed(
    scenario: &Scenario,
    cluster: &ApiServer,
    binary: &Path,
    mappers: &Mappers,
    kills: Kills,
) -> Result<Comparison> {
    let access = Access {
        client: cluster.client(),
        kubeconfig: cluster.kubeconfig(),
    };
    let undisturbed = async |_: usize, _: &Process| Ok(());
    play_with(scenario, access, binary, mappers, kills, undisturbed).await
}

/// How a cluster is reached.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// By the controllers.
    pub client: &'a kube::Client,
    /// By the process.
    pub kubeconfig: &'a Path,
}

/// As [`play_disturbed`], and before each step something else may be done, if the process is not killed.
///
/// # Errors
/// As [`play_disturbed`]; also if that fails.
pub async fn play_with(
    scenario: &Scenario,
    access: Access<'_>,
    binary: &Path,
    mappers: &Mappers,
    kills: Kills,
    before_step: impl AsyncFnMut(usize, &Process) -> Result<()>,
) -> Result<Comparison> {
    let name = format!("{}-{}", scenario.name, kills.seed);
    let load = Load::create(access.client, &name, scenario).await?;
    play_load(
        load,
        scenario,
        access.kubeconfig,
        binary,
        mappers,
        kills,
        before_step,
    )
    .await
}

/// As [`play_with`], in a namespace that is there already; the process reaches the cluster by this kubeconfig.
///
/// # Errors
/// As [`play_with`].
pub async fn play_load(
    mut load: Load,
    scenario: &Scenario,
    kubeconfig: &Path,
    binary: &Path,
    mappers: &Mappers,
    kills: Kills,
    mut before_step: impl AsyncFnMut(usize, &Process) -> Result<()>,
) -> Result<Comparison> {
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
    let endpoint = receiver.grpc_endpoint();
    let before = scenario.before_start()?;
    for place in 0..before {
        load.act(place, None).await?;
    }
    let mut arguments = ["--namespace", load.name(), "--settle", SETTLE]
        .map(str::to_owned)
        .to_vec();
    if scenario.folder == ORPHANS {
        arguments.extend(["--orphan-deadline", ORPHAN_DEADLINE].map(str::to_owned));
    }
    let kills = Kills {
        steps: u32::try_from(load.steps().len() - before)?,
        ..kills
    };
    let mut host = Host::start(binary, kubeconfig, endpoint, arguments, kills).await?;
    let received = || match kills.are_any() {
        false => Ok(receiver.spans()),
        true => without_resends(&receiver.spans()),
    };

    for place in before..load.steps().len() {
        // Who kills the process starts it again as well.
        if kills.count == 0 {
            before_step(place, host.process().await?).await?;
        }
        if let Some(at) = load.pause_before(place) {
            let due = pure::exported_until(mappers, &load.served_before(place)?, at)?;
            // Nothing would come from a dead one.
            host.process().await?;
            arrived(&receiver, due).await?;
        }
        load.act(place, host.webhooks_for(&load, place).await?)
            .await?;
        host.moment().await?;
    }
    host.finish_kills().await?;

    // The receipt of a webhook can be read only where it was written: once everything is annotated.
    let expected = tokio::time::timeout(PATIENCE, async {
        loop {
            let annotations = load.annotations().await?;
            let spans = received()?;
            let mut expected = pure::play(mappers, &load.served(&annotations, &spans)?)?;
            expected.annotations = without_receipts(expected.annotations);
            let annotations = without_receipts(annotations);
            if kills.are_any() {
                // What begins and ends while the process is dead is not annotated any more.
                expected
                    .annotations
                    .retain(|object, _| annotations.contains_key(object));
            }
            // What a leader has exported and not said so, nobody can say for it whose state directory is another.
            let annotated = kills.leader || expected.annotations == annotations;
            if annotated && expected.spans == count(&spans) {
                return anyhow::Ok(expected);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let mut expected = match expected.await {
        Ok(expected) => expected?,
        // It will differ; let the comparison say how.
        Err(_) => {
            let annotations = load.annotations().await?;
            let mut expected = pure::play(mappers, &load.served(&annotations, &received()?)?)?;
            expected.annotations = without_receipts(expected.annotations);
            expected
        }
    };
    let mut annotations = without_receipts(load.annotations().await?);
    let (process, _state) = host.into_process()?;
    let mut counted = scrape(process.admin()).await?;
    let ended = process.terminate().await?;
    ensure!(
        ended.status.success(),
        "after SIGTERM: {}; it said {}",
        ended.status,
        ended.log
    );
    if kills.are_any() {
        counted.clear();
        expected.counted.clear();
        expected
            .annotations
            .retain(|object, _| annotations.contains_key(object));
    }
    if kills.leader {
        for said in [&mut expected.annotations, &mut annotations] {
            for said in said.values_mut() {
                said.retain(|key, _| !key.ends_with("/traceExported"));
            }
        }
    }
    // Only now nothing more can come.
    let actual = Outcome::new(&received()?, annotations, counted);
    Ok(Comparison { expected, actual })
}

/// Waits for what was due in a pause of the scenario.
async fn arrived(receiver: &Receiver, due: usize) -> Result<()> {
    let arrived = receiver.wait_for(|spans| count(spans) >= due);
    let waited = tokio::time::timeout(PATIENCE, arrived).await;
    waited.with_context(|| format!("fewer than {due} spans came in a pause"))?;
    Ok(())
}
