//! The second ground: the whole host in this process, against the embedded Kubernetes API, with a stepped clock.
//!
//! Everything is real but the clock: webhooks come over HTTP with their signature, objects by list and watch, spans go
//! out by OTLP. Before each step the ground waits until nothing is under way any more, so that every time is exact.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::clock::Clock;
use lighthouse_telemetry::embedded::{FaultId, Resource, Server};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry::run::{self, Drained, Progress, Running, State};
use lighthouse_telemetry::{export, journal};
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

use crate::outcome::{Outcome, added_annotations, scrape, title};
use crate::process::KEY;
use crate::scenario::{Scenario, What};
use crate::{wait, web, webhook};

/// For the host to become quiet.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the orphan deadline and the settle windows after it.
const AFTERWARDS: Duration = Duration::from_secs(3_600);

struct Ground<'mappers> {
    mappers: &'mappers Mappers,
    server: Server,
    clock: Clock,
    running: Running,
    /// How many facts the index must have taken in: those of webhooks have no resource version to wait for.
    facts: u64,
}

/// Something that goes wrong with the API server in the middle of a scenario.
pub struct Disturbance<'test> {
    /// From before which step until before which. What these steps do comes all at once: no time passes.
    pub steps: Range<usize>,
    /// How patient the host is.
    pub settings: &'test dyn Fn(&mut run::Settings),
    /// Breaks something; the faults end after the last of the steps.
    pub begin: &'test dyn Fn(&Server) -> Vec<FaultId>,
    /// What the host says before the faults end.
    pub said: &'test [Said<'test>],
}

