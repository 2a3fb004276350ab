//! The second ground: the whole host in this process, on its own stage (`lighthouse_telemetry::stage`), where recordings
//! are replayed for people too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::embedded::{FaultId, Resource, Server};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::recording::{Happening, Webhook};
use lighthouse_telemetry::run::{self, Drained};
use lighthouse_telemetry::stage::{AFTERWARDS, Setting, Stage};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::outcome::{Outcome, added_annotations, scrape, title};
use crate::scenario::{Scenario, What};
use crate::{wait, web};

/// For the host to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// For a process that is to use a server.
///
/// # Errors
/// If the system gives no file.
pub fn kubeconfig(server: &Server) -> Result<NamedTempFile> {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "embedded",
        "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": "nobody"}}],
        "clusters": [{"name": "embedded", "cluster": {"server": server.url()}}],
        "users": [{"name": "nobody", "user": {}}],
    });
    let mut file = NamedTempFile::new()?;
    // What is JSON is YAML, too.
    file.write_all(config.to_string().as_bytes())?;
    file.flush()?;
    Ok(file)
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
    let setting = Setting {
        server,
        mappers: mappers.clone(),
        now: first,
        others: None,
    };
    let change = |settings: &mut run::Settings| {
        if let Some(disturbance) = &disturbance {
            (disturbance.settings)(settings);
        }
    };
    let mut stage = Stage::start(setting, change).await?;
    let mut faults = Vec::new();
    for (place, step) in (before.len()..).zip(steps) {
        let disturbed = |disturbance: &Disturbance| disturbance.steps.contains(&place);
        if let Some(disturbance) = disturbance.as_ref().filter(|it| it.steps.start == place) {
            faults = (disturbance.begin)(&stage.server);
        }
        if let Some(disturbance) = disturbance.as_ref().filter(|it| it.steps.end == place) {
            recover(&stage, disturbance, std::mem::take(&mut faults)).await?;
        }
        let disturbed = disturbance.as_ref().is_some_and(disturbed);
        if !disturbed {
            stage.pass(step.at, None).await?;
        }
        stage.happen(&happening(&step.what)).await?;
        match &step.what {
            What::Webhook { .. } => {}
            What::Applied(object) => {
                objects.insert(title(object), object.clone());
            }
            What::Deleted(object) => {
                objects.remove(&title(object));
            }
        }
        if !disturbed {
            stage.quiet().await?;
        }
    }
    let end = stage.clock.now().plus(AFTERWARDS);
    stage.pass(end, None).await?;

    let mut annotations = BTreeMap::new();
    for (title, object) in objects {
        let now = stage.server.get(&object).context("an object is gone")?;
        let added = added_annotations(&object, &now);
        if !added.is_empty() {
            annotations.insert(title, added);
        }
    }
    let counted = scrape(stage.running.admin_address).await?;
    let (drained, spans) = stage.stop().await;
    ensure!(drained == Drained::default(), "left behind: {drained:?}");
    Ok(Outcome::new(&spans, annotations, counted))
}

fn happening(what: &What) -> Happening {
    match what {
        What::Webhook { kind, body, .. } => Happening::Webhook(Webhook {
            kind: kind.clone(),
            body: body.clone(),
        }),
        What::Applied(object) => Happening::Applied(object.clone()),
        What::Deleted(object) => Happening::Deleted(object.clone()),
    }
}

/// Waits until the host says what is wrong, ends the faults, and waits until it says that all is well.
async fn recover(stage: &Stage, disturbance: &Disturbance<'_>, faults: Vec<FaultId>) -> Result<()> {
    for said in disturbance.said {
        waited(stage, said, true).await?;
    }
    for fault in faults {
        stage.server.heal(fault);
    }
    for said in disturbance.said {
        waited(stage, said, false).await?;
    }
    stage.quiet().await
}

/// Waits until the host says something, or does not any more.
async fn waited(stage: &Stage, said: &Said<'_>, wanted: bool) -> Result<()> {
    let mut last = (Value::Null, String::new());
    let waited = wait::until(PATIENCE, async || {
        last = troubles_and_metrics(stage).await?;
        Ok(said.is_in(&last.0, &last.1, wanted))
    })
    .await;
    waited.with_context(|| format!("{said:?} does not become {wanted}: {} {}", last.0, last.1))
}

async fn troubles_and_metrics(stage: &Stage) -> Result<(Value, String)> {
    let address = stage.running.admin_address;
    let report = web::get(address, "/readyz").await?;
    let mut report: Value = serde_json::from_str(&report)?;
    let troubles = report.get_mut("troubles").map(Value::take);
    Ok((
        troubles.unwrap_or_default(),
        web::get(address, "/metrics").await?,
    ))
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
