//! Which span a step belongs under, from what its Pod knows.
//!
//! What the trace of a job derives from is asked of the mapper that maps jobs, so that both say the same.

use lighthouse_telemetry_core::context::SpanContext;
use lighthouse_telemetry_core::description::Source;
use lighthouse_telemetry_core::identity::{SpanId, TraceId, TraceKey};
use lighthouse_telemetry_core::mapping::{ObjectSubject, Outcome, Parent, Subject};
use lighthouse_telemetry_engine::Mapper;
use serde_json::{Value, json};
use thiserror::Error;

use super::podinfo::Podinfo;
use super::{Arguments, given};

/// Of all that Lighthouse sets off: the name of the LighthouseJob.
const JOB: &str = "lighthouse.jenkins-x.io/id";
const TASK_RUN: &str = "tekton.dev/taskRunUID";
const PIPELINE_RUN: &str = "tekton.dev/pipelineRunUID";
/// Of a run that repeats another one.
const RERUN: &str = "dashboard.tekton.dev/rerunOf";
const GUID: &str = "event-GUID";
/// Parts of addresses of repositories that belong neither to the owner nor to the name.
const NO_OWNERS: [&str; 2] = ["scm", "_git"];

/// The context of the span that a step's own spans belong under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its ids.
    pub context: SpanContext,
    /// What the trace id derives from; none if an annotation says which trace it is.
    pub trace_key: Option<TraceKey>,
    /// The uid that the span id derives from.
    pub uid: String,
    /// Key of the span in its object; empty for the main span.
    pub span_key: String,
}

/// What is missing, or cannot be known, and what to do about it.
#[derive(Debug, Error)]
pub enum ContextError {
    /// No uid of the TaskRun.
    #[error(
        "the uid of the TaskRun is not known: mount the Pod's labels (--podinfo), or set TASK_RUN_UID to \
         $(context.taskRun.uid) in the env of the step"
    )]
    NoTaskRun,
    /// No uid of the PipelineRun, which there is.
    #[error(
        "the uid of the PipelineRun is not known, and the label tekton.dev/pipelineRunUID is missing: give the Task a \
         parameter with the value $(context.pipelineRun.uid), and set PIPELINE_RUN_UID to it"
    )]
    NoPipelineRun,
    /// A part of the refs is not known.
    #[error(
        "{what} is not known: set {variable} to $(params.{variable}) in the env of the step, or mount {volume} (--podinfo)"
    )]
    Missing {
        /// What.
        what: &'static str,
        /// The variable, called as Lighthouse's parameter is.
        variable: &'static str,
        /// What of the Pod says it, too.
        volume: &'static str,
    },
    /// A label has but the end of the owner.
    #[error(
        "the owner of the repository is '{0}', which a label cannot hold: set REPO_OWNER to $(params.REPO_OWNER) in the env of \
         the step"
    )]
    Nested(String),
    /// The provider does not tell deliveries apart, and what stands in for that is not known.
    #[error(
        "this git provider has no ids of deliveries, so that the trace derives from {0}: set these to the parameters of \
         their names in the env of the step, such as $(params.{first})", first = first(.0)
    )]
    NoChange(&'static str),
    /// The job has a trace of its own.
    #[error(
        "this is {0}, whose trace derives from the uid of its LighthouseJob, which no Pod knows. The annotation \
         lighthouse.jenkins-x.io/traceparent of the Pod says which trace it is, once it is there: mount the Pod's annotations \
         (--podinfo) and give its uid (POD_UID)"
    )]
    OwnTrace(&'static str),
    /// A number is none.
    #[error("{variable} is '{value}', which is no number")]
    NoNumber {
        /// The variable that is meant.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
}

/// The first of several names.
fn first<'names>(names: &&'names str) -> &'names str {
    names.split(' ').next().unwrap_or_default()
}

/// The context of a step.
pub fn find(arguments: &Arguments, podinfo: &Podinfo, mapper: &Mapper) -> anyhow::Result<Found> {
    let task_run = given(arguments.task_run_uid.as_ref())
        .or(podinfo.text(TASK_RUN))
        .ok_or(ContextError::NoTaskRun)?;
    let pipeline_run = given(arguments.pipeline_run_uid.as_ref()).or(podinfo.text(PIPELINE_RUN));
    let own = [podinfo.uid(), Some(task_run), pipeline_run];
    let (trace_id, trace_key) = match told(podinfo, &own) {
        Some(trace_id) => (trace_id, None),
        None => {
            let key = trace_key(arguments, podinfo, mapper, task_run, pipeline_run)?;
            (key.trace_id(), Some(key))
        }
    };
    let span_key = span_key(arguments)?;
    Ok(Found {
        context: SpanContext {
            trace_id,
            span_id: SpanId::of(task_run, "", &span_key),
        },
        trace_key,
        uid: task_run.to_owned(),
        span_key,
    })
}

