//! How soon webhooks are answered that come at a steady pace: each is on disk by then.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::objects::Pipeline;
use crate::plugin::Plugin;
use crate::{Row, row};

/// In a second.
const PACE: u32 = 500;
const SECONDS: u32 = 20;

pub async fn measure(binary: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let plugin = Arc::new(Plugin::start(binary, &cluster, None, &[]).await?);
    plugin.process.ready().await?;
    let start = Instant::now();
    let mut posts = JoinSet::new();
    for number in 0..PACE * SECONDS {
        let plugin = Arc::clone(&plugin);
        // From when it was due, so that one that holds up others counts for them too.
        let due = start + Duration::from_secs(1) * number / PACE;
        posts.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            plugin.post(Pipeline(number.try_into()?)).await?;
            anyhow::Ok(due.elapsed().as_secs_f64() * 1e3)
        });
    }
    let mut taken = Vec::new();
    for outcome in posts.join_all().await {
        taken.push(outcome?);
    }
    taken.sort_by(f64::total_cmp);
    let at = |share: usize| {
        let place = (taken.len() * share / 1000).min(taken.len() - 1);
        taken.get(place).copied().context("no webhook was answered")
    };
    println!(
        "  median {:.2} ms, 99.9 % {:.2} ms, last {:.2} ms",
        at(500)?,
        at(999)?,
        at(1000)?
    );
    Ok(vec![row(
        format!("answer to a webhook at {PACE} a second, 99 %"),
        at(990)?,
        10.0,
        "ms",
    )])
}
