//! What change a PipelineRun is about: Lighthouse tells it in labels, annotations and parameters.
//!
//! Labels are cut at 63 characters and mangled (`feature/x` becomes `x`), parameters are not: where both tell
//! something, the parameter is asked first. Parameters: lighthouse `docs/pipelines.md`.

use span_mapper_sdk::Span;
use span_mapper_sdk::object::Metadata;
use span_mapper_sdk::url;

use crate::param;
use crate::resource::PipelineRun;

/// The label of Lighthouse, or else the one of Jenkins X.
fn label<'s>(metadata: &'s Metadata<'_>, lighthouse: &str, jenkins_x: &str) -> Option<&'s str> {
    metadata
        .labels
        .text(lighthouse)
        .or_else(|| metadata.labels.text(jenkins_x))
}

/// Sets the attributes of the change: `pipeline.*`, `vcs.*` and `event.guid`.
pub fn describe<'a>(run: &'a PipelineRun<'a>, span: &mut Span<'a>) {
    let metadata = &run.metadata;
    let labels = &metadata.labels;
    let param = |name| param::text(&run.spec.params, name);

    let owner = label(metadata, "lighthouse.jenkins-x.io/refs.org", "owner");
    let repository = label(metadata, "lighthouse.jenkins-x.io/refs.repo", "repository");
    span.set("pipeline.owner", owner);
    span.set("pipeline.repository", repository);
    span.set(
        "pipeline.branch",
        label(metadata, "lighthouse.jenkins-x.io/branch", "branch"),
    );
    span.set(
        "pipeline.build",
        label(metadata, "lighthouse.jenkins-x.io/buildNum", "build"),
    );
    span.set(
        "pipeline.context",
        label(metadata, "lighthouse.jenkins-x.io/context", "context"),
    );
    span.set("event.guid", labels.text("event-GUID"));

    span.set("vcs.owner.name", param("REPO_OWNER").or(owner));
    span.set("vcs.repository.name", param("REPO_NAME").or(repository));
    let clone = metadata
        .annotations
        .text("lighthouse.jenkins-x.io/cloneURI");
    span.set(
        "vcs.repository.url.full",
        [clone, param("REPO_URL")]
            .into_iter()
            .flatten()
            .find_map(url::repository),
    );

    let base = param("PULL_BASE_REF").filter(|name| !name.is_empty());
    let base_revision = param("PULL_BASE_SHA").or(labels.text("lighthouse.jenkins-x.io/baseSHA"));
    let pull = param("PULL_NUMBER").or(labels.text("lighthouse.jenkins-x.io/refs.pull"));
    let last_commit = labels.text("lighthouse.jenkins-x.io/lastCommitSHA");
    if let Some(number) = pull {
        span.set("vcs.change.id", number);
        span.set("vcs.ref.head.name", param("PULL_PULL_REF"));
        span.set(
            "vcs.ref.head.revision",
            param("PULL_PULL_SHA").or(last_commit),
        );
        span.set("vcs.ref.base.name", base);
        if base.is_some() {
            span.set("vcs.ref.base.type", "branch");
        }
        span.set("vcs.ref.base.revision", base_revision);
    } else {
        span.set("vcs.ref.head.name", base);
        if base.is_some() {
            span.set("vcs.ref.head.type", "branch");
        }
        span.set("vcs.ref.head.revision", last_commit.or(base_revision));
    }
}
