//! Maps objects as a text says: YAML with CEL expressions in it. The host has this built in, and makes a mapper of each
//! `*.mapper.yaml`; `docs/mappers.md` is the reference of the text.
//!
//! An instance reads its text once and maps many objects by it. It keeps nothing of them.

mod document;
mod evaluation;
mod expression;
mod json;
mod members;
mod moment;
mod place;
mod reads;
mod scope;
mod tree;
mod yaml;

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use cel::Env;
use span_mapper_sdk::{Configuration, Description, Error, Mapper, Outcome, Subject, export_mapper};

use document::Document;

/// The mapper.
pub struct Declarative;

/// What a text was read to.
#[derive(Clone)]
pub struct Reading {
    document: Rc<Document>,
    environment: Arc<Env>,
}

thread_local! {
    /// What this instance was configured with.
    static READING: OnceCell<Reading> = const { OnceCell::new() };
}

impl Reading {
    /// Reads a text.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn of(text: &str) -> Result<Self, Error> {
        Ok(Self {
            document: Rc::new(Document::read(text)?),
            environment: Arc::new(moment::environment()),
        })
    }

    /// What it wants of the host.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.document.describe()
    }

    /// The spans of a subject.
    ///
    /// # Errors
    /// If an expression cannot be evaluated on which all spans depend.
    pub fn map(&self, subject: &Subject) -> Result<Outcome<'static>, Error> {
        let Subject::Object(object) = subject else {
            return Ok(Outcome::NotOurs);
        };
        let kind = usize::try_from(object.watch).ok();
        match kind.and_then(|place| self.document.kinds.get(place)) {
            Some(kind) => tree::map(&self.environment, kind, object),
            None => Ok(Outcome::NotOurs),
        }
    }
}

impl Mapper for Declarative {
    fn configure(configuration: &Configuration) -> Result<Description, Error> {
        let reading = Reading::of(&configuration.text)?;
        let description = reading.describe();
        // The host configures an instance once.
        READING.with(|cell| _ = cell.set(reading));
        Ok(description)
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        let reading = READING.with(|cell| cell.get().cloned());
        match reading {
            Some(reading) => reading.map(subject),
            None => Err(Error::Other("it is not configured".to_owned())),
        }
    }
}

export_mapper!(Declarative, kept);

#[cfg(test)]
mod tests;
