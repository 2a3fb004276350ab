//! The command line: what each command is called and takes.

pub mod demo;
pub mod map;
pub mod serve;
