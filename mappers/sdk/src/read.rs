//! Reads the JSON that the host hands over. Every field is optional, and a field of the wrong type is a missing
//! field and a [`Diagnostic`], never an error: half a trace of an odd object is worth more than none.
//!
//! Texts are borrowed from the JSON. Nothing is read into a tree of values first.

mod fields;
mod reader;
mod record;

pub use fields::{Boolean, Integer, List, Map, Presence, Text, Time};
pub use reader::{Read, Reader};

use crate::contract::{Diagnostic, Error};

/// Reads a value and what was odd about it.
///
/// # Errors
/// [`Error::Subject`] if the text is no JSON.
pub fn parse<'a, T: Read<'a>>(json: &'a str) -> Result<(T, Vec<Diagnostic>), Error> {
    let mut reader = Reader::new(json);
    let mut value = T::default();
    value.read(&mut reader);
    Ok((value, reader.finish()?))
}

/// Keeps a value for as long as there may be an outcome that borrows from it. That is for ever: an instance lives for
/// one call.
pub fn keep<'a, T: 'a>(value: T) -> &'a T {
    Box::leak(Box::new(value))
}

#[cfg(test)]
mod tests;