/// The trace that the Pod's annotation tells of, if that is the context of the Pod, of its TaskRun or of its PipelineRun: Tekton
/// copies annotations downwards. Any other may be that of a run which this one repeats.
fn told(podinfo: &Podinfo, own: &[Option<&str>]) -> Option<TraceId> {
    let text = podinfo.annotation("lighthouse.jenkins-x.io/traceparent")?;
    let context = SpanContext::parse(text)?;
    let mut own = own.iter().flatten();
    own.any(|uid| SpanId::of(uid, "", "") == context.span_id)
        .then_some(context.trace_id)
}

/// What the trace derives from.
fn trace_key(
    arguments: &Arguments,
    podinfo: &Podinfo,
    mapper: &Mapper,
    task_run: &str,
    pipeline_run: Option<&str>,
) -> anyhow::Result<TraceKey> {
    if podinfo.text(RERUN).is_some() {
        return Err(ContextError::OwnTrace("a rerun").into());
    }
    if podinfo.text(JOB).is_none() {
        return match pipeline_run {
            Some(pipeline_run) => Ok(TraceKey::object(pipeline_run)),
            None if podinfo.text("tekton.dev/pipelineRun").is_some() => {
                Err(ContextError::NoPipelineRun.into())
            }
            None => Ok(TraceKey::object(task_run)),
        };
    }
    let kind = podinfo.text("lighthouse.jenkins-x.io/type");
    // A job on a timer has a repository only if it is given one.
    let is_timed = kind == Some("periodic") && repository(arguments, podinfo).is_none();
    let guid = podinfo.label(GUID).filter(|_| !is_timed);
    let guid = guid.ok_or(ContextError::OwnTrace("a job on a timer or of the keeper"))?;
    let job = job(arguments, podinfo, guid, kind)?;
    match ask(mapper, &job)? {
        Some(key) => Ok(key),
        None if kind == Some("batch") => {
            Err(ContextError::OwnTrace("a batch of pull requests").into())
        }
        None if is_change(arguments, podinfo, kind) => {
            Err(ContextError::NoChange("PULL_NUMBER and PULL_PULL_SHA").into())
        }
        None => Err(ContextError::NoChange("PULL_BASE_REF and PULL_BASE_SHA").into()),
    }
}

/// Whether the job is that of a pull request.
fn is_change(arguments: &Arguments, podinfo: &Podinfo, kind: Option<&str>) -> bool {
    kind == Some("presubmit") || pull_number(arguments, podinfo).is_some()
}

fn repository<'a>(arguments: &'a Arguments, podinfo: &'a Podinfo) -> Option<&'a str> {
    given(arguments.repository.as_ref()).or(podinfo.text("lighthouse.jenkins-x.io/refs.repo"))
}

fn pull_number<'a>(arguments: &'a Arguments, podinfo: &'a Podinfo) -> Option<&'a str> {
    given(arguments.pull_number.as_ref()).or(podinfo.text("lighthouse.jenkins-x.io/refs.pull"))
}

/// The LighthouseJob, as far as its trace derives from it.
fn job(
    arguments: &Arguments,
    podinfo: &Podinfo,
    guid: &str,
    kind: Option<&str>,
) -> Result<Value, ContextError> {
    let repository = repository(arguments, podinfo).ok_or(ContextError::Missing {
        what: "the name of the repository",
        variable: "REPO_NAME",
        volume: "the Pod's labels",
    })?;
    let address = given(arguments.repository_url.as_ref())
        .or(podinfo.annotation("lighthouse.jenkins-x.io/cloneURI"));
    let owner = given(arguments.owner.as_ref());
    // By its host it is known whether a GUID is one of a delivery, and by its path whether a label has all of the owner.
    if address.is_none() && (!guid.is_empty() || owner.is_none()) {
        return Err(ContextError::Missing {
            what: "the address of the repository",
            variable: "REPO_URL",
            volume: "the Pod's annotations",
        });
    }
    let address = address.unwrap_or_default();
    let owner = match (owner, podinfo.text("lighthouse.jenkins-x.io/refs.org")) {
        (Some(owner), _) => owner,
        (None, Some(owner)) => match whole_owner(address, owner, repository) {
            Some(whole) => return Err(ContextError::Nested(whole)),
            None => owner,
        },
        (None, None) => {
            return Err(ContextError::Missing {
                what: "the owner of the repository",
                variable: "REPO_OWNER",
                volume: "the Pod's labels",
            });
        }
    };
    let pull = json!({
        "number": pull_number(arguments, podinfo).map(|text| number("PULL_NUMBER", text)).transpose()?,
        "sha": given(arguments.pull_sha.as_ref()).or(podinfo.text("lighthouse.jenkins-x.io/lastCommitSHA")),
    });
    let pulls = match kind {
        // However many there are.
        Some("batch") => vec![pull.clone(), pull],
        _ if is_change(arguments, podinfo, kind) => vec![pull],
        _ => Vec::new(),
    };
    Ok(json!({
        "apiVersion": "lighthouse.jenkins.io/v1alpha1",
        "kind": "LighthouseJob",
        "metadata": {
            "name": podinfo.text(JOB),
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "labels": {GUID: guid},
        },
        "spec": {"type": kind, "refs": {
            "org": owner,
            "repo": repository,
            "clone_uri": address,
            // A label has but the end of a branch such as feature/x.
            "base_ref": given(arguments.base_ref.as_ref()),
            "base_sha": given(arguments.base_sha.as_ref()).or(podinfo.text("lighthouse.jenkins-x.io/baseSHA")),
            "pulls": pulls,
        }},
    }))
}

