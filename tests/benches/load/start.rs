//! A start in a cluster with very many finished objects: how long until it is ready, with how much memory, and that it
//! leaves them alone.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::{OBJECTS, Pipeline};
use crate::plugin::Plugin;
use crate::{Row, row};

const FINISHED: usize = 100_000;
/// Bytes of one as JSON.
const SIZE: usize = 5_000;
const READY: Duration = Duration::from_secs(120);

pub async fn measure(binary: &Path) -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let mut count = 0;
    for number in 0..FINISHED.div_ceil(OBJECTS) {
        for mut object in Pipeline(number).objects(true) {
            // What others manage is the larger part of an object, and none that a mapper reads.
            let rest = SIZE.saturating_sub(object.to_string().len());
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                let managed = json!([{"manager": "m".repeat(rest)}]);
                metadata.insert("managedFields".to_owned(), managed);
            }
            // Not as if it were now: they have ended long ago.
            cluster.server.apply(object)?;
            count += 1;
        }
    }
    println!("  {count} finished objects of {SIZE} bytes");
    let before = cluster.server.newest_resource_version();
    let state = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for what in ["first start", "second start"] {
        let start = Instant::now();
        let plugin = Plugin::start(binary, &cluster, Some(state.path()), &[]).await?;
        let is_ready = |status: u16, _: &str| status == 200;
        plugin.process.readiness_within(READY, is_ready).await?;
        let ready = start.elapsed().as_secs_f64();
        plugin.rests().await?;
        let kept = plugin.settled().await?;
        let peak = plugin.peak();
        rows.push(row(format!("{what}, ready"), ready, 15.0, "s"));
        rows.push(row(format!("{what}, peak of memory"), peak, 256.0, "MB"));
        println!("  {what}, memory kept: {kept:.0} MB");
        ensure!(plugin.spans() == 0, "{} spans", plugin.spans());
        let ended = plugin.process.terminate().await?;
        ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    }
    let after = cluster.server.newest_resource_version();
    ensure!(before == after, "{} patches were sent", after - before);
    Ok(rows)
}
