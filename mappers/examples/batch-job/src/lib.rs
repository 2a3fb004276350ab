//! Example: spans of the Jobs of Kubernetes (`batch/v1`) that some controller of a trace has created.

use span_mapper_sdk::object::{Condition, Metadata, condition};
use span_mapper_sdk::read::{self, List, Time};
use span_mapper_sdk::{
    Configuration, Description, Error, Mapper, ObjectSource, Outcome, Owner, Parent, Span,
    SpanTree, Subject, Watch, export_mapper, record,
};

/// The mapper.
pub struct BatchJob;

record! {
    struct Job<'a> {
        metadata: Metadata<'a> = "metadata",
        status: Status<'a> = "status",
    }

    struct Status<'a> {
        started: Time = "startTime",
        completed: Time = "completionTime",
        conditions: List<Condition<'a>> = "conditions",
    }
}

impl Mapper for BatchJob {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        let watch = Watch::objects(ObjectSource::new("batch", ["v1"], "Job"))
            .fields([
                "/status/startTime",
                "/status/completionTime",
                "/status/conditions",
            ])
            .annotate_context("lighthouse.jenkins-x.io");
        Ok(Description::new(env!("CARGO_PKG_VERSION")).watch(watch))
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        let Subject::Object(object) = subject else {
            return Ok(Outcome::NotOurs);
        };
        let (job, diagnostics) = read::parse::<Job<'_>>(&object.json)?;
        let Some(created) = job.metadata.created.get() else {
            return Ok(Outcome::wait("no-creation-time"));
        };
        let failed = condition(&job.status.conditions, "Failed").filter(|failed| failed.is_true());
        // A Job that failed has no completion time.
        let end = job
            .status
            .completed
            .get()
            .or_else(|| failed.and_then(|failed| failed.changed.get()));
        let mut main = Span::main("job", created)
            .until(end)
            .about("Job", &job.metadata);
        if let Some(failed) = failed {
            main.fail(failed.reason.as_str(), failed.message.as_str());
        }
        let mut tree = SpanTree::new("Job", main)
            .under(Parent::Owner(Owner::any("")))
            .with_resource("service.namespace", &job.metadata.namespace)
            .with_diagnostics(diagnostics);
        let started = job.status.started.get();
        tree.add(Span::new("queue", "queue", created).until(started.or(end)));
        tree.may_annotate = started.is_some();
        tree.clamp();
        Ok(tree.into())
    }
}

export_mapper!(BatchJob);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use span_mapper_sdk::testing;

    #[test]
    fn a_failed_job_says_why() {
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "jx", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {
                "startTime": "2026-01-01T00:00:02Z",
                "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                    "message": "gave up", "lastTransitionTime": "2026-01-01T00:01:00Z"}],
            },
        });
        let description = BatchJob::configure(&testing::configuration()).unwrap();
        let subject = testing::subject(&description, 0, &job, &[]).into();
        let Ok(Outcome::Spans(trees)) = BatchJob::map(&subject) else {
            panic!("no spans");
        };
        assert_eq!(testing::fault(&trees[0]), None);
        assert!(trees[0].main.has_failed());
        assert!(trees[0].main.end.is_some());
    }

    #[test]
    fn the_guide_shows_this_very_mapper() {
        let guide = include_str!("../../../../docs/mappers.md");
        let (mapper, _) = include_str!("lib.rs").split_once("#[cfg(test)]").unwrap();
        assert!(
            guide.contains(mapper.trim_end()),
            "copy the mapper into docs/mappers.md"
        );
    }
}
