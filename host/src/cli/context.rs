//! `context`: the trace context that a step of a pipeline works in, computed by the step itself.

mod derivation;
mod podinfo;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use lighthouse_telemetry_engine::{Engine, Limits, Mapper};
use serde_json::json;

pub use self::derivation::{ContextError, Found};
use self::podinfo::Podinfo;
use super::print;
use crate::mappers::builtin;

pub(super) const EXAMPLES: &str = "Examples, in a step whose Pod has a volume of the downward API:
  lighthouse-telemetry context
  lighthouse-telemetry context --step build --output /trace/build.env
  env $(lighthouse-telemetry context) make test

It prints TRACEPARENT and TRACESTATE as lines that a shell reads. It asks nobody: ids are derived from what the Pod knows of \
itself. docs/tracing-steps.md says which volume and which variables a Task needs.";

/// The built-in mapper that says which event a job belongs to.
const MAPPER: &str = "lighthouse";

/// What `context` takes. A variable that is empty counts as not set.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Directory of a volume of the downward API that has the Pod's labels, annotations and uid in files of these names.
    /// Default: /etc/podinfo, if there is one
    #[arg(long, value_name = "DIRECTORY", env = "PODINFO")]
    pub podinfo: Option<PathBuf>,

    /// Label of the Pod, in place of one in the directory; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,

    /// Annotation of the Pod, in place of one in the directory; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub annotation: Vec<(String, String)>,

    /// Uid of the Pod: metadata.uid
    #[arg(long, value_name = "UID", env = "POD_UID")]
    pub pod_uid: Option<String>,

    /// Uid of the TaskRun, if the label tekton.dev/taskRunUID is missing: $(context.taskRun.uid)
    #[arg(long, value_name = "UID", env = "TASK_RUN_UID")]
    pub task_run_uid: Option<String>,

    /// Uid of the PipelineRun, if the label tekton.dev/pipelineRunUID is missing: $(context.pipelineRun.uid)
    #[arg(long, value_name = "UID", env = "PIPELINE_RUN_UID")]
    pub pipeline_run_uid: Option<String>,

    /// Name of the step: its own span is meant then, and that of the TaskRun without
    #[arg(long, value_name = "NAME", env = "STEP_NAME")]
    pub step: Option<String>,

    /// How often the task may be tried again, with --step: retries of the task in the pipeline
    #[arg(long, value_name = "NUMBER", env = "TASK_RETRIES")]
    pub retries: Option<String>,

    /// How often it was tried again, with --step: $(context.task.retry-count)
    #[arg(long, value_name = "NUMBER", env = "TASK_RETRY_COUNT")]
    pub retry_count: Option<String>,

    /// Owner of the repository: $(params.REPO_OWNER). Labels have it only if it has no slashes
    #[arg(long, value_name = "OWNER", env = "REPO_OWNER")]
    pub owner: Option<String>,

    /// Name of the repository: $(params.REPO_NAME)
    #[arg(long, value_name = "NAME", env = "REPO_NAME")]
    pub repository: Option<String>,

    /// Address of the repository: $(params.REPO_URL)
    #[arg(long, value_name = "URL", env = "REPO_URL")]
    pub repository_url: Option<String>,

    /// Number of the pull request: $(params.PULL_NUMBER)
    #[arg(long, value_name = "NUMBER", env = "PULL_NUMBER")]
    pub pull_number: Option<String>,

    /// Head commit of the pull request: $(params.PULL_PULL_SHA)
    #[arg(long, value_name = "COMMIT", env = "PULL_PULL_SHA")]
    pub pull_sha: Option<String>,

    /// Branch or tag of a push: $(params.PULL_BASE_REF). Needed where the provider has no ids of deliveries
    #[arg(long, value_name = "NAME", env = "PULL_BASE_REF")]
    pub base_ref: Option<String>,

    /// Head commit of a push: $(params.PULL_BASE_SHA)
    #[arg(long, value_name = "COMMIT", env = "PULL_BASE_SHA")]
    pub base_sha: Option<String>,

    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write JSON, with what the ids derive from
    #[arg(long)]
    pub json: bool,
}

/// Prints the context.
///
/// # Errors
/// If something is not known that the ids derive from, or a file cannot be read or written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let found = Contexts::new()?.find(arguments)?;
    let text = if arguments.json {
        format!("{}\n", to_json(&found))
    } else {
        let tracestate = found.context.tracestate(None);
        format!(
            "TRACEPARENT={}\nTRACESTATE={tracestate}\n",
            found.context.traceparent()
        )
    };
    match &arguments.output {
        None => print(&text)?,
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("cannot write {}", path.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Computes contexts.
#[derive(Debug)]
pub struct Contexts {
    /// Says which event a job belongs to.
    mapper: Mapper,
}

impl Contexts {
    /// With the built-in mapper of jobs.
    ///
    /// # Errors
    /// If this machine cannot run WebAssembly.
    pub fn new() -> anyhow::Result<Self> {
        let engine = Engine::new(Limits::default())?;
        let mut mappers = builtin(&engine)?.into_iter();
        let mapper = mappers.find(|mapper| mapper.name() == MAPPER);
        let mapper = mapper.with_context(|| format!("there is no built-in mapper '{MAPPER}'"))?;
        Ok(Self { mapper })
    }

    /// The context that a step works in.
    ///
    /// # Errors
    /// If something is not known that it derives from, or a file cannot be read.
    pub fn find(&self, arguments: &Arguments) -> anyhow::Result<Found> {
        let podinfo = Podinfo::read(arguments)?;
        derivation::find(arguments, &podinfo, &self.mapper)
    }
}

fn to_json(found: &Found) -> serde_json::Value {
    json!({
        "traceparent": found.context.traceparent(),
        "tracestate": found.context.tracestate(None),
        "traceId": found.context.trace_id,
        "spanId": found.context.span_id,
        // None if the trace was read from an annotation.
        "traceKey": found.trace_key.as_ref().map(|key| key.as_str()),
        "uid": found.uid,
        "spanKey": found.span_key,
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// What was given, if it is not empty: an unset parameter of a pipeline is an empty variable.
fn given(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}
