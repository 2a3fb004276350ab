//! `replay`: a recording through the whole path, without a cluster: the traces that come of it, or how they differ from
//! those that came of it before.

mod play;
mod progress;
mod whole;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use similar::TextDiff;

pub(super) use self::play::{Play, Played};
use super::{interruptible, print, say};
use crate::config::{CompilerOptions, LogFormat};
use crate::recording::Recording;
use crate::{logging, view};

pub(super) const EXAMPLES: &str = "Examples:
  lighthouse-telemetry record --output yesterday.ndjson
  lighthouse-telemetry replay yesterday.ndjson
  lighthouse-telemetry replay yesterday.ndjson --mappers . --compare yesterday.snap --update
  lighthouse-telemetry replay yesterday.ndjson --mappers . --compare yesterday.snap

The same recording and the same mappers always give the same traces. The exit code is 1 if they differ from the snapshot.";

/// So many objects without a span are named.
const NAMED: usize = 10;

/// What `replay` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Recording, as `record` writes it
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,

    /// Directory of mappers, as for `serve`; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    pub mappers: Vec<PathBuf>,

    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,

    /// How many times as fast as it happened; without it, as fast as it goes
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    pub speed: Option<f64>,

    /// Print the traces as JSON
    #[arg(long, conflicts_with = "compare")]
    pub json: bool,

    /// Compare the traces with this snapshot of them, and print how they differ
    #[arg(long, value_name = "SNAPSHOT")]
    pub compare: Option<PathBuf>,

    /// Write the snapshot anew instead of comparing with it
    #[arg(long, requires = "compare")]
    pub update: bool,
}

pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "write a number such as 30")?;
    if speed > 0.0 && speed <= 100_000.0 {
        Ok(speed)
    } else {
        Err("write a number greater than 0 and not above 100000".to_owned())
    }
}

/// Replays the recording.
///
/// # Errors
/// If it cannot be read, or nothing can be made of it.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    logging::start("warn", LogFormat::Text)?;
    let recording =
        Recording::read(&arguments.recording).context("the recording cannot be used")?;
    let what = arguments.recording.display().to_string();
    let play = Play {
        what: &what,
        recording: &recording,
        mappers: arguments.mappers.clone(),
        compiler: arguments.compiler.compiler(),
        speed: arguments.speed,
        others: None,
    };
    interruptible(async {
        let played = Box::pin(play.run()).await?;
        tell_of_missing(&played);
        match &arguments.compare {
            Some(path) => compare(&view::snapshot(&played.spans), path, arguments.update),
            None => {
                print(&shown(&played, arguments.json))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    })
    .await
}

/// The traces, as a tree or as JSON.
pub(super) fn shown(played: &Played, json: bool) -> String {
    let view = view::View::new(&played.spans);
    if json {
        return format!("{:#}\n", view::to_json(&view));
    }
    let terminal = view::Terminal::of_stdout();
    view::render(&view, terminal.width, terminal.colour)
}

/// A recording is a piece of what goes on: not all that is in it has begun or ended in it.
fn tell_of_missing(played: &Played) {
    let missing = &played.without_span;
    if missing.is_empty() {
        return;
    }
    let named: Vec<&str> = missing.iter().take(NAMED).map(String::as_str).collect();
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    say(&format!(
        "note: {} objects have no span, such as what had not ended when the recording did, what had ended an hour before it began, and what \
         no mapper claims: {}{more}",
        missing.len(),
        view::sanitised(&named.join(", ")),
    ));
}

/// Compares with a snapshot, or writes it.
fn compare(snapshot: &str, path: &Path, update: bool) -> anyhow::Result<ExitCode> {
    if update {
        std::fs::write(path, snapshot)
            .with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("{} is written", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let expected = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; --update writes it", path.display()))?;
    match difference(&expected, snapshot, &path.display().to_string()) {
        None => {
            say(&format!("the traces are those in {}", path.display()));
            Ok(ExitCode::SUCCESS)
        }
        Some(difference) => {
            print(&difference)?;
            say(&format!(
                "the traces differ from those in {}; if they are as they should be, --update writes them there",
                path.display()
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What differs, if anything does, in the form of `diff -u`.
fn difference(expected: &str, snapshot: &str, name: &str) -> Option<String> {
    (expected != snapshot).then(|| {
        TextDiff::from_lines(expected, snapshot)
            .unified_diff()
            .context_radius(6)
            .header(name, "replayed")
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_positive_number() {
        assert_eq!(speed("2.5"), Ok(2.5));
        for wrong in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_differs_is_shown_with_its_lines() {
        assert_eq!(difference("a\nb\n", "a\nb\n", "x"), None);
        let difference = difference("a\nname: old\n", "a\nname: new\n", "x.snap").unwrap();
        assert_eq!(
            difference,
            "--- x.snap\n+++ replayed\n@@ -1,2 +1,2 @@\n a\n-name: old\n+name: new\n"
        );
    }
}
