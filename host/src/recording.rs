//! Recorded facts: webhooks and objects as they came, in order of time.
//!
//! A recording is NDJSON, one entry a line, or a YAML list of the same entries:
//!
//! ```text
//! {"at": "2026-03-02T09:15:00.120Z", "webhook": {"kind": "pull_request", "body": {…}}}
//! {"at": …, "apply": {whole object}}
//! {"at": …, "merge": {part of an object with apiVersion, kind, metadata.name and metadata.namespace}}
//! {"at": …, "delete": {apiVersion, kind, metadata}}
//! ```
//!
//! `merge` is a JSON merge patch (RFC 7396) onto the last state of its object, or the object itself if there is
//! none, so that a recording need not repeat a Pod for each of its phases. Reading resolves it: what comes out
//! are whole objects only. Nothing is made up: an object without `metadata.uid` is refused.

mod tape;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use lighthouse_telemetry_core::catalog::group_version;
use lighthouse_telemetry_core::time::Time;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

pub use self::tape::{Tape, identity};

/// Webhooks and objects in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    entries: Vec<Entry>,
}

/// Something that happened at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// What.
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// Lighthouse forwarded a webhook.
    Webhook(Webhook),
    /// An object came to be, or to be like this. It is whole.
    Applied(Value),
    /// An object was deleted; this was its last state.
    Deleted(Value),
}

/// A webhook as Lighthouse forwards it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Lighthouse's kind, header `X-Lighthouse-Webhook-Kind`: `push`, `pull_request`, …
    pub kind: String,
    /// The body: go-scm's struct.
    pub body: Value,
}

/// A recording that cannot be read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not JSON, not YAML, or not an entry.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line, from 1; 0 if unknown.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// The entry can be read, but not used.
    #[error("line {line}: {source}")]
    Entry {
        /// Line on which the entry starts, from 1.
        line: u64,
        /// What is wrong.
        source: EntryError,
    },
}

/// An entry that makes no sense.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// None or several of the four.
    #[error("an entry has exactly one of 'webhook', 'apply', 'merge' and 'delete'")]
    NotOne,
    /// An object without something that each object has.
    #[error("the object has no {0}; each entry names its object, and the first gives its uid")]
    Missing(&'static str),
    /// There is no such object at that time.
    #[error("{0} is deleted, but does not exist at that time")]
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: Time,
    webhook: Option<Webhook>,
    apply: Option<Value>,
    merge: Option<Value>,
    delete: Option<Value>,
}

enum Step {
    Webhook(Webhook),
    Apply(Value),
    Merge(Value),
    Delete(Value),
}

/// Group, kind, namespace and name: one object at a time has them.
type Key = (String, String, String, String);

