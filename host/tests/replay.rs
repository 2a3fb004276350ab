//! What is recorded in a cluster and what is replayed of it, by the program as people run it.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../../tests/src/wait.rs"]
mod wait;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lighthouse_telemetry::embedded::{Resource, Server};
use lighthouse_telemetry::recording::{Happening, Recording};
use serde_json::{Value, json};

/// Long enough that only a test that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lighthouse-telemetry"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn recording() -> String {
    format!(
        "{}/recordings/pull-request.ndjson",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn a_replay_shows_what_the_demo_shows_and_tells_what_differs() {
    let recording = recording();
    let replayed = run(&["replay", "--json", &recording]);
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));
    let demo = run(&["demo", "--json", "--speed", "100000"]);
    assert!(demo.status.success(), "{}", text(&demo.stderr));
    let parsed = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(parsed(&replayed), parsed(&demo));

    let directory = tempfile::tempdir().unwrap();
    let snapshot = directory.path().join("pull-request.snap");
    let snapshot = snapshot.to_str().unwrap();
    let compare = ["replay", &recording, "--compare", snapshot];
    let missing = run(&compare);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("--update writes it"));
    let updated = run(&[&compare[..], &["--update"]].concat());
    assert!(updated.status.success(), "{}", text(&updated.stderr));
    let same = run(&compare);
    assert!(same.status.success(), "{}", text(&same.stdout));
    assert!(same.stdout.is_empty(), "{}", text(&same.stdout));

    let written = fs::read_to_string(snapshot).unwrap();
    let other = written.replacen("- name: unit-tests", "- name: old-name", 1);
    assert_ne!(other, written);
    fs::write(snapshot, other).unwrap();
    let differs = run(&compare);
    assert_eq!(differs.status.code(), Some(1));
    let difference = text(&differs.stdout);
    for line in [
        "-    - name: old-name",
        "+    - name: unit-tests",
        "+++ replayed",
    ] {
        assert!(difference.contains(line), "{difference}");
    }
    assert!(difference.lines().count() < 30, "{difference}");
    assert!(text(&differs.stderr).contains("--update"));
}

/// A recorder at work; killed if the test ends before it does.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    /// Interrupts it as Ctrl-C does.
    fn interrupt(mut self) -> Output {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        let status = self.0.wait().unwrap();
        let mut stderr = Vec::new();
        std::io::Read::read_to_end(&mut self.0.stderr.take().unwrap(), &mut stderr).unwrap();
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        }
    }
}

async fn until_written(path: &Path, what: &str) {
    let written = async || {
        let written = fs::read_to_string(path);
        Ok(written.is_ok_and(|written| written.contains(what)))
    };
    let arrived = wait::until(PATIENCE, written).await;
    assert!(arrived.is_ok(), "{what} is not written: {arrived:?}");
}

fn pod(phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "a", "namespace": "jx", "uid": "uid-a",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hidden-1"},
        },
        "spec": {"containers": [{
            "name": "main", "image": "shop", "command": ["clone", "https://bot:hidden-2@example.com/shop.git"],
            "env": [{"name": "GREETING", "value": "hidden-3"}],
        }]},
        "status": {"phase": phase},
    })
}

fn build(name: &str, namespace: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Build", "metadata": {"name": name, "namespace": namespace, "uid": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_recorded_without_secrets_until_it_is_interrupted() {
    let mut kinds = Resource::of_jenkins_x();
    kinds.push(Resource::namespaced("example.com", &["v1"], "Build"));
    let server = Server::start_with(kinds).await.unwrap();
    server.apply(pod("Pending")).unwrap();
    server.apply(build("elsewhere", "default")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": server.url()}}],
        "users": [{"name": "a", "user": {}}],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let output = directory.path().join("recorded.ndjson");
    let arguments = [
        "record",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--kind",
        "example.com/v1/Build",
        "--output",
        output.to_str().unwrap(),
    ];
    let mut recorder = command(&arguments);
    let recorder = Recorder(recorder.stderr(Stdio::piped()).spawn().unwrap());
    until_written(&output, "Pending").await;
    server.apply(pod("Running")).unwrap();
    server.apply(build("here", "jx")).unwrap();
    until_written(&output, "Running").await;
    server.delete(&pod("Running")).unwrap();
    until_written(&output, "\"delete\"").await;
    until_written(&output, "here").await;
    let ended = recorder.interrupt();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("webhooks are not in it"));
    assert!(
        text(&ended.stderr).contains("1 objects, "),
        "{}",
        text(&ended.stderr)
    );

    let written = fs::read_to_string(&output).unwrap();
    assert!(!written.contains("hidden"), "{written}");
    assert_eq!(
        fs::metadata(&output).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let recording = Recording::parse(&written).unwrap();
    let entries = recording.entries().iter();
    let mut happened: Vec<String> = entries
        .map(|entry| match &entry.happening {
            Happening::Applied(object) => {
                format!(
                    "{} {}",
                    object["metadata"]["name"], object["status"]["phase"]
                )
            }
            Happening::Deleted(object) => format!("{} is gone", object["metadata"]["name"]),
            Happening::Webhook(_) => panic!("no webhook was recorded"),
        })
        .collect();
    let build = happened.iter().position(|entry| entry == "\"here\" null");
    happened.remove(build.unwrap());
    assert_eq!(
        happened,
        ["\"a\" \"Pending\"", "\"a\" \"Running\"", "\"a\" is gone"]
    );

    // It can be replayed, and is not written over.
    let replayed = run(&["replay", output.to_str().unwrap()]);
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));
    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("cannot create"),
        "{}",
        text(&again.stderr)
    );
}
