//! For tests of mappers: objects as the host hands them over, and what every tree must fulfil. A mapper that is
//! only ever tested with whole objects may read a field that it has forgotten to declare.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::contract::{Attached, Description, Object, Source, SpanTree, Subject, Timestamp};

/// What the host adds to the declared fields of every object.
const ALWAYS: [&str; 7] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/deletionTimestamp",
];

/// An object as a subject of a watch, cut down to the fields that the description declares, with its attachments
/// in the order given. A watch or an attachment that is not described gives whole objects.
#[must_use]
pub fn subject(
    description: &Description,
    watch: u32,
    object: &Value,
    attached: &[(u32, Value)],
) -> Object {
    let described = description.watches.get(watch as usize);
    let project = |object: &Value, fields: Option<&Vec<String>>| {
        let whole = Vec::new();
        project(object, fields.unwrap_or(&whole)).to_string()
    };
    Object {
        watch,
        json: project(object, described.map(|watch| &watch.fields)),
        deleted: false,
        attached: attached
            .iter()
            .map(|(attachment, object)| {
                let fields = described
                    .and_then(|watch| watch.attachments.get(*attachment as usize))
                    .map(|attachment| &attachment.fields);
                Attached {
                    attachment: *attachment,
                    json: project(object, fields),
                }
            })
            .collect(),
        omitted: 0,
    }
}

/// The place of the watch on a kind.
#[must_use]
pub fn watch_of(description: &Description, kind: &str) -> Option<u32> {
    let place = description.watches.iter().position(
        |watch| matches!(&watch.source, Source::Objects(source) if source.kind == kind),
    )?;
    u32::try_from(place).ok()
}

/// What is wrong with a tree, if anything: a key that occurs twice, an empty key or name, no parent, a span that
/// ends before it starts, or a child that is not below an earlier one or reaches beyond the span that it is below.
#[must_use]
pub fn fault(tree: &SpanTree) -> Option<String> {
    if tree.parents.is_empty() {
        return Some("there is no parent".to_owned());
    }
    if !tree.main.key.is_empty() {
        return Some("the main span has a key".to_owned());
    }
    let mut keys = BTreeSet::new();
    let mut ranges: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
    let spans = tree.children.iter().map(|child| (child.under, &child.span));
    for (under, span) in [(None, &tree.main)].into_iter().chain(spans) {
        let key = &span.key;
        if !keys.insert(key) {
            return Some(format!("key '{key}' occurs twice"));
        }
        if span.name.is_empty() {
            return Some(format!("span '{key}' has no name"));
        }
        if span
            .end
            .is_some_and(|end| end.nanoseconds < span.start.nanoseconds)
        {
            return Some(format!("span '{key}' ends before it starts"));
        }
        // The main span is in front of the children.
        let above = under.map_or(0, |place| place as usize + 1);
        match ranges.get(above) {
            Some((start, end)) => {
                let start_lies_in = span.start.nanoseconds >= start.nanoseconds;
                let end_lies_in = match (span.end, end) {
                    (_, None) => true,
                    (Some(own), Some(end)) => own.nanoseconds <= end.nanoseconds,
                    (None, Some(_)) => false,
                };
                if !start_lies_in || !end_lies_in {
                    return Some(format!("span '{key}' reaches beyond the one above"));
                }
            }
            None if ranges.is_empty() => {}
            None => return Some(format!("span '{key}' is not below an earlier one")),
        }
        ranges.push((span.start, span.end));
    }
    None
}

fn project(object: &Value, fields: &[String]) -> Value {
    if fields.is_empty() {
        return object.clone();
    }
    let pointers: Vec<Vec<String>> = fields
        .iter()
        .map(String::as_str)
        .chain(ALWAYS)
        .map(|pointer| {
            pointer
                .split('/')
                .skip(1)
                .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
                .collect()
        })
        .collect();
    let pointers: Vec<&[String]> = pointers.iter().map(Vec::as_slice).collect();
    select(object, &pointers)
}

/// The parts of a value that some pointer leads to or through.
fn select(value: &Value, pointers: &[&[String]]) -> Value {
    if pointers.iter().any(|pointer| pointer.is_empty()) {
        return value.clone();
    }
    let below = |key: &str| -> Vec<&[String]> {
        pointers
            .iter()
            .filter_map(|pointer| pointer.split_first())
            .filter(|(first, _)| *first == "*" || *first == key)
            .map(|(_, rest)| rest)
            .collect()
    };
    match value {
        Value::Object(members) => {
            let mut selected = Map::new();
            for (key, member) in members {
                let below = below(key);
                if !below.is_empty() {
                    selected.insert(key.clone(), select(member, &below));
                }
            }
            Value::Object(selected)
        }
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(place, element)| {
                let below = below(&place.to_string());
                if below.is_empty() {
                    Value::Null
                } else {
                    select(element, &below)
                }
            })
            .collect(),
        other => other.clone(),
    }
}

impl From<Object> for Subject {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ObjectSource, Parent, Span, Watch};
    use serde_json::json;

    #[test]
    fn a_subject_has_what_is_declared() {
        let description = Description::new("1").watch(
            Watch::objects(ObjectSource::new("", ["v1"], "Pod"))
                .fields(["/metadata/labels/a~1b", "/status/list/*/name"]),
        );
        assert_eq!(watch_of(&description, "Pod"), Some(0));
        let pod = json!({
            "kind": "Pod",
            "metadata": {"name": "p", "labels": {"a/b": "c", "d": "e"}, "annotations": {}},
            "status": {"list": [{"name": "n", "state": 1}, 7], "phase": "Running"},
        });
        let subject = subject(&description, 0, &pod, &[]);
        let read: Value = serde_json::from_str(&subject.json).unwrap();
        assert_eq!(
            read,
            json!({
                "kind": "Pod",
                "metadata": {"name": "p", "labels": {"a/b": "c"}},
                "status": {"list": [{"name": "n"}, 7]},
            })
        );
    }

    #[test]
    fn faults_are_found() {
        let at = Timestamp::nanoseconds;
        let good = || {
            let mut tree = SpanTree::new("service", Span::main("main", at(10)).until(Some(at(20))))
                .under(Parent::own_root());
            tree.add(Span::new("a", "a", at(10)).until(Some(at(20))));
            tree
        };
        assert_eq!(fault(&good()), None);
        let mut tree = good();
        tree.parents.clear();
        assert!(fault(&tree).is_some());
        let mut tree = good();
        tree.add(Span::new("a", "a", at(11)).until(Some(at(12))));
        assert!(fault(&tree).is_some());
        let mut tree = good();
        tree.add(Span::new("b", "b", at(9)).until(Some(at(12))));
        assert!(fault(&tree).is_some());
        let mut tree = good();
        tree.add(Span::new("b", "b", at(12)));
        assert!(fault(&tree).is_some());
        let mut tree = good();
        tree.add_under(Some(7), Span::new("b", "b", at(12)).until(Some(at(13))));
        assert!(fault(&tree).is_some());
        let mut tree = good();
        tree.main.end = Some(at(9));
        assert!(fault(&tree).is_some());
    }
}
