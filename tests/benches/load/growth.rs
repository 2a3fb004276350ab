//! Memory by the number of pipelines in flight: a line.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::objects::Pipeline;
use crate::plugin::Plugin;
use crate::{Row, row};

const STEP: usize = 2_000;
const STEPS: usize = 5;

pub async fn measure(binary: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let plugin = Plugin::start(binary, &cluster, None, &[]).await?;
    plugin.process.ready().await?;
    let mut resident = vec![plugin.settled().await?];
    for step in 0..STEPS {
        for number in step * STEP..(step + 1) * STEP {
            plugin.begin(&cluster, Pipeline(number)).await?;
        }
        plugin.quiet(&cluster).await?;
        let now = plugin.settled().await?;
        println!("  {:>6} in flight: {now:.0} MB", (step + 1) * STEP);
        resident.push(now);
    }
    let grown = |from: usize, to: usize| {
        let pair = resident.get(to).zip(resident.get(from));
        pair.map(|(to, from)| to - from).context("nothing measured")
    };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let each = grown(0, STEPS)? / STEPS as f64;
    let last = grown(STEPS - 1, STEPS)?;
    Ok(vec![row(
        format!(
            "the last {STEP} of {} pipelines in flight, by what {STEP} take",
            STEP * STEPS
        ),
        last / each,
        1.2,
        "",
    )])
}
