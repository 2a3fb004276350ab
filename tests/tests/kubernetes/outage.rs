//! The receiver is away, in all the ways in which one can be, while the load goes on and the process is killed: afterwards
//! all of it has arrived, as if nothing had been.
//!
//! A few seconds in an ordinary run; `make chaos` sets `CHAOS_OUTAGE_SECONDS` to more. `CHAOS_SEED` decides when the process
//! is killed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::view::snapshot;
use lighthouse_telemetry_tests::host::{Host, Kills};
use lighthouse_telemetry_tests::link::{Link, Way};
use lighthouse_telemetry_tests::load::Load;
use lighthouse_telemetry_tests::outcome::{count, without_resends};
use lighthouse_telemetry_tests::pure;
use lighthouse_telemetry_tests::scenario::is_pause;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::time::Instant;

use super::kills::{number, scenarios};
use super::processes::receiver;
use super::{Ground, Test, difference};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[(
    "chaos_a_receiver_that_is_away_under_load_and_kills_gets_all_of_it_afterwards",
    |ground| Box::pin(outage(ground)),
)];

/// How the receiver is away, in turn. An attempt to send takes 10 s at most: of what comes later nobody waits for the answer.
const WAYS: [Way; 4] = [
    Way::Refused,
    Way::Delayed(Duration::from_secs(12)),
    Way::Lost,
    Way::HalfClosed,
];
/// Of each of them, at most.
const TURN: Duration = Duration::from_secs(15);
/// A scenario begins so often.
const EVERY: Duration = Duration::from_secs(20);
/// The process is killed so often, as a rule.
const KILL: u64 = 10;
/// As in other scenarios.
const SETTLE: &str = "4s";
/// For all of it to arrive: the exporter may be in a pause, and the last settle window has not passed.
const PATIENCE: Duration = Duration::from_secs(180);

async fn outage(ground: &Ground) -> Result<()> {
    let outage = Duration::from_secs(number("CHAOS_OUTAGE_SECONDS", 6)?);
    let seed = number("CHAOS_SEED", 1)?;
    let plays = usize::try_from(outage.as_secs().div_ceil(EVERY.as_secs()).max(1))?;
    let mut loads = loads(ground, plays).await?;

    let receiver = receiver().await?;
    let link = Link::to(receiver.address())?;
    let mut arguments = vec!["--settle".to_owned(), SETTLE.to_owned()];
    for load in &loads {
        arguments.extend(["--namespace".to_owned(), load.name().to_owned()]);
    }
    let steps: usize = loads.iter().map(|load| load.steps().len()).sum();
    let kills = Kills {
        count: u32::try_from(outage.as_secs().div_ceil(KILL) + 1)?,
        steps: u32::try_from(steps)? + u32::try_from(outage.as_secs())?,
        seed,
        leader: false,
    };
    link.become_(Way::Refused);
    let kubeconfig = ground.new.kubeconfig();
    let endpoint = link.grpc_endpoint();
    let mut host = Host::start(&ground.binary, kubeconfig, endpoint, arguments, kills).await?;

    let begun = Instant::now();
    let turn = TURN.min(outage / u32::try_from(WAYS.len())?);
    let breaking = async {
        for way in WAYS.into_iter().cycle() {
            link.become_(way);
            tokio::time::sleep(turn).await;
        }
    };
    let playing = async {
        for (number, load) in (1..).zip(&mut loads) {
            for place in 0..load.steps().len() {
                load.act(place, host.webhooks_for(load, place).await?)
                    .await?;
                host.moment().await?;
            }
            // The next one begins in its time, and the last one waits for the end.
            while begun.elapsed() < (EVERY * number).min(outage) {
                host.moment().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        host.finish_kills().await
    };
    tokio::select! {
        played = playing => played?,
        () = breaking => {}
    }
    let lasted = begun.elapsed();
    ensure!(lasted >= outage, "it lasted {lasted:?} only");
    link.become_(Way::Open);

    let due = count(&expected(ground, &loads, &[]).await?);
    let arrived = receiver.wait_for(|spans| {
        // What came twice with two contents is said below.
        without_resends(spans).map_or(true, |spans| count(&spans) >= due)
    });
    // If not all has come, the comparison says what.
    let _ = tokio::time::timeout(PATIENCE, arrived).await;
    let killed = host.killed();
    let (process, _state) = host.into_process()?;
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    let all = receiver.spans();
    let spans = without_resends(&all)?;
    let expected = expected(ground, &loads, &spans).await?;
    println!(
        "an outage of {} s, {plays} scenarios, {killed} kills: {} spans were due, {} arrived, {} of them again",
        lasted.as_secs(),
        count(&expected),
        count(&spans),
        count(&all) - count(&spans)
    );
    difference(&snapshot(&expected), &snapshot(&spans))
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("with CHAOS_SEED={seed}"))
}

/// Scenarios that are not the same when they come again, without pauses in which something would have to arrive.
async fn loads(ground: &Ground, plays: usize) -> Result<Vec<Load>> {
    let scenarios = scenarios()?;
    let mut loads = Vec::new();
    for number in 0.. {
        if loads.len() == plays {
            break;
        }
        let scenario = scenarios.get(number % scenarios.len());
        let scenario = scenario.context("no scenario")?;
        let Some(scenario) = scenario.of_owner(number) else {
            continue;
        };
        let steps = scenario.steps()?;
        let mut pairs = steps.iter().zip(steps.iter().skip(1));
        if !pairs.any(|(before, after)| is_pause(before, after)) {
            let name = format!("outage-{number}");
            loads.push(Load::create(ground.new.client(), &name, &scenario).await?);
        }
    }
    Ok(loads)
}

/// What is due, with the uids and times of the server and the process.
async fn expected(
    ground: &Ground,
    loads: &[Load],
    spans: &[ResourceSpans],
) -> Result<Vec<ResourceSpans>> {
    let mut expected = Vec::new();
    for load in loads {
        let served = load.served(&load.annotations().await?, spans)?;
        expected.extend(pure::exported(&ground.mappers, &served)?);
    }
    Ok(expected)
}
