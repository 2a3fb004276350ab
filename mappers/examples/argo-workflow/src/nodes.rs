//! The nodes of a Workflow: a graph in the cluster, a tree in the trace. A node is below the one whose template it is a part
//! of, its boundary.

use span_mapper_sdk::read::{Map, Text, Time};
use span_mapper_sdk::{Span, SpanTree, Timestamp, record};

use crate::{is_failure, result};

record! {
    /// A node.
    pub struct Node<'a> {
        display_name: Text<'a> = "displayName",
        template: Text<'a> = "templateName",
        kind: Text<'a> = "type",
        phase: Text<'a> = "phase",
        message: Text<'a> = "message",
        boundary: Text<'a> = "boundaryID",
        started: Time = "startedAt",
        finished: Time = "finishedAt",
    }
}

impl Node<'_> {
    /// The times that it tells of.
    pub fn times(&self) -> impl Iterator<Item = Timestamp> {
        self.started.get().into_iter().chain(self.finished.get())
    }

    /// Groups say only in which order others run, and what was left out took no time.
    fn does_something(&self) -> bool {
        let is_group = matches!(self.kind.as_str(), "StepGroup" | "TaskGroup" | "Skipped");
        !is_group && !matches!(self.phase.as_str(), "Skipped" | "Omitted")
    }

    /// A node without a template of a name is called by what it is displayed as.
    fn name(&self) -> &str {
        let names = [self.template.as_str(), self.display_name.as_str()];
        let name = names.into_iter().find(|name| !name.is_empty());
        name.unwrap_or("node")
    }

    /// `above`: when the span ends that it is below.
    fn span<'s>(&'s self, id: &'s str, above: Option<Timestamp>) -> Option<Span<'s>> {
        let started = self.started.get()?;
        let mut span = Span::new(id, self.name(), started)
            .until_or_parent(self.finished.get(), above)
            .with("cicd.pipeline.task.name", self.name())
            .with("cicd.pipeline.task.run.id", id)
            .with("cicd.pipeline.task.run.result", result(self.phase.as_str()))
            .with("argo.node.name", &self.display_name)
            .with("argo.node.type", &self.kind);
        if is_failure(self.phase.as_str()) {
            span.fail(self.phase.as_str(), self.message.as_str());
        }
        Some(span)
    }
}

/// Adds the spans of all nodes that do something and have begun. The node that has the Workflow's name is the Workflow.
pub fn add<'s>(tree: &mut SpanTree<'s>, workflow: &str, nodes: &'s Map<'_, Node<'_>>) {
    let mut left: Vec<(&str, &Node<'_>)> = nodes
        .iter()
        .filter(|(id, node)| {
            node.does_something() && (*id != workflow || node.kind.as_str() == "Pod")
        })
        .collect();
    left.sort_by_key(|(id, node)| (node.started.get().map(|time| time.nanoseconds), *id));
    let end = tree.main.end;
    let mut added: Vec<(&str, u32, Option<Timestamp>)> = Vec::new();
    // A boundary comes before what is inside of it, whichever began first.
    loop {
        let before = left.len();
        let waiting: Vec<&str> = left.iter().map(|(id, _)| *id).collect();
        left.retain(|(id, node)| {
            let boundary = node.boundary.as_str();
            if boundary != *id && waiting.contains(&boundary) {
                return true;
            }
            let under = added.iter().find(|(known, ..)| *known == boundary);
            let above = under.map_or(end, |(_, _, end)| *end);
            if let Some(span) = node.span(id, above) {
                let end = span.end;
                let place = tree.add_under(under.map(|(_, place, _)| *place), span);
                added.push((id, place, end));
            }
            false
        });
        // Boundaries that go round in a circle are none.
        if left.is_empty() || left.len() == before {
            break;
        }
    }
    for (id, node) in left {
        if let Some(span) = node.span(id, end) {
            tree.add(span);
        }
    }
}
