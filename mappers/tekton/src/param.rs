//! A parameter, of which only texts are read: lists and objects are as valid, but name nothing.

use span_mapper_sdk::read::{List, Read, Reader, Text};
use span_mapper_sdk::record;

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

impl<'a> Read<'a> for TextIfAny<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) {
        // A text with escapes is a name of nothing that is looked for: the longest of them, JOB_SPEC, is JSON.
        self.0 = reader.plain_text().unwrap_or_default().into();
    }
}
