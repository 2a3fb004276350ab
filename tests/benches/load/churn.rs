//! Many pipelines in flight for a long time: each that ends is followed by another. Memory must stay what it is, and be given back
//! when all is over.
//!
//! Time is a tenth of what it is: a pipeline takes a minute and not ten, and the plugin's own windows are as much shorter.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::MissedTickBehavior;

use crate::cluster::Cluster;
use crate::objects::Pipeline;
use crate::plugin::Plugin;
use crate::{Row, row};

/// At once.
const IN_FLIGHT: usize = 2_000;
/// In all that follow, unless `LOAD_CHURN` says otherwise.
const CHURN: usize = 20_000;
/// So many stay in the cluster after their end.
const KEPT: usize = 500;
/// How long a pipeline takes.
const MINUTE: Duration = Duration::from_secs(60);
/// How long the plugin waits for parents and for what comes late, and how many annotations it may set.
const WINDOWS: [&str; 3] = [
    "--orphan-deadline=60s",
    "--settle=500ms",
    "--patches-per-second=500",
];

pub async fn measure(binary: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let plugin = Plugin::start(binary, &cluster, None, &WINDOWS).await?;
    plugin.process.ready().await?;
    println!("  before all: {:.1} MB", plugin.settled().await?);
    // Idle is who has nothing to do, not who never had: one pipeline has come and gone, so that code and sandboxes are in memory.
    let first = Pipeline(0);
    plugin.begin(&cluster, first).await?;
    plugin.quiet(&cluster).await?;
    cluster.end(first)?;
    plugin.quiet(&cluster).await?;
    cluster.delete(first)?;
    plugin.idle().await?;
    let idle = plugin.settled().await?;
    println!("  idle: {idle:.1} MB");
    let churn = churn()?;
    let (begin, end) = (1 + IN_FLIGHT, 1 + IN_FLIGHT + churn);
    let start = Instant::now();
    for number in 1..begin {
        plugin.begin(&cluster, Pipeline(number)).await?;
    }
    plugin.quiet(&cluster).await?;
    println!("  peak on the way there: {:.0} MB", plugin.peak());
    let mut rows = vec![row(
        format!("{IN_FLIGHT} pipelines in flight"),
        plugin.settled().await?,
        256.0,
        "MB",
    )];
    let mut peaks = Vec::new();
    let mut pace = tokio::time::interval(MINUTE / u32::try_from(IN_FLIGHT)?);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in begin..end {
        pace.tick().await;
        plugin.begin(&cluster, Pipeline(number)).await?;
        cluster.end(Pipeline(number - IN_FLIGHT))?;
        if let Some(old) = number.checked_sub(IN_FLIGHT + KEPT)
            && old > 0
        {
            cluster.delete(Pipeline(old))?;
        }
        if number.is_multiple_of(IN_FLIGHT) {
            peaks.push(plugin.peak());
            println!(
                "  {:>6} of {churn}, {:>5.0} s: peak {:.0} MB, {} spans",
                number - IN_FLIGHT,
                start.elapsed().as_secs_f64(),
                peaks.last().copied().unwrap_or_default(),
                plugin.spans()
            );
        }
    }
    if !peaks.is_empty() {
        let most = peaks.iter().copied().fold(0.0, f64::max);
        rows.push(row(
            format!("{churn} pipelines one after another, peak"),
            most,
            256.0,
            "MB",
        ));
        // What grows would have grown most at the end; until then as many have come to be remembered as ever are.
        let (early, late) = (peaks.get(2).copied(), peaks.last().copied());
        let growth = late.unwrap_or(most) / early.unwrap_or(most);
        rows.push(row(
            "peak at the end of it, by that at 6,000",
            growth,
            1.1,
            "",
        ));
    }
    for number in end - IN_FLIGHT..end {
        pace.tick().await;
        cluster.end(Pipeline(number))?;
        plugin.keep_up(&cluster, Pipeline(number)).await?;
    }
    plugin.quiet(&cluster).await?;
    println!("  peak of their end: {:.0} MB", plugin.peak());
    for number in end.saturating_sub(IN_FLIGHT + KEPT).max(1)..end {
        cluster.delete(Pipeline(number))?;
        plugin.keep_up(&cluster, Pipeline(number)).await?;
    }
    plugin.idle().await?;
    let left = plugin.settled().await?;
    println!("  when all is over: {left:.1} MB");
    let spans = plugin.spans();
    ensure!(
        spans > 0 && spans.is_multiple_of(end),
        "{spans} spans of {end} pipelines"
    );
    println!("  {} spans a pipeline", spans / end);
    rows.push(row(
        "memory when all is over, by idle",
        left / idle,
        1.2,
        "",
    ));
    Ok(rows)
}

fn churn() -> Result<usize> {
    match std::env::var("LOAD_CHURN") {
        Err(_) => Ok(CHURN),
        Ok(number) => number
            .parse()
            .with_context(|| format!("LOAD_CHURN={number} is not a number of pipelines")),
    }
}
