//! A parameter, of which only texts are read: lists and objects are as valid, but name nothing.

use std::fmt;

use span_mapper_sdk::read::{List, Text};
use span_mapper_sdk::record;

use span_mapper_sdk::read::serde::de::{
    Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

record! {
    /// A parameter.
    pub struct Param<'a> {
        pub name: Text<'a> = "name",
        pub value: TextIfAny<'a> = "value",
    }
}

/// A text, or nothing where there is something else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextIfAny<'a>(Text<'a>);

impl TextIfAny<'_> {
    /// The text, if there is one and it is not empty.
    pub fn get(&self) -> Option<&str> {
        self.0.get()
    }
}

/// The text of a parameter, if it has one and it is not empty.
pub fn text<'s>(params: &'s List<Param<'_>>, name: &str) -> Option<&'s str> {
    params
        .iter()
        .find(|param| param.name == name)
        .and_then(|param| param.value.get())
}

impl<'a> Deserialize<'a> for TextIfAny<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;

        impl<'a> Visitor<'a> for AnyVisitor {
            type Value = TextIfAny<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }

            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
                Ok(TextIfAny(text.into()))
            }

            // A text with escapes is a name of nothing that is looked for: the longest of them, JOB_SPEC, is JSON.
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(TextIfAny::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(TextIfAny::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(TextIfAny::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(TextIfAny::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(TextIfAny::default())
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(TextIfAny::default())
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(TextIfAny::default())
            }

            fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(TextIfAny::default())
            }
        }

        deserializer.deserialize_any(AnyVisitor)
    }
}
