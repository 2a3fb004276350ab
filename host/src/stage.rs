//! The plugin on a stage: all of it, as [`run::start`] starts it, with a cluster and a receiver of spans in this process
//! and a clock that stands still until it is stepped. Recordings are played on it.
//!
//! Everything is real but the clock: webhooks come over HTTP with their signature, objects by list and watch, spans go
//! out by OTLP. Before each step the stage waits until nothing is under way any more. So every time is exact, and the
//! same recording always gives the same trace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use lighthouse_telemetry_core::catalog::{Catalog, group_version};
use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::Clock;
use crate::config::Secret;
use crate::embedded::{Lighthouse, Resource, Server};
use crate::export::{self, Destination, Protocol};
use crate::mappers::Mappers;
use crate::receiver::Receiver;
use crate::recording::{Happening, Recording};
use crate::run::{self, Drained, Progress, Running, State};
use crate::{journal, webhook};

/// For the plugin to become quiet. What it does takes milliseconds; this is for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than the orphan deadline and the settle windows after it: all that will be exported has been.
pub const AFTERWARDS: Duration = Duration::from_secs(3_600);

/// The state directory, in bytes.
const MAX_STATE: u64 = 1 << 30;

/// The plugin at work. Everything stops when it is dropped.
#[derive(Debug)]
pub struct Stage {
    /// The cluster.
    pub server: Server,
    /// Where the spans arrive.
    pub receiver: Receiver,
    /// The plugin.
    pub running: Running,
    /// What time it is, for the plugin.
    pub clock: Clock,
    /// What the mappers want.
    pub catalog: Arc<Catalog>,
    /// What sends the spans.
    pub exporter: export::Handle,
    lighthouse: Lighthouse,
    /// How many facts the index must have taken in: those of webhooks have no resource version to wait for.
    facts: u64,
    /// Whether all spans must have been acknowledged before the plugin counts as quiet.
    waits_for_export: bool,
    /// For what must survive a restart; removed with it.
    _directory: TempDir,
}

/// What a stage is set up with.
#[derive(Debug)]
pub struct Setting {
    /// The cluster.
    pub server: Server,
    /// The mappers.
    pub mappers: Mappers,
    /// What time it is at first.
    pub now: Time,
    /// Where spans are sent to beside the stage's own receiver. What is there need not answer, and is not waited for.
    pub others: Option<export::Settings>,
}

impl Stage {
    /// Starts everything, and waits until the plugin has listed all that is there.
    ///
    /// # Errors
    /// If a part of it cannot start.
    pub async fn start(
        setting: Setting,
        change: impl FnOnce(&mut run::Settings),
    ) -> anyhow::Result<Self> {
        let Setting {
            server,
            mappers,
            now,
            others,
        } = setting;
        let catalog = Arc::clone(&mappers.catalog);
        let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
        let clock = Clock::stepped(now);
        let key = Secret::from(random_key()?);
        let mut settings = run::Settings::loopback(key.clone());
        change(&mut settings);
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let journal = journal::Settings {
            directory: directory.path().to_owned(),
            max_size: MAX_STATE,
        };
        let (state, kept) = State::open(journal, &catalog, settings.index.clone(), now)?;
        let waits_for_export = others.is_none();
        let mut exporter = others.unwrap_or_else(|| export::Settings {
            // Nothing would come of waiting for more spans.
            batching: export::Batching {
                delay: Duration::ZERO,
                ..export::Batching::default()
            },
            ..export::Settings::default()
        });
        exporter
            .destinations
            .push(Destination::otlp(Protocol::Grpc, receiver.grpc_endpoint()));
        let exporter = export::start(exporter, state.journal.clone(), kept)?;
        let client = server.client()?;
        let running = run::start(
            settings,
            client,
            clock.clone(),
            mappers,
            exporter.clone(),
            state,
        )
        .await?;
        let endpoint = format!("http://{}{}", running.webhook_address, webhook::PATH);
        let stage = Self {
            lighthouse: Lighthouse::new(endpoint, key.bytes())?,
            server,
            receiver,
            running,
            clock,
            catalog,
            exporter,
            facts: 0,
            waits_for_export,
            _directory: directory,
        };
        stage.quiet().await?;
        Ok(stage)
    }

    /// Lets something happen. What follows from it is under way then.
    ///
    /// # Errors
    /// If the cluster does not take the object, or the plugin the webhook.
    pub async fn happen(&mut self, happening: &Happening) -> anyhow::Result<()> {
        match happening {
            Happening::Applied(object) => {
                self.server
                    .apply(object.clone())
                    .context("an object of the recording is refused")?;
            }
            Happening::Deleted(object) => {
                self.server
                    .delete(object)
                    .context("an object of the recording is refused")?;
            }
            Happening::Webhook(webhook) => {
                let (kind, body) = (&webhook.kind, &webhook.body);
                let wanted = self
                    .catalog
                    .webhook(kind, self.clock.now(), body)
                    .subject_of;
                let facts = self.running.progress().borrow().facts;
                self.facts = facts + u64::from(!wanted.is_empty());
                let status = self.lighthouse.forward(kind, body).await;
                let status = status.context("a webhook cannot be delivered")?;
                ensure!(
                    status.is_success(),
                    "a webhook of kind {kind} was answered with {status}"
                );
            }
        }
        Ok(())
    }

