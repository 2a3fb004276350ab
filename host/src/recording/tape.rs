//! Writes a recording, an entry a line, as things happen.

use std::collections::BTreeMap;
use std::io::{self, Write};

use lighthouse_telemetry_core::time::Time;
use serde_json::{Map, Value, json};

use super::{Key, key};

/// A recording that is being written. Of each object it has the last state, to write down only what changes.
#[derive(Debug)]
pub struct Tape<W> {
    output: W,
    objects: BTreeMap<Key, Value>,
    entries: u64,
    bytes: u64,
}

impl<W: Write> Tape<W> {
    /// Nothing is recorded yet.
    pub fn new(output: W) -> Self {
        Self {
            output,
            objects: BTreeMap::new(),
            entries: 0,
            bytes: 0,
        }
    }

    /// How many entries were written.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// How many bytes they have.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many objects there are now.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// An object is like this now. Nothing is written if it was so before, or is none that a recording can have.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn apply(&mut self, at: Time, object: Value) -> io::Result<()> {
        let has_uid = object
            .pointer("/metadata/uid")
            .is_some_and(Value::is_string);
        let Some(key) = key(&object).ok().filter(|_| has_uid) else {
            return Ok(());
        };
        let Some(known) = self.objects.get(&key) else {
            return self.whole(at, key, object);
        };
        if *known == object {
            return Ok(());
        }
        if known.pointer("/metadata/uid") != object.pointer("/metadata/uid") {
            // One of the same name has taken its place.
            self.delete(at, &object)?;
            return self.whole(at, key, object);
        }
        let mut part = Value::Object(difference(known, &object));
        json_patch::merge(&mut part, &identity(&object));
        let mut merged = known.clone();
        json_patch::merge(&mut merged, &part);
        // A merge cannot say everything: a null in it is for what is gone.
        if merged != object {
            return self.whole(at, key, object);
        }
        self.write(&json!({"at": at.to_string(), "merge": part}))?;
        self.objects.insert(key, object);
        Ok(())
    }

    /// The object of this kind, namespace and name is gone. Nothing is written if it is not known.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn delete(&mut self, at: Time, object: &Value) -> io::Result<()> {
        let known = key(object).ok().and_then(|key| self.objects.remove(&key));
        match known {
            Some(_) => self.write(&json!({"at": at.to_string(), "delete": identity(object)})),
            None => Ok(()),
        }
    }

    /// Hands on all that was written.
    ///
    /// # Errors
    /// If that fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn whole(&mut self, at: Time, key: Key, object: Value) -> io::Result<()> {
        self.write(&json!({"at": at.to_string(), "apply": object}))?;
        self.objects.insert(key, object);
        Ok(())
    }

    fn write(&mut self, entry: &Value) -> io::Result<()> {
        let line = format!("{entry}\n");
        self.output.write_all(line.as_bytes())?;
        self.entries += 1;
        self.bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// What names an object.
#[must_use]
pub fn identity(object: &Value) -> Value {
    let part = |value: &Value, keys: &[&str]| -> Map<String, Value> {
        let named = keys.iter().filter_map(|key| {
            let value = value.get(*key)?;
            Some(((*key).to_owned(), value.clone()))
        });
        named.collect()
    };
    let mut identity = part(object, &["apiVersion", "kind"]);
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    identity.insert(
        "metadata".to_owned(),
        Value::Object(part(metadata, &["name", "namespace"])),
    );
    Value::Object(identity)
}

/// The JSON merge patch (RFC 7396) from one state to another.
fn difference(before: &Value, now: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let now = now.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !now.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in now {
        let change = match before.get(key) {
            Some(same) if same == value => continue,
            Some(before) if before.is_object() && value.is_object() => {
                Value::Object(difference(before, value))
            }
            _ => value.clone(),
        };
        patch.insert(key.clone(), change);
    }
    patch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recording::{Happening, Recording};

    fn at(second: u64) -> Time {
        Time::from_nanoseconds((1_772_442_900 + second) * 1_000_000_000)
    }

    fn pod(uid: &str, status: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "jx", "uid": uid}, "status": status})
    }

    fn read(tape: Tape<Vec<u8>>) -> Vec<Happening> {
        let text = String::from_utf8(tape.output).unwrap();
        let recording = Recording::parse(&text).unwrap();
        let entries = recording.entries().iter();
        entries.map(|entry| entry.happening.clone()).collect()
    }

    #[test]
    fn what_was_written_is_read_as_it_happened() {
        let first = pod(
            "1",
            json!({"phase": "Pending", "reason": "x", "list": [1, {"a": 1}]}),
        );
        let second = pod("1", json!({"phase": "Running", "list": [2], "odd": null}));
        let third = pod("1", json!({"phase": "Succeeded", "list": [2], "odd": null}));
        let other = pod("2", json!({}));
        let mut tape = Tape::new(Vec::new());
        tape.apply(at(0), first.clone()).unwrap();
        tape.apply(at(1), first.clone()).unwrap();
        tape.apply(at(2), second.clone()).unwrap();
        tape.apply(at(3), third.clone()).unwrap();
        tape.apply(at(4), other.clone()).unwrap();
        tape.delete(at(5), &identity(&other)).unwrap();
        tape.delete(at(6), &identity(&other)).unwrap();
        tape.apply(at(7), json!({"kind": "Pod"})).unwrap();
        assert_eq!(tape.entries(), 6);
        assert_eq!(tape.objects(), 0);
        assert_eq!(tape.bytes(), u64::try_from(tape.output.len()).unwrap());
        let written = String::from_utf8(tape.output.clone()).unwrap();
        assert!(written.lines().nth(2).unwrap().len() < 160, "{written}");
        assert_eq!(
            read(tape),
            [
                Happening::Applied(first),
                Happening::Applied(second),
                Happening::Applied(third.clone()),
                Happening::Deleted(third),
                Happening::Applied(other.clone()),
                Happening::Deleted(other),
            ]
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_change_is_read_as_it_was(states in prop::collection::vec(any_json(), 1..5)) {
            let mut tape = Tape::new(Vec::new());
            let mut expected = Vec::new();
            for (second, status) in (0..).zip(states) {
                let state = pod("1", status);
                if expected.last() != Some(&Happening::Applied(state.clone())) {
                    expected.push(Happening::Applied(state.clone()));
                }
                tape.apply(at(second), state).unwrap();
            }
            prop_assert_eq!(read(tape), expected);
        }
    }
}
