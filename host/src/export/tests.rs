//! The exporter against a real receiver, by both protocols.

mod kept;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;

use super::encode::tests::span;
use super::*;
use crate::journal::Journal;
use crate::receiver::{Answer, Receiver};

/// Starts to export what nothing keeps.
fn start(settings: Settings) -> anyhow::Result<Handle> {
    super::start(settings, Journal::off(), Vec::new())
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// For what takes milliseconds; reached only by a failure.
const LONG: Duration = Duration::from_secs(60);
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

fn otlp(receiver: &Receiver, protocol: Protocol) -> Otlp {
    Otlp {
        endpoint: match protocol {
            Protocol::Grpc => receiver.grpc_endpoint(),
            Protocol::HttpProtobuf => receiver.http_endpoint(),
        },
        protocol,
        headers: Headers::default(),
        timeout: LONG,
        compression: Compression::None,
        tls: Tls::default(),
    }
}

fn settings(destinations: Vec<Otlp>) -> Settings {
    let destinations = destinations.into_iter();
    Settings {
        destinations: destinations
            .map(|otlp| Destination::Otlp(Box::new(otlp)))
            .collect(),
        retrying: Retrying {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(2),
        },
        ..Settings::default()
    }
}

fn names(received: &[ResourceSpans]) -> Vec<String> {
    received
        .iter()
        .flat_map(|group| &group.scope_spans)
        .flat_map(|group| &group.spans)
        .map(|span| span.name.clone())
        .collect()
}

/// Some waits are for things that must happen; this ends those that never would.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future)
        .await
        .expect("it never happened")
}

#[tokio::test]
async fn spans_arrive_as_they_were_sent() {
    for protocol in BOTH {
        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        let export = start(settings(vec![otlp(&receiver, protocol)])).unwrap();
        let spans = vec![span("a", "Pod"), span("b", "LighthouseJob")];
        let expected = encode(&spans).resource_spans;
        export.send(spans);
        export.flush(LONG).await.unwrap();
        assert_eq!(receiver.spans(), expected, "{protocol}");
        let counts = export.counts();
        assert_eq!((counts.sent, counts.queued), (2, 0));
    }
}

#[tokio::test]
async fn a_batch_goes_when_it_is_full_and_when_its_time_has_come() {
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    let mut settings = settings(vec![otlp(&receiver, Protocol::HttpProtobuf)]);
    settings.batching.batch = 2;
    settings.batching.delay = Duration::from_secs(100_000);
    let export = start(settings.clone()).unwrap();
    export.send(vec![span("a", "Pod")]);
    assert_eq!(receiver.spans(), []);
    export.send(vec![span("b", "Pod")]);
    soon(receiver.wait_for(|spans| names(spans) == ["a", "b"])).await;
    settings.batching.delay = Duration::from_millis(1);
    let export = start(settings).unwrap();
    export.send(vec![span("c", "Pod")]);
    soon(receiver.wait_for(|spans| names(spans) == ["a", "b", "c"])).await;
}

#[tokio::test]
async fn headers_and_compression_are_on_the_wire() {
    for protocol in BOTH {
        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        receiver.script([]);
        let mut otlp = otlp(&receiver, protocol);
        otlp.compression = Compression::Gzip;
        otlp.headers.0.push((
            ::http::HeaderName::from_static("authorization"),
            ::http::HeaderValue::from_static("Bearer token"),
        ));
        let export = start(settings(vec![otlp])).unwrap();
        export.send(vec![span(&"a".repeat(10_000), "Pod")]);
        export.flush(LONG).await.unwrap();
        let deliveries = receiver.deliveries();
        let [delivery] = deliveries.as_slice() else {
            panic!("{deliveries:?}")
        };
        assert_eq!(delivery.headers["authorization"], "Bearer token");
        let agent = delivery.headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("lighthouse-telemetry/"), "{agent}");
        assert!(delivery.body.len() < 1000, "{}", delivery.body.len());
        assert_eq!(names(&receiver.spans()), ["a".repeat(10_000)]);
    }
}

#[tokio::test]
async fn what_was_refused_for_now_is_sent_again_with_the_same_bytes() {
    for protocol in BOTH {
        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        let busy = |pause| Answer::Refuse {
            grpc: tonic::Code::Unavailable,
            http: ::http::StatusCode::SERVICE_UNAVAILABLE,
            pause,
        };
        receiver.script([busy(None), busy(Some(Duration::ZERO)), busy(None)]);
        let mut otlp = otlp(&receiver, protocol);
        otlp.compression = Compression::Gzip;
        let export = start(settings(vec![otlp])).unwrap();
        export.send(vec![span("a", "Pod"), span("b", "Pod")]);
        export.flush(LONG).await.unwrap();
        let deliveries = receiver.deliveries();
        assert_eq!(deliveries.len(), 4, "{protocol}");
        assert!(deliveries.iter().all(|one| one.body == deliveries[0].body));
        assert_eq!(names(&receiver.spans()), ["a", "b"]);
        let counts = export.counts();
        assert_eq!((counts.sent, counts.retries, counts.failed), (2, 3, 0));
    }
}