/// All of the owner, if the address has more of it than the label.
fn whole_owner(address: &str, owner: &str, repository: &str) -> Option<String> {
    let address = address.to_lowercase();
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => address.split_once(':')?.1,
    };
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    let mut parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && !NO_OWNERS.contains(part))
        .collect();
    let name = parts.pop()?;
    let is_end = name == repository.to_lowercase()
        && parts
            .last()
            .is_some_and(|last| *last == owner.to_lowercase());
    (is_end && parts.len() > 1).then(|| parts.join("/"))
}

/// Which event the job belongs to; none if it starts a trace of its own.
fn ask(mapper: &Mapper, job: &Value) -> anyhow::Result<Option<TraceKey>> {
    let mut watches = (0..).zip(&mapper.description().watches);
    let watch = watches.find_map(|(place, watch)| match &watch.source {
        Source::Objects(source) if source.kind == "LighthouseJob" => Some(place),
        _ => None,
    });
    let outcome = mapper.map(&Subject::Object(ObjectSubject {
        watch: watch.unwrap_or_default(),
        json: job.to_string().into(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    }))?;
    let Outcome::Spans(trees) = outcome else {
        return Ok(None);
    };
    let parents = trees.iter().flat_map(|tree| &tree.parents);
    let mut keys = parents.filter_map(|parent| match parent {
        Parent::Event(key) => Some(TraceKey::event(key)),
        _ => None,
    });
    Ok(keys.next())
}

/// Key of the span in its TaskRun.
fn span_key(arguments: &Arguments) -> Result<String, ContextError> {
    let Some(step) = given(arguments.step.as_ref()) else {
        return Ok(String::new());
    };
    let count = |variable, value: Option<&String>| given(value).map(|text| number(variable, text));
    let retries = count("TASK_RETRIES", arguments.retries.as_ref()).transpose()?;
    let tried = count("TASK_RETRY_COUNT", arguments.retry_count.as_ref()).transpose()?;
    let (retries, tried) = (retries.unwrap_or(0), tried.unwrap_or(0));
    Ok(if retries.max(tried) == 0 {
        format!("step/{step}")
    } else {
        format!("attempt/{}/step/{step}", tried.saturating_add(1))
    })
}

fn number(variable: &'static str, text: &str) -> Result<u64, ContextError> {
    text.parse().map_err(|_| ContextError::NoNumber {
        variable,
        value: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_of_several_parts_is_noticed() {
        let whole = |address| whole_owner(address, "sub", "Tool");
        assert_eq!(
            whole("https://gitlab.com/Group/Sub/tool.git").as_deref(),
            Some("group/sub")
        );
        assert_eq!(
            whole("git@gitlab.com:group/sub/tool.git").as_deref(),
            Some("group/sub")
        );
        assert_eq!(
            whole("https://dev.azure.com/group/sub/_git/tool").as_deref(),
            Some("group/sub")
        );
        for address in [
            "https://github.com/sub/tool",
            "https://bitbucket.acme.com/scm/sub/tool.git",
            "git@github.com:sub/tool",
            "",
        ] {
            assert_eq!(whole(address), None, "{address}");
        }
    }

    #[test]
    fn a_step_of_a_task_that_may_be_tried_again_is_one_of_an_attempt() {
        let key = |retries: &str, tried: &str| {
            span_key(&Arguments {
                step: Some("build".to_owned()),
                retries: Some(retries.to_owned()),
                retry_count: Some(tried.to_owned()),
                ..Arguments::default()
            })
            .map_err(|error| error.to_string())
        };
        assert_eq!(key("", ""), Ok("step/build".to_owned()));
        assert_eq!(key("0", "0"), Ok("step/build".to_owned()));
        assert_eq!(key("2", "0"), Ok("attempt/1/step/build".to_owned()));
        assert_eq!(key("", "1"), Ok("attempt/2/step/build".to_owned()));
        let wrong = "TASK_RETRIES is 'two', which is no number".to_owned();
        assert_eq!(key("two", "0"), Err(wrong));
    }
}
