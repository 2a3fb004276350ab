//! A module is replaced in a directory laid out as the kubelet does while objects of another kind stream in: how soon the new
//! one maps, and how long the stream is held up by it. Each against its target.
//!
//! The module is the built-in mapper of PipelineActivities, of some 115 KB, each time with an attribute of another name, so that it was
//! never compiled before; 200 activities are under way. It maps from the moment at which the receiver has a span with that
//! attribute: that is later by the export, 10 ms, and by up to 20 ms, as often as an activity ends.
//!
//! The stream is of LighthouseJobs, one every 4 ms. How long each waits is seen from the API server: from its creation to its
//! annotation. In between lie the watch, the index, the mapper and the patch; what holds up the watch, or any of these, shows, but
//! for the 4 ms. None of them ends: at the last reload 15,000 are under way, with as many objects as 1,500 pipelines have. The
//! same is measured without a reload for as long and as often, in turns. What the machine does on its own shows in both, so the
//! reload has to answer for what a job waits at worst beyond the worst without it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use lighthouse_telemetry::embedded::Server;
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_tests::mount::{Mount, renamed};
use lighthouse_telemetry_tests::process::{self, Process};
use lighthouse_telemetry_tests::{embedded, web};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Value, json};

/// The module, which is also the mapper's name.
const MODULE: &str = "jenkins-x";
/// An attribute of each of its spans.
const ATTRIBUTE: &str = "jenkins_x.status";
/// How often it is replaced.
const RELOADS: usize = 20;
/// So long the stream is looked at after each reload, if that takes no longer, and then as long without one.
const WINDOW: Duration = Duration::from_millis(1_500);
/// From one job to the next.
const JOBS: Duration = Duration::from_millis(4);
/// From one activity that ends to the next.
const ACTIVITIES: Duration = Duration::from_millis(20);
/// Activities that do not end.
const UNDER_WAY: usize = 200;
/// From a look at what was annotated to the next.
const LOOK: Duration = Duration::from_micros(250);
/// Before anything is measured: code and sandboxes are in memory then.
const WARM: Duration = Duration::from_secs(3);
/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing waits for its turn by rate, or for what may come late.
const OPTIONS: [&str; 3] = [
    "--all-namespaces",
    "--patches-per-second=1000",
    "--settle=1ms",
];

