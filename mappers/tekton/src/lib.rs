//! Spans of Tekton's PipelineRuns, TaskRuns and CustomRuns: the run itself, the time before its start, its steps,
//! sidecars and retries. What happens inside a Pod is the `kubernetes` mapper's; here a Pod is only asked for what
//! Tekton's own status rounds off or leaves out.

mod attempts;
mod change;
mod custom_run;
mod describe;
mod ending;
mod events;
mod param;
mod phases;
mod pipeline_run;
mod resource;
mod run;
mod steps;
mod task_run;

use span_mapper_sdk::{Configuration, Description, Error, Mapper, Outcome, Subject, export_mapper};

/// The mapper.
pub struct Tekton;

impl Mapper for Tekton {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        Ok(describe::description())
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        match subject {
            Subject::Object(object) => match object.watch {
                describe::PIPELINE_RUN => pipeline_run::map(object),
                describe::TASK_RUN => task_run::map(object),
                describe::CUSTOM_RUN => custom_run::map(object),
                _ => Ok(Outcome::NotOurs),
            },
            Subject::Webhook(_) => Ok(Outcome::NotOurs),
        }
    }
}

export_mapper!(Tekton);

#[cfg(test)]
mod tests;
