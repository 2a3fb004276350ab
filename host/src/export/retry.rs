//! What an answer of a receiver means: whether to send again, and when.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::settings::Retrying;

/// A receiver may ask for a pause of at most this long; it is not to stop the export for a day by mistake.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How often a batch is sent whose refusal is about the batch rather than about the receiver. More often
/// would hold up those behind it.
pub const ATTEMPTS_FOR_A_BATCH: u32 = 8;

/// A batch was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many of its spans were refused all the same; they must not be sent again.
    pub rejected: u64,
    /// Why, or a warning; empty if there is nothing to say.
    pub message: String,
}

/// A batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Names the kind of refusal, for counting and for saying it once.
    pub cause: String,
    /// What the receiver or the network said.
    pub message: String,
    /// Whether to send again.
    pub again: Again,
}

/// Whether to send a refused batch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// No: it would be refused again.
    Never,
    /// Some times: what was wrong may have been this batch.
    AFewTimes,
    /// As long as there is room in the queue.
    Always,
    /// As before, but not sooner than the receiver asks for.
    After(Duration),
}

/// Of a gRPC status, as the OTLP specification classifies them.
/// <https://opentelemetry.io/docs/specs/otlp/#failures>
pub fn grpc(code: tonic::Code, pause: Option<Duration>) -> Again {
    use tonic::Code;
    match (code, pause) {
        (Code::Unavailable | Code::ResourceExhausted, Some(pause)) => {
            Again::After(pause.min(LONGEST_PAUSE))
        }
        (Code::Unavailable | Code::DeadlineExceeded, _) => Again::Always,
        (Code::Cancelled | Code::Aborted | Code::OutOfRange | Code::DataLoss, _) => {
            Again::AFewTimes
        }
        _ => Again::Never,
    }
}

/// Of an HTTP status, as the OTLP specification classifies them.
/// <https://opentelemetry.io/docs/specs/otlp/#failures-1>
pub fn http(status: http::StatusCode, retry_after: Option<&str>, now: SystemTime) -> Again {
    match status.as_u16() {
        429 | 502 | 503 | 504 => match retry_after.and_then(|text| pause(text, now)) {
            Some(pause) => Again::After(pause.min(LONGEST_PAUSE)),
            None => Again::Always,
        },
        _ => Again::Never,
    }
}

/// Reads `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
fn pause(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    let date = SystemTime::from(date.timestamp());
    Some(date.duration_since(now).unwrap_or_default())
}

/// Pauses between attempts: exponential, with jitter, without an end.
pub fn pauses(retrying: Retrying) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(retrying.first)
        .with_max_delay(retrying.longest)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::StatusCode;
    use tonic::Code;

    #[test]
    fn only_what_the_specification_calls_retryable_is_sent_again() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(grpc(Code::Unavailable, None), Again::Always);
        assert_eq!(
            grpc(Code::Unavailable, second),
            Again::After(Duration::from_secs(1))
        );
        assert_eq!(grpc(Code::ResourceExhausted, None), Again::Never);
        assert_eq!(
            grpc(Code::ResourceExhausted, Some(Duration::MAX)),
            Again::After(LONGEST_PAUSE)
        );
        assert_eq!(grpc(Code::DataLoss, None), Again::AFewTimes);
        for code in [
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unimplemented,
            Code::Internal,
            Code::Unknown,
        ] {
            assert_eq!(grpc(code, second), Again::Never, "{code:?}");
        }
        let now = SystemTime::UNIX_EPOCH;
        for status in [429, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(http(status, None, now), Again::Always);
        }
        for status in [400, 401, 403, 404, 408, 413, 500, 501] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(http(status, Some("1"), now), Again::Never);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let after = |text| http(StatusCode::SERVICE_UNAVAILABLE, Some(text), now);
        assert_eq!(after("7"), Again::After(Duration::from_secs(7)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Again::After(Duration::from_secs(7))
        );
        assert_eq!(
            after("Sun, 06 Nov 1994 08:00:00 GMT"),
            Again::After(Duration::ZERO)
        );
        assert_eq!(after("soon"), Again::Always);
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let retrying = Retrying {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(80),
        };
        let pauses: Vec<_> = pauses(retrying).take(50).collect();
        assert_eq!(pauses.len(), 50);
        assert!(pauses[0] >= retrying.first && pauses[0] < 3 * retrying.first);
        assert!(pauses[49] >= retrying.longest && pauses[49] <= 2 * retrying.longest);
    }
}
