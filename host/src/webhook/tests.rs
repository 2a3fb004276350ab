use lighthouse_telemetry_core::description::{Description, Source, Watch};
use lighthouse_telemetry_core::time::Time;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::journal::{self, Store};
use crate::server::{self, Limits};

const TOKEN: &str = "a token";

struct Server {
    address: std::net::SocketAddr,
    taken: mpsc::Receiver<Taken>,
    metrics: Metrics,
    stop: CancellationToken,
}

/// Patient: a machine under load must not look like a slow client.
async fn serve(verification: Verification, room: usize) -> Server {
    serve_within(verification, room, Duration::from_secs(60)).await
}

async fn serve_within(verification: Verification, room: usize, patience: Duration) -> Server {
    serve_as(Standing::alone(), verification, room, patience).await
}

async fn serve_as(
    standing: Standing,
    verification: Verification,
    room: usize,
    patience: Duration,
) -> Server {
    serve_with(Journal::off(), standing, verification, room, patience).await
}

async fn serve_with(
    journal: Journal,
    standing: Standing,
    verification: Verification,
    room: usize,
    patience: Duration,
) -> Server {
    let watch = Watch {
        source: Source::Webhooks(vec!["push".to_owned(), "ping".to_owned()]),
        fields: vec!["/Ref".to_owned()],
        attachments: Vec::new(),
        annotations: Vec::new(),
    };
    let description = Description {
        watches: vec![watch],
        ..Description::default()
    };
    let catalog = Catalog::new([("test".to_owned(), description)]).expect("a catalog");
    let (sender, taken) = mpsc::channel(room);
    let metrics = Metrics::default();
    let (_, ready) = watch::channel(true);
    let receiver = Receiver {
        verification,
        catalog: watch::channel(Arc::new(catalog)).1,
        clock: Clock::stepped(Time::from_nanoseconds(7)),
        taken: sender,
        journal,
        ready,
        standing,
        metrics: metrics.clone(),
        body_timeout: patience,
        room: Arc::new(Semaphore::new(3 * BODY_LIMIT / 2)),
        refusals: Refusals::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let limits = Limits {
        headers: patience,
        ..Limits::default()
    };
    tokio::spawn(server::serve(
        listener,
        router(receiver),
        limits,
        stop.clone(),
    ));
    Server {
        address,
        taken,
        metrics,
        stop,
    }
}

async fn signed() -> Server {
    serve(Verification::Key(TOKEN.into()), 8).await
}

impl Server {
    /// Sends a request as it is and gives what comes back before the connection ends.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("an answer in UTF-8")
    }

    async fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut request = format!(
            "POST {PATH} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.raw(&[request.as_bytes(), body].concat()).await
    }

    async fn webhook(&self, kind: &str, body: &[u8]) -> String {
        let signature = sign(&TOKEN.into(), body);
        let headers = [
            (SIGNATURE, signature.as_str()),
            (PAYLOAD_TYPE, "webhook"),
            (KIND, kind),
        ];
        self.post(&headers, body).await
    }
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

fn push() -> Vec<u8> {
    json!({"Ref": "refs/heads/main", "Repo": {"FullName": "acme/shop"}, "GUID": "g-1"})
        .to_string()
        .into_bytes()
}

#[test]
fn signs_as_lighthouse_does() {
    // printf '{}' | openssl dgst -sha256 -hmac key
    assert_eq!(
        sign(&"key".into(), b"{}"),
        "sha256=a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"
    );
}

#[tokio::test]
async fn a_webhook_becomes_a_fact() {
    let mut server = signed().await;
    assert_eq!(code(&server.webhook("push", &push()).await), "202");
    match server.taken.recv().await {
        Some(Taken { webhook, .. }) => {
            assert_eq!(webhook.kind, "push");
            assert_eq!(webhook.guid.as_deref(), Some("g-1"));
            assert_eq!(webhook.received, Time::from_nanoseconds(7));
            assert_eq!(webhook.subject_of.len(), 1);
        }
        other => panic!("{other:?}"),
    }
}

/// A push as another replica forwards it, which has received it at 5.
fn forwarded_push() -> Vec<(String, String)> {
    let record = WebhookRecord {
        kind: "push".to_owned(),
        received: 5,
        body: push().into(),
    };
    let key = Verification::Key(TOKEN.into());
    let headers = forwarded::headers(&key, &record).expect("headers");
    headers
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().expect("text");
            (name.to_string(), value.to_owned())
        })
        .collect()
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn a_webhook_that_another_replica_forwards_was_received_when_it_says() {
    let mut server = signed().await;
    let answer = server.post(&borrowed(&forwarded_push()), &push()).await;
    assert_eq!(code(&answer), "202");
    let taken = server.taken.recv().await.expect("a webhook");
    assert_eq!(taken.webhook.received, Time::from_nanoseconds(5));
    assert_eq!(taken.webhook.guid.as_deref(), Some("g-1"));
}

