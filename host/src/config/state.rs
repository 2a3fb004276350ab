//! Options of what is kept on disk.

use std::path::PathBuf;

use clap::Args;

use super::size::size_from;
use crate::journal;

/// Name of the directory below the one that systems keep state in.
const NAME: &str = "lighthouse-telemetry";

/// What must survive a restart.
#[derive(Debug, Args)]
pub struct StateOptions {
    /// Directory for what must survive a restart: webhooks, open traces, spans that no receiver has acknowledged. It is
    /// created if need be. Default: lighthouse-telemetry in $XDG_STATE_HOME, else in ~/.local/state, else in /var/lib
    #[arg(
        long,
        value_name = "DIRECTORY",
        env = "LIGHTHOUSE_TELEMETRY_STATE_DIR",
        hide_env_values = true
    )]
    pub state_dir: Option<PathBuf>,

    /// So much is kept there at most, as in 512MiB; spans beyond it are dropped, the oldest first
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub state_max_size: u64,
}

impl StateOptions {
    /// Where, and how much.
    #[must_use]
    pub fn settings(&self) -> journal::Settings {
        journal::Settings {
            directory: self.state_dir.clone().unwrap_or_else(default_directory),
            max_size: self.state_max_size,
        }
    }
}

/// <https://specifications.freedesktop.org/basedir-spec/latest/>
fn default_directory() -> PathBuf {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join(NAME)
}

fn size(text: &str) -> Result<u64, String> {
    size_from(LEAST, text)
}

/// An open trace takes up to 100 KB.
const LEAST: u64 = 16 << 20;
