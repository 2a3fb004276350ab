//! What mappers write to the log: rate limited, since a mapper runs for every change of every object.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that a mapper may write at once.
const BURST: u32 = 50;
/// Time after which it may write one more.
const INTERVAL: Duration = Duration::from_millis(500);
/// Longer lines are cut, in bytes.
const LINE_BYTES: usize = 1024;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the mapper's author.
    Debug,
    /// For the operator.
    Info,
    /// Something odd.
    Warn,
    /// Something wrong.
    Error,
}

/// The log of one mapper.
#[derive(Debug)]
pub struct Log {
    mapper: String,
    allowance: Mutex<Allowance>,
}

#[derive(Debug)]
struct Allowance {
    lines: u32,
    since: Instant,
    suppressed: u64,
}

impl Allowance {
    /// Takes a line off the allowance: how many were suppressed before it, or `None` if it is to be, too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.since).as_nanos() / INTERVAL.as_nanos();
        if let Ok(earned) = u32::try_from(earned)
            && earned > 0
        {
            self.lines = self.lines.saturating_add(earned).min(BURST);
            self.since = now;
        }
        match self.lines.checked_sub(1) {
            Some(lines) => {
                self.lines = lines;
                Some(std::mem::take(&mut self.suppressed))
            }
            None => {
                self.suppressed += 1;
                None
            }
        }
    }
}

impl Log {
    /// The log of a mapper.
    pub fn new(mapper: &str) -> Self {
        Self {
            mapper: mapper.to_owned(),
            allowance: Mutex::new(Allowance {
                lines: BURST,
                since: Instant::now(),
                suppressed: 0,
            }),
        }
    }

    /// Writes a line, if the mapper has not written too many.
    pub fn write(&self, level: Level, message: &str) {
        let taken = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now());
        let Some(suppressed) = taken else { return };
        let mapper = self.mapper.as_str();
        let message = line(message);
        match level {
            Level::Debug => tracing::debug!(mapper, suppressed, "{message}"),
            Level::Info => tracing::info!(mapper, suppressed, "{message}"),
            Level::Warn => tracing::warn!(mapper, suppressed, "{message}"),
            Level::Error => tracing::error!(mapper, suppressed, "{message}"),
        }
    }
}

/// The message as one line of bounded length: a mapper must not forge lines of the host's log.
fn line(message: &str) -> String {
    let end = message.floor_char_boundary(LINE_BYTES);
    let cut = message.get(..end).unwrap_or_default();
    cut.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_suppressed_and_counted() {
        let start = Instant::now();
        let mut allowance = Allowance {
            lines: 2,
            since: start,
            suppressed: 0,
        };
        assert_eq!(allowance.take(start), Some(0));
        assert_eq!(allowance.take(start), Some(0));
        assert_eq!(allowance.take(start), None);
        assert_eq!(allowance.take(start), None);
        assert_eq!(allowance.take(start + INTERVAL), Some(2));
        assert_eq!(allowance.take(start + INTERVAL), None);
        let much_later = start + INTERVAL * 1000;
        assert_eq!(allowance.take(much_later), Some(1));
        assert_eq!(allowance.lines, BURST - 1);
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(line("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(line(&"é".repeat(1000)).len(), LINE_BYTES);
    }
}
