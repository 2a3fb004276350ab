//! What became of the objects, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lighthouse_telemetry_core::mapping::{EventKey, Outcome, Parent, SpanTree, TraceStart};
use serde_json::{Value, json};

use super::mapping::{Answer, Mapped, ObjectReport, Role};
use crate::export;
use crate::view::{self, Terminal, View, sanitised};

/// What became of each object, then the traces as trees.
pub fn to_text(mapped: &Mapped, terminal: Terminal) -> String {
    let mut text = String::new();
    let mut attached = 0;
    let mut unclaimed: BTreeMap<&str, Vec<&ObjectReport>> = BTreeMap::new();
    for object in &mapped.objects {
        let mut head = || {
            let _ = write!(
                text,
                "{} ({})",
                sanitised(&object.name),
                sanitised(&object.origin.to_string())
            );
        };
        match &object.role {
            Role::Unusable(error) => {
                head();
                let _ = writeln!(text, "\n  cannot be used: {}", sanitised(error));
            }
            Role::Unwanted => {
                head();
                text.push_str("\n  no mapper wants this kind\n");
            }
            Role::Attached => attached += 1,
            Role::Unclaimed => {
                let kind = object.name.split(' ').next().unwrap_or_default();
                unclaimed.entry(kind).or_default().push(object);
            }
            Role::Subject(answers) => {
                head();
                text.push('\n');
                for answer in answers {
                    write_answer(&mut text, answer);
                }
            }
        }
    }
    if attached > 0 {
        let _ = writeln!(text, "{attached} objects came along with these");
    }
    for (kind, objects) in unclaimed {
        let _ = writeln!(
            text,
            "{} {} objects, such as {}, belong to objects that are not here: give those too",
            objects.len(),
            sanitised(kind),
            objects
                .first()
                .map_or_else(String::new, |object| sanitised(&object.name)),
        );
    }
    if mapped.objects.is_empty() {
        text.push_str("No objects.\n");
    }
    text.push('\n');
    text.push_str(&view::render(
        &view_of(mapped),
        terminal.width,
        terminal.colour,
    ));
    text
}

fn view_of(mapped: &Mapped) -> View {
    View::new(&export::encode(&mapped.spans).resource_spans)
}

fn write_answer(text: &mut String, answer: &Answer) {
    let mapper = &answer.mapper;
    let with = match answer.attached {
        0 => String::new(),
        1 => ", from it and 1 object that came along".to_owned(),
        count => format!(", from it and {count} objects that came along"),
    };
    // Writing to a string cannot fail.
    let _ = match &answer.outcome {
        Err(error) => writeln!(text, "  {mapper}: failed: {}", sanitised(error)),
        Ok(Outcome::NotOurs) => writeln!(text, "  {mapper}: not its own"),
        Ok(Outcome::Wait(reason)) => writeln!(text, "  {mapper}: waits: {}", sanitised(reason)),
        Ok(Outcome::Spans(trees)) => {
            for tree in trees {
                let run = match tree.run.as_str() {
                    "" => String::new(),
                    run => format!(" of run '{}'", sanitised(run)),
                };
                let state = match tree.main.end {
                    Some(_) => "ended",
                    None => "goes on, shown as if it ended now",
                };
                let _ = writeln!(
                    text,
                    "  {mapper}: {}{run} as {} '{}', {state}{with}",
                    spans(tree),
                    sanitised(&tree.service),
                    sanitised(&tree.main.name),
                );
                let parents: Vec<_> = tree.parents.iter().map(parent).collect();
                let _ = writeln!(text, "    below: {}", sanitised(&parents.join(", else ")));
                for diagnostic in &tree.diagnostics {
                    let _ = writeln!(
                        text,
                        "    odd: {}: {}",
                        sanitised(&diagnostic.pointer),
                        sanitised(&diagnostic.message)
                    );
                }
            }
            Ok(())
        }
    };
}

