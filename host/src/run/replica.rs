//! One of several replicas: follows until it can lead, leads until it is told to end or has lost the Lease.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use lighthouse_telemetry_core::index::Index;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Drained, Front, Lead, Settings, State};
use crate::clock::Clock;
use crate::config::Verification;
use crate::export;
use crate::generation::InUse;
use crate::journal::{Journal, Kept};
use crate::leader::{self, Election, Forwarder, Standing};

/// For webhooks that wait to be forwarded at the stop.
const FORWARD_END: Duration = Duration::from_secs(5);

/// What it takes to follow and to lead.
pub struct Replica {
    /// What to run.
    pub settings: Settings,
    /// How to take part in the election.
    pub leader: leader::Settings,
    /// The cluster.
    pub client: Client,
    /// What time it is.
    pub clock: Clock,
    /// The mappers; the state was opened with the first.
    pub mappers: InUse,
    /// Where to export to.
    pub exporter: export::Settings,
    /// What is left of the process before.
    pub state: State,
    /// Spans that were not acknowledged.
    pub kept: Vec<Kept>,
}

impl Replica {
    /// Runs until it is told to stop, then in order until all is done.
    ///
    /// # Errors
    /// If it cannot start, a room of it ends unexpectedly, or it has lost the Lease: then nothing is written any more,
    /// and the process must end.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<Drained> {
        let Self {
            settings,
            leader,
            client,
            clock,
            mappers,
            exporter,
            mut state,
            kept,
        } = self;
        let generation = mappers.first().clone();
        let standing = Standing::follower();
        let journal = state.journal.clone();
        let (mut front, taken) = Front::open(
            &settings,
            clock.clone(),
            &mappers,
            &journal,
            standing.clone(),
        )
        .await?;
        let election = Election::new(
            &leader,
            front.webhook_address.port(),
            client.clone(),
            standing.clone(),
        );
        let follow = Follow {
            verification: settings.verification.clone(),
            standing,
        };
        let mut forwarder = Forwarder::start(
            follow.verification.clone(),
            journal.clone(),
            follow.standing.holder(),
            taken,
            state.leave_webhooks(),
            Arc::clone(&front.to_forward),
        )?;
        let mut tenure = tokio::select! {
            tenure = election.win() => tenure,
            () = stop.cancelled() => {
                front.servers.stop_webhooks().await;
                // What is left then stays in the journal.
                let _ = tokio::time::timeout(FORWARD_END, forwarder.settle()).await;
                front.servers.stop_admin().await;
                return Ok(Drained::default());
            }
            server = front.servers.ended() => {
                anyhow::bail!("{server} ended by itself; this is a bug, please report it");
            }
        };

        let starting = async {
            let left = forwarder
                .stop()
                .await
                .context("the task that forwards webhooks ended early")?;
            let catalog = Arc::clone(&generation.catalog);
            let index = Index::new(catalog, settings.index.clone());
            let taken = state.begin(tenure.term, left, index, clock.now()).await;
            let exporter =
                export::start_permitted(exporter, journal.clone(), kept, tenure.permit.clone())?;
            let lead = Lead {
                settings,
                client,
                clock,
                generation,
                in_use: mappers,
                exporter,
                state,
                permit: tenure.permit.clone(),
            };
            lead.start(front, taken)
        };
        let mut running = starting.await?;
        tokio::select! {
            why = tenure.lost() => return Err(lost(&why)),
            () = stop.cancelled() => {}
            room = running.ended() => {
                anyhow::bail!("{room} ended by itself; this is a bug, please report it");
            }
        }
        let drained = tokio::select! {
            why = tenure.lost() => return Err(lost(&why)),
            drained = running.stop() => drained,
        };
        tenure.release().await;
        follow.hand_over(&election, &journal).await;
        Ok(drained)
    }
}

/// What it takes to forward webhooks after the end of a term.
struct Follow {
    verification: Verification,
    standing: Standing,
}

impl Follow {
    /// Gives the webhooks of traces that are under way to the next leader, which need not have this one's disk.
    async fn hand_over(&self, election: &Election, journal: &Journal) {
        let numbers = journal.webhooks().await;
        if numbers.is_empty() {
            return;
        }
        let webhooks = numbers.len();
        let (_, taken) = mpsc::channel(1);
        let handing = async {
            election.wait_for_another().await;
            let mut forwarder = Forwarder::start(
                self.verification.clone(),
                journal.clone(),
                self.standing.holder(),
                taken,
                numbers,
                Arc::default(),
            )?;
            forwarder.settle().await;
            anyhow::Ok(())
        };
        match tokio::time::timeout(FORWARD_END, handing).await {
            Ok(Ok(())) => tracing::info!(webhooks, "webhooks were handed over to the next leader"),
            Ok(Err(error)) => tracing::error!("webhooks cannot be forwarded: {error:#}"),
            Err(_) => tracing::info!(
                webhooks,
                "there is no next leader yet; webhooks stay in the journal"
            ),
        }
    }
}

fn lost(why: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "this replica does not lead any more, so that it ends, to start anew as a follower: {why}"
    )
}
