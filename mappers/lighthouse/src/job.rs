//! A LighthouseJob as a tree of spans.

use span_mapper_sdk::url::{self, without_credentials};
use span_mapper_sdk::{
    Error, EventKey, Object, Outcome, Parent, Remote, Span, SpanTree, read, time,
};

use crate::event_key::{self, Event};
use crate::job_resource::{LighthouseJob, Refs};
use crate::{ANNOTATION_PREFIX, provider};

/// The label that Lighthouse copies the GUID of the event to.
const EVENT_GUID: &str = "event-GUID";

/// The spans of a job.
pub fn map(object: &Object) -> Result<Outcome<'_>, Error> {
    let (job, diagnostics) = read::parse::<LighthouseJob<'_>>(&object.json)?;
    let job = read::keep(job);
    let (metadata, status) = (&job.metadata, &job.status);
    let Some(start) = metadata.created.get().or(status.started.get()) else {
        return Ok(Outcome::wait("no-creation-time"));
    };
    let over = result(status.state.as_str()).is_some();
    let reported = status.completed.get().or(status.activity.completed.get());
    let known = time::latest([Some(start), status.started.get(), gone(job, object)]);
    let name = job.spec.job.get().unwrap_or("LighthouseJob");
    let mut main = Span::main(name, start)
        .until(over.then(|| reported.or(known).unwrap_or(start)))
        .about("LighthouseJob", metadata);
    if object.deleted && !over {
        main.end_by_deletion(reported.or(known).unwrap_or(start));
    }
    let end = main.end;
    describe(&mut main, job);
    judge(&mut main, job);

    let mut tree = SpanTree::new("LighthouseJob", main)
        .with_resource("service.namespace", &metadata.namespace)
        .with_diagnostics(diagnostics);
    tree.parents = parents(job);
    tree.add(Span::new("queue", "queue", start).until_or_parent(status.started.get(), end));
    // Lighthouse creates a job and then writes its status: a patch in between makes that fail.
    tree.may_annotate = !status.state.is_empty();
    tree.clamp();
    Ok(tree.into())
}

/// When a job that is gone was asked to go.
fn gone(job: &LighthouseJob<'_>, object: &Object) -> Option<span_mapper_sdk::Timestamp> {
    job.metadata.deleted.get().filter(|_| object.deleted)
}

/// What a state amounts to, if it is a last one. The Tekton engine reports a cancelled run as a failure.
fn result(state: &str) -> Option<&'static str> {
    match state {
        "success" => Some("success"),
        "failure" => Some("failure"),
        "aborted" => Some("cancellation"),
        "error" => Some("error"),
        _ => None,
    }
}

fn judge<'a>(span: &mut Span<'a>, job: &'a LighthouseJob<'a>) {
    let status = &job.status;
    let state = status.state.as_str();
    let result = result(state);
    span.set("job.state", state);
    span.set("job.result", result);
    if let Some(failure @ ("failure" | "error")) = result {
        span.fail(
            failure,
            status.description.get().unwrap_or("the job failed"),
        );
    }
}

/// Where the job belongs: a context that whoever created it has set, else its event, else a trace of its own.
fn parents(job: &LighthouseJob<'_>) -> Vec<Parent> {
    let annotation = |name: &str| {
        let key = [ANNOTATION_PREFIX, "/", name].concat();
        job.metadata.annotations.text(&key).map(str::to_owned)
    };
    let remote = annotation("traceparent").map(|traceparent| {
        Parent::Remote(Remote {
            traceparent,
            tracestate: annotation("tracestate"),
        })
    });
    let root = event_key(job).map_or_else(Parent::own_root, Parent::Event);
    remote.into_iter().chain([root]).collect()
}

