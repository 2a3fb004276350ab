//! Points in time as spans need them: nanoseconds since the Unix epoch, and how exactly they are known.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: nanoseconds since the Unix epoch, UTC. Years 1970 to 2554.
///
/// Kept as one more than that: a time that may be missing takes no more memory than one that may not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Time {
    /// The Unix epoch; the earliest time there is.
    pub const EPOCH: Self = Self(NonZeroU64::MIN);
    /// Later than any time that occurs.
    pub const FAR_FUTURE: Self = Self(NonZeroU64::MAX);

    /// The time so many nanoseconds after the epoch; [`Time::FAR_FUTURE`] for `u64::MAX`.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(Self::EPOCH.0.saturating_add(nanoseconds))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0.get() - 1
    }

    /// Reads RFC 3339 text as Kubernetes writes it. `None` for anything else, and for a time before 1970:
    /// the zero time of Go (`0001-01-01T00:00:00Z`) means that there is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        let nanoseconds = u64::try_from(timestamp.as_nanosecond()).ok()?;
        Some(Self::from_nanoseconds(nanoseconds))
    }

    /// This time and a duration after it; stops at [`Time::FAR_FUTURE`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }

    /// How much later this time is than `earlier`; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanoseconds().saturating_sub(earlier.nanoseconds()))
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Time")
            .field(&self.nanoseconds())
            .finish()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.nanoseconds())) {
            Ok(timestamp) => timestamp.fmt(formatter),
            Err(_) => write!(formatter, "{}ns", self.nanoseconds()),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "'{text}' is not an RFC 3339 time from 1970 onwards"
            ))
        })
    }
}

/// How exactly a time is known.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// To the nanosecond.
    #[default]
    Nanosecond,
    /// To the microsecond.
    Microsecond,
    /// To the millisecond.
    Millisecond,
    /// To the second: most times in Kubernetes objects.
    Second,
}

impl Precision {
    /// How far a time may lie after what is given for it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        match self {
            Self::Nanosecond => Duration::from_nanos(1),
            Self::Microsecond => Duration::from_micros(1),
            Self::Millisecond => Duration::from_millis(1),
            Self::Second => Duration::from_secs(1),
        }
    }
}

/// A time and how exactly it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// The time, as its source gives it.
    pub time: Time,
    /// How exactly the source knows it.
    pub precision: Precision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kubernetes_times_and_refuses_the_zero_time_of_go() {
        assert_eq!(
            Time::parse("1970-01-01T00:00:01Z"),
            Some(Time::from_nanoseconds(1_000_000_000))
        );
        assert_eq!(
            Time::parse("1970-01-01T01:00:00.000001+01:00"),
            Some(Time::from_nanoseconds(1_000))
        );
        assert_eq!(Time::parse("0001-01-01T00:00:00Z"), None);
        assert_eq!(Time::parse("yesterday"), None);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(
            Time::FAR_FUTURE.plus(Duration::from_secs(1)),
            Time::FAR_FUTURE
        );
        assert_eq!(Time::EPOCH.since(Time::FAR_FUTURE), Duration::ZERO);
    }

    #[test]
    fn is_written_as_rfc_3339() {
        assert_eq!(
            Time::from_nanoseconds(1_500_000_000).to_string(),
            "1970-01-01T00:00:01.5Z"
        );
    }
}
