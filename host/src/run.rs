//! Starts all rooms, connects them, and stops them in order.
//!
//! Facts go from the webhook server and the watches through bounded channels to one task that owns the index,
//! [`turn`]; effects go from there to the rooms that carry them out, whose answers come back as facts.

mod front;
mod replica;
mod state;
mod succession;
mod turn;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use kube::Client;
use lighthouse_telemetry_core::index;
use lighthouse_telemetry_core::object::SourceId;
use lighthouse_telemetry_core::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::front::Front;
use self::front::Servers;
pub use self::replica::Replica;
pub use self::state::State;
use crate::clock::Clock;
use crate::config::{ListenAddress, Namespaces, Secret, Verification};
use crate::export;
use crate::generation::{Generation, InUse};
use crate::kinds::Kinds;
use crate::leader::{Permit, Standing};
use crate::lookup::{self, Lookups};
use crate::mapping::Mapping;
use crate::patch::{self, Patches};
use crate::pipelines;
use crate::watch::Watching;
use crate::webhook::Taken;

/// So many facts of watches wait for the index; then the watches wait. A fact is some kilobytes.
const WATCHED: usize = 512;

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is watched and how patiently.
    pub watch: crate::watch::Settings,
    /// Where webhooks are received.
    pub webhooks: ListenAddress,
    /// Where metrics and health are served.
    pub admin: ListenAddress,
    /// How webhooks are verified.
    pub verification: Verification,
    /// How annotations are set.
    pub patches: patch::Settings,
    /// By what the metrics of pipeline runs tell them apart.
    pub pipelines: pipelines::Settings,
    /// Where metrics are pushed to, if they are.
    pub push: Option<export::Pushing>,
    /// How long the index waits for what.
    pub index: index::Settings,
}

impl Settings {
    /// Free ports on loopback, all namespaces, and otherwise the defaults of `serve`: for the demo and tests.
    #[must_use]
    pub fn loopback(key: Secret) -> Self {
        Self {
            watch: crate::watch::Settings::of(Namespaces::All, None),
            webhooks: ListenAddress::loopback(),
            admin: ListenAddress::loopback(),
            verification: Verification::Key(key),
            patches: patch::Settings::at(50),
            pipelines: pipelines::Settings::default(),
            push: None,
            index: index::Settings::default(),
        }
    }
}

/// How far the rooms are; for those who wait for quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether every watch has listed once or was reported missing.
    pub ready: bool,
    /// Facts taken into the index, from the start.
    pub facts: u64,
    /// The newest resource version that the index has taken from each source.
    pub resource_versions: BTreeMap<SourceId, u64>,
    /// Mappings in flight.
    pub mappings: u64,
    /// Patches queued or in flight.
    pub patches: u64,
    /// Look-ups queued or in flight.
    pub lookups: u64,
    /// Spans that the exporter has not got an acknowledgement for yet.
    pub batches: u64,
    /// When the index wants to be woken next.
    pub wake_at: Option<Time>,
}

/// All rooms at work. Dropping it stops them where they are; [`Running::stop`] in order.
#[derive(Debug)]
pub struct Running {
    /// Where webhooks are received.
    pub webhook_address: SocketAddr,
    /// Where metrics and health are served.
    pub admin_address: SocketAddr,
    progress: watch::Receiver<Progress>,
    drain: CancellationToken,
    servers: Servers,
    watches: JoinHandle<()>,
    index: JoinHandle<Drained>,
}

/// What was left when the rooms stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Annotations that were not set.
    pub patches: u64,
    /// Spans that no receiver has acknowledged.
    pub spans: u64,
}

/// Starts all rooms. The state must be opened with the catalog of the first mappers in use.
///
/// # Errors
/// If an address cannot be listened on.
pub async fn start(
    settings: Settings,
    client: Client,
    clock: Clock,
    mappers: impl Into<InUse>,
    exporter: export::Handle,
    state: State,
) -> anyhow::Result<Running> {
    let in_use = mappers.into();
    let generation = in_use.first().clone();
    let (front, taken) = Front::open(
        &settings,
        clock.clone(),
        &in_use,
        &state.journal,
        Standing::alone(),
    )
    .await?;
    let lead = Lead {
        settings,
        client,
        clock,
        generation,
        in_use,
        exporter,
        state,
        permit: Permit::always(),
    };
    lead.start(front, taken)
}

