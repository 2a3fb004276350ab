//! The two servers, which run from the start of a process to its end, whether it leads or not.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Progress, Settings};
use crate::clock::Clock;
use crate::config::{ConfigError, ListenAddress};
use crate::generation::InUse;
use crate::health::Watches;
use crate::journal::Journal;
use crate::leader::Standing;
use crate::metrics::{self, Exposition, Metrics, Pusher};
use crate::pipelines::Pipelines;
use crate::webhook::{self, Taken};
use crate::{export, server};

/// So many webhooks wait for the index; further ones are answered with 503. A webhook is some kilobytes.
const WEBHOOKS: usize = 1_024;

/// The servers at work, and what they show and take.
#[derive(Debug)]
pub struct Front {
    /// Where webhooks are received.
    pub webhook_address: SocketAddr,
    /// Where metrics and health are served.
    pub admin_address: SocketAddr,
    pub(super) metrics: Metrics,
    pub(super) watches: Watches,
    pub(super) told: watch::Sender<Progress>,
    pub(super) counts: Arc<Mutex<index::Counts>>,
    pub(super) exporter: Arc<OnceLock<export::Handle>>,
    /// Webhooks that the leader has not acknowledged.
    pub(super) to_forward: Arc<AtomicU64>,
    /// What is wanted of webhooks.
    pub(super) catalog: watch::Sender<Arc<Catalog>>,
    pub(super) servers: Servers,
}

/// The tasks of the servers.
#[derive(Debug)]
pub(super) struct Servers {
    /// Stops all that comes in.
    pub intake: CancellationToken,
    admin: CancellationToken,
    pub webhooks: JoinHandle<()>,
    pub admin_server: JoinHandle<()>,
    /// Pushes metrics, if that is wanted.
    push: Option<JoinHandle<()>>,
}

impl Front {
    /// Listens and serves; also gives the webhooks that are taken.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a certificate for the push of metrics cannot be used.
    pub async fn open(
        settings: &Settings,
        clock: Clock,
        in_use: &InUse,
        journal: &Journal,
        standing: Standing,
    ) -> anyhow::Result<(Self, mpsc::Receiver<Taken>)> {
        let webhook_listener = listen(&settings.webhooks, "--listen-addr").await?;
        let admin_listener = listen(&settings.admin, "--admin-addr").await?;
        let webhook_address = webhook_listener.local_addr()?;
        let admin_address = admin_listener.local_addr()?;

        let metrics = Metrics::of(Pipelines::new(settings.pipelines.clone()));
        let watches = Watches::default();
        let (taken_sender, taken) = mpsc::channel(WEBHOOKS);
        let (told, progress) = watch::channel(Progress::default());
        let counts = Arc::new(Mutex::new(index::Counts::default()));
        let exporter = Arc::new(OnceLock::new());
        let to_forward = Arc::new(AtomicU64::new(0));
        let (catalog, wanted) = watch::channel(Arc::clone(&in_use.first().catalog));
        let (intake, admin) = (CancellationToken::new(), CancellationToken::new());

        let receiver = webhook::Receiver {
            verification: settings.verification.clone(),
            catalog: wanted,
            clock,
            taken: taken_sender,
            journal: journal.clone(),
            ready: watches.ready(),
            standing: standing.clone(),
            metrics: metrics.clone(),
            body_timeout: webhook::BODY_TIMEOUT,
            room: Arc::new(Semaphore::new(webhook::ROOM)),
            refusals: webhook::Refusals::default(),
        };
        let webhooks = tokio::spawn(server::serve(
            webhook_listener,
            webhook::router(receiver),
            server::Limits::default(),
            intake.clone(),
        ));
        let readings = metrics::Readings {
            index: Arc::clone(&counts),
            progress,
            exporter: Arc::clone(&exporter),
            journal: journal.clone(),
            watches: watches.clone(),
            standing: standing.clone(),
            webhooks_to_forward: Arc::clone(&to_forward),
            mappers: in_use.report.clone(),
        };
        let exposition = Arc::new(Exposition::new(&metrics, readings));
        let pushing = settings.push.as_ref();
        let pusher = pushing.map(|pushing| Pusher::new(pushing, &exposition, &metrics));
        let pusher = pusher.transpose()?;
        let push = pusher.map(|pusher| tokio::spawn(pusher.run(admin.clone())));
        let admin_server = tokio::spawn(server::serve(
            admin_listener,
            crate::admin::router(
                exposition,
                &metrics,
                watches.clone(),
                standing,
                in_use.report.clone(),
            ),
            server::Limits::default(),
            admin.clone(),
        ));
        tracing::info!(webhooks = %webhook_address, admin = %admin_address, "started");
        let front = Self {
            webhook_address,
            admin_address,
            metrics,
            watches,
            told,
            counts,
            exporter,
            to_forward,
            catalog,
            servers: Servers {
                intake,
                admin,
                webhooks,
                admin_server,
                push,
            },
        };
        Ok((front, taken))
    }
}

impl Servers {
    /// Returns if one ends though nobody has stopped it, which is a bug.
    pub async fn ended(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.webhooks => "the webhook server",
            _ = &mut self.admin_server => "the server of metrics and health",
        }
    }

    /// Takes no more webhooks.
    pub async fn stop_webhooks(&mut self) {
        self.intake.cancel();
        join("the webhook server", &mut self.webhooks).await;
    }

    /// Shows nothing any more; metrics are pushed a last time.
    pub async fn stop_admin(&mut self) {
        self.admin.cancel();
        join("the server of metrics and health", &mut self.admin_server).await;
        if let Some(push) = &mut self.push {
            join("the push of metrics", push).await;
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.intake.cancel();
        self.admin.cancel();
    }
}

async fn listen(address: &ListenAddress, option: &'static str) -> Result<TcpListener, ConfigError> {
    address.bind().await.map_err(|reason| ConfigError::Listen {
        address: address.clone(),
        reason,
        option,
    })
}

/// A task that has panicked has said so itself.
async fn join(name: &str, task: &mut JoinHandle<()>) {
    if !task.is_finished() && task.await.is_err() {
        tracing::error!("{name} ended early");
    }
}
