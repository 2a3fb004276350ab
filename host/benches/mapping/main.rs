//! What a mapping in a fresh sandbox costs, as a share of decoding the same objects with serde_json.
//!
//! The host decodes each object once anyway; a mapper that costs more than half of that would be felt. The ratio
//! says the same on a slow machine and a fast one, microseconds do not.
//!
//! And what is left of the built-in mappers' throughput beside one that misbehaves.

mod measure;
mod neighbours;
mod subjects;

use criterion::Criterion;
use lighthouse_telemetry_engine::{Code, Engine, Limits, Mapper};
use measure::{Row, Table};
use subjects::Case;

const TWELVE_FIELDS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twelve-fields.wasm"));

const INTERPRETER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/declarative.compiled"));
const TWELVE_EXPRESSIONS: &str = include_str!("twelve-fields.mapper.yaml");
/// The mapper in Rust, and the one in YAML that makes the same of the same object.
const ALIKE: [&str; 2] = ["12 fields of a Pod", "12 expressions, declarative"];

fn main() -> anyhow::Result<()> {
    let engine = Engine::new(Limits::default())?;
    let twelve_fields = engine.load("twelve-fields", Code::Component(TWELVE_FIELDS), "")?;
    let interpreter = engine.interpreter(Code::Precompiled(INTERPRETER))?;
    let twelve_expressions = interpreter.mapper("twelve-expressions", TWELVE_EXPRESSIONS)?;
    let built_in = lighthouse_telemetry::mappers::builtin(&engine)?;
    let [lighthouse, tekton, kubernetes, jenkins_x] = built_in.as_slice() else {
        anyhow::bail!("there are four built-in mappers");
    };

    let mut criterion = Criterion::default().configure_from_args();
    let mut table = Table::default();
    let mut row = |what, mapper: &Mapper, case: Case, target, enough| -> anyhow::Result<()> {
        if let Some((decode, map)) = measure::both(&mut criterion, what, mapper, &case)? {
            table.add(Row {
                what,
                bytes: case.bytes(),
                decode,
                map,
                target,
                enough,
            });
        }
        Ok(())
    };
    let few = Some(30.0);
    let [in_rust, in_yaml] = ALIKE;
    row(in_rust, &twelve_fields, subjects::pod(0)?, 0.25, None)?;
    row(in_yaml, &twelve_expressions, subjects::pod(0)?, 2.0, None)?;
    row(
        "Pod, 7 containers",
        kubernetes,
        subjects::pod(0)?,
        0.35,
        None,
    )?;
    row(
        "Pod, 7 containers, 40 Events",
        kubernetes,
        subjects::pod(40)?,
        0.5,
        None,
    )?;
    row("PipelineRun", tekton, subjects::pipeline_run()?, 0.5, few)?;
    row("TaskRun", tekton, subjects::task_run()?, 0.5, few)?;
    row(
        "LighthouseJob",
        lighthouse,
        subjects::lighthouse_job()?,
        0.5,
        few,
    )?;
    row(
        "PipelineActivity",
        jenkins_x,
        subjects::pipeline_activity()?,
        0.5,
        few,
    )?;
    criterion.final_summary();
    println!("{table}");
    if let Some(times) = table.times(in_yaml, in_rust) {
        println!("A mapping in YAML takes {times:.1} times as long as one in Rust.");
    }
    neighbours::compare()
}
