//! Times as objects give them, and how exactly. No clock: a mapper knows only what its subject says.

use crate::contract::{Precision, Timestamp};

const SECOND: u64 = 1_000_000_000;

impl Timestamp {
    /// So many nanoseconds since the Unix epoch, known to the nanosecond.
    #[must_use]
    pub const fn nanoseconds(nanoseconds: u64) -> Self {
        Self {
            nanoseconds,
            precision: Precision::Nanosecond,
        }
    }

    /// So many milliseconds since the Unix epoch. `None` beyond the year 2554.
    #[must_use]
    pub fn milliseconds(milliseconds: u64) -> Option<Self> {
        Some(Self {
            nanoseconds: milliseconds.checked_mul(1_000_000)?,
            precision: Precision::Millisecond,
        })
    }

    /// Reads RFC 3339 text; the digits after the point tell the precision. `None` for anything else and for a
    /// time before 1970: the zero time of Go (`0001-01-01T00:00:00Z`) means that there is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (month, rest) = text.as_bytes().split_first_chunk::<8>()?;
        let (&[d1, d2, b'T' | b't' | b' '], rest) = rest.split_first_chunk::<3>()? else {
            return None;
        };
        let (clock, rest) = rest.split_first_chunk::<8>()?;
        let [y1, y2, y3, y4, _, m1, m2, _] = digits(month, b"0000-00-")?;
        let [h1, h2, _, n1, n2, _, s1, s2] = digits(clock, b"00:00:00")?;
        let pair = |tens: u8, ones: u8| i32::from(tens) * 10 + i32::from(ones);
        let year = pair(y1, y2) * 100 + pair(y3, y4);
        let month = in_range(pair(m1, m2), 1, 12)?;
        let day = in_range(number(&[d1, d2])?, 1, days_in_month(year, month))?;
        let hour = in_range(pair(h1, h2), 0, 23)?;
        let minute = in_range(pair(n1, n2), 0, 59)?;
        // A leap second counts as the second before it, as in Unix time.
        let second = in_range(pair(s1, s2), 0, 60)?.min(59);
        // So Kubernetes writes nearly all times.
        let (fraction, precision, ahead) = match rest {
            b"Z" => (0, Precision::Second, 0),
            _ => {
                let (fraction, precision, zone) = fraction(rest)?;
                (fraction, precision, offset(zone)?)
            }
        };
        let of_day = hour * 3_600 + minute * 60 + second - ahead;
        let seconds = i64::from(days_since_epoch(year, month, day)?) * 86_400 + i64::from(of_day);
        // The last whole second that 64 bits hold, asked for as a checked multiplication takes 128 of them.
        let seconds = u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds < u64::MAX / SECOND)?;
        Some(Self {
            nanoseconds: seconds * SECOND + fraction,
            precision,
        })
    }

    /// The earlier of the two; this one if they are equal.
    #[must_use]
    pub fn earliest(self, other: Self) -> Self {
        if other.nanoseconds < self.nanoseconds {
            other
        } else {
            self
        }
    }

    /// The later of the two; this one if they are equal.
    #[must_use]
    pub fn latest(self, other: Self) -> Self {
        if other.nanoseconds > self.nanoseconds {
            other
        } else {
            self
        }
    }

    /// So many nanoseconds earlier, at most back to the epoch.
    #[must_use]
    pub const fn minus(self, nanoseconds: u64) -> Self {
        Self {
            nanoseconds: self.nanoseconds.saturating_sub(nanoseconds),
            precision: self.precision,
        }
    }

    /// Whether this time is known to the second only and the other one lies within that second.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        matches!(self.precision, Precision::Second)
            && self.nanoseconds / SECOND == other.nanoseconds / SECOND
    }
}

impl Eq for Timestamp {}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanoseconds.cmp(&other.nanoseconds).then_with(|| {
            let rank = |precision| match precision {
                Precision::Nanosecond => 0_u8,
                Precision::Microsecond => 1,
                Precision::Millisecond => 2,
                Precision::Second => 3,
            };
            rank(self.precision).cmp(&rank(other.precision))
        })
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The latest of some times that may be unknown.
pub fn latest(times: impl IntoIterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    times.into_iter().flatten().reduce(Timestamp::latest)
}

/// The earliest of some times that may be unknown.
pub fn earliest(times: impl IntoIterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    times.into_iter().flatten().reduce(Timestamp::earliest)
}

/// Reads a duration as Go writes it (`796ms`, `1m2.5s`, `1h0m0s`) in nanoseconds. `None` for anything else and
/// for a negative one.
#[must_use]
pub fn parse_go_duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let digits =
            rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (amount, after) = rest.split_at_checked(digits)?;
        let unit_length = after
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_length)?;
        let unit: u64 = match unit {
            "h" => 3_600 * SECOND,
            "m" => 60 * SECOND,
            "s" => SECOND,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.is_empty() && part.is_empty() {
            return None;
        }
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in part.bytes() {
            scale /= 10;
            let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
            total = total.checked_add(digit * scale)?;
        }
        rest = after;
    }
    Some(total)
}

fn number(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i32::from(digit - b'0'))
    })
}

