//! What makes the value of an attribute. What is missing makes none, so that a mapper need not ask first.

use crate::contract::{Attribute, AttributeValue};

/// Makes the value of an attribute, or none where there is nothing to say.
pub trait IntoAttributeValue {
    /// The value. Empty texts and lists, and numbers that are not finite, are none.
    fn into_attribute_value(self) -> Option<AttributeValue>;
}

impl IntoAttributeValue for AttributeValue {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        Some(self)
    }
}

impl IntoAttributeValue for &str {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        (!self.is_empty()).then(|| AttributeValue::Text(self.to_owned()))
    }
}

impl IntoAttributeValue for String {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        (!self.is_empty()).then_some(AttributeValue::Text(self))
    }
}

impl IntoAttributeValue for i64 {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        Some(AttributeValue::Integer(self))
    }
}

impl IntoAttributeValue for bool {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        Some(AttributeValue::Boolean(self))
    }
}

impl IntoAttributeValue for f64 {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        self.is_finite().then_some(AttributeValue::Number(self))
    }
}

impl IntoAttributeValue for Vec<String> {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        (!self.is_empty()).then_some(AttributeValue::Texts(self))
    }
}

impl<T: IntoAttributeValue> IntoAttributeValue for Option<T> {
    fn into_attribute_value(self) -> Option<AttributeValue> {
        self.and_then(T::into_attribute_value)
    }
}

/// Sets an attribute in a list, in place of one of the same key. Does nothing if there is no value.
pub fn set(attributes: &mut Vec<Attribute>, key: &str, value: impl IntoAttributeValue) {
    if let Some(value) = value.into_attribute_value() {
        set_value(attributes, key, value);
    }
}

// Mappers set hundreds of attributes, each with a key of its own.
#[inline(never)]
fn set_value(attributes: &mut Vec<Attribute>, key: &str, value: AttributeValue) {
    match attributes.iter_mut().find(|known| known.key == key) {
        Some(known) => known.value = value,
        None => attributes.push(Attribute {
            key: key.to_owned(),
            value,
        }),
    }
}
