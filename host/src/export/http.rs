//! OTLP as protobuf over HTTP.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::retry::{self, Accepted, Again, Refused};
use super::settings::{Compression, Otlp};

/// Longer answers are not read to their end: 1 MiB, far above what a receiver has to say.
const ANSWER_LIMIT: usize = 1 << 20;

/// A client and what it sends to.
pub struct Sender {
    client: reqwest::Client,
    endpoint: reqwest::Url,
    compression: Compression,
    timeout: Duration,
}

impl Sender {
    /// Reads the certificates; connects later.
    pub fn new(settings: &Otlp) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers.0 {
            headers.append(name, value.clone());
        }
        headers.insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("application/x-protobuf"),
        );
        // A redirect would carry headers with tokens to another host.
        let mut client = reqwest::Client::builder()
            .user_agent(super::USER_AGENT)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.timeout);
        if is_loopback(&settings.endpoint) {
            client = client.no_proxy();
        }
        if let Some(path) = &settings.tls.certificate {
            let certificates = reqwest::Certificate::from_pem_bundle(&super::read(path)?)
                .with_context(|| format!("{} holds no PEM certificates", path.display()))?;
            client = client.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &settings.tls.client {
            let mut pem = super::read(certificate)?;
            pem.push(b'\n');
            pem.extend(super::read(key)?);
            let identity = reqwest::Identity::from_pem(&pem).with_context(|| {
                format!(
                    "{} and {} are no PEM certificate and key",
                    certificate.display(),
                    key.display()
                )
            })?;
            client = client.identity(identity);
        }
        Ok(Self {
            client: client
                .build()
                .context("the certificates of the OTLP exporter cannot be used")?,
            endpoint: reqwest::Url::parse(&settings.endpoint)
                .with_context(|| format!("'{}' is no URL", settings.endpoint))?,
            compression: settings.compression,
            timeout: settings.timeout,
        })
    }

    /// Sends an encoded request once.
    pub async fn send(&mut self, body: Bytes) -> Result<Accepted, Refused> {
        let mut request = self.client.post(self.endpoint.clone());
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => {
                request = request.header(CONTENT_ENCODING, "gzip");
                gzip(&body).map_err(|error| Refused {
                    cause: "compression".to_owned(),
                    message: error.to_string(),
                    again: Again::Never,
                })?
            }
        };
        let answer = request.body(body).send().await;
        let mut answer = answer.map_err(|error| self.lost(error))?;
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.lost(error))? {
            text.extend_from_slice(&chunk);
            if text.len() > ANSWER_LIMIT {
                break;
            }
        }
        if status.is_success() {
            // Some receivers answer with JSON or an empty body whatever they were sent.
            return Ok(ExportTraceServiceResponse::decode(text.as_slice())
                .map(super::accepted)
                .unwrap_or_default());
        }
        Err(Refused {
            cause: format!("HTTP status {}", status.as_u16()),
            message: message(&text),
            again: retry::http(status, retry_after.as_deref(), SystemTime::now()),
        })
    }

    fn lost(&self, error: reqwest::Error) -> Refused {
        if error.is_timeout() {
            return super::no_answer(self.timeout);
        }
        let again = if error.is_builder() {
            Again::Never
        } else {
            Again::Always
        };
        let error = error.without_url();
        let mut message = super::chain(&error);
        if speaks_no_http(&error) {
            message
                .push_str("; if it is an OTLP/gRPC receiver, set OTEL_EXPORTER_OTLP_PROTOCOL=grpc");
        }
        Refused {
            cause: "connection".to_owned(),
            message,
            again,
        }
    }
}

/// Whether something answered that is no HTTP/1 server. Mostly a gRPC server, which speaks HTTP/2 from its first byte.
fn speaks_no_http(error: &reqwest::Error) -> bool {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}

/// What a failed answer says: a `google.rpc.Status` by the OTLP specification, text by many receivers.
fn message(body: &[u8]) -> String {
    let text = match tonic_types::pb::Status::decode(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same input gives the same bytes: no name and no time goes into the header.
fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

/// A proxy for other hosts is no way to this one.
fn is_loopback(endpoint: &str) -> bool {
    let uri = endpoint.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn loopback_is_reached_without_a_proxy() {
        for endpoint in [
            "http://localhost:4318/v1/traces",
            "http://127.0.0.1",
            "https://[::1]:1",
        ] {
            assert!(is_loopback(endpoint), "{endpoint}");
        }
        for endpoint in ["http://collector:4318", "http://10.0.0.1"] {
            assert!(!is_loopback(endpoint), "{endpoint}");
        }
    }

    #[tokio::test]
    async fn a_grpc_receiver_is_told_from_one_that_is_not_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0; 16];
            stream.read_exact(&mut some).await.unwrap();
            // An empty frame of settings: RFC 9113, section 3.4.
            stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let post = || client.post(format!("http://{address}")).send();
        assert!(speaks_no_http(&post().await.unwrap_err()));
        // The listener has gone with its only connection.
        assert!(!speaks_no_http(&post().await.unwrap_err()));
    }

    #[test]
    fn a_refusal_is_read_as_status_or_as_text() {
        let status = tonic_types::pb::Status {
            code: 3,
            message: "too many\nattributes".to_owned(),
            details: Vec::new(),
        };
        assert_eq!(message(&status.encode_to_vec()), "too many attributes");
        assert_eq!(message(b"  try later\n"), "try later");
    }
}
