//! Runs span mappers: WebAssembly components without ambient authority.
//!
//! A mapper is a function from text to values. It gets a fresh sandbox for every call, with limits on time,
//! memory, stack and output, so that it can only hurt itself. Only an [`Interpreter`] of our own gets the same again. This crate is the only one that links wasmtime,
//! and the only one that knows the versions of the contract in `wit/`: what goes in and comes out are the
//! types of the core. It does no I/O, and decides nothing about spans.

mod artifact;
mod contract;
mod description;
mod engine;
mod error;
mod interpreter;
mod kept;
mod limits;
mod log;
mod mapper;
mod output;
mod precompiled;
mod slots;
mod store;
mod wasi;

pub use contract::spoken;
pub use engine::{Code, Engine};
pub use error::{
    BadDescription, BadOutput, EngineError, LoadError, Located, MapError, PrecompileError,
    Rejection,
};
pub use interpreter::Interpreter;
pub use limits::{Limits, OutputLimits};
pub use mapper::Mapper;
pub use precompiled::{compile, precompile};
