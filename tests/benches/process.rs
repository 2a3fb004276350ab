//! Size and start of the release binary: on disk, in memory while nothing happens, and from its start to readiness on a
//! cluster with nothing in it. Each against its target.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::cluster::{self, ApiServer};
use lighthouse_telemetry_tests::process::{self, Process};

/// 10^6 bytes.
const MEGABYTE: f64 = 1e6;
/// For whatever a process allocates in its first seconds.
const IDLE: Duration = Duration::from_secs(10);
/// The middle one counts.
const STARTS: usize = 5;

fn main() -> Result<()> {
    // `cargo bench -- --list` and the like are for harnesses.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let binary = process::build("release")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let rows = runtime.block_on(measure(&binary))?;
    println!("\n{:<44} {:>10} {:>10}", "process", "measured", "target");
    let mut met = true;
    for (what, measured, target, unit) in rows {
        let verdict = if measured <= target { "" } else { "  MISSED" };
        met &= measured <= target;
        println!("{what:<44} {measured:>7.2} {unit:<2} {target:>7.0} {unit:<2}{verdict}");
    }
    ensure!(met, "a target was missed");
    Ok(())
}

async fn measure(binary: &Path) -> Result<Vec<(&'static str, f64, f64, &'static str)>> {
    let cluster = ApiServer::start().await?;
    cluster.define(cluster::everything).await?;
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await?;
    let mut starts = Vec::new();
    let mut resident = 0.0;
    for place in 0..STARTS {
        let start = Instant::now();
        let arguments = ["--all-namespaces"];
        let process = Process::start(
            binary,
            cluster.kubeconfig(),
            &receiver.grpc_endpoint(),
            &arguments,
        )
        .await?;
        process.ready().await?;
        starts.push(start.elapsed().as_secs_f64());
        if place == 0 {
            tokio::time::sleep(IDLE).await;
            resident = resident_megabytes(process.id())?;
        }
        let ended = process.terminate().await?;
        ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    }
    starts.sort_by(f64::total_cmp);
    let start = *starts.get(STARTS / 2).context("nothing measured")?;
    #[expect(clippy::cast_precision_loss, reason = "a size in megabytes")]
    let size = std::fs::metadata(binary)?.len() as f64 / MEGABYTE;
    Ok(vec![
        ("release binary", size, 40.0, "MB"),
        ("resident, idle", resident, 60.0, "MB"),
        ("start to ready, empty cluster", start, 1.0, "s"),
    ])
}

/// `VmRSS` of a process: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>, in units of 1024 bytes.
fn resident_megabytes(id: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(number.parse::<f64>()? * 1024.0 / MEGABYTE)
}
