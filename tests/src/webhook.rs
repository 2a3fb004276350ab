//! Webhooks as Lighthouse sends them to an external plugin.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::web;

/// The headers that Lighthouse sends with a webhook of this kind.
///
/// # Errors
/// If there is no such header value.
pub fn headers(kind: &str, key: &str, body: &[u8]) -> Result<http::HeaderMap> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).context("no key of HMAC")?;
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let mut headers = http::HeaderMap::new();
    headers.insert("user-agent", "LighthouseHook".parse()?);
    headers.insert("x-lighthouse-payload-type", "webhook".parse()?);
    headers.insert("x-lighthouse-webhook-kind", kind.parse()?);
    headers.insert("x-lighthouse-signature", signature.parse()?);
    Ok(headers)
}

/// Sends a webhook, signed; the status of the answer.
///
/// # Errors
/// If there is no answer.
pub async fn send(to: SocketAddr, kind: &str, key: &str, body: &Value) -> Result<u16> {
    let body = serde_json::to_vec(body)?;
    let response = web::client()?
        .post(format!("http://{to}/lighthouse/events"))
        .headers(headers(kind, key, &body)?)
        .body(body)
        .send()
        .await?;
    Ok(response.status().as_u16())
}
