//! How a run ended: its result in the words of the OpenTelemetry CI/CD conventions, and when.

use span_mapper_sdk::object::{Condition, condition};
use span_mapper_sdk::read::Time;
use span_mapper_sdk::{Span, Timestamp};

/// Longest description of a status, in bytes. Tekton's messages name a container, an image and a command.
const DESCRIPTION_LIMIT: usize = 1024;

/// A value of `cicd.pipeline.result` and `cicd.pipeline.task.run.result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    Success,
    /// What was run said no: a test failed.
    Failure,
    /// It could not be run: the cluster, the resource or its configuration is at fault.
    Error,
    Timeout,
    Cancellation,
    Skip,
    /// It says that it has ended, but not how. None of the conventions' values, which leave room for others.
    Unknown,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending<'s> {
    pub time: Timestamp,
    pub result: RunResult,
    /// Why, in CamelCase.
    pub reason: &'s str,
    /// Why, for people.
    pub message: &'s str,
    /// It was deleted before it ended, and the time is the latest that is known of it.
    pub deleted: bool,
}

impl RunResult {
    /// As the conventions write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancellation => "cancellation",
            Self::Skip => "skip",
            Self::Unknown => "unknown",
        }
    }

    /// What a reason of something that did not succeed tells, and `otherwise` if it tells nothing.
    pub fn of_reason(reason: &str, otherwise: Self) -> Self {
        // `PipelineRunCouldntCancel` is no cancellation.
        if reason.contains("Couldnt") {
            Self::Error
        } else if reason.contains("Cancelled") {
            Self::Cancellation
        } else if reason.contains("Timeout") || reason.contains("TimedOut") {
            Self::Timeout
        } else if matches!(reason, "" | "Failed" | "StepFailed" | "FailureIgnored") {
            Self::Failure
        } else {
            otherwise
        }
    }

    /// Whether a span with this result is marked as failed. Whoever cancels has got what they wanted.
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::Failure | Self::Error | Self::Timeout)
    }
}

impl<'s> Ending<'s> {
    /// The end of a run with these conditions; none while it goes on. A run that is deleted ends at the latest
    /// time known of it, cancelled. A reason that tells nothing is the result `otherwise`.
    pub fn of(
        conditions: &'s [Condition<'_>],
        completed: Time,
        deleted: bool,
        latest: Timestamp,
        otherwise: RunResult,
    ) -> Option<Self> {
        let succeeded = condition(conditions, "Succeeded");
        let reason = succeeded.map_or("", |condition| condition.reason.as_str());
        let message = succeeded.map_or("", |condition| condition.message.as_str());
        let result = match succeeded {
            Some(condition) if condition.is_true() => Some(RunResult::Success),
            Some(condition) if condition.is_false() => {
                Some(RunResult::of_reason(reason, otherwise))
            }
            _ => None,
        };
        if result.is_some() || completed.get().is_some() {
            let changed = succeeded.and_then(|condition| condition.changed.get());
            return Some(Self {
                time: completed.get().or(changed).unwrap_or(latest),
                result: result.unwrap_or(RunResult::Unknown),
                reason,
                message,
                deleted: false,
            });
        }
        deleted.then_some(Self {
            time: latest,
            result: RunResult::Cancellation,
            reason: "Deleted",
            message: "",
            deleted: true,
        })
    }

    /// Ends the span so: its result under this key, its end, and its status.
    pub fn apply(&self, span: &mut Span<'s>, key: &'static str) {
        if self.deleted {
            span.end_by_deletion(self.time);
        } else {
            span.end = Some(self.time);
        }
        let result = self.result;
        span.set(key, result.as_str());
        if result.is_failed() {
            let kind = if self.reason.is_empty() {
                result.as_str()
            } else {
                self.reason
            };
            let description = if self.message.is_empty() {
                kind
            } else {
                self.message
            };
            span.fail(kind, bounded(description));
        }
    }
}

/// The beginning of a text.
pub fn bounded(text: &str) -> &str {
    let mut end = text.len().min(DESCRIPTION_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_tell_results() {
        for (reason, result) in [
            ("Failed", RunResult::Failure),
            ("StepFailed", RunResult::Failure),
            ("Cancelled", RunResult::Cancellation),
            ("TaskRunCancelled", RunResult::Cancellation),
            ("CustomRunCancelled", RunResult::Cancellation),
            ("PipelineRunCouldntCancel", RunResult::Error),
            ("PipelineRunCouldntTimeOut", RunResult::Error),
            ("PipelineRunTimeout", RunResult::Timeout),
            ("TaskRunTimeout", RunResult::Timeout),
            ("CustomRunTimedOut", RunResult::Timeout),
            ("StepOOM", RunResult::Error),
            ("SidecarOOM", RunResult::Error),
            ("PodEvicted", RunResult::Error),
            ("InitContainerFailed", RunResult::Error),
            ("TaskRunImagePullFailed", RunResult::Error),
            ("PodCreationFailed", RunResult::Error),
            ("CouldntGetTask", RunResult::Error),
            ("InvalidParamValue", RunResult::Error),
            ("TaskRunResolutionFailed", RunResult::Error),
        ] {
            assert_eq!(
                RunResult::of_reason(reason, RunResult::Error),
                result,
                "{reason}"
            );
        }
        assert_eq!(
            RunResult::of_reason("ApprovalRejected", RunResult::Failure),
            RunResult::Failure
        );
    }

    #[test]
    fn descriptions_are_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let long = "é".repeat(DESCRIPTION_LIMIT);
        assert_eq!(bounded(&long).len(), DESCRIPTION_LIMIT);
        let odd = format!("a{long}");
        assert_eq!(bounded(&odd).len(), DESCRIPTION_LIMIT - 1);
    }
}
