//! A PipelineActivity, as far as the mapper reads it: jenkins-x/jx-api
//! `pkg/apis/jenkins.io/v1/types_pipeline.go`.

use span_mapper_sdk::object::Metadata;
use span_mapper_sdk::read::{List, Text, Time};
use span_mapper_sdk::{Timestamp, record, time};

record! {
    /// A PipelineActivity.
    pub struct Activity<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub spec: ActivitySpec<'a> = "spec",
    }

    pub struct ActivitySpec<'a> {
        pub base: Text<'a> = "baseSHA",
        pub build: Text<'a> = "build",
        pub build_logs_url: Text<'a> = "buildLogsUrl",
        pub build_url: Text<'a> = "buildUrl",
        pub completed: Time = "completedTimestamp",
        pub context: Text<'a> = "context",
        pub git_branch: Text<'a> = "gitBranch",
        pub git_owner: Text<'a> = "gitOwner",
        pub git_repository: Text<'a> = "gitRepository",
        pub git_url: Text<'a> = "gitUrl",
        pub last_commit: Text<'a> = "lastCommitSHA",
        pub pull_title: Text<'a> = "pullTitle",
        pub release_notes_url: Text<'a> = "releaseNotesURL",
        pub started: Time = "startedTimestamp",
        pub status: Text<'a> = "status",
        pub steps: List<Entry<'a>> = "steps",
        pub version: Text<'a> = "version",
    }

    /// An entry of `spec.steps`: one of its three members is there, and `kind` says which.
    pub struct Entry<'a> {
        pub kind: Text<'a> = "kind",
        pub preview: Preview<'a> = "preview",
        pub promote: Promote<'a> = "promote",
        pub stage: Stage<'a> = "stage",
    }

    /// A step without more to it.
    pub struct Step<'a> {
        pub completed: Time = "completedTimestamp",
        pub description: Text<'a> = "description",
        pub name: Text<'a> = "name",
        pub started: Time = "startedTimestamp",
        pub status: Text<'a> = "status",
    }

    /// A stage: a task of the pipeline.
    pub struct Stage<'a> {
        pub completed: Time = "completedTimestamp",
        pub description: Text<'a> = "description",
        pub name: Text<'a> = "name",
        pub started: Time = "startedTimestamp",
        pub status: Text<'a> = "status",
        pub steps: List<Step<'a>> = "steps",
    }

    /// The promotion of a version to an environment.
    pub struct Promote<'a> {
        pub application_url: Text<'a> = "applicationURL",
        pub completed: Time = "completedTimestamp",
        pub description: Text<'a> = "description",
        pub environment: Text<'a> = "environment",
        pub name: Text<'a> = "name",
        pub pull_request: PromotePullRequest<'a> = "pullRequest",
        pub started: Time = "startedTimestamp",
        pub status: Text<'a> = "status",
        pub update: Step<'a> = "update",
    }

    /// The pull request of a promotion, on the repository of the environment.
    pub struct PromotePullRequest<'a> {
        pub completed: Time = "completedTimestamp",
        pub description: Text<'a> = "description",
        pub merge_commit: Text<'a> = "mergeCommitSHA",
        pub name: Text<'a> = "name",
        pub url: Text<'a> = "pullRequestURL",
        pub started: Time = "startedTimestamp",
        pub status: Text<'a> = "status",
    }

    /// A preview environment of a pull request.
    pub struct Preview<'a> {
        pub application_url: Text<'a> = "applicationURL",
        pub completed: Time = "completedTimestamp",
        pub description: Text<'a> = "description",
        pub environment: Text<'a> = "environment",
        pub name: Text<'a> = "name",
        pub pull_request_url: Text<'a> = "pullRequestURL",
        pub started: Time = "startedTimestamp",
        pub status: Text<'a> = "status",
    }
}

/// What all of them have.
#[derive(Clone, Copy, Debug)]
pub struct Core<'s> {
    pub name: &'s str,
    pub description: &'s str,
    pub status: Status,
    /// The status as it is written.
    pub status_text: &'s str,
    pub started: Option<Timestamp>,
    pub completed: Option<Timestamp>,
}

/// A status, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not begun.
    Pending,
    /// It goes on, or waits for somebody.
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// It will not begin.
    NotExecuted,
}

impl Status {
    pub fn of(text: &str) -> Self {
        match text {
            "" | "Pending" => Self::Pending,
            "Succeeded" => Self::Succeeded,
            "Failed" | "Error" | "TimedOut" => Self::Failed,
            "Aborted" | "Cancelled" => Self::Cancelled,
            "NotExecuted" => Self::NotExecuted,
            // Running, WaitingForApproval, and what later versions may invent.
            _ => Self::Running,
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

macro_rules! core {
    ($($name:ident)*) => {$(
        impl $name<'_> {
            pub fn core(&self) -> Core<'_> {
                Core {
                    name: self.name.as_str(),
                    description: self.description.as_str(),
                    status: Status::of(self.status.as_str()),
                    status_text: self.status.as_str(),
                    started: self.started.get(),
                    completed: self.completed.get(),
                }
            }
        }
    )*};
}

core!(Step Stage Promote PromotePullRequest Preview);

impl Entry<'_> {
    /// The latest time in it.
    pub fn latest(&self) -> Option<Timestamp> {
        let steps = self.stage.steps.iter().map(Step::core);
        let all = steps.chain([
            self.stage.core(),
            self.promote.core(),
            self.promote.pull_request.core(),
            self.promote.update.core(),
            self.preview.core(),
        ]);
        time::latest(all.flat_map(|core| [core.started, core.completed]))
    }
}
