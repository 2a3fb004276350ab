//! Starts all rooms, connects them, and stops them in order.
//!
//! Facts go from the webhook server and the watches through bounded channels to one task that owns the index,
//! [`turn`]; effects go from there to the rooms that carry them out, whose answers come back as facts.

mod state;
mod turn;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use kube::Client;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{self, MapRequest, MappingFailure};
use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_core::object::SourceId;
use lighthouse_telemetry_core::time::Time;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::state::State;
use crate::clock::Clock;
use crate::config::{ConfigError, ListenAddress, Namespaces, Secret, Verification};
use crate::health::Watches;
use crate::kinds::Kinds;
use crate::lookup::{self, Lookups};
use crate::mappers::Mappers;
use crate::mapping::Mapping;
use crate::metrics::{self, Exposition, Metrics};
use crate::patch::{self, Patches};
use crate::{export, server, webhook};

/// So many webhooks wait for the index; further ones are answered with 503. A webhook is some kilobytes.
const WEBHOOKS: usize = 1_024;

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
    intake: CancellationToken,
    drain: CancellationToken,
    admin: CancellationToken,
    webhooks: JoinHandle<()>,
    watches: JoinSet<()>,
    index: JoinHandle<Drained>,
    admin_server: JoinHandle<()>,
}

/// What was left when the rooms stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Annotations that were not set.
    pub patches: u64,
    /// Spans that no receiver has acknowledged.
    pub spans: u64,
}

/// Starts all rooms.
///
/// # Errors
/// If an address cannot be listened on.
pub async fn start(
    settings: Settings,
    client: Client,
    clock: Clock,
    mappers: Mappers,
    exporter: export::Handle,
    state: State,
) -> anyhow::Result<Running> {
    let catalog = Arc::clone(&mappers.catalog);
    let map = move |request: &MapRequest| mappers.map(request);
    start_with(settings, client, clock, catalog, map, exporter, state).await
}

/// Starts all rooms with any function as the mappers of a catalog.
async fn start_with(
    settings: Settings,
    client: Client,
    clock: Clock,
    catalog: Arc<Catalog>,
    map: impl Fn(&MapRequest) -> Result<Outcome, MappingFailure> + Send + Sync + 'static,
    exporter: export::Handle,
    state: State,
) -> anyhow::Result<Running> {
    let webhook_listener = listen(&settings.webhooks, "--listen-addr").await?;
    let admin_listener = listen(&settings.admin, "--admin-addr").await?;
    let webhook_address = webhook_listener.local_addr()?;
    let admin_address = admin_listener.local_addr()?;

    let metrics = Metrics::default();
    let states = Watches::default();
    let kinds = Arc::new(Kinds::new(client));
    let (intake, drain, admin) = (
        CancellationToken::new(),
        CancellationToken::new(),
        CancellationToken::new(),
    );
    let (webhook_facts, webhooks_taken) = mpsc::channel(WEBHOOKS);
    let (watch_facts, watched) = mpsc::channel(WATCHED);
    let (results, answers) = mpsc::unbounded_channel();

    let room = crate::watch::Room {
        settings: settings.watch,
        catalog: Arc::clone(&catalog),
        kinds: Arc::clone(&kinds),
        facts: watch_facts,
        watches: states.clone(),
        metrics: metrics.clone(),
    };
    let watches = crate::watch::start(&room, &intake);
    drop(room);

    let (progress_sender, progress) = watch::channel(Progress::default());
    let counts = Arc::new(Mutex::new(index::Counts::default()));
    let lookup = lookup::Settings {
        // Nothing waits for its parent any longer.
        give_up: settings.index.orphan_deadline,
        ..lookup::Settings::default()
    };
    let outlets = turn::Outlets {
        mapping: Mapping::start(Arc::clone(&catalog), map, results.clone(), metrics.clone())
            .context("cannot start the threads that call mappers")?,
        patches: Patches::start(
            settings.patches,
            Arc::clone(&kinds),
            results.clone(),
            metrics.clone(),
        ),
        lookups: Lookups::new(lookup, kinds, results, metrics.clone()),
        exporter: exporter.clone(),
        journal: state.journal.clone(),
    };
    let inlets = turn::Inlets {
        answers,
        webhooks: webhooks_taken,
        watched,
        ready: states.ready(),
        exported: exporter.progress(),
        drain: drain.clone(),
    };
    let webhooks_left = state.facts(&catalog);
    let turns = turn::Turns::new(
        state.index,
        clock.clone(),
        outlets,
        progress_sender,
        Arc::clone(&counts),
        // Those whose parents are to come do not wait longer either.
        settings.index.orphan_deadline,
    );
    let index = tokio::spawn(turns.run(inlets, webhooks_left));

    let receiver = webhook::Receiver {
        verification: settings.verification,
        catalog,
        clock,
        facts: webhook_facts,
        journal: state.journal.clone(),
        ready: states.ready(),
        metrics: metrics.clone(),
        body_timeout: webhook::BODY_TIMEOUT,
        refusals: webhook::Refusals::default(),
    };
    let webhooks = tokio::spawn(server::serve(
        webhook_listener,
        webhook::router(receiver),
        server::Limits::default(),
        intake.clone(),
    ));
    let readings = metrics::Readings {
        index: counts,
        progress: progress.clone(),
        exporter,
        journal: state.journal,
        watches: states.clone(),
    };
    let admin_server = tokio::spawn(server::serve(
        admin_listener,
        crate::admin::router(Exposition::new(&metrics, readings), states),
        server::Limits::default(),
        admin.clone(),
    ));
    tracing::info!(webhooks = %webhook_address, admin = %admin_address, "started");
    Ok(Running {
        webhook_address,
        admin_address,
        progress,
        intake,
        drain,
        admin,
        webhooks,
        watches,
        index,
        admin_server,
    })
}

async fn listen(address: &ListenAddress, option: &'static str) -> Result<TcpListener, ConfigError> {
    address.bind().await.map_err(|reason| ConfigError::Listen {
        address: address.clone(),
        reason,
        option,
    })
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
            _ = &mut self.webhooks => "the webhook server",
            _ = &mut self.admin_server => "the server of metrics and health",
            Some(_) = self.watches.join_next() => "a watch",
        }
    }

    /// Stops all rooms in order: takes no more webhooks and watches nothing any more; has everything that was
    /// taken mapped and annotated; exports what has ended; flushes the exporter. Each step takes bounded time,
    /// all together less than the 30 s that Kubernetes gives.
    pub async fn stop(mut self) -> Drained {
        self.intake.cancel();
        join("the webhook server", &mut self.webhooks).await;
        while self.watches.join_next().await.is_some() {}
        self.drain.cancel();
        let drained = match (&mut self.index).await {
            Ok(drained) => drained,
            Err(error) => {
                tracing::error!("the index ended early: {error}");
                Drained::default()
            }
        };
        self.admin.cancel();
        join("the server of metrics and health", &mut self.admin_server).await;
        drained
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.intake.cancel();
        self.admin.cancel();
        self.index.abort();
    }
}

/// A task that has panicked has said so itself.
async fn join(name: &str, task: &mut JoinHandle<()>) {
    if !task.is_finished() && task.await.is_err() {
        tracing::error!("{name} ended early");
    }
}

#[cfg(test)]
mod tests;
