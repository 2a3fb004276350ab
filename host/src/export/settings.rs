//! What the exporter is told: where to send, how to batch, what to cut.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lighthouse_telemetry_core::span::Attribute;

use super::limits::Limits;

/// Everything the exporter is told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where spans go; every destination gets every span. With none spans are discarded.
    pub destinations: Vec<Destination>,
    /// How spans gather to batches.
    pub batching: Batching,
    /// How long to wait between attempts.
    pub retrying: Retrying,
    /// How much of a span is kept.
    pub limits: Limits,
    /// Attributes added to every resource that does not have them: `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource_attributes: Vec<Attribute>,
    /// What was asked for and does not apply; each is logged once at the start.
    pub notes: Vec<String>,
}

/// A place that spans go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An OTLP receiver.
    Otlp(Box<Otlp>),
    /// Standard output, one JSON object a span and line.
    Console,
}

impl Destination {
    /// An OTLP receiver with the defaults of the OpenTelemetry specification: no headers, no compression,
    /// ten seconds for an attempt.
    #[must_use]
    pub fn otlp(protocol: Protocol, endpoint: impl Into<String>) -> Self {
        Self::Otlp(Box::new(Otlp {
            endpoint: endpoint.into(),
            protocol,
            headers: Headers::default(),
            timeout: Otlp::DEFAULT_TIMEOUT,
            compression: Compression::None,
            tls: Tls::default(),
        }))
    }
}

/// What OTLP carries: its services, paths and variables have the name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// In the names of environment variables.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// Path in the OTLP/HTTP specification.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Path of the method in the OTLP protobuf definition.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// How metrics are pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushing {
    /// Where to.
    pub receiver: Otlp,
    /// How often.
    pub interval: Duration,
    /// What the resource has besides the name of the service: `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource_attributes: Vec<Attribute>,
}

impl Pushing {
    /// Default of `OTEL_METRIC_EXPORT_INTERVAL`.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
}

/// An OTLP receiver and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// URL. For HTTP the one that is posted to, with its path; for gRPC scheme and authority count. With scheme
    /// `https` the connection is encrypted.
    pub endpoint: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Sent with every request.
    pub headers: Headers,
    /// For one attempt.
    pub timeout: Duration,
    /// Of requests.
    pub compression: Compression,
    /// Certificates, for `https`.
    pub tls: Tls,
}

impl Otlp {
    /// Default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How OTLP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP/1.1.
    HttpProtobuf,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        })
    }
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By gzip.
    Gzip,
}

/// Request headers. They often carry a token, so that `Debug` shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub(super) Vec<(::http::HeaderName, ::http::HeaderValue)>);

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        formatter.debug_list().entries(names).finish()
    }
}

/// Files in PEM format, read at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust; none: those that the system trusts.
    pub certificate: Option<PathBuf>,
    /// Our own certificate chain and its private key, where the receiver asks for them.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How spans gather to batches: the `OTEL_BSP_*` of the OpenTelemetry specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// How many spans may wait for each destination; when there are more, the oldest are dropped and counted.
    pub queue: usize,
    /// How many spans make a batch.
    pub batch: usize,
    /// How long a span waits at most for its batch to fill.
    pub delay: Duration,
}

impl Default for Batching {
    /// The specification's 512 spans and 5 s. The queue is larger than its 2,048: on shutdown all spans that
    /// are open come at once, and a busy cluster has tens of thousands.
    fn default() -> Self {
        Self {
            queue: 32_768,
            batch: 512,
            delay: Duration::from_secs(5),
        }
    }
}

/// How long to wait between attempts, where the receiver does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retrying {
    /// After the first attempt; doubles with each, with jitter.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Retrying {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}
