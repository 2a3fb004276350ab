//! `serve`: the plugin.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::VERSION;
use super::cluster::connect;
use crate::clock::Clock;
pub use crate::config::Options as Arguments;
use crate::config::{ConfigError, Verification};
use crate::mappers::{self, Library};
use crate::run::{Drained, Replica, State};
use crate::{export, logging, run};

/// Runs the plugin until it is told to stop.
///
/// # Errors
/// If it cannot start, or a room of it ends unexpectedly.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&arguments.log_level, arguments.log_format)?;
    let mut settings = arguments.settings()?;
    settings.push = export::Pushing::from_environment()
        .map_err(|error| ConfigError::Exporter(error.to_string()))?;
    let exporter = export::Settings::from_environment(&export::Overrides {
        exporter: arguments.traces_exporter_type.clone(),
        endpoint: arguments.traces_exporter_endpoint.clone(),
    })
    .map_err(|error| ConfigError::Exporter(error.to_string()))?;
    let client = connect(arguments.cluster.kubeconfig.as_deref()).await?;
    tracing::info!(version = VERSION, "lighthouse-telemetry");
    if matches!(settings.verification, Verification::None) {
        tracing::warn!("webhooks are not verified: anybody who can reach the port can send them");
    }
    if arguments.child_pr_delay.is_some() {
        tracing::warn!("--child-pr-delay has no effect yet");
    }
    let directories = arguments.mappers.clone();
    let compiler = arguments.compiler.compiler();
    let compiler = compiler.keeping_in(&arguments.state.settings().directory);
    let library = move || Library::open(directories, compiler, Clock::system());
    let library = tokio::task::spawn_blocking(library).await??;
    let (state, kept) = State::open(
        arguments.state.settings(),
        &library.mappers().catalog,
        settings.index.clone(),
        Clock::system().now(),
    )?;
    // Before anything starts, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let leader = arguments.leader.settings(&arguments)?;
    let reloading = CancellationToken::new();
    let _stop_reloading = reloading.clone().drop_guard();
    let (mappers, _) = mappers::watch(library, mappers::Settings::default(), reloading);
    if let Some(leader) = leader {
        let replica = Replica {
            settings,
            leader,
            client,
            clock: Clock::system(),
            mappers,
            exporter,
            state,
            kept,
        };
        return Box::pin(elected(replica, &mut terminate, &mut interrupt)).await;
    }
    let exporter = export::start(exporter, state.journal.clone(), kept)?;
    let mut running =
        run::start(settings, client, Clock::system(), mappers, exporter, state).await?;
    let ended = tokio::select! {
        () = asked_to_stop(&mut terminate, &mut interrupt) => None,
        room = running.ended() => Some(room),
    };
    if let Some(room) = ended {
        tracing::error!("{room} ended by itself; this is a bug, please report it");
    } else {
        tracing::info!("stopping");
    }
    let drained = tokio::select! {
        drained = running.stop() => drained,
        () = asked_to_stop(&mut terminate, &mut interrupt) => {
            anyhow::bail!("stopped at once, as asked for by a second signal");
        }
    };
    let stopped = stopped(drained);
    Ok(if ended.is_none() {
        stopped
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one of several replicas until it is told to stop.
async fn elected(
    replica: Replica,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let run = replica.run(stop.clone());
    tokio::pin!(run);
    tokio::select! {
        drained = &mut run => return drained.map(stopped),
        () = asked_to_stop(terminate, interrupt) => tracing::info!("stopping"),
    }
    stop.cancel();
    tokio::select! {
        drained = run => drained.map(stopped),
        () = asked_to_stop(terminate, interrupt) => {
            anyhow::bail!("stopped at once, as asked for by a second signal");
        }
    }
}

fn stopped(drained: Drained) -> ExitCode {
    tracing::info!(
        patches_left = drained.patches,
        spans_left = drained.spans,
        "stopped"
    );
    if drained.spans == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