#[tokio::test]
async fn what_was_refused_for_good_is_counted_and_does_not_hold_up_the_rest() {
    for protocol in BOTH {
        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        receiver.script([Answer::Refuse {
            grpc: tonic::Code::InvalidArgument,
            http: ::http::StatusCode::BAD_REQUEST,
            pause: None,
        }]);
        let mut settings = settings(vec![otlp(&receiver, protocol)]);
        settings.batching.batch = 1;
        let export = start(settings).unwrap();
        export.send(vec![span("a", "Pod"), span("b", "Pod")]);
        export.flush(LONG).await.unwrap();
        assert_eq!(names(&receiver.spans()), ["b"]);
        let counts = export.counts();
        assert_eq!((counts.sent, counts.failed, counts.retries), (1, 1, 0));
    }
}

#[tokio::test]
async fn a_refusal_that_is_about_the_batch_is_given_up_after_some_attempts() {
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    let lost = Answer::Refuse {
        grpc: tonic::Code::DataLoss,
        http: ::http::StatusCode::OK,
        pause: None,
    };
    receiver.script(std::iter::repeat_n(lost, 8));
    let export = start(settings(vec![otlp(&receiver, Protocol::Grpc)])).unwrap();
    export.send(vec![span("a", "Pod")]);
    export.flush(LONG).await.unwrap();
    let counts = export.counts();
    assert_eq!((counts.failed, counts.retries, counts.sent), (1, 7, 0));
}

#[tokio::test]
async fn what_was_rejected_in_part_is_counted_and_not_sent_again() {
    for protocol in BOTH {
        let receiver = Receiver::start(LOOPBACK).await.unwrap();
        receiver.script([Answer::Partial {
            rejected: 2,
            message: "too old".to_owned(),
        }]);
        let export = start(settings(vec![otlp(&receiver, protocol)])).unwrap();
        export.send(vec![span("a", "Pod"), span("b", "Pod"), span("c", "Pod")]);
        export.flush(LONG).await.unwrap();
        assert_eq!(receiver.deliveries().len(), 1);
        let counts = export.counts();
        assert_eq!((counts.sent, counts.rejected, counts.failed), (1, 2, 0));
    }
}

#[tokio::test]
async fn a_receiver_may_come_later_and_the_oldest_spans_go_when_the_queue_is_full() {
    for protocol in BOTH {
        // A port that was free a moment ago, so that nothing listens on it now.
        let free = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut target = otlp(&Receiver::start(LOOPBACK).await.unwrap(), protocol);
        target.endpoint = match protocol {
            Protocol::Grpc => format!("http://{address}"),
            Protocol::HttpProtobuf => format!("http://{address}/v1/traces"),
        };
        let mut settings = settings(vec![target]);
        settings.batching.batch = 1;
        settings.batching.queue = 3;
        let export = start(settings).unwrap();
        export.send(vec![span("first", "Pod")]);
        // The first is on its way, and its failed attempts are seen.
        let mut progress = export.progress();
        soon(progress.wait_for(|counts| counts.retries > 0))
            .await
            .unwrap();
        for name in ["b", "c", "d", "e"] {
            let queued = export.counts().queued + export.counts().dropped;
            export.send(vec![span(name, "Pod")]);
            soon(progress.wait_for(|counts| counts.queued + counts.dropped > queued))
                .await
                .unwrap();
            let flushed = export.flush(Duration::from_millis(20)).await;
            assert!(flushed.is_err_and(|error| error.queued > 0));
        }
        assert_eq!(export.counts().dropped, 2, "{protocol}");
        let receiver = Receiver::start(address).await.unwrap();
        export.flush(LONG).await.unwrap();
        assert_eq!(names(&receiver.spans()), ["first", "d", "e"], "{protocol}");
        assert_eq!(export.counts().sent, 3);
    }
}

#[tokio::test]
async fn every_destination_gets_every_span() {
    let receivers = [
        Receiver::start(LOOPBACK).await.unwrap(),
        Receiver::start(LOOPBACK).await.unwrap(),
    ];
    let export = start(settings(vec![
        otlp(&receivers[0], Protocol::Grpc),
        otlp(&receivers[1], Protocol::HttpProtobuf),
    ]))
    .unwrap();
    export.send(vec![span("a", "Pod")]);
    export.flush(LONG).await.unwrap();
    for receiver in &receivers {
        assert_eq!(names(&receiver.spans()), ["a"]);
    }
    assert_eq!(export.counts().sent, 2);
}

