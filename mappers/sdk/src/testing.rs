//! For tests of mappers: objects as the host hands them over, and what every tree must fulfil. A mapper that is
//! only ever tested with whole objects may read a field that it has forgotten to declare.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::contract::{
    Attached, Attribute, AttributeValue, Configuration, Description, Limits, Object, Source,
    SpanTree, Subject, Timestamp,
};

/// What the host adds to the declared fields of every subject.
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
    let fields = |fields: Option<&Vec<String>>| fields.cloned().unwrap_or_default();
    let own = fields(described.map(|watch| &watch.fields));
    Object {
        watch,
        json: project_to(object, &own, &ALWAYS).to_string(),
        deleted: false,
        attached: attached
            .iter()
            .map(|(attachment, object)| {
                let described = described
                    .and_then(|watch| watch.attachments.get(*attachment as usize))
                    .map(|attachment| &attachment.fields);
                Attached {
                    attachment: *attachment,
                    json: project_to(object, &fields(described), &[]).to_string(),
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

/// Attributes as a JSON object.
#[must_use]
pub fn attributes(attributes: &[Attribute]) -> Value {
    let members = attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            AttributeValue::Text(text) => Value::from(&**text),
            AttributeValue::Boolean(boolean) => Value::from(*boolean),
            AttributeValue::Integer(integer) => Value::from(*integer),
            AttributeValue::Number(number) => Value::from(*number),
            AttributeValue::Texts(texts) => Value::from(texts.as_slice()),
            AttributeValue::Booleans(booleans) => Value::from(booleans.as_slice()),
            AttributeValue::Integers(integers) => Value::from(integers.as_slice()),
            AttributeValue::Numbers(numbers) => Value::from(numbers.as_slice()),
        };
        (attribute.key.clone().into_owned(), value)
    });
    Value::Object(members.collect())
}

/// A configuration without text.
#[must_use]
pub fn configuration() -> Configuration {
    Configuration {
        name: "test".to_owned(),
        text: String::new(),
        host_version: String::new(),
        features: Vec::new(),
        limits: Limits {
            spans: 1000,
            attributes_per_span: 128,
            events_per_span: 128,
            links_per_span: 128,
            text_bytes: 16 * 1024,
            output_bytes: 1024 * 1024,
        },
    }
}

/// A webhook's payload cut down to these fields.
#[must_use]
pub fn project(payload: &Value, fields: &[String]) -> Value {
    project_to(payload, fields, &[])
}

/// The value with some of its parts replaced by something odd: each change names a part and what takes its place.
/// For property tests: `proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8)` gives changes.
#[must_use]
pub fn mangle(value: &Value, changes: &[(u16, u8)]) -> Value {
    let mut mangled = value.clone();
    for (part, odd) in changes {
        let parts = count(&mangled);
        let mut place = usize::from(*part) % parts.max(1);
        replace(&mut mangled, &mut place, *odd);
    }
    mangled
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count).sum::<usize>(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the part of this place in the order of a walk; counts down to it.
fn replace(value: &mut Value, place: &mut usize, odd: u8) -> bool {
    if *place == 0 {
        *value = match (odd % 16, &*value) {
            (0, _) => Value::Null,
            (1, _) => Value::from(true),
            (2, _) => Value::from(-1),
            (3, _) => Value::from(u64::MAX),
            (4, _) => Value::from(1.5),
            (5, _) => Value::from(""),
            (6, _) => Value::from("odd/é{}~\"\n"),
            (7, _) => Value::from("1970-01-01T00:00:00Z"),
            (8, _) => Value::from("2023-11-14T22:13:20Z"),
            (9, _) => Value::from("2023-11-14T22:13:20.75Z"),
            (10, _) => Value::from("2554-01-01T00:00:00.123456789Z"),
            (11, _) => Value::Object(Map::new()),
            (12, _) => Value::Array(Vec::new()),
            // Twice the same, and the other way round.
            (13, Value::Array(elements)) => elements.iter().chain(elements).cloned().collect(),
            (14, Value::Array(elements)) => elements.iter().rev().cloned().collect(),
            (_, value) => Value::Array(vec![value.clone(), Value::Null]),
        };
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(elements) => elements
            .iter_mut()
            .any(|element| replace(element, place, odd)),
        Value::Object(members) => members
            .values_mut()
            .any(|member| replace(member, place, odd)),
        _ => false,
    }
}

fn project_to(object: &Value, fields: &[String], always: &[&str]) -> Value {
    if fields.is_empty() {
        return object.clone();
    }
    let pointers: Vec<Vec<String>> = fields
        .iter()
        .map(String::as_str)
        .chain(always.iter().copied())
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