#[tokio::test]
async fn when_a_webhook_was_received_says_nobody_without_the_key() {
    let mut server = signed().await;
    let mut earlier = forwarded_push();
    let mut unsigned = forwarded_push();
    let mut signed_otherwise = forwarded_push();
    unsigned.retain(|(name, _)| name != forwarded::SIGNATURE_OF_RECEIPT);
    for (name, value) in &mut earlier {
        if name == forwarded::RECEIVED {
            "4".clone_into(value);
        }
    }
    let body_signature = sign(&TOKEN.into(), &push());
    for (name, value) in &mut signed_otherwise {
        if name == forwarded::SIGNATURE_OF_RECEIPT {
            value.clone_from(&body_signature);
        }
    }
    for headers in [earlier, unsigned, signed_otherwise] {
        let answer = server.post(&borrowed(&headers), &push()).await;
        assert_eq!(code(&answer), "401", "{headers:?}");
    }
    assert!(server.taken.try_recv().is_err());
}

#[tokio::test]
async fn a_follower_takes_webhooks_but_none_that_another_replica_forwards() {
    let key = Verification::Key(TOKEN.into());
    let mut server = serve_as(Standing::follower(), key, 8, Duration::from_secs(60)).await;
    let answer = server.post(&borrowed(&forwarded_push()), &push()).await;
    assert_eq!(code(&answer), "503");
    assert!(server.taken.try_recv().is_err());
    assert_eq!(code(&server.webhook("push", &push()).await), "202");
    let taken = server.taken.recv().await.expect("a webhook");
    assert_eq!(taken.webhook.received, Time::from_nanoseconds(7));
    // There is no journal to keep it.
    assert!(taken.unkept.is_some());
}

#[tokio::test]
async fn what_is_wrong_is_told_and_counted() {
    let mut server = signed().await;
    let body = push();
    let good = sign(&TOKEN.into(), &body);
    let wrong = sign(&"another token".into(), &body);
    let sha1 = good.replace("sha256=", "sha1=");
    let short = &good[..good.len() - 2];
    let long = format!("{good}00");
    for (signature, expected) in [
        (wrong.as_str(), "401"),
        (&sha1, "401"),
        (short, "401"),
        (&long, "401"),
        ("sha256=", "401"),
        ("", "401"),
    ] {
        let answer = server
            .post(&[(SIGNATURE, signature), (KIND, "push")], &body)
            .await;
        assert_eq!(code(&answer), expected, "{signature}");
    }
    assert_eq!(code(&server.post(&[(KIND, "push")], &body).await), "401");
    for (kind, body, expected) in [
        ("push", &b"not JSON"[..], "400"),
        ("push", b"[]", "400"),
        ("push", b"null", "400"),
        ("push", b"{\"Repo\": \"acme\"}", "400"),
        ("push", b"{\"Repo\": {}, \"GUID\": 3}", "400"),
        ("push", b"\xff", "400"),
        ("ping", b"{}", "202"),
        ("star", b"{}", "202"),
        ("no-such-kind", b"{}", "202"),
        ("no-such-kind", b"[]", "400"),
    ] {
        let answer = server.webhook(kind, body).await;
        assert_eq!(code(&answer), expected, "{kind} {body:?}");
    }
    let activity = server
        .post(&[(SIGNATURE, &good), (PAYLOAD_TYPE, "activity")], &body)
        .await;
    assert_eq!(code(&activity), "202");
    let without_kind = server.post(&[(SIGNATURE, &good)], &body).await;
    assert_eq!(code(&without_kind), "400");
    assert!(without_kind.contains("X-Lighthouse-Webhook-Kind"));
    // Only the ping was wanted.
    assert!(matches!(server.taken.try_recv(), Ok(taken) if taken.webhook.kind == "ping"));
    assert!(server.taken.try_recv().is_err());
    let counted = format!("{:?}", server.metrics);
    for outcome in [
        "unknown-kind",
        "activity",
        "unused",
        "wrong-signature",
        "unsigned",
        "wrong-shape",
    ] {
        assert!(counted.contains(outcome), "{outcome}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = signed().await;
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let answer = server.raw(get(PATH).as_bytes()).await;
    assert_eq!(code(&answer), "405");
    assert!(answer.contains("allow: POST"), "{answer}");
    assert_eq!(code(&server.raw(get("/elsewhere").as_bytes()).await), "404");
    assert_eq!(code(&server.raw(get("/healthz").as_bytes()).await), "200");
    assert_eq!(code(&server.raw(get("/readyz").as_bytes()).await), "200");
}

#[tokio::test]
async fn a_body_is_limited_whether_its_length_is_announced_or_not() {
    let server = signed().await;
    let signature = format!("{SIGNATURE}: sha256={}\r\n", "0".repeat(64));
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: test\r\n{signature}");
    let announced = format!("{head}content-length: 10000001\r\n\r\n");
    assert_eq!(code(&server.raw(announced.as_bytes()).await), "413");
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    let chunk = [
        format!("{:x}\r\n", 1 << 20).into_bytes(),
        vec![b' '; 1 << 20],
        b"\r\n".to_vec(),
    ]
    .concat();
    for _ in 0..10 {
        chunked.extend(&chunk);
    }
    chunked.extend(b"0\r\n\r\n");
    assert_eq!(code(&server.raw(&chunked).await), "413");
    // Exactly the limit is read, and then the signature is wrong.
    assert_eq!(
        code(
            &server
                .post(
                    &[(SIGNATURE, &format!("sha256={}", "0".repeat(64)))],
                    &vec![b' '; BODY_LIMIT]
                )
                .await
        ),
        "401"
    );
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let impatient = Duration::from_millis(100);
    let server = serve_within(Verification::Key(TOKEN.into()), 8, impatient).await;
    // Neither ends its request; both answers end because the server ends them.
    let headers = server
        .raw(format!("POST {PATH} HTTP/1.1\r\nhost: te").as_bytes())
        .await;
    assert!(matches!(code(&headers), "408" | "no answer"), "{headers}");
    let signature = format!("{SIGNATURE}: sha256={}\r\n", "0".repeat(64));
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: test\r\n{signature}content-length: 100\r\n\r\nstart"
    );
    assert_eq!(code(&server.raw(head.as_bytes()).await), "408");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let mut server = serve(Verification::Key(TOKEN.into()), 1).await;
    assert_eq!(code(&server.webhook("push", &push()).await), "202");
    let answer = server.webhook("push", &push()).await;
    assert_eq!(code(&answer), "503");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert!(server.taken.recv().await.is_some());
    assert_eq!(code(&server.webhook("push", &push()).await), "202");
    server.taken.close();
    assert_eq!(code(&server.webhook("push", &push()).await), "503");
}

#[tokio::test]
async fn of_a_flood_all_that_was_accepted_is_kept_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || Store::open(directory.path(), 1 << 30);
    let settings = journal::Settings {
        directory: directory.path().to_owned(),
        max_size: 1 << 30,
    };
    let journal = Journal::start(settings, open()).expect("a journal");
    let (alone, key) = (Standing::alone(), Verification::Key(TOKEN.into()));
    let patience = Duration::from_secs(60);
    let mut server = serve_with(journal.clone(), alone, key, 8, patience).await;
    let pushes = (0..100).map(|_| async { server.webhook("push", &push()).await });
    let answers = futures::future::join_all(pushes).await;
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| code(answer) == "202");
    assert_eq!((accepted.len(), refused.len()), (8, 92));
    for answer in refused {
        assert_eq!(code(answer), "503");
        assert!(answer.contains("retry-after: 1"), "{answer}");
    }
    let mut taken = Vec::new();
    while let Ok(next) = server.taken.try_recv() {
        taken.extend(next.webhook.number);
    }
    taken.sort_unstable();
    assert_eq!(journal.webhooks().await, taken);
    assert_eq!(taken.len(), 8);
}

