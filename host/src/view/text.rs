//! Text for a terminal: sanitised, cut and padded by the width that is seen, and durations.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text without anything that would move the cursor or reorder the line. Names come from the cluster, and
/// whoever may create an object there must not be able to write to a terminal.
pub fn sanitised(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' | '\n' | '\r' => ' ',
            // Line and paragraph separators, and what reorders text (Unicode Standard Annex 9).
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => '\u{fffd}',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            other if other.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// Cells that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in exactly this many cells: cut with an ellipsis, or filled up.
pub fn fit(text: &str, cells: usize) -> String {
    let mut text = cut(text, cells);
    let missing = cells.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The text in at most this many cells, cut with an ellipsis.
pub fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used + 1 > cells {
            break;
        }
        kept.push(character);
    }
    if cells > 0 {
        kept.push('…');
    }
    kept
}

/// A duration to about three digits: `0s`, `87ms`, `1.4s`, `32s`, `4m 07s`, `2h 05m`.
pub fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if milliseconds == 0 {
        return "<1ms".to_owned();
    }
    if milliseconds < 1000 {
        return format!("{milliseconds}ms");
    }
    let tenths = (milliseconds + 50) / 100;
    if tenths < 100 {
        let rest = tenths % 10;
        return match rest {
            0 => format!("{}s", tenths / 10),
            _ => format!("{}.{rest}s", tenths / 10),
        };
    }
    let seconds = (milliseconds + 500) / 1000;
    if seconds < 60 {
        return format!("{seconds}s");
    }
    let minutes = seconds / 60;
    if minutes < 60 {
        return format!("{minutes}m {:02}s", seconds % 60);
    }
    format!("{}h {:02}m", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_short_and_round_up_to_the_next_unit() {
        let text = |milliseconds| duration(Duration::from_millis(milliseconds));
        assert_eq!(duration(Duration::from_nanos(1)), "<1ms");
        let expected = [
            (0, "0s"),
            (87, "87ms"),
            (999, "999ms"),
            (1000, "1s"),
            (1449, "1.4s"),
            (9949, "9.9s"),
            (9951, "10s"),
            (59_400, "59s"),
            (59_600, "1m 00s"),
            (247_000, "4m 07s"),
            (3_599_999, "1h 00m"),
            (7_500_000, "2h 05m"),
        ];
        for (milliseconds, wanted) in expected {
            assert_eq!(text(milliseconds), wanted);
        }
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!(fit("日本語", 7), "日本語 ");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(
            sanitised("a\u{1b}[31mb\nc\u{202e}d"),
            "a\u{fffd}[31mb c\u{fffd}d"
        );
    }

    proptest! {
        #[test]
        fn what_was_fitted_has_the_width(text in any::<String>(), cells in 0usize..40) {
            prop_assert_eq!(width(&fit(&sanitised(&text), cells)), cells);
        }
    }
}
