//! `docs/mappers.md` followed as it is written: its blocks of commands, run one after the other from the same folder.
//!
//! What stands behind `sh` says who runs a block: nothing, this test; `rust` and `javascript`, `tests/guide.sh`, as they compile
//! for minutes; `cluster`, nobody yet, as they take a running plugin. A block of text behind one is what it prints.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GUIDE: &str = include_str!("../../docs/mappers.md");
const MAKEFILE: &str = include_str!("../../Makefile");
const BINARY: &str = env!("CARGO_BIN_EXE_lighthouse-telemetry");

/// A stand-in for kubectl: answers with files, and takes what is applied.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
"get jobs -A -o yaml") cat "$CLUSTER/jobs.yaml" ;;
"get pods,events -n jx -o yaml") cat "$CLUSTER/pods.yaml" ;;
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

/// A block of the guide.
struct Block {
    /// What stands behind its backquotes.
    info: &'static str,
    text: &'static str,
}

fn blocks() -> Vec<Block> {
    let mut rest = GUIDE;
    let mut blocks = Vec::new();
    while let Some((_, block)) = rest.split_once("\n```") {
        let (info, block) = block.split_once('\n').unwrap();
        let (text, after) = block.split_once("```\n").unwrap();
        blocks.push(Block { info, text });
        rest = after;
    }
    blocks
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A folder to work in, and what is on the path there.
struct Desk {
    home: tempfile::TempDir,
    path: std::ffi::OsString,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let tools = home.path().join(".tools");
        fs::create_dir(&tools).unwrap();
        symlink(BINARY, tools.join("lighthouse-telemetry")).unwrap();
        let kubectl = tools.join("kubectl");
        fs::write(&kubectl, KUBECTL).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(tools.join("jobs.yaml"), JOBS).unwrap();
        fs::write(tools.join("pods.yaml"), PODS).unwrap();
        let others = env::var_os("PATH").unwrap();
        let path = [tools].into_iter().chain(env::split_paths(&others));
        Self {
            path: env::join_paths(path).unwrap(),
            home,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, directory: &Path, command: &str) -> Output {
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(directory)
            .env_clear()
            .env("PATH", &self.path)
            .env("CLUSTER", self.file(".tools"))
            .output()
            .unwrap()
    }
}

fn succeeded(output: &Output, what: &str) -> String {
    let said = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}\n{}\n{}", said.0, said.1);
    said.0.to_owned()
}

#[test]
fn each_block_of_commands_does_what_it_shows() {
    let desk = Desk::new();
    let mut run = 0;
    let mut said = None;
    for Block { info, text } in blocks() {
        match info {
            "sh" => {
                if text.contains("replay builds.ndjson") {
                    // What `record` wrote in a block before, which takes a cluster.
                    fs::copy(
                        desk.file("build/recording.yaml"),
                        desk.file("builds.ndjson"),
                    )
                    .unwrap();
                }
                said = Some(succeeded(&desk.run(desk.home.path(), text), text));
                run += 1;
            }
            "sh rust" | "sh javascript" => {
                let class = info.trim_start_matches("sh ");
                let command = format!("tests/guide.sh {class} ");
                assert!(MAKEFILE.contains(&command), "{command}");
            }
            // Nobody runs these yet.
            "sh cluster" => {}
            "text" => assert_eq!(said.take().as_deref(), Some(text)),
            "yaml" if text.contains("kind: Job\n") && text.contains("version: ") => {
                fs::write(desk.file("job.mapper.yaml"), text).unwrap();
            }
            "" | "yaml" | "toml" | "rust" => {}
            other => panic!("who runs a block of '{other}'? {text}"),
        }
    }
    assert!(run >= 4, "{run}");
    assert!(
        fs::read_to_string(desk.file("builds.snap"))
            .unwrap()
            .contains("service: Build")
    );
}

#[test]
fn a_new_text_passes_its_test_until_it_says_something_else() {
    let desk = Desk::new();
    for (name, kind) in [
        ("shop-build", "example.com/v1/Build"),
        ("config-map-2", "v1/ConfigMap"),
    ] {
        let new = format!("lighthouse-telemetry mapper new {name} --lang yaml --kind {kind}");
        succeeded(&desk.run(desk.home.path(), &new), kind);
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
            succeeded(&desk.run(&folder, command), kind);
        }
        let test = desk.run(&folder, "make test");
        assert!(!succeeded(&test, kind).contains("diagnostics"), "{test:?}");

        let file = folder.join(format!("{name}.mapper.yaml"));
        let mapper = fs::read_to_string(&file).unwrap();
        fs::write(&file, mapper.replace("name: queue", "name: waiting")).unwrap();
        let test = desk.run(&folder, "make test");
        assert!(!test.status.success(), "{test:?}");
        assert!(
            text(&test.stdout).contains("+    - name: waiting"),
            "{test:?}"
        );
        succeeded(&desk.run(&folder, "make update && make test"), kind);
    }
}
