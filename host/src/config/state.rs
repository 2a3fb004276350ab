//! Options of what is kept on disk.

use std::path::PathBuf;

use clap::Args;

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

/// A number of bytes: `1048576`, `512KiB`, `512MiB`, `2GiB`, and `Mi` for `MiB` as Kubernetes writes it.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor: u64 = match unit.trim().trim_end_matches('B') {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => {
            return Err("write a number with KiB, MiB or GiB behind it, such as 512MiB".to_owned());
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a whole number, such as 512MiB".to_owned())?;
    let bytes = number
        .checked_mul(factor)
        .ok_or("that is too much".to_owned())?;
    if bytes < LEAST {
        return Err("that is too little: 16MiB is the least".to_owned());
    }
    Ok(bytes)
}

/// An open trace takes up to 100 KB.
const LEAST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_and_kubernetes_write_them() {
        assert_eq!(size("16777216"), Ok(LEAST));
        assert_eq!(size("16MiB"), Ok(LEAST));
        assert_eq!(size("2Gi"), Ok(2 << 30));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        for text in ["", "MiB", "1MB", "1.5GiB", "-1", "99999999999GiB", "1KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
