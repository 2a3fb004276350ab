//! Code that is many mappers: what each of them is stands in its text.

use std::fmt;
use std::sync::Arc;

use crate::engine::{Shared, digest};
use crate::error::LoadError;
use crate::mapper::{Built, Mapper, Reuse};

/// Code that makes a mapper of a text, compiled once for all of them.
///
/// To read a text takes much longer than to map an object by it. So sandboxes stay as they are once they have read it, and
/// map one object after the other: [`Limits::kept_sandboxes`](crate::Limits::kept_sandboxes).
pub struct Interpreter {
    shared: Arc<Shared>,
    built: Built,
}

impl Interpreter {
    pub(crate) fn new(shared: Arc<Shared>, built: Built) -> Self {
        Self { shared, built }
    }

    /// Makes a mapper of a text, configured in two instances, which must agree.
    ///
    /// # Errors
    /// If the text is refused.
    pub fn mapper(&self, name: &str, text: &str) -> Result<Mapper, LoadError> {
        let mut built = self.built.clone();
        built.digest = digest(&[built.digest.as_bytes(), text.as_bytes()]);
        Mapper::new(
            Arc::clone(&self.shared),
            name,
            built,
            text,
            Reuse::ForOtherCalls,
        )
    }
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Interpreter")
            .field("digest", &self.built.digest)
            .finish_non_exhaustive()
    }
}
