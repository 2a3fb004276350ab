//! Durations as people write them.

use std::time::Duration;

/// Reads a duration as Go or a person writes it: `5s`, `1h30m`, `1.5h`, `2 days`, `0`.
///
/// # Errors
/// If the text is nothing of the kind.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    go_duration(text)
        .or_else(|| humantime::parse_duration(text).ok())
        .ok_or_else(|| "not a duration; write it like 5s, 10m or 1h30m".to_owned())
}

/// The syntax of Go's `time.ParseDuration`, without a sign: <https://pkg.go.dev/time#ParseDuration>.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanoseconds = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * nanoseconds / 1e9).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_and_people_write_them() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("300ms", 300),
            ("0", 0),
            ("0s", 0),
            ("2days", 172_800_000),
            (" 10 min ", 600_000),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5x",
            "1..5s",
            "99999999999999999999h",
            "é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
