//! A LighthouseJob, as far as the mapper reads it: lighthouse `pkg/apis/lighthouse/v1alpha1/types.go`.

use span_mapper_sdk::object::Metadata;
use span_mapper_sdk::read::{Integer, List, Text, Time};
use span_mapper_sdk::record;

/// What is read.
pub const FIELDS: [&str; 29] = [
    "/metadata/annotations/lighthouse.jenkins-x.io~1traceparent",
    "/metadata/annotations/lighthouse.jenkins-x.io~1tracestate",
    "/metadata/labels/event-GUID",
    "/metadata/labels/lighthouse.jenkins-x.io~1buildNum",
    "/spec/type",
    "/spec/agent",
    "/spec/job",
    "/spec/context",
    "/spec/refs/org",
    "/spec/refs/repo",
    "/spec/refs/repo_link",
    "/spec/refs/clone_uri",
    "/spec/refs/base_ref",
    "/spec/refs/base_sha",
    "/spec/refs/base_link",
    "/spec/refs/pulls/*/number",
    "/spec/refs/pulls/*/author",
    "/spec/refs/pulls/*/sha",
    "/spec/refs/pulls/*/title",
    "/spec/refs/pulls/*/ref",
    "/spec/refs/pulls/*/link",
    "/status/state",
    "/status/activityName",
    "/status/description",
    "/status/reportURL",
    "/status/startTime",
    "/status/completionTime",
    "/status/lastCommitSHA",
    "/status/activity/completionTime",
];

record! {
    pub struct LighthouseJob<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub spec: Spec<'a> = "spec",
        pub status: Status<'a> = "status",
    }

    pub struct Spec<'a> {
        /// presubmit, postsubmit, periodic, batch or deployment.
        pub kind: Text<'a> = "type",
        /// The engine.
        pub agent: Text<'a> = "agent",
        pub job: Text<'a> = "job",
        /// Name under which the result is reported to the provider.
        pub context: Text<'a> = "context",
        pub refs: Refs<'a> = "refs",
    }

    pub struct Refs<'a> {
        pub owner: Text<'a> = "org",
        pub repository: Text<'a> = "repo",
        pub link: Text<'a> = "repo_link",
        pub clone: Text<'a> = "clone_uri",
        /// Short name of the branch or tag.
        pub base_name: Text<'a> = "base_ref",
        pub base_revision: Text<'a> = "base_sha",
        /// Of a push: the comparison with the commit before.
        pub base_link: Text<'a> = "base_link",
        pub pulls: List<Pull<'a>> = "pulls",
    }

    pub struct Pull<'a> {
        pub number: Integer = "number",
        pub author: Text<'a> = "author",
        pub revision: Text<'a> = "sha",
        pub title: Text<'a> = "title",
        pub reference: Text<'a> = "ref",
        pub link: Text<'a> = "link",
    }

    pub struct Status<'a> {
        /// triggered, pending, running, success, failure, aborted or error; empty before it was triggered.
        pub state: Text<'a> = "state",
        pub activity_name: Text<'a> = "activityName",
        pub description: Text<'a> = "description",
        pub report_url: Text<'a> = "reportURL",
        pub started: Time = "startTime",
        pub completed: Time = "completionTime",
        pub last_commit: Text<'a> = "lastCommitSHA",
        pub activity: Activity = "activity",
    }

    /// What the engine reports of the run.
    pub struct Activity {
        pub completed: Time = "completionTime",
    }
}
