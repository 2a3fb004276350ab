//! Scenarios: recordings in `tests/scenarios`, and the same a while later.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::recording::{Happening, Recording};
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

/// The folder of scenarios, below `tests`.
const SCENARIOS: &str = "scenarios";

/// A recording by name.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its file name without extension.
    pub name: String,
    /// Its folder below `tests`, which says what it can be played on.
    pub folder: String,
    text: String,
}

/// Something that happens in a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Lighthouse forwards a webhook.
    Webhook {
        /// Lighthouse's kind.
        kind: String,
        /// go-scm's struct.
        body: Value,
        /// When the host receives it.
        received: Time,
    },
    /// An object is like this now.
    Applied(Value),
    /// An object is gone; this was its last state.
    Deleted(Value),
}

impl Scenario {
    /// The scenarios in all folders, by folder and name.
    ///
    /// # Errors
    /// If a folder cannot be read or holds none.
    pub fn everywhere() -> Result<Vec<Self>> {
        let mut folders = vec![SCENARIOS.to_owned()];
        for entry in std::fs::read_dir(folder_of_tests().join(SCENARIOS))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let name = entry.file_name();
                folders.push([SCENARIOS, "/", &name.to_string_lossy()].concat());
            }
        }
        folders.sort();
        let mut scenarios = Vec::new();
        for folder in folders {
            scenarios.extend(Self::all(&folder)?);
        }
        Ok(scenarios)
    }

    /// The scenarios in a folder below `tests`, by name.
    ///
    /// # Errors
    /// If the folder cannot be read or holds none.
    pub fn all(folder: &str) -> Result<Vec<Self>> {
        let path = folder_of_tests().join(folder);
        let files =
            std::fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut scenarios = Vec::new();
        for file in files {
            let path = file?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                scenarios.push(Self::read(folder, &path)?);
            }
        }
        ensure!(!scenarios.is_empty(), "no scenario in {folder}");
        scenarios.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(scenarios)
    }

    fn read(folder: &str, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            folder: folder.to_owned(),
            text,
        })
    }

    /// What happens, in order of time.
    ///
    /// # Errors
    /// If the text is no recording.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let recording =
            Recording::parse(&self.text).with_context(|| format!("scenario {}", self.name))?;
        Ok(steps(&recording))
    }

    /// The same scenario at another time: so many seconds later, wherever in it a time is written (RFC 3339, or the
    /// hexadecimal nanoseconds at the end of an Event's name).
    #[must_use]
    pub fn later(&self, seconds: u64) -> Self {
        Self {
            name: self.name.clone(),
            folder: self.folder.clone(),
            text: later(&self.text, seconds),
        }
    }
}

/// What happens in a recording, in order of time.
#[must_use]
pub fn steps(recording: &Recording) -> Vec<Step> {
    let steps = recording.entries().iter().map(|entry| Step {
        at: entry.at,
        what: match &entry.happening {
            Happening::Webhook(webhook) => What::Webhook {
                kind: webhook.kind.clone(),
                body: webhook.body.clone(),
                received: entry.at,
            },
            Happening::Applied(object) => What::Applied(object.clone()),
            Happening::Deleted(object) => What::Deleted(object.clone()),
        },
    });
    steps.collect()
}

/// The folder of this crate.
#[must_use]
pub fn folder_of_tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// RFC 3339 to the second, without the zone; digits as 0.
const SHAPE: &[u8] = b"0000-00-00T00:00:00";
/// Seconds from the year 2000 to 2100: what is taken for the nanoseconds of an Event's name.
const PLAUSIBLE: std::ops::Range<u64> = 946_684_800..4_102_444_800;

fn later(text: &str, seconds: u64) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let moved = moved_time(rest, seconds).or_else(|| moved_suffix(rest, seconds));
        let length = match moved {
            Some((length, text)) => {
                result.push_str(&text);
                length
            }
            None => {
                result.push(character);
                character.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    result
}

/// A time at the very start of the text: its length as far as it is replaced, and what replaces it. A fraction and
/// the zone stay as they are written.
fn moved_time(text: &str, seconds: u64) -> Option<(usize, String)> {
    let head = text.get(..SHAPE.len())?;
    let fits = |(byte, shape): (u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == *shape,
    };
    if !head.bytes().zip(SHAPE).all(fits) {
        return None;
    }
    let time = Time::parse(&format!("{head}Z"))?;
    let moved = time.plus(std::time::Duration::from_secs(seconds));
    Some((
        head.len(),
        moved.to_string().trim_end_matches('Z').to_owned(),
    ))
}

/// `.` and 16 hexadecimal digits at the very start of the text, if they can be nanoseconds since the epoch.
fn moved_suffix(text: &str, seconds: u64) -> Option<(usize, String)> {
    let digits = text.strip_prefix('.')?.get(..16)?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !digits.bytes().all(lower) {
        return None;
    }
    let nanoseconds = u64::from_str_radix(digits, 16).ok()?;
    if !PLAUSIBLE.contains(&(nanoseconds / 1_000_000_000)) {
        return None;
    }
    let moved = nanoseconds + seconds * 1_000_000_000;
    Some((17, format!(".{moved:016x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_time_is_moved_and_nothing_else() {
        let text = "at: 2026-03-02T09:59:59.120Z, '0001-01-01T00:00:00Z' é pod.16e645b5c10bc186 1.20.2 \
                    {\"value\":\"2026-03-02T09:00:00+01:00\"} sha.00000000000000ff";
        let moved = "at: 2026-03-02T10:00:00.120Z, '0001-01-01T00:00:00Z' é pod.16e645b5fca68b86 1.20.2 \
                     {\"value\":\"2026-03-02T09:00:01+01:00\"} sha.00000000000000ff";
        assert_eq!(later(text, 1), moved);
        assert_eq!(later(text, 0), text);
    }
}