/// What the digits of eight bytes are that have this form, in which each is a zero. All are looked at together.
fn digits(text: &[u8; 8], form: &[u8; 8]) -> Option<[u8; 8]> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let read = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*form);
    let free = form.map(|byte| if byte == b'0' { 0x0f } else { 0 });
    if read & !u64::from_le_bytes(free) != 0 || (read + 6 * ONES) & (0xf0 * ONES) != 0 {
        return None;
    }
    Some(read.to_le_bytes())
}

fn in_range(number: i32, least: i32, most: i32) -> Option<i32> {
    (least..=most).contains(&number).then_some(number)
}

/// Nanoseconds after the point, how many digits tell, and what follows.
fn fraction(text: &[u8]) -> Option<(u64, Precision, &[u8])> {
    let Some((b'.' | b',', after)) = text.split_first() else {
        return Some((0, Precision::Second, text));
    };
    let length = after
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(after.len());
    let (digits, zone) = after.split_at_checked(length)?;
    let precision = match length {
        0 => return None,
        1..=3 => Precision::Millisecond,
        4..=6 => Precision::Microsecond,
        _ => Precision::Nanosecond,
    };
    let mut nanoseconds = 0;
    let mut scale = SECOND;
    for digit in digits.iter().take(9) {
        scale /= 10;
        nanoseconds += u64::from(digit - b'0') * scale;
    }
    Some((nanoseconds, precision, zone))
}

/// Seconds that the zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i32> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = in_range(number(&[h1, h2])?, 0, 23)?;
            let minutes = in_range(number(&[m1, m2])?, 0, 59)?;
            let seconds = hours * 3_600 + minutes * 60;
            Some(if sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date from then on.
fn days_since_epoch(year: i32, month: i32, day: i32) -> Option<i32> {
    // The zone may still put the last day of 1969 into 1970.
    if year < 1969 {
        return None;
    }
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    // Thirty days a month, and what the months before this one have more or less.
    let more = match month {
        1 => 0,
        2 => 1,
        3 => -1 + i32::from(is_leap(year)),
        4 | 5 => i32::from(is_leap(year)),
        6 | 7 => 1 + i32::from(is_leap(year)),
        8 => 2 + i32::from(is_leap(year)),
        9 | 10 => 3 + i32::from(is_leap(year)),
        _ => 4 + i32::from(is_leap(year)),
    };
    Some((year - 1970) * 365 + leap_days + (month - 1) * 30 + more + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<(u64, Precision)> {
        Timestamp::parse(text).map(|time| (time.nanoseconds, time.precision))
    }

    #[test]
    fn times_have_the_precision_of_their_digits() {
        use Precision::{Microsecond, Millisecond, Nanosecond, Second};
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some((0, Second)));
        // date -u -d 2026-02-28T23:59:59 +%s
        assert_eq!(
            parse("2026-02-28T23:59:59Z"),
            Some((1_772_323_199 * SECOND, Second))
        );
        // date -u -d 2024-02-29T12:00:00 +%s
        assert_eq!(
            parse("2024-02-29T12:00:00.25Z"),
            Some((1_709_208_000 * SECOND + 250_000_000, Millisecond))
        );
        assert_eq!(
            parse("1970-01-01T01:00:00.000001+01:00"),
            Some((1_000, Microsecond))
        );
        assert_eq!(
            parse("1969-12-31T23:00:00.000000001-01:00"),
            Some((1, Nanosecond))
        );
        assert_eq!(
            parse("2000-03-01T00:00:00Z"),
            Some((951_868_800 * SECOND, Second))
        );
        assert_eq!(
            parse("2100-03-01T00:00:00Z"),
            Some((4_107_542_400 * SECOND, Second))
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:0:Z",
            "2026-01-01T00-00:00Z",
            "20/6-01-01T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0100",
            "9999-01-01T00:00:00Z",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_of_go_are_nanoseconds() {
        assert_eq!(parse_go_duration("796ms"), Some(796_000_000));
        assert_eq!(parse_go_duration("1.594s"), Some(1_594_000_000));
        assert_eq!(parse_go_duration("1m2.5s"), Some(62_500_000_000));
        assert_eq!(parse_go_duration("2h0m0s"), Some(7_200_000_000_000));
        assert_eq!(parse_go_duration("1.5µs"), Some(1_500));
        assert_eq!(parse_go_duration("0"), Some(0));
        for text in ["", "-1s", "1", "s", ".s", "1x", "1.2.3s", "99999999999h"] {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other(days in 0_i32..100_000) {
            let (mut year, mut month, mut day) = (1970, 1, 1 + days);
            while day > days_in_month(year, month) {
                day -= days_in_month(year, month);
                month += 1;
                if month > 12 {
                    (year, month) = (year + 1, 1);
                }
            }
            prop_assert_eq!(days_since_epoch(year, month, day), Some(days));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = (Timestamp::parse(&text), parse_go_duration(&text));
        }

        #[test]
        fn texts_like_times_are_read_without_a_panic(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?(Z|[+-][0-9]{2}:[0-9]{2})?") {
            let _ = Timestamp::parse(&text);
        }
    }
}
