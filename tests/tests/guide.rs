//! `docs/mappers.md` followed as it is written, as far as it takes neither a cluster nor a compiler; and a mapper that it makes.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;

use lighthouse_telemetry_tests::guide::{Block, Desk, blocks};
use lighthouse_telemetry_tests::process;

const MAKEFILE: &str = include_str!("../../Makefile");

/// Built once for all tests.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| process::build("dev").unwrap());

/// A stand-in for kubectl: answers with files.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
"get jobs -A -o yaml") cat "$HOME/.tools/jobs.yaml" ;;
"get pods,events -n jx -o yaml") cat "$HOME/.tools/pods.yaml" ;;
*) echo "kubectl is not told what to answer to: $*" >&2; exit 1 ;;
esac
"#;

const JOBS: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: Job
  metadata: {name: migrate, namespace: jx, uid: u, creationTimestamp: "2026-01-01T00:00:00Z"}
  status:
    startTime: "2026-01-01T00:00:02Z"
    conditions:
    - {type: Failed, status: "True", reason: BackoffLimitExceeded, lastTransitionTime: "2026-01-01T00:01:00Z"}
"#;

const PODS: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: shop, namespace: jx, uid: p, creationTimestamp: "2026-01-01T00:00:00Z"}
  status: {phase: Running, startTime: "2026-01-01T00:00:01Z"}
"#;

fn desk() -> Desk {
    let plugin = format!("#!/bin/sh\nexec '{}' \"$@\"\n", BINARY.display());
    let desk = Desk::new(&[("kubectl", KUBECTL), ("lighthouse-telemetry", &plugin)]).unwrap();
    fs::write(desk.file(".tools/jobs.yaml"), JOBS).unwrap();
    fs::write(desk.file(".tools/pods.yaml"), PODS).unwrap();
    desk
}

fn run(desk: &Desk, folder: &Path, commands: &str) -> Output {
    desk.command(folder, commands).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn succeeded(output: &Output, what: &str) -> String {
    let said = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}\n{}\n{}", said.0, said.1);
    said.0.to_owned()
}

#[test]
fn each_block_of_commands_does_what_it_shows() {
    let desk = desk();
    let mut run = 0;
    let mut said = None;
    for block in blocks().unwrap() {
        let Block { info, text } = block;
        match info {
            "sh" => {
                if text.contains("replay builds.ndjson") {
                    // What `record` wrote in a block before, which takes a cluster.
                    let recording = desk.file("build/recording.yaml");
                    fs::copy(recording, desk.file("builds.ndjson")).unwrap();
                }
                said = Some(succeeded(&desk.block(&block).output().unwrap(), text));
                run += 1;
            }
            "sh rust" | "sh javascript" => {
                let class = info.trim_start_matches("sh ");
                let command = format!("tests/guide.sh {class} ");
                assert!(MAKEFILE.contains(&command), "{command}");
            }
            // These are run where there is one.
            "sh cluster" => {}
            "text" => assert_eq!(said.take().as_deref(), Some(text)),
            "" | "yaml" | "toml" | "rust" => desk.write_mapper(&block).unwrap(),
            other => panic!("who runs a block of '{other}'? {text}"),
        }
    }
    assert!(run >= 4, "{run}");
    let snapshot = fs::read_to_string(desk.file("builds.snap")).unwrap();
    assert!(snapshot.contains("service: Build"), "{snapshot}");
}

#[test]
fn a_new_text_passes_its_test_until_it_says_something_else() {
    let desk = desk();
    for (name, kind) in [
        ("shop-build", "example.com/v1/Build"),
        ("config-map-2", "v1/ConfigMap"),
    ] {
        let new = format!("lighthouse-telemetry mapper new {name} --lang yaml --kind {kind}");
        succeeded(&run(&desk, &desk.file("."), &new), kind);
        let folder = desk.file(name);
        // The commands of its README, but for those that take a cluster.
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let commands: Vec<&str> = readme
            .lines()
            .filter(|line| line.starts_with("lighthouse-telemetry "))
            .filter(|line| {
                !["kubectl", "cluster.yaml", " record ", "recorded."]
                    .iter()
                    .any(|it| line.contains(it))
            })
            .collect();
        assert_eq!(commands.len(), 3, "{commands:?}");
        for command in commands {
            succeeded(&run(&desk, &folder, command), kind);
        }
        let test = run(&desk, &folder, "make test");
        assert!(!succeeded(&test, kind).contains("diagnostics"), "{test:?}");

        let file = folder.join(format!("{name}.mapper.yaml"));
        let mapper = fs::read_to_string(&file).unwrap();
        fs::write(&file, mapper.replace("name: queue", "name: waiting")).unwrap();
        let test = run(&desk, &folder, "make test");
        assert!(!test.status.success(), "{test:?}");
        assert!(
            text(&test.stdout).contains("+    - name: waiting"),
            "{test:?}"
        );
        succeeded(&run(&desk, &folder, "make update && make test"), kind);
    }
}