/// Something that the host says, and does not say any more once all is well.
#[derive(Clone, Copy, Debug)]
pub enum Said<'test> {
    /// Among the troubles that `/readyz` lists is one of this kind and state, with this in its detail; and there is a
    /// metric of it.
    Trouble(&'test str, &'test str, &'test str),
    /// A metric is above 0: its name with its labels. A count then stays so.
    Metric(&'test str),
}

/// Plays a scenario and gives what came of it.
///
/// # Errors
/// If the host does not start, refuses a webhook or does not become quiet.
pub async fn play(
    mappers: &Mappers,
    resources: Vec<Resource>,
    scenario: &Scenario,
) -> Result<Outcome> {
    play_disturbed(mappers, resources, scenario, None).await
}

/// Plays a scenario in which something goes wrong, and gives what came of it.
///
/// # Errors
/// As [`play`]; also if the host does not say what is wrong, or that it is over.
pub async fn play_disturbed(
    mappers: &Mappers,
    resources: Vec<Resource>,
    scenario: &Scenario,
    disturbance: Option<Disturbance<'_>>,
) -> Result<Outcome> {
    let steps = scenario.steps()?;
    let first = steps.first().context("no step")?.at;
    let (before, steps) = steps.split_at(scenario.before_start()?);
    let server = Server::start_with(resources).await?;
    let mut objects = BTreeMap::new();
    for step in before {
        if let What::Applied(object) = &step.what {
            server.apply(object.clone())?;
            objects.insert(title(object), object.clone());
        }
    }
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
    let clock = Clock::stepped(first);
    let mut settings = run::Settings::loopback(KEY.into());
    if let Some(disturbance) = &disturbance {
        (disturbance.settings)(&mut settings);
    }
    let directory = tempfile::tempdir()?;
    let journal = journal::Settings {
        directory: directory.path().to_owned(),
        max_size: 1 << 30,
    };
    let (state, kept) = State::open(
        journal,
        &mappers.catalog,
        settings.index.clone(),
        clock.now(),
    )?;
    let exporter = export::Settings {
        destinations: vec![export::Destination::otlp(
            export::Protocol::Grpc,
            receiver.grpc_endpoint(),
        )],
        // Nothing would come of waiting for more spans.
        batching: export::Batching {
            delay: Duration::ZERO,
            ..export::Batching::default()
        },
        ..export::Settings::default()
    };
    let exporter = export::start(exporter, state.journal.clone(), kept)?;
    let client = server.client()?;
    let running = run::start(
        settings,
        client,
        clock.clone(),
        mappers.clone(),
        exporter,
        state,
    )
    .await?;
    let mut ground = Ground {
        mappers,
        server,
        clock,
        running,
        facts: 0,
    };
    ground.quiet().await?;
    let mut faults = Vec::new();
    for (place, step) in (before.len()..).zip(steps) {
        let disturbed = |disturbance: &Disturbance| disturbance.steps.contains(&place);
        if let Some(disturbance) = disturbance.as_ref().filter(|it| it.steps.start == place) {
            faults = (disturbance.begin)(&ground.server);
        }
        if let Some(disturbance) = disturbance.as_ref().filter(|it| it.steps.end == place) {
            ground
                .recover(disturbance, std::mem::take(&mut faults))
                .await?;
        }
        let disturbed = disturbance.as_ref().is_some_and(disturbed);
        if !disturbed {
            ground.pass(step.at).await?;
        }
        match &step.what {
            What::Webhook { kind, body, .. } => {
                let wanted = mappers.catalog.webhook(kind, step.at, body).subject_of;
                let facts = ground.running.progress().borrow().facts;
                ground.facts = facts + u64::from(!wanted.is_empty());
                let status = webhook::send(ground.running.webhook_address, kind, KEY, body).await?;
                ensure!(
                    status == 202,
                    "a webhook of kind {kind} was answered {status}"
                );
            }
            What::Applied(object) => {
                ground.server.apply(object.clone())?;
                objects.insert(title(object), object.clone());
            }
            What::Deleted(object) => {
                ground.server.delete(object)?;
                objects.remove(&title(object));
            }
        }
        if !disturbed {
            ground.quiet().await?;
        }
    }
    ground.pass(ground.clock.now().plus(AFTERWARDS)).await?;

    let mut annotations = BTreeMap::new();
    for (title, object) in objects {
        let now = ground.server.get(&object).context("an object is gone")?;
        let added = added_annotations(&object, &now);
        if !added.is_empty() {
            annotations.insert(title, added);
        }
    }
    let counted = scrape(ground.running.admin_address).await?;
    let drained = ground.running.stop().await;
    ensure!(drained == Drained::default(), "left behind: {drained:?}");
    Ok(Outcome::new(&receiver.spans(), annotations, counted))
}

impl Ground<'_> {
    /// Lets time pass until then, no further at once than the host wants to be woken.
    async fn pass(&self, end: Time) -> Result<()> {
        while self.clock.now() < end {
            let wake = self.running.progress().borrow().wake_at;
            self.clock.step_to(wake.map_or(end, |wake| wake.min(end)));
            self.quiet().await?;
        }
        Ok(())
    }

    /// Waits until the host says what is wrong, ends the faults, and waits until it says that all is well.
    async fn recover(&self, disturbance: &Disturbance<'_>, faults: Vec<FaultId>) -> Result<()> {
        for said in disturbance.said {
            self.said(said, true).await?;
        }
        for fault in faults {
            self.server.heal(fault);
        }
        for said in disturbance.said {
            self.said(said, false).await?;
        }
        self.quiet().await
    }

    /// Waits until the host says something, or does not any more.
    async fn said(&self, said: &Said<'_>, wanted: bool) -> Result<()> {
        let mut last = (Value::Null, String::new());
        let waited = wait::until(PATIENCE, async || {
            last = self.troubles_and_metrics().await?;
            Ok(said.is_in(&last.0, &last.1, wanted))
        })
        .await;
        waited.with_context(|| format!("{said:?} does not become {wanted}: {} {}", last.0, last.1))
    }

    async fn troubles_and_metrics(&self) -> Result<(Value, String)> {
        let address = self.running.admin_address;
        let report = web::get(address, "/readyz").await?;
        let mut report: Value = serde_json::from_str(&report)?;
        let troubles = report.get_mut("troubles").map(Value::take);
        Ok((
            troubles.unwrap_or_default(),
            web::get(address, "/metrics").await?,
        ))
    }

    /// Waits until the index has taken in all that happened, and nothing that follows from it is under way.
    async fn quiet(&self) -> Result<()> {
        let mut progress = self.running.progress();
        let quiet = progress.wait_for(|progress| self.is_quiet(progress));
        let waited = tokio::time::timeout(PATIENCE, quiet)
            .await
            .map(|outcome| outcome.map(drop));
        match waited {
            Ok(outcome) => outcome.context("the host has ended"),
            Err(_) => anyhow::bail!(
                "the host does not become quiet: {:?} at {}",
                self.running.progress().borrow(),
                self.clock.now()
            ),
        }
    }

    fn is_quiet(&self, progress: &Progress) -> bool {
        let seen = |(id, source)| {
            let newest = self.server.newest_of(source).unwrap_or(u64::MAX);
            progress.resource_versions.get(&id).copied().unwrap_or(0) >= newest
        };
        let due = progress
            .wake_at
            .is_some_and(|wake: Time| wake <= self.clock.now());
        progress.ready
            && !due
            && progress.facts >= self.facts
            && progress.mappings + progress.patches + progress.lookups + progress.batches == 0
            && self.mappers.catalog.sources().all(seen)
    }
}

impl Said<'_> {
    fn is_in(&self, troubles: &Value, metrics: &str, wanted: bool) -> bool {
        match self {
            Self::Trouble(kind, state, detail) => {
                let text = |trouble: &Value, key: &str| {
                    let text = trouble.get(key).and_then(Value::as_str);
                    text.unwrap_or_default().to_owned()
                };
                let mut troubles = troubles.as_array().into_iter().flatten();
                let listed = troubles.any(|trouble| {
                    text(trouble, "kind") == *kind
                        && text(trouble, "state") == *state
                        && text(trouble, "detail").contains(detail)
                });
                let metric = format!("watches{{kind=\"{kind}\",state=\"{state}\"}}");
                listed == wanted && (value(metrics, &metric) > 0) == wanted
            }
            // What is counted has happened.
            Self::Metric(name) if name.contains("_total") => value(metrics, name) > 0,
            Self::Metric(name) => (value(metrics, name) > 0) == wanted,
        }
    }
}

/// A metric, without the prefix of all; 0 if it is not there.
fn value(metrics: &str, name: &str) -> u64 {
    let start = format!("lighthouse_telemetry_{name} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
