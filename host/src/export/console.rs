//! Spans on standard output, one JSON object a line.

use std::io::{ErrorKind, Write};

use lighthouse_telemetry_core::span::Span;

use super::retry::{Accepted, Again, Refused};

/// The lines of these spans.
pub fn lines(spans: &[Span]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for span in spans {
        text.push_str(&serde_json::to_string(span)?);
        text.push('\n');
    }
    Ok(text)
}

/// Writes lines at once, so that they do not mix with those of others.
pub fn write(output: &mut impl Write, lines: &str) -> Result<Accepted, Refused> {
    output
        .write_all(lines.as_bytes())
        .and_then(|()| output.flush())
        .map(|()| Accepted::default())
        .map_err(|error| Refused {
            cause: "standard output".to_owned(),
            message: error.to_string(),
            again: match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => Again::AFewTimes,
                _ => Again::Never,
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::encode::tests::span;

    #[test]
    fn a_span_is_one_line_of_json() {
        let lines = lines(&[span("a\nb", "Pod"), span("c", "Pod")]).unwrap();
        let mut output = Vec::new();
        assert_eq!(write(&mut output, &lines), Ok(Accepted::default()));
        let parsed: Vec<serde_json::Value> = String::from_utf8(output)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0]["name"], "a\nb");
        assert_eq!(parsed[0]["resource"]["service"], "Pod");
        assert_eq!(parsed[1]["start"], "1970-01-01T00:00:01Z");
    }
}
