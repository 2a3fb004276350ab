//! Two git events are never merged, one is never split, and all ids are those that `docs/spans.md` says. What is to be
//! expected is computed here by the words of that page, with nothing of the crate.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::mapper::Spec;
use super::story::Story;
use super::*;

fn hexadecimal(text: &str, bytes: usize) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The trace id that derives from this text.
pub(super) fn hexadecimal_trace(key: &str) -> String {
    hexadecimal(key, 16)
}

/// The id of a span of an object.
pub(super) fn hexadecimal_span(uid: &str, run: &str, key: &str) -> String {
    let text = match (run, key) {
        ("", "") => uid.to_owned(),
        (_, "") => format!("{uid}\n{run}"),
        _ => format!("{uid}\n{run}\n{key}"),
    };
    hexadecimal(&text, 8)
}

fn root_id(event: &str) -> String {
    hexadecimal(&format!("root:{event}"), 8)
}

/// What is wrong with the ids of spans.
pub(super) fn violations(story: &Story, spans: &[Span]) -> Vec<String> {
    let mut violations = Vec::new();
    let by_id: BTreeMap<String, &Span> = spans
        .iter()
        .map(|span| (span.span_id.to_string(), span))
        .collect();
    let events: BTreeMap<String, &String> = story
        .events
        .iter()
        .map(|event| (hexadecimal_trace(event), event))
        .collect();
    let mut derived: BTreeSet<String> = story.events.iter().map(|event| root_id(event)).collect();
    let mut jobs: BTreeMap<&String, bool> = BTreeMap::new();
    for thing in &story.things {
        derived.extend(ids(
            story,
            &thing.identity,
            thing.versions.iter().map(|version| &version.value),
        ));
        let Some(span) = by_id.get(&hexadecimal_span(&thing.identity, "", "")) else {
            if thing.sure && thing.ends {
                violations.push(format!("{} was not exported", thing.uid));
            }
            continue;
        };
        let trace = span.trace_id.to_string();
        let event = events.get(&trace);
        if thing.sure && event.is_none_or(|event| !thing.events.contains(*event)) {
            violations.push(format!("{} is in the trace {event:?}", thing.uid));
        }
        if let Some(event) = event
            && !thing.events.contains(*event)
        {
            violations.push(format!("{} is in the trace of {event}", thing.uid));
        }
    }
    for job in story
        .things
        .iter()
        .filter(|thing| thing.annotations_matter && thing.sure)
    {
        for event in &job.events {
            *jobs.entry(event).or_insert(true) &= job.ends;
        }
    }
    for event in &story.events {
        let root = by_id.get(&root_id(event));
        if jobs.get(event).copied().unwrap_or(false) != root.is_some() {
            violations.push(format!("{event} has jobs {jobs:?}, and the root {root:?}"));
        }
        if root.is_some_and(|root| root.trace_id.to_string() != hexadecimal_trace(event)) {
            violations.push(format!("{event} has the root {root:?}"));
        }
    }
    for span in spans.iter().filter(|span| !span.name.starts_with("Job")) {
        let id = span.span_id.to_string();
        let stands_in = attribute(span, crate::marks::SYNTHESISED).is_some();
        if !derived.contains(&id) && !stands_in {
            violations.push(format!("the id {id} is not derived: {span:?}"));
        }
    }
    violations
}

/// All ids that spans of an object can have.
fn ids<'a>(
    story: &Story,
    identity: &str,
    versions: impl Iterator<Item = &'a Value>,
) -> Vec<String> {
    let attached: Vec<String> = story
        .things
        .iter()
        .map(|thing| thing.uid.to_string())
        .collect();
    let uid = identity.split(':').next().unwrap_or_default();
    let mut ids = vec![hexadecimal_span(identity, "", "")];
    for value in versions {
        let spec: Option<Spec> = serde_json::from_value(value["spec"].clone()).ok();
        for run in spec.into_iter().flat_map(|spec| spec.runs) {
            ids.push(hexadecimal_span(identity, &run.run, ""));
            let keys = run.children.iter().map(|child| &child.key);
            let keys = keys.chain(attached.iter().filter(|other| other.starts_with(uid)));
            ids.extend(keys.map(|key| hexadecimal_span(identity, &run.run, key)));
        }
    }
    ids
}
