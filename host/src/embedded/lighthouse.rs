//! Lighthouse's part: forwards a webhook to the plugin, as its `util.CallExternalPlugins` does.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use serde_json::Value;
use sha2::Sha256;

/// Forwards webhooks to one endpoint, signed.
#[derive(Clone)]
pub struct Lighthouse {
    endpoint: String,
    token: Vec<u8>,
    client: reqwest::Client,
}

impl fmt::Debug for Lighthouse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lighthouse")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Lighthouse {
    /// Forwards to this URL, such as `http://127.0.0.1:8080/lighthouse/events`, with this HMAC token. Plain HTTP
    /// only: a plugin is called within its cluster.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(endpoint: impl Into<String>, token: &[u8]) -> anyhow::Result<Self> {
        // The client wants TLS settings even for plain HTTP, and the process may not have chosen a provider.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()?;
        Ok(Self {
            endpoint: endpoint.into(),
            token: token.to_owned(),
            client,
        })
    }

    /// Forwards a webhook; the answer's status.
    ///
    /// # Errors
    /// If the endpoint cannot be reached.
    pub async fn forward(&self, kind: &str, body: &Value) -> Result<StatusCode, reqwest::Error> {
        let body = body.to_string();
        let response = self
            .client
            .post(&self.endpoint)
            .header("User-Agent", "LighthouseHook")
            .header("X-Lighthouse-Signature", self.signature(body.as_bytes()))
            .header("X-Lighthouse-Payload-Type", "webhook")
            .header("X-Lighthouse-Webhook-Kind", kind)
            .body(body)
            .send()
            .await?;
        Ok(response.status())
    }

    fn signature(&self, body: &[u8]) -> String {
        // HMAC takes a key of any length; the error is for algorithms that do not.
        let signature = Hmac::<Sha256>::new_from_slice(&self.token)
            .map(|mac| hex::encode(mac.chain_update(body).finalize().into_bytes()));
        format!("sha256={}", signature.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_github_documents_it() {
        // The example of GitHub's page on validating webhook deliveries.
        let lighthouse =
            Lighthouse::new("http://127.0.0.1", b"It's a Secret to Everybody").unwrap();
        assert_eq!(
            lighthouse.signature(b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        assert!(!format!("{lighthouse:?}").contains("Secret"));
    }
}
