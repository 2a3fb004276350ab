//! Places in the text, and what is wrong there.

use span_mapper_sdk::Error;
use span_mapper_sdk::contract::Located;

/// A place in the text: line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// Something is wrong in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub at: Place,
    /// What, and what to do about it.
    pub message: String,
}

impl Place {
    /// Of line and column from 0.
    pub fn from_zero(line: usize, column: usize) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: number(line),
            column: number(column),
        }
    }

    /// That this is wrong here.
    pub fn wrong(self, message: impl Into<String>) -> Wrong {
        Wrong {
            at: self,
            message: message.into(),
        }
    }

    /// A message about what is here.
    pub fn located(self, message: String) -> Located {
        Located {
            message,
            line: self.line,
            column: self.column,
        }
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        Self::Configuration(wrong.at.located(wrong.message))
    }
}
