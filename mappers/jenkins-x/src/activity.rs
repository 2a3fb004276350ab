//! A PipelineActivity as a whole.

use span_mapper_sdk::read;
use span_mapper_sdk::url::{self, without_credentials};
use span_mapper_sdk::{
    Error, Object, Outcome, Owner, Parent, Span, SpanTree, Target, Timestamp, time,
};

use crate::resource::{Activity, Status};
use crate::stages;

/// The spans of a PipelineActivity. One that a Jenkins server writes is not ours, and neither is one that has ended
/// without naming a LighthouseJob; until it has ended, it may still be told which one it belongs to.
pub fn map(object: &Object) -> Result<Outcome<'_>, Error> {
    let (activity, diagnostics) = read::parse::<Activity<'_>>(&object.json)?;
    let activity = read::keep(activity);
    let (metadata, spec) = (&activity.metadata, &activity.spec);
    if is_of_jenkins(spec.build_url.as_str(), spec.build_logs_url.as_str()) {
        return Ok(Outcome::NotOurs);
    }
    let end = end(activity, object.deleted);
    let is_over = spec.completed.get().is_some() || Status::of(spec.status.as_str()).is_final();
    let parents = parents(activity);
    if parents.is_empty() {
        return Ok(match end {
            Some(_) => Outcome::NotOurs,
            None => Outcome::wait("no-lighthouse-job"),
        });
    }

    let start = spec
        .started
        .get()
        .unwrap_or_else(|| metadata.created_or_epoch());
    let mut main = Span::main(name(activity), start)
        .until(end)
        .about("PipelineActivity", metadata)
        .with("jenkins_x.status", &spec.status);
    if let Some(latest) = end.filter(|_| !is_over) {
        main.end_by_deletion(latest);
    }
    stages::set_status(
        &mut main,
        Status::of(spec.status.as_str()),
        spec.status.as_str(),
        "",
    );
    describe(activity, &mut main);

    let mut tree = SpanTree::new("PipelineActivity", main)
        .with_resource("service.namespace", &metadata.namespace)
        .with_diagnostics(diagnostics);
    tree.parents = parents;
    // Its controller has created it with a start, and writes its steps with versions of its own.
    tree.may_annotate = spec.started.get().is_some();
    stages::add(&mut tree, &spec.steps);
    tree.clamp();
    Ok(tree.into())
}

/// Whether a Jenkins server wrote it: jenkins-x-plugins/jx-pipeline and the `jx-resources` plugin of Jenkins use the
/// same resource.
fn is_of_jenkins(build_url: &str, build_logs_url: &str) -> bool {
    build_url.contains("/blue/organizations/jenkins/")
        || (build_logs_url.contains("/job/") && build_logs_url.ends_with("/console"))
}

/// When it ended, if it has. Some final statuses come without a time.
fn end(activity: &Activity<'_>, deleted: bool) -> Option<Timestamp> {
    let spec = &activity.spec;
    if let Some(completed) = spec.completed.get() {
        return Some(completed);
    }
    if !deleted && !Status::of(spec.status.as_str()).is_final() {
        return None;
    }
    let steps = spec.steps.iter().map(|entry| entry.latest());
    let own = [
        spec.started.get(),
        activity.metadata.created.get(),
        activity.metadata.deleted.get(),
    ];
    Some(time::latest(steps.chain(own)).unwrap_or_else(|| activity.metadata.created_or_epoch()))
}

fn parents(activity: &Activity<'_>) -> Vec<Parent> {
    let metadata = &activity.metadata;
    let job = metadata.labels.text("lighthouse.jenkins-x.io/id");
    let target = job.map(|name| {
        Parent::Target(Target {
            group: "lighthouse.jenkins.io".to_owned(),
            kind: "LighthouseJob".to_owned(),
            namespace: None,
            name: name.to_owned(),
            uid: None,
            span: String::new(),
        })
    });
    let owner = metadata.controller().map(|_| Parent::Owner(Owner::any("")));
    target.into_iter().chain(owner).collect()
}

/// A name that many activities share.
fn name<'s>(activity: &'s Activity<'_>) -> &'s str {
    let metadata = &activity.metadata;
    [
        metadata.annotations.text("lighthouse.jenkins-x.io/job"),
        metadata.labels.text("lighthouse.jenkins-x.io/job"),
        activity.spec.context.get(),
        metadata.labels.text("lighthouse.jenkins-x.io/context"),
        metadata.labels.text("context"),
    ]
    .into_iter()
    .flatten()
    .next()
    .unwrap_or("PipelineActivity")
}

fn describe<'a>(activity: &'a Activity<'a>, span: &mut Span<'a>) {
    let (labels, spec) = (&activity.metadata.labels, &activity.spec);
    let label = |lighthouse, jenkins_x| labels.text(lighthouse).or_else(|| labels.text(jenkins_x));
    let owner = label("lighthouse.jenkins-x.io/refs.org", "owner").or(spec.git_owner.get());
    let repository =
        label("lighthouse.jenkins-x.io/refs.repo", "repository").or(spec.git_repository.get());
    let branch = label("lighthouse.jenkins-x.io/branch", "branch").or(spec.git_branch.get());
    span.add("pipeline.owner", owner);
    span.add("pipeline.repository", repository);
    span.add("pipeline.branch", branch);
    span.add(
        "pipeline.build",
        label("lighthouse.jenkins-x.io/buildNum", "build").or(spec.build.get()),
    );
    span.add(
        "pipeline.context",
        label("lighthouse.jenkins-x.io/context", "context").or(spec.context.get()),
    );
    span.add("event.guid", labels.text("event-GUID"));
    span.add("jenkins_x.build", &spec.build);
    span.add("jenkins_x.version", &spec.version);
    span.add(
        "jenkins_x.build.url",
        without_credentials(spec.build_url.as_str()),
    );
    span.add(
        "jenkins_x.build_logs.url",
        without_credentials(spec.build_logs_url.as_str()),
    );
    span.add("jenkins_x.release_notes.url", &spec.release_notes_url);

    span.add("vcs.owner.name", spec.git_owner.get().or(owner));
    span.add(
        "vcs.repository.name",
        spec.git_repository.get().or(repository),
    );
    span.add(
        "vcs.repository.url.full",
        spec.git_url.get().and_then(url::repository),
    );
    span.add("vcs.ref.head.revision", &spec.last_commit);
    span.add("vcs.ref.base.revision", &spec.base);
    // Jenkins X calls the branch of a pull request after its number.
    let branch = spec.git_branch.get();
    let pull = labels
        .text("lighthouse.jenkins-x.io/refs.pull")
        .or_else(|| branch?.strip_prefix("PR-"));
    if let Some(number) = pull {
        span.add("vcs.change.id", number);
        span.add("vcs.change.title", &spec.pull_title);
    } else if let Some(branch) = branch {
        span.add("vcs.ref.head.name", branch);
        span.add("vcs.ref.head.type", "branch");
    }
}
