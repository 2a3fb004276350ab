//! Facts in, effects out: what lighthouse-telemetry knows about a cluster and what follows from it.
//!
//! This crate is pure. It has no clock, no randomness, no I/O and no threads: time is an argument, and
//! everything it wants done leaves as a value. The same facts give the same spans, in whatever order they
//! arrive.

pub mod catalog;
pub mod context;
pub mod description;
pub mod identity;
pub mod index;
mod key;
pub mod mapping;
pub mod marks;
pub mod object;
pub mod projection;
pub mod span;
pub mod time;
