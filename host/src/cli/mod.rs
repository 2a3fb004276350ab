//! The command line: what each command is called, and how the process ends.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use futures::future::LocalBoxFuture;

use crate::mappers;

mod cluster;
pub mod context;
pub mod demo;
mod kind;
pub mod map;
pub mod mapper;
pub mod record;
pub mod replay;
pub mod serve;

/// Version, with the git revision where it was known at build time.
pub const VERSION: &str = match option_env!("LIGHTHOUSE_TELEMETRY_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The process was asked for something that it cannot do as asked: a wrong option or an unusable file.
pub const EXIT_USAGE: u8 = 2;

/// What the process ends with when it is interrupted, by convention of shells: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// Turns a git event and all that it sets off in a Kubernetes cluster into one distributed trace.
#[derive(Debug, Parser)]
#[command(name = "lighthouse-telemetry", version = VERSION, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run as Lighthouse's external plugin: receive webhooks, watch the cluster, export traces
    Serve(Box<serve::Arguments>),
    /// Replay a recorded pull request through the whole path, without a cluster, and show its trace
    Demo(demo::Arguments),
    /// Show what the mappers make of the objects in files
    Map(map::Arguments),
    /// Write down what goes on in a cluster, to be replayed; what looks like a secret is taken out
    #[command(after_help = record::EXAMPLES)]
    Record(record::Arguments),
    /// Replay what was recorded in a cluster, and show the traces that come of it or how they differ from a snapshot
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::Arguments),
    /// Print the trace context that a step of a pipeline works in, computed from what its Pod knows
    #[command(after_help = context::EXAMPLES)]
    Context(Box<context::Arguments>),
    /// Make, check and package mappers, and ask a running plugin about its own
    #[command(visible_alias = "mappers")]
    Mapper(mapper::Arguments),
    /// Compile a component from standard input; the plugin starts this by itself
    #[command(hide = true)]
    Compile(mappers::CompileLimits),
}

/// Runs the command that the process was started with. Its exit codes: 0 all is well, 1 something failed,
/// 2 it was asked for something impossible.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    let work: LocalBoxFuture<'static, anyhow::Result<ExitCode>> = match arguments.command {
        // Each of the other threads would count towards its memory.
        Command::Compile(limits) => return mappers::compile(&limits),
        Command::Serve(arguments) => Box::pin(serve::run(*arguments)),
        Command::Demo(arguments) => Box::pin(demo::run(arguments)),
        Command::Record(arguments) => Box::pin(record::run(arguments)),
        Command::Replay(arguments) => Box::pin(replay::run(arguments)),
        Command::Map(arguments) => Box::pin(map::run(arguments)),
        Command::Context(arguments) => Box::pin(async move { context::run(&arguments) }),
        Command::Mapper(arguments) => Box::pin(mapper::run(arguments)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("cannot start threads")),
    };
    let outcome = runtime.block_on(work);
    // A look-up of a name in the system's resolver cannot be cancelled; nothing waits for its answer.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failed(&error))
}

/// Help and version were asked for; all else is told in one line.
fn refused(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return match error.print() {
            Ok(()) if error.use_stderr() => ExitCode::from(EXIT_USAGE),
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    say(&one_line(&error.render().to_string()));
    ExitCode::from(EXIT_USAGE)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("error: {error:#}"));
    if error.is::<crate::config::ConfigError>() {
        ExitCode::from(EXIT_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// Does something until it is done or interrupted.
async fn interruptible(
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    tokio::select! {
        outcome = work => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot listen for signals")?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Writes to standard output. Whoever reads it may have seen enough before its end.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Where nobody listens to errors there is nobody to tell that.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What clap says in several paragraphs, without the usage line: that is what `--help` is for.
fn one_line(rendered: &str) -> String {
    let paragraphs = rendered.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    paragraphs
        .filter(|paragraph| !paragraph.is_empty() && !paragraph.starts_with("Usage:"))
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_says_what_each_option_means() {
        let mut command = Arguments::command();
        let serve = command.find_subcommand_mut("serve").expect("the command");
        let serve = std::mem::take(serve)
            .term_width(100)
            .render_help()
            .to_string();
        insta::assert_snapshot!("serve", serve);
        // What the variable holds is nobody's business.
        assert!(!serve.contains("LIGHTHOUSE_HMAC_KEY="));
    }

    #[test]
    fn a_wrong_option_is_told_in_one_line() {
        let error = Arguments::try_parse_from(["lighthouse-telemetry", "demo", "--no-such-option"])
            .expect_err("there is no such option");
        let line = one_line(&error.render().to_string());
        assert!(!line.contains('\n'), "{line}");
        assert!(
            line.starts_with("error: unexpected argument '--no-such-option' found"),
            "{line}"
        );
        assert!(line.ends_with("try '--help'."), "{line}");
        assert!(!line.contains("Usage"), "{line}");
    }
}
