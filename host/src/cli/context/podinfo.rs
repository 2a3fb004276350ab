//! What a Pod knows of itself by the downward API.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

use super::{Arguments, given};

/// Where a volume of the downward API is looked for.
const DIRECTORY: &str = "/etc/podinfo";

/// Labels, annotations and uid of a Pod.
#[derive(Debug, Default)]
pub struct Podinfo {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    uid: Option<String>,
}

impl Podinfo {
    /// Reads what there is in the directory, and takes what was given in its place.
    pub fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        let directory = arguments.podinfo.as_deref();
        let directory = directory.filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = directory {
            std::fs::read_dir(path).with_context(|| {
                format!(
                    "cannot read {}: give --podinfo the path where the volume of the downward API is mounted",
                    path.display()
                )
            })?;
        }
        let directory = directory.unwrap_or(Path::new(DIRECTORY));
        let file = |name: &str| contents(&directory.join(name));
        let mut podinfo = Self {
            labels: pairs(&file("labels")?),
            annotations: pairs(&file("annotations")?),
            uid: Some(file("uid")?.trim().to_owned()),
        };
        podinfo.labels.extend(arguments.label.iter().cloned());
        podinfo
            .annotations
            .extend(arguments.annotation.iter().cloned());
        if let Some(uid) = given(arguments.pod_uid.as_ref()) {
            podinfo.uid = Some(uid.to_owned());
        }
        Ok(podinfo)
    }

    /// The value of a label, even if it is empty.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// The value of a label that says something.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.label(key).filter(|value| !value.is_empty())
    }

    /// The value of an annotation that says something.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        given(self.annotations.get(key))
    }

    /// The Pod's uid.
    pub fn uid(&self) -> Option<&str> {
        given(self.uid.as_ref())
    }
}

/// What is in a file; nothing if there is none.
fn contents(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Labels or annotations as the kubelet writes them: a line each, `key="value"`, quoted as Go does it. What is quoted in a way that
/// JSON does not know is none of the values that are read here.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| {
        let (key, quoted) = line.split_once('=')?;
        let value = serde_json::from_str(quoted).ok()?;
        Some((key.to_owned(), value))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(directory: &Path) -> Arguments {
        Arguments {
            podinfo: Some(directory.to_owned()),
            ..Arguments::default()
        }
    }

    #[test]
    fn files_are_read_as_the_kubelet_writes_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(
            path.join("labels"),
            "event-GUID=\"\"\ntekton.dev/taskRunUID=\"33\"",
        )
        .unwrap();
        let written = "a=\"line 1\\nline 2 = \\\"b\\\"\"\nodd=\"\\x7f\"\nc=\"é\"\n";
        std::fs::write(path.join("annotations"), written).unwrap();
        std::fs::write(path.join("uid"), "44\n").unwrap();
        let podinfo = Podinfo::read(&arguments(path)).unwrap();
        assert_eq!(podinfo.label("event-GUID"), Some(""));
        assert_eq!(podinfo.text("event-GUID"), None);
        assert_eq!(podinfo.text("tekton.dev/taskRunUID"), Some("33"));
        assert_eq!(podinfo.annotation("a"), Some("line 1\nline 2 = \"b\""));
        assert_eq!(podinfo.annotation("odd"), None);
        assert_eq!(podinfo.annotation("c"), Some("é"));
        assert_eq!(podinfo.uid(), Some("44"));
    }

    #[test]
    fn what_is_given_goes_before_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("labels"), "a=\"1\"\nb=\"1\"\n").unwrap();
        std::fs::write(path.join("uid"), "44").unwrap();
        let podinfo = Podinfo::read(&Arguments {
            label: vec![("a".to_owned(), "2".to_owned())],
            pod_uid: Some("55".to_owned()),
            ..arguments(path)
        })
        .unwrap();
        assert_eq!(
            (podinfo.text("a"), podinfo.text("b")),
            (Some("2"), Some("1"))
        );
        assert_eq!(podinfo.uid(), Some("55"));
        let empty = Podinfo::read(&Arguments {
            pod_uid: Some(String::new()),
            ..arguments(path)
        });
        assert_eq!(empty.unwrap().uid(), Some("44"));
    }

    #[test]
    fn a_directory_that_was_named_must_be_there() {
        let error = Podinfo::read(&arguments(Path::new("/no/such/volume"))).unwrap_err();
        assert!(error.to_string().contains("--podinfo"), "{error}");
    }
}