impl Recording {
    /// A pull request with two pipelines, one of which fails: what the demo shows.
    ///
    /// # Errors
    /// Never, unless the recording that comes with the program was broken.
    pub fn pull_request() -> Result<Self, RecordingError> {
        Self::parse(include_str!("../recordings/pull-request.ndjson"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If there is no such file, or it is no recording.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let text = std::fs::read_to_string(path).map_err(|source| RecordingError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Reads NDJSON, or a YAML list; the first character tells which.
    ///
    /// # Errors
    /// If it is neither, or an entry makes no sense; the message names the line.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut written = if text.trim_start().starts_with('{') {
            lines(text)?
        } else {
            list(text)?
        };
        written.sort_by_key(|(_, at, _)| *at);
        let mut objects = HashMap::new();
        let mut entries = Vec::with_capacity(written.len());
        for (line, at, step) in written {
            let happening = resolve(&mut objects, step)
                .map_err(|source| RecordingError::Entry { line, source })?;
            entries.push(Entry { at, happening });
        }
        Ok(Self { entries })
    }

    /// What happened, in order of time; what happened at the same time, in the order written.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Time of the first entry and of the last; none if there is no entry.
    #[must_use]
    pub fn span(&self) -> Option<(Time, Time)> {
        Some((self.entries.first()?.at, self.entries.last()?.at))
    }
}

fn lines(text: &str) -> Result<Vec<(u64, Time, Step)>, RecordingError> {
    let numbered = (1..).zip(text.lines());
    numbered
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(line, text)| {
            let written = serde_json::from_str(text).map_err(|error| RecordingError::Syntax {
                line,
                message: error.to_string(),
            })?;
            step(line, written)
        })
        .collect()
}

fn list(text: &str) -> Result<Vec<(u64, Time, Step)>, RecordingError> {
    let written: Vec<serde_saphyr::Spanned<Written>> =
        serde_saphyr::from_str(text).map_err(|error| RecordingError::Syntax {
            line: error.location().map_or(0, |location| location.line()),
            message: error.without_snippet().to_string(),
        })?;
    let steps = written.into_iter();
    steps
        .map(|spanned| step(spanned.referenced.line(), spanned.value))
        .collect()
}

fn step(line: u64, written: Written) -> Result<(u64, Time, Step), RecordingError> {
    let steps = [
        written.webhook.map(Step::Webhook),
        written.apply.map(Step::Apply),
        written.merge.map(Step::Merge),
        written.delete.map(Step::Delete),
    ];
    let mut steps = steps.into_iter().flatten();
    match (steps.next(), steps.next()) {
        (Some(step), None) => Ok((line, written.at, step)),
        _ => Err(RecordingError::Entry {
            line,
            source: EntryError::NotOne,
        }),
    }
}

fn resolve(objects: &mut HashMap<Key, Value>, step: Step) -> Result<Happening, EntryError> {
    match step {
        Step::Webhook(webhook) => Ok(Happening::Webhook(webhook)),
        Step::Apply(object) => keep(objects, key(&object)?, object),
        Step::Merge(part) => {
            let key = key(&part)?;
            let mut object = objects.get(&key).cloned().unwrap_or(Value::Null);
            json_patch::merge(&mut object, &part);
            keep(objects, key, object)
        }
        Step::Delete(named) => {
            let key = key(&named)?;
            match objects.remove(&key) {
                Some(object) => Ok(Happening::Deleted(object)),
                None => Err(EntryError::Unknown(format!(
                    "{} {}/{}",
                    key.1, key.2, key.3
                ))),
            }
        }
    }
}

fn keep(
    objects: &mut HashMap<Key, Value>,
    key: Key,
    object: Value,
) -> Result<Happening, EntryError> {
    need(&object, "/metadata/uid")?;
    objects.insert(key, object.clone());
    Ok(Happening::Applied(object))
}

fn key(object: &Value) -> Result<Key, EntryError> {
    let (group, _) = group_version(need(object, "/apiVersion")?);
    let namespace = object.pointer("/metadata/namespace");
    Ok((
        group.to_owned(),
        need(object, "/kind")?.to_owned(),
        namespace
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        need(object, "/metadata/name")?.to_owned(),
    ))
}

fn need<'object>(
    object: &'object Value,
    pointer: &'static str,
) -> Result<&'object str, EntryError> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
        .ok_or(EntryError::Missing(pointer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NDJSON: &str = r#"
{"at": "2026-03-02T09:00:02Z", "merge": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "jx"}, "status": {"phase": "Running"}}}
{"at": "2026-03-02T09:00:01Z", "apply": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "jx", "uid": "u"}, "status": {"phase": "Pending", "reason": "x"}}}

{"at": "2026-03-02T09:00:00.5Z", "webhook": {"kind": "push", "body": {"GUID": "g"}}}
{"at": "2026-03-02T09:00:03Z", "delete": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "jx"}}}
"#;

    const YAML: &str = "
- at: 2026-03-02T09:00:02Z
  merge:
    apiVersion: v1
    kind: Pod
    metadata: {name: a, namespace: jx}
    status: {phase: Running}
- at: 2026-03-02T09:00:01Z
  apply:
    apiVersion: v1
    kind: Pod
    metadata: {name: a, namespace: jx, uid: u}
    status: {phase: Pending, reason: x}
- at: 2026-03-02T09:00:00.5Z
  webhook: {kind: push, body: {GUID: g}}
