//! The demo as people run it: the program, without a cluster, and the trace it prints.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lighthouse-telemetry"))
        .arg("demo")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A trace as it is printed by `--json`.
struct Trace {
    spans: Vec<Value>,
    children: HashMap<String, Vec<usize>>,
}

impl Trace {
    fn of(output: &Value) -> Self {
        let traces = output["traces"].as_array().unwrap();
        assert_eq!(traces.len(), 1, "one event makes one trace");
        let spans = traces[0]["spans"].as_array().unwrap().clone();
        let mut children = HashMap::<String, Vec<usize>>::new();
        for (place, span) in spans.iter().enumerate() {
            let parent = span["parent_span_id"].as_str().unwrap_or_default();
            children.entry(parent.to_owned()).or_default().push(place);
        }
        Self { spans, children }
    }

    fn root(&self) -> &Value {
        let roots = &self.children[""];
        assert_eq!(roots.len(), 1, "a trace has one root");
        &self.spans[roots[0]]
    }

    fn below(&self, span: &Value, service: &str) -> Vec<&Value> {
        let id = span["span_id"].as_str().unwrap();
        let places = self.children.get(id).into_iter().flatten();
        places
            .map(|place| &self.spans[*place])
            .filter(|child| child["service"] == service)
            .collect()
    }

    fn names_below(&self, span: &Value) -> Vec<&str> {
        let service = span["service"].as_str().unwrap();
        self.below(span, service).into_iter().map(name).collect()
    }
}

fn name(span: &Value) -> &str {
    span["name"].as_str().unwrap()
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}

#[test]
fn the_whole_tree_is_there() {
    let output = demo(&["--json", "--speed", "600"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let trace = Trace::of(&printed);
    let event = trace.root();
    assert_eq!(name(event), "LighthouseEvent");
    assert_eq!(event["failed"], true, "a job failed, so the event did");
    assert!(
        (150..250).contains(&trace.spans.len()),
        "{}",
        trace.spans.len()
    );

    let jobs = trace.below(event, "LighthouseJob");
    assert_eq!(
        sorted(jobs.iter().copied().map(name).collect()),
        ["checks", "pr"]
    );
    for job in jobs {
        let failed = name(job) == "checks";
        assert_eq!(job["failed"], failed);
        let runs = trace.below(job, "Tekton.PipelineRun");
        assert_eq!(runs.len(), 1);
        let expected: &[(&str, &[&str])] = if failed {
            &[
                ("lint", &["git-clone", "install", "lint"]),
                (
                    "unit-tests",
                    &["git-clone", "install", "seed-database", "unit-tests"],
                ),
            ]
        } else {
            &[
                (
                    "build",
                    &["git-clone", "git-merge", "install", "compile", "package"],
                ),
                ("image", &["context", "build-image", "push-image"]),
                ("preview", &["template", "deploy", "smoke-test"]),
            ]
        };
        let tasks = trace.below(runs[0], "Tekton.TaskRun");
        let names: Vec<_> = tasks.iter().copied().map(name).collect();
        assert_eq!(
            names,
            expected.iter().map(|(task, _)| *task).collect::<Vec<_>>()
        );
        for (task, (_, steps)) in tasks.into_iter().zip(expected) {
            let below = trace.names_below(task);
            for step in *steps {
                assert!(below.contains(step), "{step} of {}: {below:?}", name(task));
            }
            let pods = trace.below(task, "Pod");
            assert_eq!(pods.len(), 1, "{}", name(task));
            let phases = trace.names_below(pods[0]);
            assert!(phases.contains(&"schedule"), "{phases:?}");
            assert!(
                phases.iter().any(|phase| phase.starts_with("pull step-")),
                "{phases:?}"
            );
            for step in *steps {
                for phase in ["create", "start", "run"] {
                    assert!(
                        phases.contains(&format!("{phase} step-{step}").as_str()),
                        "{phases:?}"
                    );
                }
            }
        }
        let activities = trace.below(job, "PipelineActivity");
        assert_eq!(activities.len(), 1);
        let stages = trace.below(activities[0], "PipelineActivity");
        assert_eq!(
            stages
                .iter()
                .copied()
                .map(name)
                .map(|stage| stage.replace(' ', "-"))
                .collect::<Vec<_>>(),
            expected.iter().map(|(task, _)| *task).collect::<Vec<_>>()
        );
        for (stage, (_, steps)) in stages.into_iter().zip(expected) {
            assert_eq!(
                trace.names_below(stage).len(),
                steps.len(),
                "{}",
                name(stage)
            );
        }
    }
}

#[test]
fn the_same_recording_gives_the_same_trace_at_any_speed() {
    let slow = demo(&["--json", "--speed", "300"]);
    let fast = demo(&["--json", "--speed", "3000"]);
    assert!(slow.status.success(), "{}", text(&slow.stderr));
    assert!(fast.status.success(), "{}", text(&fast.stderr));
    let parsed = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(parsed(&slow), parsed(&fast));
}

#[test]
fn without_a_terminal_there_is_plain_text_and_a_line_for_each_milestone() {
    let output = demo(&["--speed", "600"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tree = text(&output.stdout);
    assert!(!tree.contains('\u{1b}') && !text(&output.stderr).contains('\u{1b}'));
    assert!(
        tree.contains("LighthouseEvent") && tree.contains("unit-tests"),
        "{tree}"
    );
    assert!(tree.contains("Next: "), "{tree}");
    let progress = text(&output.stderr);
    assert!(progress.contains("TaskRun unit-tests failed"), "{progress}");
    assert!(progress.lines().count() < 40, "{progress}");
}

#[test]
fn a_backend_that_is_not_there_is_said_and_the_trace_is_shown_all_the_same() {
    // Nothing listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{gone}");
    let output = demo(&["--speed", "3000", "--otlp", &endpoint]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("LighthouseEvent"));
    let error = text(&output.stderr).lines().last().unwrap().to_owned();
    assert!(error.contains(&endpoint), "{error}");
}

#[test]
fn a_recording_that_cannot_be_used_is_said_in_one_line() {
    let output = demo(&["--recording", "no/such/file"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr).lines().count(),
        1,
        "{}",
        text(&output.stderr)
    );
    assert_eq!(demo(&["--speed", "0"]).status.code(), Some(2));
}
