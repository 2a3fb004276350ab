//! The release binary under a load that is ten times a busy cluster's: memory with many pipelines in flight, a start among very
//! many finished objects, and how soon webhooks are answered. Each against its target.
//!
//! It takes most of an hour, so it has a `make` target of its own. Arguments choose parts: `start`, `webhooks`, `churn`, `growth`.

#[path = "../../../host/core/benches/pipeline/objects.rs"]
#[allow(clippy::indexing_slicing, reason = "what JSON has not is null")]
mod objects;

mod churn;
mod cluster;
mod growth;
mod plugin;
mod start;
mod webhooks;

use std::path::Path;

use anyhow::{Result, ensure};
use lighthouse_telemetry_tests::process;

/// What was measured, and what it may be at most.
struct Row {
    what: String,
    measured: f64,
    target: f64,
    unit: &'static str,
}

fn row(what: impl Into<String>, measured: f64, target: f64, unit: &'static str) -> Row {
    let what = what.into();
    println!("  {what}: {measured:.2} {unit}");
    Row {
        what,
        measured,
        target,
        unit,
    }
}

const PARTS: [&str; 4] = ["start", "webhooks", "churn", "growth"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench -- --list` and the like are for harnesses.
    if arguments.iter().any(|argument| argument == "--list") {
        return Ok(());
    }
    let chosen: Vec<&str> = PARTS
        .into_iter()
        .filter(|part| arguments.iter().any(|argument| argument == part))
        .collect();
    let binary = process::build("release")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rows = Vec::new();
    for part in if chosen.is_empty() {
        &PARTS[..]
    } else {
        &chosen
    } {
        println!("{part}");
        rows.extend(runtime.block_on(measure(part, &binary))?);
    }
    println!("\n{:<72} {:>10} {:>10}", "load", "measured", "target");
    let mut met = true;
    for row in rows {
        let verdict = if row.measured <= row.target {
            ""
        } else {
            "  MISSED"
        };
        met &= row.measured <= row.target;
        println!(
            "{:<72} {:>7.2} {:<2} {:>7.1} {:<2}{verdict}",
            row.what, row.measured, row.unit, row.target, row.unit
        );
    }
    ensure!(met, "a target was missed");
    Ok(())
}

async fn measure(part: &str, binary: &Path) -> Result<Vec<Row>> {
    match part {
        "start" => start::measure(binary).await,
        "webhooks" => webhooks::measure(binary).await,
        "churn" => churn::measure(binary).await,
        _ => growth::measure(binary).await,
    }
}
