//! `demo`: a recorded pull request through the whole path, without a cluster.
//!
//! An embedded Kubernetes API replays the recording, faster than it happened; the plugin runs as in a cluster, and exports
//! to an embedded receiver, whose spans are drawn as a tree. All of that is [`super::replay`]'s; a demo paces itself and must come
//! out whole.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::replay::{Play, Played, shown, speed};
use super::{interruptible, print};
use crate::config::{CompilerOptions, ConfigError, LogFormat};
use crate::recording::Recording;
use crate::{export, logging};

/// What `demo` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// How many times as fast as it happened
    #[arg(long, value_name = "FACTOR", default_value = "30", value_parser = speed)]
    pub speed: f64,

    /// Print the trace as JSON
    #[arg(long)]
    pub json: bool,

    /// Also send the trace to this OTLP endpoint, such as http://localhost:4317. Port 4318 or a path means
    /// HTTP, else it is gRPC; the OTEL_* variables can say more
    #[arg(long, value_name = "ENDPOINT")]
    pub otlp: Option<String>,

    /// Directory of mappers, as for `serve`; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    pub mappers: Vec<PathBuf>,

    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,

    /// Replay this recording instead of the one that comes with the program
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
}

/// Runs the demo.
///
/// # Errors
/// If a part of it cannot start, or the trace is not whole at the end.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    logging::start("warn", LogFormat::Text)?;
    let recording = match &arguments.recording {
        Some(path) => Recording::read(path),
        None => Recording::pull_request(),
    }
    .context("the recording cannot be used")?;
    let play = Play {
        what: "a recorded pull request",
        recording: &recording,
        mappers: arguments.mappers.clone(),
        compiler: arguments.compiler.compiler(),
        speed: Some(arguments.speed),
        others: arguments.otlp.as_deref().map(other).transpose()?,
    };
    interruptible(async {
        let played = Box::pin(play.run()).await?;
        finish(&arguments, &played)
    })
    .await
}

fn finish(arguments: &Arguments, played: &Played) -> anyhow::Result<ExitCode> {
    print(&shown(played, arguments.json))?;
    anyhow::ensure!(
        played.missing.is_empty(),
        "the trace is not whole ({}); please report it with the output of --json",
        played.missing.join(", ")
    );
    if let Some(endpoint) = &arguments.otlp {
        let counts = &played.counts;
        let refused = counts.queued + counts.failed + counts.rejected + counts.dropped;
        anyhow::ensure!(
            refused == 0,
            "{refused} spans did not reach {endpoint}: see that an OTLP receiver listens there",
        );
    }
    if !arguments.json {
        let next = if arguments.otlp.is_some() {
            "Next: see the trace in your backend, then run `lighthouse-telemetry serve` in your cluster."
        } else {
            "Next: `lighthouse-telemetry demo --otlp http://localhost:4317` sends this trace to a backend too; `lighthouse-telemetry serve --help` is for your cluster."
        };
        print(&format!("\n{next}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The receiver that was asked for.
fn other(endpoint: &str) -> anyhow::Result<export::Settings> {
    let mut settings = export::Settings::from_environment(&export::Overrides {
        exporter: Some(protocol_of(endpoint).to_owned()),
        endpoint: Some(endpoint.to_owned()),
    })
    .map_err(|error| ConfigError::Exporter(error.to_string()))?;
    // Nobody watches for seconds how a batch fills.
    settings.batching.delay = Duration::from_millis(100);
    Ok(settings)
}

/// The protocol of an endpoint, by its port or its having a path.
fn protocol_of(endpoint: &str) -> &'static str {
    let authority = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, authority)| authority)
        .trim_end_matches('/');
    if authority.ends_with(":4318") || authority.contains('/') {
        "otlp:http:insecure"
    } else {
        "otlp:grpc:insecure"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_follows_from_the_endpoint() {
        for endpoint in [
            "http://localhost:4317",
            "localhost:4317",
            "https://otel.example/",
        ] {
            assert_eq!(protocol_of(endpoint), "otlp:grpc:insecure", "{endpoint}");
        }
        for endpoint in [
            "http://localhost:4318",
            "localhost:4318/",
            "https://otel.example/v1/traces",
        ] {
            assert_eq!(protocol_of(endpoint), "otlp:http:insecure", "{endpoint}");
        }
    }
}
