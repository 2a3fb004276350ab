//! `demo`: a recorded pull request through the whole path, without a cluster.

use std::process::ExitCode;

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Replays the recording and shows the trace.
///
/// # Errors
/// If a room does not start.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {} = arguments;
    anyhow::bail!("this build has no recording")
}
