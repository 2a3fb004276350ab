//! `map`: what the mappers make of objects in files.

use std::process::ExitCode;

/// Options of `map`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Maps the objects and shows the spans.
///
/// # Errors
/// If a file cannot be read.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {} = arguments;
    anyhow::bail!("this build cannot map files")
}