    /// Lets time pass until then, no further at once than the plugin wants to be woken; so many times as fast as it
    /// would, or as fast as it can.
    ///
    /// # Errors
    /// If the plugin does not become quiet.
    pub async fn pass(&self, end: Time, speed: Option<f64>) -> anyhow::Result<()> {
        while self.clock.now() < end {
            let now = self.clock.now();
            let wake = self.running.progress().borrow().wake_at;
            let next = wake.map_or(end, |wake| wake.clamp(now, end));
            if let Some(speed) = speed {
                let pause = next.since(now).as_secs_f64() / speed;
                tokio::time::sleep(Duration::try_from_secs_f64(pause).unwrap_or_default()).await;
            }
            self.clock.step_to(next);
            self.quiet().await?;
        }
        Ok(())
    }

    /// Waits until the index has taken in all that happened, and nothing that follows from it is under way.
    ///
    /// # Errors
    /// If it takes too long, or the plugin has ended.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        let mut progress = self.running.progress();
        let quiet = progress.wait_for(|progress| self.is_quiet(progress));
        let waited = tokio::time::timeout(PATIENCE, quiet)
            .await
            .map(|outcome| outcome.map(drop));
        match waited {
            Ok(outcome) => outcome.context("the plugin has ended"),
            Err(_) => anyhow::bail!(
                "the plugin does not become quiet; please try again on a machine less busy: {:?} at {}",
                self.running.progress().borrow(),
                self.clock.now()
            ),
        }
    }

    /// Stops the plugin in order; what was left then, and all spans that came.
    pub async fn stop(self) -> (Drained, Vec<ResourceSpans>) {
        // All else must live until it has stopped.
        let Self {
            running, receiver, ..
        } = self;
        let drained = running.stop().await;
        (drained, receiver.spans())
    }

    fn is_quiet(&self, progress: &Progress) -> bool {
        let seen = |(id, source)| {
            // Where the API refused a selector the watch would have failed too, and there is nothing to see.
            let newest = self.server.newest_of(source).unwrap_or_default();
            progress.resource_versions.get(&id).copied().unwrap_or(0) >= newest
        };
        let due = progress
            .wake_at
            .is_some_and(|wake: Time| wake <= self.clock.now());
        let batches = if self.waits_for_export {
            progress.batches
        } else {
            0
        };
        progress.ready
            && !due
            && progress.facts >= self.facts
            && progress.mappings + progress.patches + progress.lookups + batches == 0
            && self.catalog.sources().all(seen)
    }
}

/// What a cluster serves in which a recording was made, as far as can be told from it: the kinds of its objects in their
/// versions, and of a cluster with Jenkins X those that it has none of.
#[must_use]
pub fn resources(recording: &Recording) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    for entry in recording.entries() {
        let Happening::Applied(object) = &entry.happening else {
            continue;
        };
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (Some(api_version), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
            continue;
        };
        let (group, version) = group_version(api_version);
        let known = resources
            .iter_mut()
            .find(|known| known.group == group && known.kind == kind);
        match known {
            Some(known) if known.versions.iter().any(|known| known == version) => {}
            Some(known) => known.versions.push(version.to_owned()),
            None if text("/metadata/namespace").is_some() => {
                resources.push(Resource::namespaced(group, &[version], kind));
            }
            None => resources.push(Resource::cluster_wide(group, &[version], kind)),
        }
    }
    for usual in Resource::of_jenkins_x() {
        let is_usual = |known: &Resource| known.group == usual.group && known.kind == usual.kind;
        if !resources.iter().any(is_usual) {
            resources.push(usual);
        }
    }
    resources
}

fn random_key() -> anyhow::Result<String> {
    let mut key = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut key)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(hex::encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_drawn_anew() {
        assert_ne!(random_key().unwrap(), random_key().unwrap());
    }

    #[test]
    fn a_cluster_serves_what_was_recorded_in_it() {
        let object = |api_version: &str, kind: &str, namespace: &str| {
            format!(
                r#"{{"at": "2026-03-02T09:00:00Z", "apply": {{"apiVersion": "{api_version}", "kind": "{kind}", "metadata": {{"name": "a", "uid": "{kind}"{namespace}}}}}}}"#
            )
        };
        let namespaced = r#", "namespace": "jx""#;
        let text = [
            object("tekton.dev/v1beta1", "TaskRun", namespaced),
            object("example.com/v1", "Build", namespaced),
            object("v1", "Node", ""),
        ];
        let resources = resources(&Recording::parse(&text.join("\n")).unwrap());
        let found = |kind: &str| resources.iter().find(|it| it.kind == kind).unwrap();
        assert_eq!(found("TaskRun").versions, ["v1beta1"]);
        assert_eq!(found("PipelineRun").versions, ["v1", "v1beta1"]);
        assert_eq!(found("Build").group, "example.com");
        assert!(found("Build").namespaced && !found("Node").namespaced);
    }
}