/// The event that the job was created for. One that was created on a timer or by the keeper has no label of the
/// event, not even an empty one, and shares its refs with others: it belongs to no event.
fn event_key(job: &LighthouseJob<'_>) -> Option<EventKey> {
    let guid = job.metadata.labels.get(EVENT_GUID)?;
    let refs = &job.spec.refs;
    let change = match &*refs.pulls {
        [pull] => {
            let number = pull
                .number
                .get()
                .and_then(|number| u64::try_from(number).ok());
            // One without a number must not pass for a push.
            Some((number?, pull.revision.as_str()))
        }
        _ => None,
    };
    event_key::of(&Event {
        owner: refs.owner.as_str(),
        name: refs.repository.as_str(),
        addresses: addresses(refs),
        guid: guid.as_str(),
        change,
        push: refs
            .pulls
            .is_empty()
            .then_some((refs.base_name.as_str(), refs.base_revision.as_str())),
    })
}

fn addresses<'r>(refs: &'r Refs<'_>) -> [&'r str; 3] {
    [
        refs.link.as_str(),
        refs.clone.as_str(),
        refs.base_link.as_str(),
    ]
}

fn describe<'a>(span: &mut Span<'a>, job: &'a LighthouseJob<'a>) {
    let (labels, spec, status) = (&job.metadata.labels, &job.spec, &job.status);
    let refs = &spec.refs;
    span.set("event.guid", labels.text(EVENT_GUID));
    span.set("job.name", &spec.job);
    span.set("job.type", &spec.kind);
    span.set("job.agent", &spec.agent);
    span.set("job.description", &status.description);
    span.set("job.activity", &status.activity_name);
    span.set("job.url", without_credentials(status.report_url.as_str()));
    span.set("pipeline.owner", &refs.owner);
    span.set("pipeline.repository", &refs.repository);
    span.set("pipeline.branch", branch(job));
    span.set(
        "pipeline.build",
        labels.text("lighthouse.jenkins-x.io/buildNum"),
    );
    span.set("pipeline.context", &spec.context);
    let addresses = addresses(refs);
    span.set("vcs.provider.name", provider::name(addresses));
    span.set("vcs.owner.name", &refs.owner);
    span.set("vcs.repository.name", &refs.repository);
    span.set(
        "vcs.repository.url.full",
        [&refs.link, &refs.clone]
            .into_iter()
            .find_map(|address| url::repository(address.as_str())),
    );
    let Some(pull) = refs.pulls.first().filter(|_| refs.pulls.len() == 1) else {
        let head = if refs.pulls.is_empty() {
            "head"
        } else {
            "base"
        };
        span.set(["vcs.ref.", head, ".name"].concat(), &refs.base_name);
        span.set(
            ["vcs.ref.", head, ".revision"].concat(),
            &refs.base_revision,
        );
        return;
    };
    span.set("pr.owner", &refs.owner);
    span.set("pr.repo", &refs.repository);
    span.set("pr.number", pull.number);
    span.set("pr.title", &pull.title);
    span.set("pr.author", &pull.author);
    span.set("pr.link", &pull.link);
    span.set(
        "vcs.change.id",
        pull.number.get().map(|number| number.to_string()),
    );
    span.set("vcs.change.title", &pull.title);
    span.set("vcs.ref.head.name", &pull.reference);
    span.set("vcs.ref.head.revision", &pull.revision);
    span.set("vcs.ref.base.name", &refs.base_name);
    span.set("vcs.ref.base.type", refs.base_name.get().map(|_| "branch"));
    span.set("vcs.ref.base.revision", &refs.base_revision);
}

/// The branch by the name that Lighthouse gives it: lighthouse `LighthouseJobSpec.GetBranch`.
fn branch(job: &LighthouseJob<'_>) -> Option<String> {
    let refs = &job.spec.refs;
    match job.spec.kind.as_str() {
        "batch" => Some("batch".to_owned()),
        "postsubmit" => refs.base_name.get().map(str::to_owned),
        _ => match refs.pulls.first().and_then(|pull| pull.number.get()) {
            Some(number) => Some(["PR-", &number.to_string()].concat()),
            None => refs.base_name.get().map(str::to_owned),
        },
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
