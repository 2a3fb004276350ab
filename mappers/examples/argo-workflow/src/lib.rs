//! Example: spans of the Workflows of Argo (`argoproj.io/v1alpha1`): the Workflow, and below it a span for each node that
//! does something. Its Pods hang from the Workflow by the mapper of Pods, which knows nothing of Argo.

mod nodes;

use span_mapper_sdk::object::Metadata;
use span_mapper_sdk::read::{self, Map, Text, Time};
use span_mapper_sdk::{
    Configuration, Description, Error, Mapper, ObjectSource, Outcome, Owner, Parent, Span,
    SpanTree, Subject, Timestamp, Watch, export_mapper, record,
};

use nodes::Node;

/// The mapper.
pub struct ArgoWorkflow;

/// What is read of a Workflow. Its nodes are by far the most of it, and few of their fields matter.
const FIELDS: [&str; 14] = [
    "/metadata/generateName",
    "/spec/workflowTemplateRef/name",
    "/status/phase",
    "/status/message",
    "/status/startedAt",
    "/status/finishedAt",
    "/status/nodes/*/displayName",
    "/status/nodes/*/templateName",
    "/status/nodes/*/type",
    "/status/nodes/*/phase",
    "/status/nodes/*/message",
    "/status/nodes/*/boundaryID",
    "/status/nodes/*/startedAt",
    "/status/nodes/*/finishedAt",
];

record! {
    struct Workflow<'a> {
        metadata: Metadata<'a> = "metadata",
        spec: Spec<'a> = "spec",
        status: Status<'a> = "status",
    }

    struct Spec<'a> {
        template: Reference<'a> = "workflowTemplateRef",
    }

    struct Reference<'a> {
        name: Text<'a> = "name",
    }

    struct Status<'a> {
        phase: Text<'a> = "phase",
        message: Text<'a> = "message",
        started: Time = "startedAt",
        finished: Time = "finishedAt",
        nodes: Map<'a, Node<'a>> = "nodes",
    }
}

impl Mapper for ArgoWorkflow {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        let workflows = ObjectSource::new("argoproj.io", ["v1alpha1"], "Workflow");
        let watch = Watch::objects(workflows).fields(FIELDS);
        Ok(Description::new(env!("CARGO_PKG_VERSION")).watch(watch))
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        let Subject::Object(object) = subject else {
            return Ok(Outcome::NotOurs);
        };
        let (workflow, diagnostics) = read::parse::<Workflow<'_>>(&object.json)?;
        let workflow = read::keep(workflow);
        let metadata = &workflow.metadata;
        let status = &workflow.status;
        let Some(created) = metadata.created.get() else {
            return Ok(Outcome::wait("no-creation-time"));
        };
        let mut main = Span::main(pipeline(workflow), created)
            .until(status.finished.get())
            .about("Workflow", metadata)
            .with("cicd.pipeline.name", pipeline(workflow))
            .with("cicd.pipeline.run.id", &metadata.uid)
            .with("cicd.pipeline.result", result(status.phase.as_str()));
        if is_failure(status.phase.as_str()) {
            main.fail(status.phase.as_str(), status.message.as_str());
        }
        if object.deleted && main.end.is_none() {
            main.end_by_deletion(latest(status, created));
        }
        let mut tree = SpanTree::new("Argo.Workflow", main)
            .under(Parent::Owner(Owner::any("")))
            .under(Parent::own_root())
            .with_resource("service.namespace", &metadata.namespace)
            .with_diagnostics(diagnostics);
        nodes::add(&mut tree, metadata.name.as_str(), &status.nodes);
        tree.clamp();
        Ok(tree.into())
    }
}

/// What all runs of a Workflow have in common.
fn pipeline<'a>(workflow: &'a Workflow<'_>) -> &'a str {
    let template = workflow.spec.template.name.as_str();
    let prefix = workflow.metadata.generate_name.as_str();
    let names = [template, prefix.trim_end_matches('-')];
    let name = names.into_iter().find(|name| !name.is_empty());
    name.unwrap_or(workflow.metadata.name.as_str())
}

/// The latest time that a Workflow tells of.
fn latest(status: &Status<'_>, created: Timestamp) -> Timestamp {
    let times = status.nodes.iter().flat_map(|(_, node)| node.times());
    times.fold(created, Timestamp::latest)
}

/// A phase as the semantic conventions of CI/CD call it.
fn result(phase: &str) -> Option<&'static str> {
    match phase {
        "Succeeded" => Some("success"),
        "Failed" => Some("failure"),
        "Error" => Some("error"),
        "Skipped" | "Omitted" => Some("skip"),
        _ => None,
    }
}

fn is_failure(phase: &str) -> bool {
    matches!(phase, "Failed" | "Error")
}

export_mapper!(ArgoWorkflow);

#[cfg(test)]
mod tests;
