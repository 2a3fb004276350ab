//! Cuts an object down to the fields that a mapper reads.
//!
//! The host does this once, when an object arrives, and keeps only the result. Equal fields give equal text.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

/// The longest text that a mapper may return. It names things and counts them; it does not need a log.
pub const RETURNED_TEXT_LIMIT: u32 = 16 * 1024;

/// Longer strings are cut: by a character longer than what a mapper may return, so that one that gets into a span is
/// cut there once more, which is counted and said.
pub const TEXT_LIMIT: usize = RETURNED_TEXT_LIMIT as usize + 4;

/// Deeper levels are left out. Kubernetes' own schemas stay below 30.
const DEPTH_LIMIT: usize = 64;

/// What of an object is always there.
const ALWAYS: [&str; 7] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/deletionTimestamp",
];

/// A set of JSON pointers, ready to be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    root: Node,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Everything below belongs to it.
    whole: bool,
    members: BTreeMap<String, Node>,
    /// What holds for all members that are not named. Named ones include it.
    every: Option<Box<Node>>,
}

/// A text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{pointer}' is not a JSON pointer: {reason}")]
pub struct PointerError {
    /// The text.
    pub pointer: String,
    /// Why not.
    pub reason: &'static str,
}

impl Projection {
    /// The projection to everything.
    #[must_use]
    pub fn whole() -> Self {
        let mut projection = Self::default();
        projection.root.whole = true;
        projection
    }

    /// The projection to these fields of a Kubernetes object and to what identifies it: JSON pointers (RFC 6901)
    /// in which a segment `*` stands for every element of a list or value of a map. None at all means the whole
    /// object.
    ///
    /// # Errors
    /// If a text is not such a pointer.
    pub fn of_object<'a>(fields: impl IntoIterator<Item = &'a str>) -> Result<Self, PointerError> {
        let mut projection = Self::of(fields)?;
        if !projection.root.whole {
            for pointer in ALWAYS {
                projection.add(pointer)?;
            }
        }
        Ok(projection)
    }

    /// The projection to these fields of any JSON value. None at all means the whole value.
    ///
    /// # Errors
    /// If a text is not such a pointer.
    pub fn of<'a>(fields: impl IntoIterator<Item = &'a str>) -> Result<Self, PointerError> {
        let mut projection = Self::default();
        let mut empty = true;
        for pointer in fields {
            projection.add(pointer)?;
            empty = false;
        }
        projection.root.whole |= empty;
        Ok(projection)
    }

    fn add(&mut self, pointer: &str) -> Result<(), PointerError> {
        let segments = segments(pointer)?;
        self.root.add(&segments);
        Ok(())
    }

    /// The selected fields as compact JSON: members sorted, lists at full length, strings cut at
    /// [`TEXT_LIMIT`] bytes.
    #[must_use]
    pub fn apply(&self, value: &Value) -> String {
        let selected = Selected {
            value,
            node: &self.root,
            depth: 0,
        };
        // serde_json fails for keys that are no texts and where `Serialize` does: here are neither.
        serde_json::to_string(&selected).unwrap_or_default()
    }
}

impl<'de> DeserializeSeed<'de> for &Projection {
    type Value = Value;

    /// Reads a value as far as it is selected: what is not costs no memory. [`Projection::apply`] makes the same of
    /// what was read as of the whole, and so does every other projection that selects no more.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Reading(&self.root).deserialize(deserializer)
    }
}

