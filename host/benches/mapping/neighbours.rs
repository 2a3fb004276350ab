//! What is left of the built-in mappers' throughput beside one that misbehaves: as the host calls them, on its threads and with
//! as much waiting as it takes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use lighthouse_telemetry::generation::Generation;
use lighthouse_telemetry::mappers::{self, Mappers};
use lighthouse_telemetry::mapping::Mapping;
use lighthouse_telemetry::metrics::Metrics;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{Fact, MapRequest, SubjectId, Ticket};
use lighthouse_telemetry_core::mapping::{ObjectSubject, Subject};
use lighthouse_telemetry_core::object::WatchId;
use lighthouse_telemetry_engine::{Code, Engine, Limits};
use tokio::sync::mpsc::unbounded_channel;

use crate::subjects;

const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));
/// Its name, and that of the mapper that is measured.
const NEIGHBOUR: &str = "hostile";
const MEASURED: &str = "kubernetes";
/// So many mappings of each are in flight.
const IN_FLIGHT: u64 = 200;
/// For the neighbour to be found out, and for a measurement.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASUREMENT: Duration = Duration::from_secs(4);
/// Each is measured so many times, in turns; the best counts.
const TIMES: usize = 3;
/// Of what it is without a neighbour.
const TARGET: f64 = 0.9;

/// What the neighbours do: nothing but be there, and their worst.
const NEIGHBOURS: [(&str, &str); 6] = [
    ("none", ""),
    ("loops for ever", "loop"),
    ("takes all memory", "memory"),
    ("traps at once", "trap"),
    ("returns 20 MB", "long text"),
    ("is slow, and succeeds", "slow"),
];

/// Measures, and prints what came of it.
pub fn compare() -> anyhow::Result<()> {
    // A list of benches, or one that was asked for by its name, is not about this.
    if std::env::args()
        .skip(1)
        .any(|argument| !argument.starts_with("--bench"))
    {
        return Ok(());
    }
    let engine = Engine::new(Limits::default())?;
    let mut all = mappers::builtin(&engine)?;
    let kubernetes = all.iter().find(|mapper| mapper.name() == MEASURED);
    let pod = subjects::pod(0)?.subject(kubernetes.context("there is such a mapper")?)?;
    all.push(engine.load(NEIGHBOUR, Code::Component(HOSTILE), "")?);
    let mappers = Mappers::new(all)?;
    let mut best = NEIGHBOURS.map(|_| (0.0_f64, 0.0_f64));
    for _ in 0..TIMES {
        for ((_, does), best) in NEIGHBOURS.iter().zip(&mut best) {
            let (measured, neighbour) = throughput(&mappers, &pod, does)?;
            if measured > best.0 {
                *best = (measured, neighbour);
            }
        }
    }
    let alone = best.first().map_or(0.0, |(measured, _)| *measured);
    println!(
        "{:<24} | {:>14} | {:>14} | {:>5} | target | ok",
        "neighbour", "its calls/s", "others' Pods/s", "ratio"
    );
    for ((what, _), (measured, neighbour)) in NEIGHBOURS.iter().zip(best) {
        let ratio = measured / alone;
        let reached = if ratio >= TARGET { "yes" } else { "NO" };
        println!(
            "{what:<24} | {neighbour:>14.1} | {measured:>14.0} | {ratio:>5.2} | {TARGET:>6} | {reached}"
        );
    }
    Ok(())
}

/// Mappings a second of Pods, and of the neighbour.
fn throughput(mappers: &Mappers, pod: &Subject, does: &str) -> anyhow::Result<(f64, f64)> {
    let catalog = Arc::clone(&mappers.catalog);
    let (results, mut answers) = unbounded_channel();
    let generation = Generation::from(mappers.clone());
    let mapping = Mapping::start(generation, results, Metrics::default())?;
    let watched = watch_of(&catalog, MEASURED, pod)?;
    let hostile = Subject::Object(ObjectSubject {
        watch: 0,
        json: format!(r#"{{"metadata":{{"name":"{does}"}}}}"#).into(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    });
    let neighbour = watch_of(&catalog, NEIGHBOUR, &hostile)?;
    let ask = |watch: WatchId, subject: &Subject| {
        mapping.push(MapRequest {
            ticket: Ticket {
                subject: SubjectId::Webhook(0),
                revision: 0,
                watch,
            },
            subject: subject.clone(),
        });
    };
    for _ in 0..IN_FLIGHT {
        ask(watched, pod);
        if !does.is_empty() {
            ask(neighbour, &hostile);
        }
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + MEASUREMENT;
    let (mut of_measured, mut of_neighbour) = (0.0, 0.0);
    loop {
        let Some(Fact::Mapped(ticket, result)) = answers.blocking_recv() else {
            anyhow::bail!("the threads have ended");
        };
        let now = Instant::now();
        if now > end {
            break;
        }
        let counts = f64::from(u8::from(now > begin));
        if ticket.watch == watched {
            result.map_err(|failure| anyhow::anyhow!(failure.message))?;
            of_measured += counts;
            ask(watched, pod);
        } else {
            of_neighbour += counts;
            ask(neighbour, &hostile);
        }
    }
    let seconds = MEASUREMENT.as_secs_f64();
    Ok((of_measured / seconds, of_neighbour / seconds))
}

/// The watch of a mapper that a subject is of.
fn watch_of(catalog: &Catalog, mapper: &str, subject: &Subject) -> anyhow::Result<WatchId> {
    let Subject::Object(object) = subject else {
        anyhow::bail!("it is an object");
    };
    let mut watches = catalog.watches_of(mapper);
    let found = watches.find(|watch| catalog.place(*watch) == Some(object.watch));
    found.context("there is such a watch")
}
