//! Spans of Jenkins X's PipelineActivities: the record that Jenkins X keeps of a pipeline, with its stages, steps,
//! previews and promotions. It tells again what Tekton's resources tell, in the words of the Jenkins X console; the
//! *pipeline run* of the OpenTelemetry conventions is the PipelineRun alone.

mod activity;
mod resource;
mod stages;

use span_mapper_sdk::{
    AnnotationValue, Configuration, Description, Error, Mapper, ObjectSource, Outcome, Subject,
    Watch, export_mapper,
};

/// Prefix of the annotations that hold a context.
const CONTEXT: &str = "lighthouse.jenkins-x.io";

/// Without this annotation jx-build-controller publishes a trace of its own.
const TRACE_ID: &str = "pipeline.jenkins-x.io/traceID";

/// What is read of a PipelineActivity.
const FIELDS: [&str; 36] = [
    "/metadata/annotations/lighthouse.jenkins-x.io~1job",
    "/metadata/labels/branch",
    "/metadata/labels/build",
    "/metadata/labels/context",
    "/metadata/labels/event-GUID",
    "/metadata/labels/lighthouse.jenkins-x.io~1branch",
    "/metadata/labels/lighthouse.jenkins-x.io~1buildNum",
    "/metadata/labels/lighthouse.jenkins-x.io~1context",
    "/metadata/labels/lighthouse.jenkins-x.io~1id",
    "/metadata/labels/lighthouse.jenkins-x.io~1job",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.org",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.pull",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.repo",
    "/metadata/labels/owner",
    "/metadata/labels/repository",
    "/metadata/ownerReferences",
    "/spec/baseSHA",
    "/spec/build",
    "/spec/buildLogsUrl",
    "/spec/buildUrl",
    "/spec/completedTimestamp",
    "/spec/context",
    "/spec/gitBranch",
    "/spec/gitOwner",
    "/spec/gitRepository",
    "/spec/gitUrl",
    "/spec/lastCommitSHA",
    "/spec/pullTitle",
    "/spec/releaseNotesURL",
    "/spec/startedTimestamp",
    "/spec/status",
    "/spec/steps/*/kind",
    "/spec/steps/*/preview",
    "/spec/steps/*/promote",
    "/spec/steps/*/stage",
    "/spec/version",
];

/// The mapper.
pub struct JenkinsX;

impl Mapper for JenkinsX {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        Ok(description())
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        match subject {
            Subject::Object(object) => activity::map(object),
            Subject::Webhook(_) => Ok(Outcome::NotOurs),
        }
    }
}

fn description() -> Description {
    let activities = ObjectSource::new("jenkins.io", ["v1"], "PipelineActivity");
    Description::new(env!("CARGO_PKG_VERSION")).watch(
        Watch::objects(activities)
            .fields(FIELDS)
            .annotate_context(CONTEXT)
            .annotate(TRACE_ID, AnnotationValue::TraceId),
    )
}

export_mapper!(JenkinsX);

#[cfg(test)]
mod tests;