fn main() -> Result<()> {
    // `cargo bench -- --list` and the like are for harnesses.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let (binary, components) = process::build_with_mappers("release")?;
    let module = fs::read(components.join(MODULE).with_extension("wasm"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let measured = runtime.block_on(measure(&binary, &module))?;
    report(&measured, module.len())
}

/// What was seen.
struct Measured {
    /// From each swap to the first span of the new module.
    reloads: Vec<Duration>,
    /// How long jobs waited, in windows with a reload and in such without.
    with: Vec<Duration>,
    without: Vec<Duration>,
}

/// A job, and how long it waited for its annotation.
struct Wait {
    since: Instant,
    took: Duration,
}

fn report(measured: &Measured, bytes: usize) -> Result<()> {
    let slowest = at(&measured.reloads, 1000)?;
    println!(
        "\n{} reloads of a module of {} KB: median {:.0} ms, longest {:.0} ms",
        measured.reloads.len(),
        bytes / 1000,
        milliseconds(at(&measured.reloads, 500)?),
        milliseconds(slowest)
    );
    for (name, waits) in [("without", &measured.without), ("with", &measured.with)] {
        println!(
            "{} jobs {name} a reload waited: median {:.2} ms, 99 % {:.2} ms, 99.9 % {:.2} ms, longest {:.2} ms",
            waits.len(),
            milliseconds(at(waits, 500)?),
            milliseconds(at(waits, 990)?),
            milliseconds(at(waits, 999)?),
            milliseconds(at(waits, 1000)?)
        );
    }
    let stall = at(&measured.with, 1000)?.saturating_sub(at(&measured.without, 1000)?);
    println!("\n{:<60} {:>10} {:>10}", "reload", "measured", "target");
    let mut met = true;
    for (what, measured, target) in [
        (
            "from the swap of a module to the first object it maps",
            slowest,
            1_000.0,
        ),
        (
            "longest wait of a job, beyond the longest without a reload",
            stall,
            10.0,
        ),
    ] {
        let measured = milliseconds(measured);
        let verdict = if measured <= target { "" } else { "  MISSED" };
        met &= measured <= target;
        println!("{what:<60} {measured:>7.1} ms {target:>7.0} ms{verdict}");
    }
    ensure!(met, "a target was missed");
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The duration that so many of a thousand do not exceed.
fn at(durations: &[Duration], share: usize) -> Result<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let place = (sorted.len() * share / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().context("nothing was measured")
}

async fn measure(binary: &Path, module: &[u8]) -> Result<Measured> {
    let server = Arc::new(Server::start().await?);
    let kubeconfig = embedded::kubeconfig(&server)?;
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
    let mut mount = Mount::new()?;
    let file = format!("{MODULE}.wasm");
    mount.swap(&[(&file, module)])?;
    let directory = format!("--mappers={}", mount.path().display());
    let options = [&OPTIONS[..], &[&directory]].concat();
    let endpoint = receiver.grpc_endpoint();
    let state = tempfile::tempdir()?;
    let (state, kubeconfig) = (state.path(), kubeconfig.path());
    let mut serve = process::serve(state, binary, kubeconfig, &endpoint, &options);
    // Spans are gathered for five seconds otherwise.
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "10");
    let process = Process::of(serve).await?;
    process.ready().await?;
    for number in 0..UNDER_WAY {
        server.apply(activity(&format!("under-way-{number}"), false)?)?;
    }
    let traffic = Traffic::start(&server)?;
    tokio::time::sleep(WARM).await;

    let mut reloads = Vec::new();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for number in 0..RELOADS {
        let attribute = format!("jenkins_x.{number:06}");
        let other = renamed(module, ATTRIBUTE, &attribute)?;
        // What came before it says nothing of it.
        drop(receiver.take());
        let swapped = mount.swap(&[(&file, &other)])?;
        let mapped = receiver.wait_for(|spans| have(spans, &attribute));
        if tokio::time::timeout(PATIENCE, mapped).await.is_err() {
            let said = web::get(process.admin(), "/api/mappers").await?;
            bail!("no span of reload {number}; the plugin says {said}");
        }
        reloads.push(swapped.elapsed());
        tokio::time::sleep_until((swapped + WINDOW).into()).await;
        let quiet = Instant::now();
        with.push((swapped, quiet));
        let window = quiet - swapped;
        tokio::time::sleep(window).await;
        without.push((quiet, quiet + window));
    }
    let waits = tokio::task::spawn_blocking(move || traffic.end()).await??;
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    let within = |windows: &[(Instant, Instant)]| {
        let is_in = |wait: &&Wait| {
            let mut windows = windows.iter();
            windows.any(|(begin, end)| (begin..end).contains(&&wait.since))
        };
        let waits = waits.iter().filter(is_in).map(|wait| wait.took);
        waits.collect()
    };
    Ok(Measured {
        reloads,
        with: within(&with),
        without: within(&without),
    })
}

/// Whether one of the spans has an attribute of this name.
fn have(received: &[ResourceSpans], attribute: &str) -> bool {
    let scopes = received.iter().flat_map(|resource| &resource.scope_spans);
    let spans = scopes.flat_map(|scope| &scope.spans);
    let mut attributes = spans.flat_map(|span| &span.attributes);
    attributes.any(|there| there.key == attribute)
}

/// What goes on in the cluster, by a thread of its own that waits for nothing but the clock.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Vec<Wait>>>,
}

impl Traffic {
    fn start(server: &Arc<Server>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (server, stopped) = (Arc::clone(server), Arc::clone(&stop));
        server.apply(job(JOB)?)?;
        let thread = thread::Builder::new().name("traffic".to_owned());
        let thread = thread.spawn(move || flow(&server, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// All jobs, once the last one has been annotated.
    fn end(self) -> Result<Vec<Wait>> {
        self.stop.store(true, Ordering::Relaxed);
        let flown = self.thread.join();
        flown.map_err(|_| anyhow::anyhow!("the traffic has panicked"))?
    }
}

fn flow(server: &Server, stop: &AtomicBool) -> Result<Vec<Wait>> {
    let mut waits = Vec::new();
    let mut waiting: Vec<(Value, Instant)> = Vec::new();
    let mut stopped = None;
    let start = Instant::now();
    let (mut jobs, mut activities) = (0, 0);
    loop {
        let now = Instant::now();
        if stopped.is_none() && stop.load(Ordering::Relaxed) {
            stopped = Some(now);
        }
        if stopped.is_none() && now >= start + ACTIVITIES * activities {
            server.apply(activity(&format!("activity-{activities}"), true)?)?;
            activities += 1;
        }
        if stopped.is_none() && now >= start + JOBS * jobs {
            let job = job(&format!("job-{jobs}"))?;
            waiting.push((job.clone(), Instant::now()));
            server.apply(job)?;
            jobs += 1;
        }
        waiting.retain(|(job, since)| {
            let now = server.get(job);
            let annotations = now
                .as_ref()
                .and_then(|now| now.pointer("/metadata/annotations"));
            if annotations.is_none() {
                return true;
            }
            waits.push(Wait {
                since: *since,
                took: since.elapsed(),
            });
            false
        });
        if let Some(stopped) = stopped {
            if waiting.is_empty() {
                return Ok(waits);
            }
            ensure!(
                stopped.elapsed() < PATIENCE,
                "{} jobs were not annotated",
                waiting.len()
            );
        }
        thread::sleep(LOOK);
    }
}

/// The job that all activities belong to.
const JOB: &str = "job";

fn now() -> Result<String> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Time::EPOCH.plus(since_epoch).to_string())
}

/// A job that runs.
fn job(name: &str) -> Result<Value> {
    let now = now()?;
    Ok(json!({
        "apiVersion": "lighthouse.jenkins.io/v1alpha1", "kind": "LighthouseJob",
        "metadata": {"name": name, "namespace": "jx", "uid": name, "creationTimestamp": now},
        "spec": {"type": "postsubmit", "job": name, "context": name, "refs": {"org": "acme", "repo": "shop"}},
        "status": {"state": "running", "startTime": now},
    }))
}

/// An activity of [`JOB`] that has just begun, and has ended, too, if it shall.
fn activity(name: &str, is_over: bool) -> Result<Value> {
    let now = now()?;
    Ok(json!({
        "apiVersion": "jenkins.io/v1", "kind": "PipelineActivity",
        "metadata": {
            "name": name, "namespace": "jx", "uid": name, "creationTimestamp": now,
            "labels": {"lighthouse.jenkins-x.io/id": JOB},
        },
        "spec": {
            "pipeline": "acme/shop/main", "build": "1", "startedTimestamp": now,
            "completedTimestamp": is_over.then_some(&now),
            "status": if is_over { "Succeeded" } else { "Running" },
        },
    }))
}