/// A value that is read as far as a node selects it.
struct Reading<'a>(&'a Node);

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0.whole {
            return Value::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        loop {
            let element = match self.0.element(read.len()) {
                Some(below) => elements.next_element_seed(Reading(below))?,
                None => elements.next_element::<IgnoredAny>()?.map(|_| Value::Null),
            };
            match element {
                Some(element) => read.push(element),
                None => return Ok(Value::Array(read)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(selected) = members.next_key_seed(ReadingKey(self.0))? {
            match selected {
                Some((key, below)) => {
                    let member = members.next_value_seed(Reading(below))?;
                    read.insert(key, member);
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(read))
    }
}

/// A key of a member: it, and what is selected below it; none if nothing is.
struct ReadingKey<'a>(&'a Node);

impl<'de, 'a> DeserializeSeed<'de> for ReadingKey<'a> {
    type Value = Option<(String, &'a Node)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for ReadingKey<'a> {
    type Value = Option<(String, &'a Node)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.below(key).map(|below| (key.to_owned(), below)))
    }
}

impl Node {
    fn add(&mut self, segments: &[String]) {
        let Some((first, rest)) = segments.split_first() else {
            self.whole = true;
            return;
        };
        if first == "*" {
            let every = self.every.get_or_insert_default();
            every.add(rest);
            for node in self.members.values_mut() {
                node.add(rest);
            }
            return;
        }
        if !self.members.contains_key(first) {
            let node = self.every.as_deref().cloned().unwrap_or_default();
            self.members.insert(first.clone(), node);
        }
        if let Some(node) = self.members.get_mut(first) {
            node.add(rest);
        }
    }

    fn below(&self, key: &str) -> Option<&Node> {
        if self.whole {
            return Some(self);
        }
        self.members.get(key).or(self.every.as_deref())
    }

    /// What is selected of the element of a list at this place.
    fn element(&self, place: usize) -> Option<&Node> {
        if self.whole || self.members.is_empty() {
            return if self.whole {
                Some(self)
            } else {
                self.every.as_deref()
            };
        }
        self.below(&place.to_string())
    }
}

fn segments(pointer: &str) -> Result<Vec<String>, PointerError> {
    let error = |reason| PointerError {
        pointer: pointer.to_owned(),
        reason,
    };
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(path) = pointer.strip_prefix('/') else {
        return Err(error("it must start with '/'"));
    };
    path.split('/')
        .map(|segment| {
            let mut unescaped = String::with_capacity(segment.len());
            let mut characters = segment.chars();
            while let Some(character) = characters.next() {
                unescaped.push(match character {
                    '~' => match characters.next() {
                        Some('0') => '~',
                        Some('1') => '/',
                        _ => return Err(error("'~' must be followed by 0 or 1")),
                    },
                    other => other,
                });
            }
            Ok(unescaped)
        })
        .collect()
}

/// A value as far as a node selects it.
struct Selected<'a> {
    value: &'a Value,
    node: &'a Node,
    depth: usize,
}

impl Selected<'_> {
    fn below<'a>(&self, value: &'a Value, node: &'a Node) -> Selected<'a> {
        Selected {
            value,
            node,
            depth: self.depth + 1,
        }
    }

    fn members<S: Serializer>(
        &self,
        members: &Map<String, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // Whether serde_json keeps members sorted depends on a feature that any crate may switch on.
        let mut selected: Vec<_> = members
            .iter()
            .filter_map(|(key, member)| Some((key, self.below(member, self.node.below(key)?))))
            .collect();
        if !selected.is_sorted_by_key(|(key, _)| *key) {
            selected.sort_unstable_by_key(|(key, _)| *key);
        }
        serializer.collect_map(selected)
    }

    fn elements<S: Serializer>(
        &self,
        elements: &[Value],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let selected = elements.iter().enumerate().map(|(place, element)| {
            let below = self.node.element(place);
            // An element that is not selected stands as null, so that the others keep their places.
            below.map(|below| self.below(element, below))
        });
        serializer.collect_seq(selected)
    }
}

impl Serialize for Selected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.depth > DEPTH_LIMIT {
            return serializer.serialize_unit();
        }
        match self.value {
            Value::Object(members) => self.members(members, serializer),
            Value::Array(elements) => self.elements(elements, serializer),
            Value::String(string) => serializer.serialize_str(cut(string)),
            other => other.serialize(serializer),
        }
    }
}

/// The string, or its beginning up to a character that starts within [`TEXT_LIMIT`] bytes.
fn cut(string: &str) -> &str {
    if string.len() <= TEXT_LIMIT {
        return string;
    }
    let end = (0..=TEXT_LIMIT)
        .rev()
        .find(|end| string.is_char_boundary(*end))
        .unwrap_or(0);
    string.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn apply(fields: &[&str], value: &Value) -> Value {
        let text = Projection::of(fields.iter().copied()).unwrap().apply(value);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn keeps_the_shape_and_the_length_of_lists() {
        let object = json!({
            "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "nodeName": "n"},
            "status": {"phase": "Running"}
        });
        assert_eq!(
            apply(&["/spec/containers/*/name", "/status"], &object),
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": {"phase": "Running"}})
        );
        assert_eq!(
            apply(&["/spec/containers/1"], &object),
            json!({"spec": {"containers": [null, {"name": "b"}]}})
        );
        assert_eq!(apply(&[], &object), object);
    }

    #[test]
    fn a_named_member_and_every_member_add_up_in_any_order() {
        let object = json!({"m": {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 4}}});
        let expected = json!({"m": {"a": {"x": 1, "y": 2}, "b": {"x": 3}}});
        assert_eq!(apply(&["/m/*/x", "/m/a/y"], &object), expected);
        assert_eq!(apply(&["/m/a/y", "/m/*/x"], &object), expected);
    }

    #[test]
    fn escapes_are_those_of_rfc_6901() {
        let object = json!({"metadata": {"labels": {"a/b": 1, "c~d": 2, "e": 3}}});
        assert_eq!(
            apply(&["/metadata/labels/a~1b", "/metadata/labels/c~0d"], &object),
            json!({"metadata": {"labels": {"a/b": 1, "c~d": 2}}})
        );
        assert!(Projection::of(["metadata"]).is_err());
        assert!(Projection::of(["/a~2"]).is_err());
    }

    #[test]
    fn what_identifies_an_object_is_always_there() {
        let object =
            json!({"kind": "Pod", "metadata": {"name": "p", "uid": "u", "labels": {}}, "spec": 1});
        let text = Projection::of_object(["/status"]).unwrap().apply(&object);
        assert_eq!(text, r#"{"kind":"Pod","metadata":{"name":"p","uid":"u"}}"#);
    }

    #[test]
    fn long_strings_and_deep_values_are_cut() {
        let mut value = json!("é".repeat(TEXT_LIMIT));
        let text = Projection::of([]).unwrap().apply(&value);
        assert_eq!(text.len(), TEXT_LIMIT + 2);
        for _ in 0..1000 {
            value = json!([value]);
        }
        assert!(Projection::of([]).unwrap().apply(&value).len() < TEXT_LIMIT);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c/~é\"\\\\]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn projecting_twice_changes_nothing(
            value in any_json(),
            fields in prop::collection::vec("(/([a-c]|\\*)){1,3}", 1..4),
        ) {
            let projection = Projection::of(fields.iter().map(String::as_str)).unwrap();
            let once = projection.apply(&value);
            let twice = projection.apply(&serde_json::from_str(&once).unwrap());
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn what_is_read_of_a_value_is_projected_as_the_whole(
            value in any_json(),
            fields in prop::collection::vec("(/([a-c]|[01]|\\*)){0,3}", 1..4),
            more in prop::collection::vec("(/([a-c]|[01]|\\*)){1,3}", 0..4),
        ) {
            let fields = fields.iter().map(String::as_str);
            let projection = Projection::of(fields.clone()).unwrap();
            let reads = Projection::of(fields.chain(more.iter().map(String::as_str))).unwrap();
            let text = value.to_string();
            let mut json = serde_json::Deserializer::from_str(&text);
            let read = reads.deserialize(&mut json).unwrap();
            json.end().unwrap();
            prop_assert_eq!(projection.apply(&read), projection.apply(&value));
            prop_assert_eq!(reads.apply(&read), reads.apply(&value));
        }

        #[test]
        fn the_whole_value_is_the_value(value in any_json()) {
            let text = Projection::of([]).unwrap().apply(&value);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
