//! Spans of Pods: scheduling, preparation, and for each container the pull of its image, its creation, its start
//! and its run. The container statuses say what happened, the Pod's Events say when exactly.
//!
//! A Pod belongs to the trace of its controller, whatever kind that is, or to none.

mod container;
mod events;
mod main_span;
mod phases;
mod pod;
mod pull;
mod resource;
mod waiting;

use span_mapper_sdk::{
    Configuration, Description, Error, Mapper, ObjectSource, Outcome, Relation, Subject, Watch,
    event, export_mapper,
};

/// The mapper.
pub struct Kubernetes;

/// Prefix of the annotations that hold a Pod's context.
const ANNOTATION_PREFIX: &str = "lighthouse.jenkins-x.io";

/// What is read of a Pod. The message of a termination is left out: Tekton writes pages into it.
const FIELDS: [&str; 28] = [
    "/metadata/deletionGracePeriodSeconds",
    "/metadata/ownerReferences/*/controller",
    "/spec/nodeName",
    "/spec/restartPolicy",
    "/spec/containers/*/name",
    "/spec/containers/*/image",
    "/spec/initContainers/*/name",
    "/spec/initContainers/*/image",
    "/spec/initContainers/*/restartPolicy",
    "/status/phase",
    "/status/reason",
    "/status/message",
    "/status/startTime",
    "/status/conditions/*/type",
    "/status/conditions/*/status",
    "/status/conditions/*/reason",
    "/status/conditions/*/message",
    "/status/conditions/*/lastTransitionTime",
    "/status/containerStatuses/*/name",
    "/status/containerStatuses/*/containerID",
    "/status/containerStatuses/*/restartCount",
    "/status/containerStatuses/*/state/running/startedAt",
    "/status/containerStatuses/*/state/waiting",
    "/status/initContainerStatuses/*/name",
    "/status/initContainerStatuses/*/containerID",
    "/status/initContainerStatuses/*/restartCount",
    "/status/initContainerStatuses/*/state/running/startedAt",
    "/status/initContainerStatuses/*/state/waiting",
];

/// What is read of each termination.
const TERMINATED: [&str; 6] = [
    "exitCode",
    "signal",
    "reason",
    "startedAt",
    "finishedAt",
    "containerID",
];

impl Mapper for Kubernetes {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        let terminations: Vec<String> = ["containerStatuses", "initContainerStatuses"]
            .iter()
            .flat_map(|list| ["state", "lastState"].map(|state| (list, state)))
            .flat_map(|(list, state)| {
                TERMINATED
                    .map(|field| ["/status/", list, "/*/", state, "/terminated/", field].concat())
            })
            .collect();
        let watch = Watch::objects(ObjectSource::new("", ["v1"], "Pod"))
            .fields(FIELDS)
            .fields(terminations.iter().map(String::as_str))
            .attach(event::about("Pod"), Relation::Involved, event::FIELDS)
            .annotate_context(ANNOTATION_PREFIX);
        Ok(Description::new(env!("CARGO_PKG_VERSION")).watch(watch))
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        match subject {
            Subject::Object(object) => pod::map(object),
            Subject::Webhook(_) => Ok(Outcome::NotOurs),
        }
    }
}

export_mapper!(Kubernetes);

#[cfg(test)]
mod tests;
