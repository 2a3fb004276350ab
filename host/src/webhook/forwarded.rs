//! How a replica forwards a webhook to the leader: as Lighthouse sent it, with the time at which it was received.
//!
//! That time becomes a span's, so that it is signed like the body, with the same key. Lighthouse signs JSON only, so that
//! none of its signatures is one of these.

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderMap, HeaderValue};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lighthouse_telemetry_core::time::Time;
use sha2::Sha256;

use super::{KIND, PAYLOAD_TYPE, SIGNATURE, sign, signature_in, text};
use crate::config::{Secret, Verification};
use crate::journal::WebhookRecord;

/// When another replica received the webhook, in nanoseconds since the Unix epoch.
pub const RECEIVED: &str = "x-lighthouse-telemetry-received";
/// `sha256=` and the HMAC-SHA256, in hexadecimal, of that time and the body.
pub const SIGNATURE_OF_RECEIPT: &str = "x-lighthouse-telemetry-signature";

/// What a request says of when its webhook was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Nothing: now.
    Now,
    /// Another replica received it then.
    At(Time),
    /// Something that is not signed as it must be.
    Wrong,
}

/// The headers of a webhook that is forwarded.
///
/// # Errors
/// If its kind is no value of a header, which no webhook has.
pub fn headers(
    verification: &Verification,
    record: &WebhookRecord,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(PAYLOAD_TYPE, HeaderValue::from_static("webhook"));
    headers.insert(KIND, HeaderValue::from_str(&record.kind)?);
    headers.insert(RECEIVED, HeaderValue::from(record.received));
    if let Verification::Key(key) = verification {
        headers.insert(SIGNATURE, HeaderValue::from_str(&sign(key, &record.body))?);
        let signature = mac(key, record.received, &record.body)
            .map(|mac| hex::encode(mac.finalize().into_bytes()))
            .unwrap_or_default();
        let signature = HeaderValue::from_str(&format!("sha256={signature}"))?;
        headers.insert(SIGNATURE_OF_RECEIPT, signature);
    }
    Ok(headers)
}

/// Whether a request says that another replica has received its webhook.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(RECEIVED)
}

/// When the webhook of a request was received.
pub fn receipt(verification: &Verification, headers: &HeaderMap, body: &[u8]) -> Receipt {
    if !is_forwarded(headers) {
        return Receipt::Now;
    }
    let time = text(headers, RECEIVED).and_then(|time| time.parse::<u64>().ok());
    let Some(time) = time else {
        return Receipt::Wrong;
    };
    let is_signed = match verification {
        Verification::None => true,
        Verification::Key(key) => signature_in(headers, SIGNATURE_OF_RECEIPT)
            .zip(mac(key, time, body))
            // Compares in constant time.
            .is_some_and(|(signature, mac)| mac.verify_slice(&signature).is_ok()),
    };
    if is_signed {
        Receipt::At(Time::from_nanoseconds(time))
    } else {
        Receipt::Wrong
    }
}

/// HMAC takes keys of any length.
fn mac(key: &Secret, received: u64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mac = Hmac::<Sha256>::new_from_slice(key.bytes()).ok()?;
    Some(
        mac.chain_update(format!("received {received}\n"))
            .chain_update(body),
    )
}
