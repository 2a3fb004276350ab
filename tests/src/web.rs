//! Requests without TLS.

use std::net::SocketAddr;

use anyhow::Result;

/// A client for addresses without TLS. One with it reads all certificates of the machine, each time anew: where one asks again
/// and again, that takes more than all else.
///
/// # Errors
/// If there can be none.
pub fn client() -> Result<reqwest::Client> {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().tls_certs_only([]).no_proxy();
    Ok(builder.build()?)
}

/// What a GET of a path says, if it is a success.
///
/// # Errors
/// If it cannot be had.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let response = client()?.get(format!("http://{address}{path}")).send();
    Ok(response.await?.error_for_status()?.text().await?)
}
