//! An OTLP receiver in memory, for the demo and for tests: gRPC and HTTP/protobuf on one port, as a collector
//! takes them, gzip included. It keeps what it is sent and serves nothing else; a test may script its answers.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic_types::{ErrorDetails, StatusExt as _};

/// Larger requests are refused, unpacked or not: 64 MiB.
const LIMIT: usize = 64 << 20;

/// A running receiver; it stops when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Receiver {
    store: Arc<Store>,
    address: SocketAddr,
    scheme: &'static str,
    _server: Arc<DropGuard>,
}

/// What a scripted receiver answers to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Accept,
    /// Takes it, but for some spans or data points.
    Partial {
        /// How many it says it rejected. It keeps all.
        rejected: i64,
        /// Why.
        message: String,
    },
    /// Refuses it with a status of gRPC or of HTTP, whichever the request came by.
    Refuse {
        /// For a request by gRPC.
        grpc: tonic::Code,
        /// For a request by HTTP.
        http: StatusCode,
        /// Asks for a pause before the next attempt.
        pause: Option<Duration>,
    },
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Path.
    pub path: String,
    /// Headers, or metadata of gRPC.
    pub headers: HeaderMap,
    /// Body as on the wire: compressed, and framed by gRPC.
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Store {
    spans: watch::Sender<Vec<ResourceSpans>>,
    metrics: watch::Sender<Vec<ResourceMetrics>>,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    record: bool,
    deliveries: Vec<Delivery>,
}

impl Receiver {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} for OTLP: give another address")
        })?;
        let address = listener.local_addr()?;
        Ok(Self::serve(listener, address, "http"))
    }

    /// Listens on an address and encrypts.
    #[cfg(test)]
    pub async fn start_encrypted(
        address: SocketAddr,
        tls: rustls::ServerConfig,
    ) -> anyhow::Result<Self> {
        let listener = encrypted::Listener {
            tcp: TcpListener::bind(address).await?,
            acceptor: Arc::new(tls).into(),
        };
        let address = listener.tcp.local_addr()?;
        Ok(Self::serve(listener, address, "https"))
    }

    fn serve<L>(listener: L, address: SocketAddr, scheme: &'static str) -> Self
    where
        L: axum::serve::Listener,
        L::Addr: std::fmt::Debug,
    {
        let store = Arc::new(Store::default());
        let router = router(&store);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                result = axum::serve(listener, router) => if let Err(error) = result {
                    tracing::error!("the OTLP receiver stopped: {error}");
                }
            }
        });
        Self {
            store,
            address,
            scheme,
            _server: Arc::new(stop.drop_guard()),
        }
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to send to by gRPC.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What to send to by HTTP.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("{}://{}/v1/traces", self.scheme, self.address)
    }

    /// Everything received so far, in the order it came.
    #[must_use]
    pub fn spans(&self) -> Vec<ResourceSpans> {
        self.store.spans.borrow().clone()
    }

    /// How many spans were received so far.
    #[must_use]
    pub fn count(&self) -> usize {
        let groups = self.store.spans.borrow();
        let scoped = groups.iter().flat_map(|group| &group.scope_spans);
        scoped.map(|scoped| scoped.spans.len()).sum()
    }

    /// The metrics received so far, those of each request by themselves.
    #[must_use]
    pub fn metrics(&self) -> Vec<ResourceMetrics> {
        self.store.metrics.borrow().clone()
    }

    /// Waits until metrics came so often. Waits for ever if they never do: set a limit around it.
    pub async fn wait_for_metrics(&self, times: usize) {
        let mut metrics = self.store.metrics.subscribe();
        // The sender lives as long as this receiver.
        let _ = metrics.wait_for(|metrics| metrics.len() >= times).await;
    }

    /// As [`Receiver::spans`], and keeps none of it.
    #[must_use]
    pub fn take(&self) -> Vec<ResourceSpans> {
        self.store.spans.send_replace(Vec::new())
    }

    /// Waits until what was received satisfies a condition, and gives it. Waits for ever if it never does:
    /// set a limit around it.
    pub async fn wait_for(
        &self,
        mut condition: impl FnMut(&[ResourceSpans]) -> bool,
    ) -> Vec<ResourceSpans> {
        let mut spans = self.store.spans.subscribe();
        match spans.wait_for(|spans| condition(spans)).await {
            Ok(spans) => spans.clone(),
            // The sender lives as long as this receiver.
            Err(_) => self.spans(),
        }
    }

    /// Answers the next requests so; all others are accepted. Requests are recorded from now on.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        let mut script = self.store.script();
        script.answers.extend(answers);
        script.record = true;
    }

    /// The requests since [`Receiver::script`] was first called, refused ones included.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.store.script().deliveries.clone()
    }
}

impl Store {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the script says: how many are rejected and why, if any are.
    fn answer(&self) -> Result<Option<(i64, String)>, Answer> {
        let answer = self.script().answers.pop_front().unwrap_or(Answer::Accept);
        match answer {
            Answer::Accept => Ok(None),
            Answer::Partial { rejected, message } => Ok(Some((rejected, message))),
            refusal @ Answer::Refuse { .. } => Err(refusal),
        }
    }

    /// Keeps the metrics unless the script says otherwise.
    fn take_metrics(
        &self,
        request: ExportMetricsServiceRequest,
    ) -> Result<ExportMetricsServiceResponse, Answer> {
        let partial_success = self.answer()?.map(|(rejected_data_points, error_message)| {
            ExportMetricsPartialSuccess {
                rejected_data_points,
                error_message,
            }
        });
        self.metrics
            .send_modify(|metrics| metrics.extend(request.resource_metrics));
        Ok(ExportMetricsServiceResponse { partial_success })
    }