fn spans(tree: &SpanTree) -> String {
    match tree.children.len() {
        0 => "1 span".to_owned(),
        children => format!("{} spans", children + 1),
    }
}

/// A candidate for the parent in a few words.
fn parent(parent: &Parent) -> String {
    let child = |span: &str| match span {
        "" => String::new(),
        span => format!(", its span '{span}'"),
    };
    match parent {
        Parent::Root(TraceStart::Subject) => "nothing, it starts a trace".to_owned(),
        Parent::Root(TraceStart::Event(key)) => {
            format!("nothing, it starts the trace of {}", event(key))
        }
        Parent::Root(TraceStart::PullRequest(pull_request)) => format!(
            "nothing, it starts the trace of pull request {} of {}",
            pull_request.number, pull_request.repository
        ),
        Parent::Event(key) => event(key),
        Parent::Owner(owner) => {
            let kind = owner.kind.as_deref().unwrap_or("any kind");
            format!("its owner of kind {kind}{}", child(&owner.span))
                .replace("of kind any", "of any")
        }
        Parent::Remote(remote) => format!("the context {}", remote.traceparent),
        Parent::Target(target) => {
            format!("{} {}{}", target.kind, target.name, child(&target.span))
        }
        Parent::Labelled(labelled) => {
            let labels: Vec<_> = labelled
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!(
                "{} with {}{}",
                labelled.kind,
                labels.join(","),
                child(&labelled.span)
            )
        }
    }
}

fn event(key: &EventKey) -> String {
    match key {
        EventKey::Delivery { repository, guid } => format!("event {guid} of {repository}"),
        EventKey::Push {
            repository,
            reference,
            revision,
        } => format!("push of {revision} to {reference} of {repository}"),
        EventKey::Change {
            repository,
            number,
            revision,
        } => format!("change {revision} of pull request {number} of {repository}"),
    }
}

/// `{"objects": […], "traces": […]}`; the traces are those of [`view::to_json`].
pub fn to_json(mapped: &Mapped) -> Value {
    let objects = mapped.objects.iter().map(|object| {
        let (role, answers, error) = match &object.role {
            Role::Unusable(error) => ("unusable", &[][..], Some(error)),
            Role::Unwanted => ("unwanted", &[][..], None),
            Role::Attached => ("attached", &[][..], None),
            Role::Unclaimed => ("unclaimed", &[][..], None),
            Role::Subject(answers) => ("subject", answers.as_slice(), None),
        };
        json!({
            "file": object.origin.file,
            "document": object.origin.document,
            "item": object.origin.item,
            "object": object.name,
            "role": role,
            "error": error,
            "answers": answers.iter().map(answer_json).collect::<Vec<_>>(),
        })
    });
    let objects: Vec<_> = objects.collect();
    let mut value = view::to_json(&view_of(mapped));
    if let Value::Object(members) = &mut value {
        members.insert("objects".to_owned(), objects.into());
    }
    value
}

fn answer_json(answer: &Answer) -> Value {
    let (outcome, detail, trees) = match &answer.outcome {
        Err(error) => ("failed", Some(error), &[][..]),
        Ok(Outcome::NotOurs) => ("not-ours", None, &[][..]),
        Ok(Outcome::Wait(reason)) => ("wait", Some(reason), &[][..]),
        Ok(Outcome::Spans(trees)) => ("spans", None, trees.as_slice()),
    };
    json!({
        "mapper": answer.mapper,
        "outcome": outcome,
        "detail": detail,
        "attached": answer.attached,
        "runs": trees.iter().map(|tree| json!({
            "run": tree.run,
            "service": tree.service,
            "name": tree.main.name,
            "spans": tree.children.len() + 1,
            "ended": tree.main.end.is_some(),
            "may_annotate": tree.may_annotate,
            "parents": tree.parents.iter().map(parent).collect::<Vec<_>>(),
            "diagnostics": tree.diagnostics,
        })).collect::<Vec<_>>(),
    })
}
