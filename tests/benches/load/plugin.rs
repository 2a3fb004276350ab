//! The plugin as a process beside a cluster, and what it uses.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::process::{KEY, Process};
use lighthouse_telemetry_tests::{embedded, web, webhook};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::objects::Pipeline;

/// Until everything that the cluster has told is dealt with.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// Memory has settled once it has changed by less than this share ...
const SETTLED_WITHIN: f64 = 0.01;
/// ... for so many seconds: longer than an allocator waits until it gives back what is free.
const SETTLED_FOR: usize = 15;
/// Changes that it may lag behind: fewer than the embedded API remembers.
const LAG: u64 = 20_000;

/// A running plugin.
pub struct Plugin {
    pub process: Process,
    client: reqwest::Client,
    spans: Arc<AtomicUsize>,
    peak: Arc<AtomicU64>,
    /// End with it.
    _tasks: JoinSet<()>,
    _directory: TempDir,
}

impl Plugin {
    /// Starts it; `state` is its state directory, else one of its own. Not ready yet.
    pub async fn start(
        binary: &Path,
        cluster: &Cluster,
        state: Option<&Path>,
        options: &[&str],
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let kubeconfig = embedded::kubeconfig(&cluster.server)?;
        let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
        let endpoint = receiver.grpc_endpoint();
        let own = directory.path().join("state");
        let arguments = [&["--all-namespaces"], options].concat();
        let process = Process::start_from(
            state.unwrap_or(&own),
            binary,
            kubeconfig.path(),
            &endpoint,
            &arguments,
        )
        .await?;
        let (spans, peak) = (Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(count(receiver, Arc::clone(&spans)));
        tasks.spawn(watch(process.id(), Arc::clone(&peak)));
        Ok(Self {
            process,
            client: web::client()?,
            spans,
            peak,
            _tasks: tasks,
            _directory: directory,
        })
    }

    /// A webhook triggers a pipeline, which comes as far as it does without ending.
    pub async fn begin(&self, cluster: &Cluster, pipeline: Pipeline) -> Result<()> {
        self.post(pipeline).await?;
        cluster.begin(pipeline)?;
        self.keep_up(cluster, pipeline).await
    }

    /// Sends the webhook of a pipeline, signed.
    pub async fn post(&self, pipeline: Pipeline) -> Result<()> {
        let body = serde_json::to_vec(&pipeline.webhook())?;
        let to = self.process.webhooks();
        let response = self
            .client
            .post(format!("http://{to}/lighthouse/events"))
            .headers(webhook::headers("pull_request", KEY, &body)?)
            .body(body)
            .send()
            .await?;
        ensure!(response.status() == 202, "{}", response.status());
        Ok(())
    }

    /// Waits while it lags behind so far that the cluster might forget what it has not seen.
    pub async fn keep_up(&self, cluster: &Cluster, pipeline: Pipeline) -> Result<()> {
        // Asking takes its time too.
        if !pipeline.0.is_multiple_of(20) {
            return Ok(());
        }
        self.until(|metrics| cluster.server.newest_resource_version() < seen(metrics) + LAG)
            .await
    }

    /// Waits until it has dealt with all that the cluster has told.
    pub async fn quiet(&self, cluster: &Cluster) -> Result<()> {
        self.until(|metrics| {
            // The first resource version is that of an empty cluster.
            cluster.server.newest_resource_version() <= seen(metrics) + 1
                && has_nothing_to_do(metrics)
        })
        .await
    }

    /// Waits until it maps nothing and patches nothing.
    pub async fn rests(&self) -> Result<()> {
        self.until(has_nothing_to_do).await
    }

    /// Waits until it has no object left, and all its spans are acknowledged.
    pub async fn idle(&self) -> Result<()> {
        self.until(|metrics| {
            sum(metrics, "objects") == 0 && sum(metrics, "export_spans_waiting") == 0
        })
        .await
    }

    /// Waits until it neither takes nor gives back memory any more; the megabytes that it keeps.
    pub async fn settled(&self) -> Result<f64> {
        let start = Instant::now();
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        let mut last = VecDeque::new();
        while start.elapsed() < PATIENCE {
            seconds.tick().await;
            let now = resident(self.process.id()).map(megabytes)?;
            last.push_back(now);
            if last.len() > SETTLED_FOR {
                last.pop_front();
                let least = last.iter().copied().fold(f64::INFINITY, f64::min);
                let most = last.iter().copied().fold(0.0, f64::max);
                if most - least < most * SETTLED_WITHIN {
                    return Ok(now);
                }
            }
        }
        bail!("memory does not settle: {last:?} MB")
    }

    async fn until(&self, done: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        let mut samples = tokio::time::interval(SAMPLE);
        let mut metrics = String::new();
        while start.elapsed() < PATIENCE {
            samples.tick().await;
            metrics = self.metrics().await?;
            if done(&metrics) {
                return Ok(());
            }
        }
        bail!("not done after {PATIENCE:?}: {metrics}")
    }

    /// What it says of itself.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("http://{}/metrics", self.process.admin());
        let response = self.client.get(url).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// Spans received from it so far.
    pub fn spans(&self) -> usize {
        self.spans.load(Ordering::Relaxed)
    }

    /// The most megabytes since this was last asked.
    pub fn peak(&self) -> f64 {
        megabytes(self.peak.swap(0, Ordering::Relaxed))
    }
}

/// Counts what a receiver receives, and keeps none of it.
async fn count(receiver: Receiver, spans: Arc<AtomicUsize>) {
    let mut samples = tokio::time::interval(SAMPLE);
    loop {
        samples.tick().await;
        let received = receiver.take();
        let scopes = received.iter().flat_map(|resource| &resource.scope_spans);
        spans.fetch_add(
            scopes.map(|scope| scope.spans.len()).sum(),
            Ordering::Relaxed,
        );
    }
}

async fn watch(process: u32, peak: Arc<AtomicU64>) {
    let mut samples = tokio::time::interval(SAMPLE);
    while let Ok(bytes) = resident(process) {
        peak.fetch_max(bytes, Ordering::Relaxed);
        samples.tick().await;
    }
}

/// `VmRSS` of a process: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>, in units of 1024 bytes.
fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse::<u64>()? * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "a size in megabytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn has_nothing_to_do(metrics: &str) -> bool {
    sum(metrics, "mappings_waiting") == 0 && sum(metrics, "patches_waiting") == 0
}

/// Changes that its watches have told it.
fn seen(metrics: &str) -> u64 {
    sum(metrics, "watch_events_total")
}

/// The sum of a metric over all its labels.
pub fn sum(metrics: &str, name: &str) -> u64 {
    let name = format!("lighthouse_telemetry_{name}");
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(&name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    });
    values.sum()
}
