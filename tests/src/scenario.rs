//! Scenarios: recordings in `tests/scenarios`, and the same a while later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::recording::{Happening, Recording};
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

/// Scenarios that every ground can play, in any order of their steps.
pub const ANYWHERE: &str = "scenarios";
/// Those of a cluster that serves older versions only.
pub const OLD_CLUSTER: &str = "scenarios/old-cluster";
/// Those with objects that no API server would let in.
pub const MALFORMED: &str = "scenarios/malformed";
/// Those whose steps come in an order that no API server gives; its watches may, but not on demand.
pub const OUT_OF_ORDER: &str = "scenarios/out-of-order";
/// Those that end with the orphan deadline, which no test can wait for on a real clock: it is shorter there.
pub const ORPHANS: &str = "scenarios/orphans";
/// Those in which something comes after what it belongs to was exported: their order matters.
pub const LATE: &str = "scenarios/late";
/// Those in which everything up to the first pause is there before the host starts.
pub const ALREADY_THERE: &str = "scenarios/already-there";

/// All folders.
pub const FOLDERS: [&str; 7] = [
    ANYWHERE,
    OLD_CLUSTER,
    MALFORMED,
    OUT_OF_ORDER,
    ORPHANS,
    LATE,
    ALREADY_THERE,
];

/// Of the repositories in most scenarios, as providers write it.
const OWNER: [&str; 3] = ["acme", "Acme", "ACME"];

/// After so much time without a step all that was due has happened: more than any settle window.
pub const PAUSE: Duration = Duration::from_secs(20);

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
        let mut scenarios = Vec::new();
        for folder in FOLDERS {
            scenarios.extend(Self::all(folder)?);
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

    /// How many of the steps have happened when the host starts.
    ///
    /// # Errors
    /// If the text is no recording.
    pub fn before_start(&self) -> Result<usize> {
        if self.folder != ALREADY_THERE {
            return Ok(0);
        }
        let steps = self.steps()?;
        let pauses = steps.windows(2).position(|pair| match pair {
            [before, after] => is_pause(before, after),
            _ => false,
        });
        Ok(pauses.map_or(steps.len(), |place| place + 1))
    }

    /// The same scenario in the repositories of another owner, so that its events are others; none if it names no owner.
    #[must_use]
    pub fn of_owner(&self, number: usize) -> Option<Self> {
        let mut text = self.text.clone();
        for owner in OWNER {
            text = text.replace(owner, &format!("{owner}-{number}"));
        }
        (text != self.text).then(|| Self {
            name: self.name.clone(),
            folder: self.folder.clone(),
            text,
        })
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

/// Whether all that was due after the one step has happened before the next.
#[must_use]
pub fn is_pause(before: &Step, after: &Step) -> bool {
    after.at.since(before.at) >= PAUSE
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
