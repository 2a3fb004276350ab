//! Spans of Lighthouse: the root of a git event from its webhook, and the LighthouseJobs that the event set off.
//!
//! Both sides derive the same event key, or there is no trace: [`event_key`] is the only place that makes one.

mod event_key;
mod job;
mod job_resource;
mod provider;
mod webhook;
mod webhook_payload;

use span_mapper_sdk::{
    AnnotationValue, Configuration, Description, Error, Mapper, ObjectSource, Outcome, Subject,
    Watch, export_mapper,
};

/// The mapper.
pub struct Lighthouse;

/// Prefix of the annotations that hold a job's context.
const ANNOTATION_PREFIX: &str = "lighthouse.jenkins-x.io";

/// Says that the whole trace of a job's event was exported.
const EXPORTED: &str = "lighthouse.jenkins-x.io/traceExported";

impl Mapper for Lighthouse {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        let jobs = ObjectSource::new("lighthouse.jenkins.io", ["v1alpha1"], "LighthouseJob");
        Ok(Description::new(env!("CARGO_PKG_VERSION"))
            .watch(Watch::webhooks([]).fields(webhook_payload::FIELDS))
            .watch(
                Watch::objects(jobs)
                    .fields(job_resource::FIELDS)
                    .annotate_context(ANNOTATION_PREFIX)
                    .annotate(EXPORTED, AnnotationValue::Exported),
            ))
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        match subject {
            Subject::Webhook(webhook) => webhook::map(webhook),
            Subject::Object(object) => job::map(object),
        }
    }
}

export_mapper!(Lighthouse);
