//! The types of fields.

use std::fmt;
use std::ops::Deref;

use super::reader::{Read, Reader};
use crate::contract::{AttributeValue, Timestamp};
use crate::value::IntoAttributeValue;

/// A text; missing is the same as empty, as everywhere in Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(&'a str);

/// A whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Integer(Option<i64>);

/// True or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boolean(Option<bool>);

/// Whether there is anything: not missing, not null and not false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence(bool);

/// A time in RFC 3339. The zero time of Go is a missing one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time(Option<Timestamp>);

/// A list at its full length: an element that is null or of another type is at its default.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(Vec<T>);

/// An object of any keys, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<'a, T>(Vec<(&'a str, T)>);

impl<'a> Text<'a> {
    /// The text, if it is not empty.
    #[must_use]
    pub fn get(self) -> Option<&'a str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }

    /// The text; empty if it is missing.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the text is missing or empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text)
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Integer {
    /// The number.
    #[must_use]
    pub const fn get(self) -> Option<i64> {
        self.0
    }
}

impl Boolean {
    /// The value.
    #[must_use]
    pub const fn get(self) -> Option<bool> {
        self.0
    }

    /// Whether it is there and true.
    #[must_use]
    pub fn is_true(self) -> bool {
        self.0 == Some(true)
    }
}

impl Presence {
    /// Whether there is anything.
    #[must_use]
    pub const fn is_there(self) -> bool {
        self.0
    }
}

impl Time {
    /// The time.
    #[must_use]
    pub const fn get(self) -> Option<Timestamp> {
        self.0
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'s, T> IntoIterator for &'s List<T> {
    type Item = &'s T;
    type IntoIter = std::slice::Iter<'s, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T> Default for Map<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Map<'_, T> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.iter()
            .find_map(|(known, value)| (known == key).then_some(value))
    }

    /// All keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }
}

impl<'a> Map<'_, Text<'a>> {
    /// The text of a key, if it is not empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(|text| text.get())
    }
}

impl<'a> IntoAttributeValue<'a> for &Text<'a> {
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        self.as_str().into_attribute_value()
    }
}

impl<'a> IntoAttributeValue<'a> for Integer {
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        self.0.into_attribute_value()
    }
}

impl<'a> IntoAttributeValue<'a> for Boolean {
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        self.0.into_attribute_value()
    }
}

impl<'a> Read<'a> for Text<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) {
        match reader.peek() {
            b'"' => self.0 = reader.text().unwrap_or_default(),
            next => reader.other(next, "a text"),
        }
    }
}

impl Read<'_> for Integer {
    fn read(&mut self, reader: &mut Reader<'_>) {
        self.0 = reader.integer();
    }
}

impl Read<'_> for Boolean {
    fn read(&mut self, reader: &mut Reader<'_>) {
        self.0 = reader.boolean();
    }
}

impl Read<'_> for Presence {
    fn read(&mut self, reader: &mut Reader<'_>) {
        self.0 = !matches!(reader.peek(), b'n' | b'f');
        reader.skip();
    }
}

impl Read<'_> for Time {
    fn read(&mut self, reader: &mut Reader<'_>) {
        match reader.peek() {
            b'"' => {
                let text = reader.text().unwrap_or_default();
                self.0 = Timestamp::parse(text);
                if self.0.is_none() && !text.is_empty() && !text.starts_with("0001-01-01T00:00:00")
                {
                    reader.note("a time from 1970 on, in RFC 3339");
                }
            }
            next => reader.other(next, "a time"),
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for List<T> {
    fn read(&mut self, reader: &mut Reader<'a>) {
        if !reader.enter(b'[', "a list") {
            return;
        }
        let mut is_first = true;
        while reader.element(&mut is_first) {
            let noted = reader.noted();
            self.0.push(T::default());
            if let Some(element) = self.0.last_mut() {
                element.read(reader);
            }
            if reader.noted() != noted {
                reader.prefix(noted, &(self.0.len() - 1).to_string());
            }
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Map<'a, T> {
    fn read(&mut self, reader: &mut Reader<'a>) {
        if !reader.enter(b'{', "an object") {
            return;
        }
        let mut is_first = true;
        while let Some(key) = reader.key(&mut is_first) {
            let mut value = T::default();
            reader.value(key, &mut value);
            self.0.push((key, value));
        }
    }
}
