//! What comes from outside, as bytes: each function takes any, and panics only if something is wrong with us.
//!
//! The targets in `fuzz/` call them with what a fuzzer makes up, and a test with what is in `fuzz/corpus`.

// A panic is how a fuzzer is told.
#![allow(clippy::panic, clippy::expect_used)]

use std::path::PathBuf;
use std::sync::LazyLock;

use lighthouse_telemetry::mappers::Mappers;

use crate::scenario::folder_of_tests;

mod context;
mod journal;
mod object;
mod webhook;

pub use context::context;
pub use journal::journal;
pub use object::object;
pub use webhook::webhook;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// All by the name of their target.
pub const TARGETS: [(&str, Target); 4] = [
    ("webhook", webhook),
    ("object", object),
    ("context", context),
    ("journal", journal),
];

static MAPPERS: LazyLock<Mappers> =
    LazyLock::new(|| Mappers::builtin().expect("the built-in mappers"));

/// Where the inputs of a target are.
#[must_use]
pub fn corpus(target: &str) -> PathBuf {
    folder_of_tests().join("../fuzz/corpus").join(target)
}
