//! `demo`: a recorded pull request through the whole path, without a cluster.
//!
//! An embedded Kubernetes API replays the recording, faster than it happened; the plugin runs as in a cluster,
//! [`run::start`] and nothing else, and exports to an embedded receiver, whose spans are drawn as a tree.

mod progress;
mod whole;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::time::Time;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use self::progress::Display;
use self::whole::Expected;
use crate::clock::Clock;
use crate::config::{ConfigError, LogFormat, Secret};
use crate::embedded::{self, Lighthouse, Server};
use crate::export::{self, Destination, Protocol};
use crate::mappers::Mappers;
use crate::receiver::Receiver;
use crate::recording::Recording;
use crate::run::{self, Progress, Running, State};
use crate::{journal, logging, view};

/// How much of the process's time passes before the recording begins: the watches list first, as in a plugin
/// that has been running for long.
const LEAD: Duration = Duration::from_secs(1);

/// Settle time in the process's time, at least: even a busy machine delivers what belongs together within it.
const SETTLE: Duration = Duration::from_millis(500);

/// How long to wait for the trace after the last entry.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the process ends with when it is interrupted, by convention of shells: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

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

    /// Replay this recording instead of the one that comes with the program
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "write a number such as 30")?;
    if speed > 0.0 && speed <= 100_000.0 {
        Ok(speed)
    } else {
        Err("write a number greater than 0 and not above 100000".to_owned())
    }
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
    let demo = Demo::start(&arguments, &recording).await?;
    tokio::select! {
        outcome = demo.play(&recording) => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot listen for signals")?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// The state directory of a demo, in bytes.
const MAX_STATE: u64 = 1 << 30;

/// The parts at work.
struct Demo<'arguments> {
    arguments: &'arguments Arguments,
    server: Server,
    receiver: Receiver,
    exporter: export::Handle,
    running: Running,
    lighthouse: Lighthouse,
    catalog: Arc<Catalog>,
    clock: Clock,
    /// For what must survive a restart; removed with it.
    _directory: TempDir,
}

impl<'arguments> Demo<'arguments> {
    async fn start(
        arguments: &'arguments Arguments,
        recording: &Recording,
    ) -> anyhow::Result<Self> {
        let (first, _) = recording.span().context("the recording is empty")?;
        let server = Server::start().await.context("cannot listen on loopback")?;
        let receiver = Receiver::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let directories = arguments.mappers.clone();
        let mappers = spawn_blocking(|| Mappers::strictly(directories)).await??;
        let catalog = Arc::clone(&mappers.catalog);
        let key = Secret::from(random_key()?);
        let mut settings = run::Settings::loopback(key.clone());
        // Within it everything has arrived, however fast the recording is replayed.
        settings.index.settle = settings.index.settle.max(SETTLE.mul_f64(arguments.speed));
        settings.index.orphan_deadline = settings
            .index
            .orphan_deadline
            .max(PATIENCE.mul_f64(arguments.speed));
        let lead = LEAD.mul_f64(arguments.speed);
        let origin = first.nanoseconds().saturating_sub(nanoseconds(lead));
        let clock = Clock::replay(Time::from_nanoseconds(origin), arguments.speed);
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let journal = journal::Settings {
            directory: directory.path().to_owned(),
            max_size: MAX_STATE,
        };
        let (state, kept) = State::open(journal, &catalog, settings.index.clone(), clock.now())?;
        let exporter = export::start(
            destinations(arguments.otlp.as_deref(), &receiver)?,
            state.journal.clone(),
            kept,
        )?;
        let running = run::start(
            settings,
            server.client()?,
            clock.clone(),
            mappers,
            exporter.clone(),
            state,
        )
        .await?;
        let endpoint = format!("http://{}/lighthouse/events", running.webhook_address);
        Ok(Self {
            arguments,
            lighthouse: Lighthouse::new(endpoint, key.bytes())?,
            server,
            receiver,
            exporter,
            running,
            catalog,
            clock,
            _directory: directory,
        })
    }