- at: 2026-03-02T09:00:03Z
  delete:
    apiVersion: v1
    kind: Pod
    metadata: {name: a, namespace: jx}
";

    fn pod(phase: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "jx", "uid": "u"},
               "status": {"phase": phase, "reason": "x"}})
    }

    #[test]
    fn entries_are_ordered_and_merges_resolved() {
        let recording = Recording::parse(NDJSON).unwrap();
        let happenings: Vec<_> = recording
            .entries()
            .iter()
            .map(|entry| &entry.happening)
            .collect();
        assert_eq!(
            happenings,
            [
                &Happening::Webhook(Webhook {
                    kind: "push".into(),
                    body: json!({"GUID": "g"})
                }),
                &Happening::Applied(pod("Pending")),
                &Happening::Applied(pod("Running")),
                &Happening::Deleted(pod("Running")),
            ]
        );
        let (first, last) = recording.span().unwrap();
        assert_eq!(first.to_string(), "2026-03-02T09:00:00.5Z");
        assert_eq!(last.to_string(), "2026-03-02T09:00:03Z");
    }

    #[test]
    fn yaml_says_the_same_as_ndjson() {
        assert_eq!(
            Recording::parse(YAML).unwrap(),
            Recording::parse(NDJSON).unwrap()
        );
    }

    #[test]
    fn a_merge_without_an_earlier_state_is_the_object_and_null_removes() {
        let text = r#"{"at": "2026-03-02T09:00:00Z", "merge": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"}, "status": {"phase": "Running", "reason": null}}}
{"at": "2026-03-02T09:00:01Z", "merge": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": null}}"#;
        let recording = Recording::parse(text).unwrap();
        let metadata = json!({"name": "a", "uid": "u"});
        assert_eq!(
            recording.entries()[0].happening,
            Happening::Applied(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}})
            )
        );
        assert_eq!(
            recording.entries()[1].happening,
            Happening::Applied(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
        );
    }

    fn message(text: &str) -> String {
        Recording::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_line() {
        let at = r#""at": "2026-03-02T09:00:00Z""#;
        let broken =
            format!("{{{at}, \"webhook\": {{\"kind\": \"push\", \"body\": {{}}}}}}\n\n{{{at}");
        assert!(
            message(&broken).starts_with("line 3: "),
            "{}",
            message(&broken)
        );
        assert_eq!(
            message(&format!("{{{at}}}")),
            "line 1: an entry has exactly one of 'webhook', 'apply', 'merge' and 'delete'"
        );
        assert!(message(r#"{"at": "yesterday"}"#).contains("'yesterday' is not an RFC 3339 time"));
        let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}"#;
        assert!(message(&format!("{{{at}, \"apply\": {pod}}}")).contains("has no /metadata/uid"));
        assert_eq!(
            message(&format!("{{{at}, \"delete\": {pod}}}")),
            "line 1: Pod /a is deleted, but does not exist at that time"
        );
        assert!(message(&format!("{{{at}, \"aply\": {pod}}}")).contains("unknown field `aply`"));
    }

    #[test]
    fn errors_name_the_line_in_yaml_too() {
        let text = "- at: 2026-03-02T09:00:00Z\n  webhook: {kind: push, body: {}}\n- at: 2026-03-02T09:00:00Z\n";
        assert!(
            message(text).starts_with("line 3: an entry has"),
            "{}",
            message(text)
        );
        let text = "- at: 2026-03-02T09:00:00Z\n  webhook: [\n";
        assert!(!message(text).starts_with("line 0"), "{}", message(text));
    }

    #[test]
    fn the_recorded_pull_request_begins_with_a_job_and_lasts_some_minutes() {
        let recording = Recording::pull_request().unwrap();
        assert!(
            matches!(&recording.entries()[0].happening, Happening::Applied(job) if job["kind"] == "LighthouseJob")
        );
        let (first, last) = recording.span().unwrap();
        assert!((240..360).contains(&last.since(first).as_secs()));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Recording::read(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read no/such/file: "));
    }
}
