//! The third ground: the unmodified binary, as a process, against a real kube-apiserver with etcd.
//!
//! What the server and the process stamp themselves (uids, creation times, the receipt of a webhook) is read back, and
//! the scenario is played once more on the pure ground with exactly that: the two outcomes must be equal to the byte.
//! So nothing has to be masked, and ids that derive from uids are compared too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_core::context::Mark;
use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use crate::cluster::ApiServer;
use crate::host::{Host, Kills};
use crate::namespace::Namespace;
use crate::outcome::{Outcome, count, scrape, without_receipts, without_resends};
use crate::process::{KEY, Process};
use crate::pure;
use crate::scenario::{ORPHANS, Scenario, Step, What, is_pause};
use crate::webhook;

/// The recorded times begin so much after now: later than any time that the server stamps while a test runs, and within
/// the replay window of one hour, so that an object that ended when it was created is not too old for the pure ground.
const AHEAD: Duration = Duration::from_secs(1_800);
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

/// A webhook's way: when it was sent and when the answer had arrived.
type Window = (Time, Time);

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
    mut before_step: impl AsyncFnMut(usize, &Process) -> Result<()>,
) -> Result<Comparison> {
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
    let name = format!("{}-{}", scenario.name, kills.seed);
    let mut namespace = Namespace::create(access.client, &name).await?;
    let endpoint = receiver.grpc_endpoint();
    let steps = scenario.steps()?;
    let first = steps.first().context("an empty scenario")?.at;
    let shift = now().plus(AHEAD).since(first).as_secs();
    let steps = scenario.later(shift).steps()?;
    let before = scenario.before_start()?;
    for step in steps.iter().take(before) {
        if let What::Applied(object) = &step.what {
            namespace.apply(object).await?;
        }
    }
    let name = namespace.name().to_owned();
    let mut arguments = ["--namespace", &name, "--settle", SETTLE]
        .map(str::to_owned)
        .to_vec();
    if scenario.folder == ORPHANS {
        arguments.extend(["--orphan-deadline", ORPHAN_DEADLINE].map(str::to_owned));
    }
    let kills = Kills {
        steps: u32::try_from(steps.len() - before)?,
        ..kills
    };
    let mut host = Host::start(binary, access.kubeconfig, endpoint, arguments, kills).await?;
    let received = || match kills.are_any() {
        false => Ok(receiver.spans()),
        true => without_resends(&receiver.spans()),
    };

    let mut windows = Vec::new();
    for (place, step) in steps.iter().enumerate().skip(before) {
        // Who kills the process starts it again as well.
        if kills.count == 0 {
            before_step(place, host.process().await?).await?;
        }
        let (earlier, _) = steps.split_at(place);
        if earlier.last().is_some_and(|last| is_pause(last, step)) {
            let receipts: Vec<Time> = windows.iter().map(|(sent, _)| *sent).collect();
            let earlier = as_served(earlier, &namespace, &receipts)?;
            let due = pure::exported_until(mappers, &earlier, step.at)?;
            // Nothing would come from a dead one.
            host.process().await?;
            arrived(&receiver, due).await?;
        }
        match &step.what {
            What::Webhook { kind, body, .. } => {
                let sent = now();
                let to = host.process().await?.webhooks();
                let status = webhook::send(to, kind, KEY, body).await?;
                ensure!(
                    status == 202,
                    "a webhook of kind {kind} was answered {status}"
                );
                windows.push((sent, now()));
            }
            What::Applied(object) => namespace.apply(object).await?,
            What::Deleted(object) => namespace.delete(object).await?,
        }
        host.moment().await?;
    }
    host.finish_kills().await?;

    // The receipt of a webhook can be read only where it was written: once everything is annotated.
    let expected = tokio::time::timeout(PATIENCE, async {
        loop {
            let annotations = namespace.annotations().await?;
            let spans = received()?;
            let receipts = receipts(&windows, &annotations, &spans);
            let mut expected = pure::play(mappers, &as_served(&steps, &namespace, &receipts)?)?;
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
            let annotations = namespace.annotations().await?;
            let receipts = receipts(&windows, &annotations, &received()?);
            let mut expected = pure::play(mappers, &as_served(&steps, &namespace, &receipts)?)?;
            expected.annotations = without_receipts(expected.annotations);
            expected
        }
    };
    let mut annotations = without_receipts(namespace.annotations().await?);
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

/// The scenario with what the server and the process made of it.
fn as_served(steps: &[Step], namespace: &Namespace, receipts: &[Time]) -> Result<Vec<Step>> {
    let mut receipts = receipts.iter();
    let served = steps.iter().map(|step| {
        let what = match &step.what {
            What::Webhook { kind, body, .. } => What::Webhook {
                kind: kind.clone(),
                body: body.clone(),
                received: *receipts.next().context("a webhook without a receipt")?,
            },
            What::Applied(object) => What::Applied(namespace.as_served(object)?),
            What::Deleted(object) => What::Deleted(namespace.as_deleted(object)?),
        };
        Ok(Step { at: step.at, what })
    });
    served.collect()
}

/// When the process says it received each webhook: what it wrote into the annotations, or else the start of a root span,
/// if that was while the webhook was on its way. One that neither tells of has set off nothing, and any time does.
fn receipts(
    windows: &[Window],
    annotations: &BTreeMap<String, BTreeMap<String, String>>,
    exported: &[ResourceSpans],
) -> Vec<Time> {
    let written = annotations
        .values()
        .flat_map(BTreeMap::values)
        .filter_map(|value| Mark::parse(value)?.received);
    let roots = exported
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scoped| &scoped.spans)
        .filter(|span| span.parent_span_id.is_empty())
        .map(|span| Time::from_nanoseconds(span.start_time_unix_nano));
    let known: Vec<Time> = written.chain(roots).collect();
    let within = |(sent, answered): &Window| {
        let mut matching = known.iter().copied();
        matching
            .find(|time| (sent..=answered).contains(&time))
            .unwrap_or(*sent)
    };
    windows.iter().map(within).collect()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::EPOCH.plus(since.unwrap_or_default())
}