#[tokio::test]
async fn large_batches_are_split() {
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    receiver.script([]);
    let export = start(settings(vec![otlp(&receiver, Protocol::HttpProtobuf)])).unwrap();
    let large = |place: usize| span(&format!("{place}{}", "x".repeat(500_000)), "Pod");
    export.send((0..10).map(large).collect());
    export.flush(LONG).await.unwrap();
    let deliveries = receiver.deliveries();
    assert!(deliveries.len() > 1);
    let mut spans = 0;
    for delivery in deliveries {
        assert!(delivery.body.len() < 4 << 20);
        let request = ExportTraceServiceRequest::decode(delivery.body).unwrap();
        spans += names(&request.resource_spans).len();
    }
    assert_eq!(spans, 10);
}

#[tokio::test]
async fn without_a_destination_spans_are_discarded() {
    let export = start(Settings::default()).unwrap();
    export.send(vec![span("a", "Pod")]);
    export.flush(LONG).await.unwrap();
    assert_eq!(export.counts(), Counts::default());
}

#[tokio::test]
async fn limits_and_resource_attributes_apply() {
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    let mut settings = settings(vec![otlp(&receiver, Protocol::Grpc)]);
    settings.limits.attributes = 0;
    settings.resource_attributes =
        vec![lighthouse_telemetry_core::span::Attribute::new("zone", "b")];
    let export = start(settings).unwrap();
    export.send(vec![span("a", "Pod")]);
    export.flush(LONG).await.unwrap();
    insta::assert_snapshot!(crate::view::snapshot(&receiver.spans()));
}

mod encrypted {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };
    use rustls::RootCertStore;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    struct Files {
        directory: tempfile::TempDir,
        server: rustls::ServerConfig,
    }

    impl Files {
        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn tls(&self) -> Tls {
            Tls {
                certificate: Some(self.path("ca.pem")),
                client: Some((self.path("client.pem"), self.path("client.key"))),
            }
        }
    }

    /// A certificate authority, a server of it that asks for a client certificate, and such a client.
    fn files() -> Files {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", authority.pem());
        let issue = |name: &str, purpose| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            (certificate, key)
        };
        let (client, client_key) = issue("client", ExtendedKeyUsagePurpose::ClientAuth);
        write("client.pem", client.pem());
        write("client.key", client_key.serialize_pem());
        let (server, server_key) = issue("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
        let mut server = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![server.der().clone()], key)
            .unwrap();
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Files { directory, server }
    }

    #[tokio::test]
    async fn both_sides_prove_who_they_are() {
        let files = files();
        for protocol in BOTH {
            let receiver = Receiver::start_encrypted(LOOPBACK, files.server.clone())
                .await
                .unwrap();
            let mut otlp = otlp(&receiver, protocol);
            assert!(otlp.endpoint.starts_with("https://"));
            otlp.tls = files.tls();
            let export = start(settings(vec![otlp])).unwrap();
            export.send(vec![span("a", "Pod")]);
            export.flush(LONG).await.unwrap();
            assert_eq!(names(&receiver.spans()), ["a"], "{protocol}");
        }
    }

    #[tokio::test]
    async fn a_stranger_gets_no_spans() {
        let files = files();
        for protocol in BOTH {
            let receiver = Receiver::start_encrypted(LOOPBACK, files.server.clone())
                .await
                .unwrap();
            let mut otlp = otlp(&receiver, protocol);
            otlp.tls.client = files.tls().client;
            let mut settings = settings(vec![otlp]);
            settings.batching.batch = 1;
            let export = start(settings).unwrap();
            export.send(vec![span("a", "Pod")]);
            soon(export.progress().wait_for(|counts| counts.retries > 1))
                .await
                .unwrap();
            assert_eq!(receiver.spans(), [], "{protocol}");
            assert_eq!(export.counts().queued, 1);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_said_at_the_start() {
        let files = files();
        for protocol in BOTH {
            let receiver = Receiver::start_encrypted(LOOPBACK, files.server.clone())
                .await
                .unwrap();
            let mut otlp = otlp(&receiver, protocol);
            otlp.tls.certificate = Some(Path::new("/nowhere/ca.pem").into());
            let error = start(settings(vec![otlp])).unwrap_err().to_string();
            assert!(error.contains("/nowhere/ca.pem cannot be read"), "{error}");
        }
    }
}
