//! Reads the JSON that the host hands over. Every field is optional, and a field of the wrong type is a missing
//! field and a [`Diagnostic`], never an error: half a trace of an odd object is worth more than none.
//!
//! Texts are borrowed from the JSON. Nothing is read into a tree of values first.

mod fields;
mod record;

pub use fields::{Boolean, Integer, List, Map, Presence, Text, Time};
#[doc(hidden)]
pub use record::{note_odd, noted, prefix_since};
#[doc(hidden)]
pub use serde;

use serde::Deserialize;

use crate::contract::{Diagnostic, Error};

/// Reads a value and what was odd about it.
///
/// # Errors
/// [`Error::Subject`] if the text is no JSON.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<(T, Vec<Diagnostic>), Error> {
    record::start();
    match serde_json::from_str(json) {
        Ok(value) => Ok((value, record::finish())),
        Err(error) => Err(Error::Subject(Diagnostic {
            pointer: String::new(),
            message: error.to_string(),
        })),
    }
}

#[cfg(test)]
mod tests;
