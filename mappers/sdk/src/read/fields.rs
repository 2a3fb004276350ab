//! The types of fields.
//!
//! Reading one is never inlined: a record would hold the whole of a JSON reader for each of its fields, and a
//! module that is ten times as large is no faster.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::record::{note_odd, noted, prefix_since};
use crate::contract::{AttributeValue, Timestamp};
use crate::value::IntoAttributeValue;
use crate::wrong_types_are_missing;

/// A text; missing is the same as empty, as everywhere in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(Cow<'a, str>);

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
pub struct Map<'a, T>(Vec<(Cow<'a, str>, T)>);

impl<'a> Text<'a> {
    /// The text, if it is not empty.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }

    /// The text; empty if it is missing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is missing or empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
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
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }
}

impl Map<'_, Text<'_>> {
    /// The text of a key, if it is not empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Text::get)
    }
}

impl IntoAttributeValue for &Text<'_> {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        self.as_str().into_attribute_value()
    }
}

impl IntoAttributeValue for Integer {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        self.0.into_attribute_value()
    }
}

impl IntoAttributeValue for Boolean {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        self.0.into_attribute_value()
    }
}

impl<'a> Deserialize<'a> for Text<'a> {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'a> Visitor<'a> for TextVisitor {
            type Value = Text<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            wrong_types_are_missing!('a, "a text", null number boolean list map);
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'a> Deserialize<'a> for Integer {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl<'a> Visitor<'a> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(Some(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Integer, E> {
                let number = i64::try_from(number).ok();
                if number.is_none() {
                    note_odd("a whole number of 64 bits");
                }
                Ok(Integer(number))
            }

            wrong_types_are_missing!('a, "a whole number", null text fraction boolean list map);
        }

        deserializer.deserialize_any(IntegerVisitor)
    }
}

impl<'a> Deserialize<'a> for Boolean {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct BooleanVisitor;

        impl<'a> Visitor<'a> for BooleanVisitor {
            type Value = Boolean;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true or false")
            }

            fn visit_bool<E>(self, boolean: bool) -> Result<Boolean, E> {
                Ok(Boolean(Some(boolean)))
            }

            wrong_types_are_missing!('a, "true or false", null text number list map);
        }

        deserializer.deserialize_any(BooleanVisitor)
    }
}

impl<'a> Deserialize<'a> for Presence {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct PresenceVisitor;

        impl<'a> Visitor<'a> for PresenceVisitor {
            type Value = Presence;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("anything")
            }

            fn visit_unit<E>(self) -> Result<Presence, E> {
                Ok(Presence(false))
            }

            fn visit_bool<E>(self, boolean: bool) -> Result<Presence, E> {
                Ok(Presence(boolean))
            }

            fn visit_str<E>(self, _: &str) -> Result<Presence, E> {
                Ok(Presence(true))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Presence, E> {
                Ok(Presence(true))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Presence, E> {
                Ok(Presence(true))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Presence, E> {
                Ok(Presence(true))
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<Presence, A::Error> {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Presence(true))
            }

            fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Presence, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Presence(true))
            }
        }

        deserializer.deserialize_any(PresenceVisitor)
    }
}

impl<'a> Deserialize<'a> for Time {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl<'a> Visitor<'a> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time")
            }

            fn visit_str<E>(self, text: &str) -> Result<Time, E> {
                let time = Timestamp::parse(text);
                if time.is_none() && !text.is_empty() && !text.starts_with("0001-01-01T00:00:00") {
                    note_odd("a time from 1970 on, in RFC 3339");
                }
                Ok(Time(time))
            }

            wrong_types_are_missing!('a, "a time", null number boolean list map);
        }

        deserializer.deserialize_any(TimeVisitor)
    }
}

impl<'a, T: Deserialize<'a>> Deserialize<'a> for List<T> {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'a, T: Deserialize<'a>> Visitor<'a> for ListVisitor<T> {
            type Value = List<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                let mut before = noted();
                while let Some(element) = elements.next_element()? {
                    let after = noted();
                    if after != before {
                        prefix_since(before, &list.len().to_string());
                        before = after;
                    }
                    list.push(element);
                }
                Ok(List(list))
            }

            wrong_types_are_missing!('a, "a list", null text number boolean map);
        }

        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

impl<'a, T: Deserialize<'a>> Deserialize<'a> for Map<'a, T> {
    #[inline(never)]
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<T>(PhantomData<T>);

        impl<'a, T: Deserialize<'a>> Visitor<'a> for MapVisitor<T> {
            type Value = Map<'a, T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Map<'a, T>, A::Error> {
                let mut map = Vec::new();
                let mut before = noted();
                while let Some(Text(key)) = members.next_key()? {
                    let value = members.next_value()?;
                    let after = noted();
                    if after != before {
                        prefix_since(before, &key);
                        before = after;
                    }
                    map.push((key, value));
                }
                Ok(Map(map))
            }

            wrong_types_are_missing!('a, "an object", null text number boolean list);
        }

        deserializer.deserialize_any(MapVisitor(PhantomData))
    }
}