    /// Keeps the spans unless the script says otherwise.
    fn take(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Answer> {
        let partial_success =
            self.answer()?.map(
                |(rejected_spans, error_message)| ExportTracePartialSuccess {
                    rejected_spans,
                    error_message,
                },
            );
        self.spans
            .send_modify(|spans| spans.extend(request.resource_spans));
        Ok(ExportTraceServiceResponse { partial_success })
    }
}

fn router(store: &Arc<Store>) -> Router {
    let service = TraceServiceServer::new(Service(Arc::clone(store)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(LIMIT);
    let metrics = MetricsServiceServer::new(Service(Arc::clone(store)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(LIMIT);
    tonic::service::Routes::new(service)
        .add_service(metrics)
        .into_axum_router()
        .merge(
            Router::new()
                .route("/v1/traces", post(traces_by_http))
                .route("/v1/metrics", post(metrics_by_http))
                .with_state(Arc::clone(store)),
        )
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(store),
            record,
        ))
        .layer(DefaultBodyLimit::max(LIMIT))
}

/// Keeps requests as they came, if a test wants to see them.
async fn record(State(store): State<Arc<Store>>, request: Request, next: Next) -> Response {
    if !store.script().record {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, LIMIT).await {
        Ok(body) => body,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    store.script().deliveries.push(Delivery {
        path: parts.uri.path().to_owned(),
        headers: parts.headers.clone(),
        body: body.clone(),
    });
    next.run(Request::from_parts(parts, Body::from(body))).await
}

struct Service(Arc<Store>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        by_grpc(self.0.take(request.into_inner()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        by_grpc(self.0.take_metrics(request.into_inner()))
    }
}

fn by_grpc<T>(taken: Result<T, Answer>) -> Result<tonic::Response<T>, Status> {
    match taken {
        Ok(response) => Ok(tonic::Response::new(response)),
        Err(Answer::Refuse { grpc, pause, .. }) => Err(match pause {
            Some(pause) => Status::with_error_details(
                grpc,
                SCRIPTED,
                ErrorDetails::with_retry_info(Some(pause)),
            ),
            None => Status::new(grpc, SCRIPTED),
        }),
        Err(_) => Err(Status::internal(SCRIPTED)),
    }
}

const SCRIPTED: &str = "refused as scripted";

async fn traces_by_http(
    State(store): State<Arc<Store>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    by_http(&headers, body, |request| store.take(request))
}

async fn metrics_by_http(
    State(store): State<Arc<Store>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    by_http(&headers, body, |request| store.take_metrics(request))
}

fn by_http<Q: Message + Default, A: Message>(
    headers: &HeaderMap,
    body: Bytes,
    take: impl FnOnce(Q) -> Result<A, Answer>,
) -> Response {
    let is = |name, value: &str| {
        headers
            .get(name)
            .is_some_and(|header: &HeaderValue| header.as_bytes() == value.as_bytes())
    };
    if !is(CONTENT_TYPE, "application/x-protobuf") {
        let problem = "send application/x-protobuf; OTLP as JSON is not taken here";
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem);
    }
    let body = if is(CONTENT_ENCODING, "gzip") {
        match unpack(&body) {
            Ok(body) => body,
            Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    } else if headers.contains_key(CONTENT_ENCODING) {
        return failure(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compress by gzip or not at all",
        );
    } else {
        body
    };
    let request = match Q::decode(body) {
        Ok(request) => request,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match take(request) {
        Ok(response) => protobuf(StatusCode::OK, response.encode_to_vec()),
        Err(Answer::Refuse { http, pause, .. }) => {
            let mut response = failure(http, SCRIPTED);
            if let Some(pause) = pause {
                let seconds = HeaderValue::from(pause.as_secs());
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
            response
        }
        Err(_) => failure(StatusCode::INTERNAL_SERVER_ERROR, SCRIPTED),
    }
}

fn unpack(body: &[u8]) -> anyhow::Result<Bytes> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    let read = GzDecoder::new(body)
        .take(limit + 1)
        .read_to_end(&mut unpacked)?;
    anyhow::ensure!(read <= LIMIT, "the request is larger than {LIMIT} bytes");
    Ok(unpacked.into())
}

/// Failures carry a `google.rpc.Status`, as the OTLP specification demands.
fn failure(status: StatusCode, message: &str) -> Response {
    let message = tonic_types::pb::Status {
        message: message.to_owned(),
        ..tonic_types::pb::Status::default()
    };
    protobuf(status, message.encode_to_vec())
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, "application/x-protobuf")], body).into_response()
}

#[cfg(test)]
mod encrypted {
    use std::net::SocketAddr;

    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    pub struct Listener {
        pub tcp: TcpListener,
        pub acceptor: TlsAcceptor,
    }

    impl axum::serve::Listener for Listener {
        type Io = TlsStream<TcpStream>;
        type Addr = SocketAddr;

        /// Clients that fail the handshake are passed over.
        async fn accept(&mut self) -> (Self::Io, SocketAddr) {
            loop {
                if let Ok((stream, address)) = self.tcp.accept().await
                    && let Ok(stream) = self.acceptor.accept(stream).await
                {
                    return (stream, address);
                }
            }
        }

        fn local_addr(&self) -> std::io::Result<SocketAddr> {
            self.tcp.local_addr()
        }
    }
}