/// What it takes to watch, patch and export.
struct Lead {
    settings: Settings,
    client: Client,
    clock: Clock,
    /// The mappers that the state was opened with, and those that take over from them.
    generation: Generation,
    in_use: InUse,
    exporter: export::Handle,
    state: State,
    permit: Permit,
}

impl Lead {
    /// Starts the rooms behind the servers.
    fn start(self, front: Front, webhooks: mpsc::Receiver<Taken>) -> anyhow::Result<Running> {
        let Self {
            settings,
            client,
            clock,
            generation,
            in_use,
            exporter,
            state,
            permit,
        } = self;
        let Front {
            webhook_address,
            admin_address,
            metrics,
            watches: states,
            told,
            counts,
            exporter: shown_exporter,
            to_forward: _,
            catalog: shown_catalog,
            servers,
        } = front;
        // Only the first leads, and there is one.
        let _ = shown_exporter.set(exporter.clone());
        let kinds = Arc::new(Kinds::new(client));
        let drain = CancellationToken::new();
        let catalog = Arc::clone(&generation.catalog);
        let (watch_facts, watched) = mpsc::channel(WATCHED);
        let (replace, replacements) = mpsc::channel(1);
        let (results, answers) = mpsc::unbounded_channel();

        let room = crate::watch::Room {
            settings: settings.watch,
            catalog: Arc::clone(&catalog),
            kinds: Arc::clone(&kinds),
            facts: watch_facts,
            watches: states.clone(),
            metrics: metrics.clone(),
        };
        let succession = succession::Succession {
            watching: Watching::start(room, &servers.intake),
            generation: generation.clone(),
            in_use,
            replace,
            catalog: shown_catalog,
        };
        let watches = tokio::spawn(succession.run(servers.intake.clone()));

        let lookup = lookup::Settings {
            // Nothing waits for its parent any longer.
            give_up: settings.index.orphan_deadline,
            ..lookup::Settings::default()
        };
        let outlets = turn::Outlets {
            mapping: Mapping::start(generation, results.clone(), metrics.clone())
                .context("cannot start the threads that call mappers")?,
            patches: Patches::start(
                settings.patches,
                Arc::clone(&kinds),
                results.clone(),
                metrics.clone(),
                permit,
            ),
            pipelines: metrics.pipelines.clone(),
            lookups: Lookups::new(lookup, kinds, results, metrics),
            exporter: exporter.clone(),
            journal: state.journal.clone(),
        };
        let inlets = turn::Inlets {
            answers,
            webhooks,
            watched,
            replacements,
            ready: states.ready(),
            exported: exporter.progress(),
            drain: drain.clone(),
        };
        let webhooks_left = state.facts(&catalog);
        let progress = told.subscribe();
        let turns = turn::Turns::new(
            state.index,
            clock,
            outlets,
            told,
            counts,
            // Those whose parents are to come do not wait longer either.
            settings.index.orphan_deadline,
        );
        let index = tokio::spawn(turns.run(inlets, webhooks_left));
        Ok(Running {
            webhook_address,
            admin_address,
            progress,
            drain,
            servers,
            watches,
            index,
        })
    }
}

impl Running {
    /// How far the rooms are; to be watched.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Returns if a room ends though nobody has stopped it, which is a bug.
    pub async fn ended(&mut self) -> &'static str {
        let mut progress = self.progress.clone();
        tokio::select! {
            // The sender lives as long as the index.
            () = async { while progress.changed().await.is_ok() {} } => "the index",
            server = self.servers.ended() => server,
            _ = &mut self.watches => "a watch",
        }
    }

    /// Stops all rooms in order: takes no more webhooks and watches nothing any more; has everything that was
    /// taken mapped and annotated; exports what has ended; flushes the exporter. Each step takes bounded time,
    /// all together less than the 30 s that Kubernetes gives.
    pub async fn stop(mut self) -> Drained {
        self.servers.stop_webhooks().await;
        if !self.watches.is_finished() && (&mut self.watches).await.is_err() {
            tracing::error!("the watches ended early");
        }
        self.drain.cancel();
        let drained = match (&mut self.index).await {
            Ok(drained) => drained,
            Err(error) => {
                tracing::error!("the index ended early: {error}");
                Drained::default()
            }
        };
        self.servers.stop_admin().await;
        drained
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.index.abort();
        self.watches.abort();
    }
}

#[cfg(test)]
mod tests;