#[tokio::test]
async fn bodies_take_so_much_room_together_and_no_more() {
    let server = signed().await;
    let head = |length: usize| {
        let signature = "0".repeat(64);
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{SIGNATURE}: sha256={signature}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    // There is room for one and a half of the largest.
    let mut first = TcpStream::connect(server.address).await.expect("a client");
    let unfinished = vec![b' '; BODY_LIMIT - 1];
    first
        .write_all(head(BODY_LIMIT).as_bytes())
        .await
        .expect("a head");
    first.write_all(&unfinished).await.expect("most of a body");
    let large = [head(BODY_LIMIT).into_bytes(), vec![b' '; BODY_LIMIT]].concat();
    // What was written need not have been read.
    let full = async {
        loop {
            let answer = server.raw(&large).await;
            match code(&answer) {
                "503" => return answer,
                other => assert_eq!(other, "401"),
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), full).await;
    assert!(answer.expect("no limit").contains("retry-after: 1"));
    assert_eq!(code(&server.webhook("push", &push()).await), "202");
    first.write_all(b" ").await.expect("the rest of a body");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, *b"HTTP/1.1 401");
    // It has given its room back.
    let after = async { while code(&server.raw(&large).await) != "401" {} };
    let after = tokio::time::timeout(Duration::from_secs(60), after).await;
    after.expect("no room is given back");
}

#[tokio::test]
async fn without_verification_anybody_is_heard() {
    let server = serve(Verification::None, 8).await;
    assert_eq!(code(&server.post(&[(KIND, "push")], &push()).await), "202");
}

#[tokio::test]
async fn after_the_stop_nobody_listens() {
    let server = signed().await;
    assert_eq!(code(&server.webhook("push", &push()).await), "202");
    server.stop.cancel();
    // The listener is closed by another task.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_sort_of_refusal_is_logged_once_in_a_while() {
    let refusals = Refusals::default();
    assert!(refusals.worth_a_line("unsigned"));
    assert!(!refusals.worth_a_line("unsigned"));
    assert!(refusals.worth_a_line("too-large"));
}