    async fn play(self, recording: &Recording) -> anyhow::Result<ExitCode> {
        let mut progress = self.running.progress();
        tokio::time::timeout(PATIENCE, progress.wait_for(|progress| progress.ready))
            .await
            .context(
                "the watches did not start in time; please try again on a machine less busy",
            )??;
        let mut display = Display::start(recording, self.arguments.speed, self.receiver.clone());
        embedded::replay(
            recording,
            &self.server,
            &self.lighthouse,
            &self.clock,
            |entry| display.show(entry),
        )
        .await?;
        let expected = Expected::of(recording, &self.catalog);
        let patient =
            tokio::time::timeout(PATIENCE, self.quiet(&expected, &mut progress, &mut display));
        let in_time = patient.await.is_ok();
        display.finish();
        self.finish(&expected, in_time).await
    }

    /// Waits until everything in the recording is in a trace, every watch has been told all there is, and
    /// nothing is in flight. Spans on their way to another backend are not waited for here: it may not be there.
    async fn quiet(
        &self,
        expected: &Expected,
        progress: &mut tokio::sync::watch::Receiver<Progress>,
        display: &mut Display,
    ) {
        loop {
            let whole = expected.missing(&self.receiver.spans()).is_empty();
            let idle = {
                let progress = progress.borrow_and_update();
                progress.mappings + progress.patches + progress.lookups == 0
                    && self.all_seen(&progress.resource_versions)
            };
            if whole && idle {
                return;
            }
            display.wait(self.clock.now());
            // Spans that arrive are no news of the rooms: look again soon in any case.
            let news = tokio::time::timeout(Duration::from_millis(50), progress.changed());
            if let Ok(Err(_)) = news.await {
                return;
            }
        }
    }

    fn all_seen(&self, seen: &BTreeMap<lighthouse_telemetry_core::object::SourceId, u64>) -> bool {
        self.catalog.sources().all(|(id, source)| {
            // Where the API refused a selector the watch would have failed too, and there is nothing to see.
            let newest = self.server.newest_of(source).unwrap_or_default();
            newest <= seen.get(&id).copied().unwrap_or_default()
        })
    }

    async fn finish(self, expected: &Expected, in_time: bool) -> anyhow::Result<ExitCode> {
        self.running.stop().await;
        let counts = self.exporter.counts();
        let spans = self.receiver.spans();
        let view = view::View::new(&spans);
        let mut output = std::io::stdout().lock();
        if self.arguments.json {
            writeln!(output, "{:#}", view::to_json(&view))?;
        } else {
            let terminal = view::Terminal::of_stdout();
            let text = view::render(&view, terminal.width, terminal.colour);
            write!(output, "{text}")?;
        }
        let missing = expected.missing(&spans);
        anyhow::ensure!(
            missing.is_empty() && in_time,
            "the trace is not whole after {} s ({}); please report it with the output of --json",
            PATIENCE.as_secs(),
            if missing.is_empty() {
                "something is still in flight".to_owned()
            } else {
                missing.join(", ")
            },
        );
        if let Some(endpoint) = &self.arguments.otlp {
            let refused = counts.queued + counts.failed + counts.rejected + counts.dropped;
            anyhow::ensure!(
                refused == 0,
                "{refused} spans did not reach {endpoint}: see that an OTLP receiver listens there",
            );
        }
        if !self.arguments.json {
            let next = if self.arguments.otlp.is_some() {
                "Next: see the trace in your backend, then run `lighthouse-telemetry serve` in your cluster."
            } else {
                "Next: `lighthouse-telemetry demo --otlp http://localhost:4317` sends this trace to a backend too; `lighthouse-telemetry serve --help` is for your cluster."
            };
            writeln!(output, "\n{next}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The embedded receiver, and the one that was asked for.
fn destinations(otlp: Option<&str>, receiver: &Receiver) -> anyhow::Result<export::Settings> {
    let mut settings = match otlp {
        None => export::Settings::default(),
        Some(endpoint) => export::Settings::from_environment(&export::Overrides {
            exporter: Some(protocol_of(endpoint).to_owned()),
            endpoint: Some(endpoint.to_owned()),
        })
        .map_err(|error| ConfigError::Exporter(error.to_string()))?,
    };
    // Nobody watches for seconds how a batch fills.
    settings.batching.delay = Duration::from_millis(100);
    settings
        .destinations
        .push(Destination::otlp(Protocol::Grpc, receiver.grpc_endpoint()));
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

fn random_key() -> anyhow::Result<String> {
    let mut key = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut key)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(hex::encode(key))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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

    #[test]
    fn a_speed_is_a_positive_number() {
        assert_eq!(speed("2.5"), Ok(2.5));
        for wrong in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_drawn_anew() {
        assert_ne!(random_key().unwrap(), random_key().unwrap());
    }
}
