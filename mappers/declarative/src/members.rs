//! Takes an object of the text apart by its keys, and minds those that are not known.

use crate::place::{Place, Wrong};
use crate::yaml::{Key, Node, Scalar, Value};

/// The members of an object that were not asked for yet.
pub struct Members {
    /// Where the object begins.
    pub at: Place,
    left: Vec<(Key, Node)>,
    known: Vec<&'static str>,
}

impl Members {
    /// Those of a value, which must be an object.
    pub fn of(node: Node) -> Result<Self, Wrong> {
        match node.value {
            Value::Map(left) => Ok(Self {
                at: node.at,
                left,
                known: Vec::new(),
            }),
            _ => Err(node.at.wrong("this must be an object: keys and values")),
        }
    }

    /// The value of a key, if it is there.
    pub fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let place = self.left.iter().position(|(known, _)| known.text == key)?;
        Some(self.left.remove(place).1)
    }

    /// The value of a key that must be there.
    pub fn need(&mut self, key: &'static str) -> Result<Node, Wrong> {
        let at = self.at;
        self.take(key)
            .ok_or_else(|| at.wrong(format!("the key '{key}' is missing here")))
    }

    /// The text of a key, if it is there.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Wrong> {
        let scalar = self.take(key).map(scalar).transpose()?;
        Ok(scalar.map(|scalar| scalar.text))
    }

    /// The text of a key that must be there.
    pub fn need_text(&mut self, key: &'static str) -> Result<String, Wrong> {
        Ok(scalar(self.need(key)?)?.text)
    }

    /// That all keys are known.
    pub fn done(self) -> Result<(), Wrong> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(key.at.wrong(format!(
                "the key '{}' is not known here; known are {}",
                key.text,
                self.known.join(", ")
            ))),
        }
    }
}

/// A text that is not empty.
pub fn scalar(node: Node) -> Result<Scalar, Wrong> {
    match node.value {
        Value::Scalar(scalar) if !scalar.is_empty() => Ok(scalar),
        Value::Scalar(_) => Err(node.at.wrong("a text is missing here")),
        Value::List(_) => Err(node.at.wrong("this must be a text, not a list")),
        Value::Map(_) => Err(node.at.wrong("this must be a text, not an object")),
    }
}

/// The elements of a list.
pub fn list(node: Node) -> Result<Vec<Node>, Wrong> {
    match node.value {
        Value::List(elements) => Ok(elements),
        _ => Err(node.at.wrong("this must be a list")),
    }
}

/// Keys and values of an object whose keys the author chooses.
pub fn entries(node: Node) -> Result<Vec<(Key, Node)>, Wrong> {
    match node.value {
        Value::Map(entries) => Ok(entries),
        _ => Err(node.at.wrong("this must be an object: keys and values")),
    }
}
