//! What makes the value of an attribute. What is missing makes none, so that a mapper need not ask first.

use std::borrow::Cow;

use crate::contract::{Attribute, AttributeValue};

/// Makes the value of an attribute, or none where there is nothing to say.
pub trait IntoAttributeValue<'a> {
    /// The value. Empty texts and lists, and numbers that are not finite, are none.
    fn into_attribute_value(self) -> Option<AttributeValue<'a>>;
}

impl<'a> IntoAttributeValue<'a> for AttributeValue<'a> {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        Some(self)
    }
}

impl<'a> IntoAttributeValue<'a> for &'a str {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        (!self.is_empty()).then_some(AttributeValue::Text(Cow::Borrowed(self)))
    }
}

impl<'a> IntoAttributeValue<'a> for String {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        (!self.is_empty()).then_some(AttributeValue::Text(Cow::Owned(self)))
    }
}

impl<'a> IntoAttributeValue<'a> for Cow<'a, str> {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        (!self.is_empty()).then_some(AttributeValue::Text(self))
    }
}

impl<'a> IntoAttributeValue<'a> for i64 {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        Some(AttributeValue::Integer(self))
    }
}

impl<'a> IntoAttributeValue<'a> for bool {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        Some(AttributeValue::Boolean(self))
    }
}

impl<'a> IntoAttributeValue<'a> for f64 {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        self.is_finite().then_some(AttributeValue::Number(self))
    }
}

impl<'a, T: Into<Cow<'a, str>>> IntoAttributeValue<'a> for Vec<T> {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        let texts: Vec<_> = self.into_iter().map(T::into).collect();
        (!texts.is_empty()).then_some(AttributeValue::Texts(texts))
    }
}

impl<'a, T: IntoAttributeValue<'a>> IntoAttributeValue<'a> for Option<T> {
    #[inline(always)]
    fn into_attribute_value(self) -> Option<AttributeValue<'a>> {
        self.and_then(T::into_attribute_value)
    }
}

/// Sets an attribute in a list, in place of one of the same key. Does nothing if there is no value.
pub fn set<'a>(
    attributes: &mut Vec<Attribute<'a>>,
    key: impl Into<Cow<'a, str>>,
    value: impl IntoAttributeValue<'a>,
) {
    if let Some(value) = value.into_attribute_value() {
        set_value(attributes, key.into(), value);
    }
}

/// Adds an attribute whose key is not looked for in the list. Does nothing if there is no value.
#[inline(always)]
pub fn add<'a>(
    attributes: &mut Vec<Attribute<'a>>,
    key: &'static str,
    value: impl IntoAttributeValue<'a>,
) {
    if let Some(value) = value.into_attribute_value() {
        add_value(attributes, Cow::Borrowed(key), value);
    }
}

/// So many attributes a span or an event has mostly.
const USUAL: usize = 8;

#[inline(always)]
fn add_value<'a>(
    attributes: &mut Vec<Attribute<'a>>,
    key: Cow<'a, str>,
    value: AttributeValue<'a>,
) {
    if attributes.capacity() == 0 {
        *attributes = Vec::with_capacity(USUAL);
    }
    attributes.push(Attribute { key, value });
}

// Mappers set hundreds of attributes, each with a key of its own.
#[inline(never)]
fn set_value<'a>(
    attributes: &mut Vec<Attribute<'a>>,
    key: Cow<'a, str>,
    value: AttributeValue<'a>,
) {
    match attributes.iter_mut().find(|known| known.key == key) {
        Some(known) => known.value = value,
        None => {
            add_value(attributes, key, value);
        }
    }
}
