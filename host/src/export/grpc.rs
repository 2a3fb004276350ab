//! OTLP over gRPC.

use std::error::Error as _;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::retry::{self, Accepted, Again, Refused};
use super::settings::{Compression, Headers, Otlp, Signal};

/// A connection, made when it is first needed and again when it was lost.
pub struct Sender {
    client: Grpc<Channel>,
    signal: Signal,
    headers: MetadataMap,
    timeout: Duration,
}

impl Sender {
    /// Reads the certificates; connects later.
    pub fn new(settings: &Otlp, signal: Signal) -> anyhow::Result<Self> {
        let mut endpoint = Endpoint::from_shared(settings.endpoint.clone())?
            .user_agent(super::USER_AGENT)?
            .connect_timeout(settings.timeout);
        if endpoint.uri().scheme_str() == Some("https") {
            let mut tls = ClientTlsConfig::new();
            tls = match &settings.tls.certificate {
                Some(path) => tls.ca_certificate(Certificate::from_pem(super::read(path)?)),
                None => tls.with_native_roots(),
            };
            if let Some((certificate, key)) = &settings.tls.client {
                let identity = Identity::from_pem(super::read(certificate)?, super::read(key)?);
                tls = tls.identity(identity);
            }
            endpoint = endpoint
                .tls_config(tls)
                .context("the certificates of the OTLP exporter cannot be used")?;
        }
        let mut client =
            Grpc::new(endpoint.connect_lazy()).accept_compressed(CompressionEncoding::Gzip);
        if settings.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Self {
            client,
            signal,
            headers: metadata(&settings.headers)?,
            timeout: settings.timeout,
        })
    }

    /// Sends an encoded request once.
    pub async fn send(&mut self, body: Bytes) -> Result<Accepted, Refused> {
        match tokio::time::timeout(self.timeout, self.call(body)).await {
            Ok(Ok(response)) => Ok(super::accepted(response)),
            Ok(Err(status)) => Err(refused(&status)),
            Err(_) => Err(super::no_answer(self.timeout)),
        }
    }

    async fn call(&mut self, body: Bytes) -> Result<ExportTraceServiceResponse, Status> {
        self.client.ready().await.map_err(|error| {
            let mut status = Status::unavailable(error.to_string());
            status.set_source(std::sync::Arc::new(error));
            status
        })?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.headers.clone();
        let path = PathAndQuery::from_static(self.signal.method());
        let response = self.client.unary(request, path, Encoded).await?;
        Ok(response.into_inner())
    }
}

fn metadata(headers: &Headers) -> anyhow::Result<MetadataMap> {
    let mut metadata = MetadataMap::new();
    for (name, value) in &headers.0 {
        // gRPC gives names that end so a binary value in another encoding.
        anyhow::ensure!(
            !name.as_str().ends_with("-bin"),
            "OTEL_EXPORTER_OTLP_HEADERS names '{name}', which is binary in gRPC: use a header without '-bin' at the end"
        );
        let key = MetadataKey::from_bytes(name.as_str().as_bytes())?;
        let mut value = value.as_bytes().try_into().with_context(|| {
            format!(
                "OTEL_EXPORTER_OTLP_HEADERS: the value of '{name}' is not ASCII, as gRPC demands"
            )
        })?;
        tonic::metadata::MetadataValue::<tonic::metadata::Ascii>::set_sensitive(&mut value, true);
        metadata.append(key, value);
    }
    Ok(metadata)
}

fn refused(status: &Status) -> Refused {
    if let Some(source) = status.source() {
        // No answer of the receiver, but what the network made of the call.
        return Refused {
            cause: "connection".to_owned(),
            message: super::chain(source),
            again: Again::Always,
        };
    }
    let pause = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    Refused {
        cause: format!("gRPC status {:?}", status.code()),
        message: status.message().to_owned(),
        again: retry::grpc(status.code(), pause),
    }
}

/// Requests are encoded already, so that a resend carries the same bytes.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let length = source.remaining();
        ExportTraceServiceResponse::decode(source.copy_to_bytes(length))
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer cannot be read: {error}")))
    }
}
