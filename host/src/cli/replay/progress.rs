//! What people see while a recording is replayed: on a terminal one line that changes, elsewhere a line for each milestone.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

use crate::receiver::Receiver;
use crate::recording::{Entry, Happening, Recording};

/// How often the line on a terminal changes.
const FRAME: Duration = Duration::from_millis(40);

/// Shows the progress on standard error, so that the output can be redirected without it.
#[derive(Debug)]
pub(super) struct Display {
    first: Time,
    last: Time,
    receiver: Receiver,
    terminal: bool,
    changes: u64,
    milestone: String,
    waiting: bool,
    drawn: Option<Instant>,
}

impl Display {
    /// `what` is replayed, so many times as fast as it happened or as fast as it goes.
    pub(super) fn start(
        what: &str,
        recording: &Recording,
        speed: Option<f64>,
        receiver: Receiver,
    ) -> Self {
        let (first, last) = recording.span().unwrap_or_default();
        let display = Self {
            first,
            last,
            receiver,
            terminal: io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            changes: 0,
            milestone: String::new(),
            waiting: false,
            drawn: None,
        };
        let speed = speed.map_or_else(
            || "as fast as it goes".to_owned(),
            |speed| format!("{speed} times as fast as it happened"),
        );
        display.print(&format!(
            "Replaying {} of {what}, {speed}\n",
            clock(last.since(first))
        ));
        display
    }

    /// An entry has happened.
    pub(super) fn show(&mut self, entry: &Entry) {
        self.changes += 1;
        let milestone = milestone(&entry.happening);
        let reached = milestone.is_some();
        if let Some(milestone) = milestone {
            self.milestone = milestone;
        }
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME);
        if reached || (self.terminal && is_due) {
            self.line(entry.at);
        }
    }

    /// Everything has happened; the spans are on their way.
    pub(super) fn wait(&mut self, now: Time) {
        let first = !std::mem::replace(&mut self.waiting, true);
        if first {
            "waiting for late Events, then exporting".clone_into(&mut self.milestone);
        }
        if first {
            self.line(now.max(self.last));
        }
    }

    /// The trace is there, or will never be.
    pub(super) fn finish(&self) {
        if self.terminal {
            self.print("\r\x1b[2K");
        }
    }

    fn line(&mut self, at: Time) {
        self.drawn = Some(Instant::now());
        let spans = self.receiver.count();
        let text = format!(
            "{} of {}  {:>3} changes  {spans:>3} spans  {}",
            clock(at.since(self.first)),
            clock(self.last.since(self.first)),
            self.changes,
            self.milestone,
        );
        if self.terminal {
            // Cut to a narrow terminal's width: a line that wraps cannot be taken back.
            let text: String = text.chars().take(78).collect();
            self.print(&format!("\r\x1b[2K{text}"));
        } else {
            self.print(&format!("{text}\n"));
        }
    }

    fn print(&self, text: &str) {
        let mut error = io::stderr().lock();
        // Progress that nobody can see is no reason to stop.
        let _ = error
            .write_all(text.as_bytes())
            .and_then(|()| error.flush());
    }
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What is worth a line: a webhook, and what begins or ends a job, a pipeline or a task.
fn milestone(happening: &Happening) -> Option<String> {
    let object = match happening {
        Happening::Webhook(webhook) => return Some(format!("webhook {}", webhook.kind)),
        Happening::Deleted(object) => {
            return (object["kind"] == "Pod").then(|| format!("Pod {} deleted", named(object)));
        }
        Happening::Applied(object) => object,
    };
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind")?;
    let state = match kind {
        "LighthouseJob" => match text("/status/state") {
            None => "created",
            Some(state @ ("success" | "failure" | "aborted" | "error")) => state,
            Some(_) => return None,
        },
        "PipelineRun" | "TaskRun" => match object.pointer("/status/conditions/0/reason") {
            None => "created",
            Some(_) if text("/status/completionTime").is_some() => {
                text("/status/conditions/0/reason")?
            }
            Some(_) => return None,
        },
        _ => return None,
    };
    Some(format!("{kind} {} {}", named(object), state.to_lowercase()))
}

/// Short, where the object has a short name.
fn named(object: &Value) -> &str {
    let short = [
        "/metadata/labels/tekton.dev~1pipelineTask",
        "/spec/job",
        "/metadata/labels/lighthouse.jenkins-x.io~1job",
        "/metadata/name",
    ];
    let mut found = short
        .iter()
        .filter_map(|pointer| object.pointer(pointer)?.as_str());
    found.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_milestones_of_the_recorded_pull_request() {
        let recording = Recording::pull_request().unwrap();
        let milestones: Vec<_> = recording
            .entries()
            .iter()
            .filter_map(|entry| milestone(&entry.happening))
            .collect();
        assert_eq!(
            milestones[..3],
            [
                "LighthouseJob pr created",
                "webhook pull_request",
                "LighthouseJob checks created"
            ]
        );
        assert!(milestones.contains(&"TaskRun unit-tests failed".to_owned()));
        assert_eq!(milestones.last().unwrap(), "LighthouseJob pr success");
        assert!(milestones.len() < 40, "{milestones:#?}");
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_secs(277)), "4:37");
    }
}
