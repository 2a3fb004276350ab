//! Objects from files: YAML of several documents, JSON, a JSON object a line, and lists of objects in any of them.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// An object and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Where it stands.
    pub origin: Origin,
    /// The object.
    pub value: Value,
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// File as it was named.
    pub file: String,
    /// Number of the document in the file, from 1; empty ones do not count.
    pub document: usize,
    /// Number of the item in a list, from 1.
    pub item: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, document {}", self.file, self.document)?;
        match self.item {
            Some(item) => write!(formatter, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// Reads a file, or standard input for `-`.
pub fn read(path: &Path) -> anyhow::Result<Vec<Input>> {
    let is_standard_input = path.as_os_str() == "-";
    let name = if is_standard_input {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let mut bytes = Vec::new();
    if is_standard_input {
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(path)
            .with_context(|| format!("cannot read {name}: name a file that is there, or '-'"))?;
    }
    let text = String::from_utf8(bytes)
        .with_context(|| format!("{name} is not UTF-8: give YAML or JSON text"))?;
    parse(&name, &text)
}

/// The objects in a text.
pub fn parse(file: &str, text: &str) -> anyhow::Result<Vec<Input>> {
    let text = text.trim_start_matches('\u{feff}');
    let documents = if text.trim_start().starts_with(['{', '[']) {
        // YAML may begin so too.
        json(file, text).or_else(|error| yaml(file, text).map_err(|_| error))?
    } else {
        yaml(file, text)?
    };
    let mut inputs = Vec::new();
    for (value, document) in documents.into_iter().zip(1..) {
        let origin = Origin {
            file: file.to_owned(),
            document,
            item: None,
        };
        flatten(origin, value, &mut inputs)?;
    }
    Ok(inputs)
}

/// One value after the other, on as many lines as they like.
fn json(file: &str, text: &str) -> anyhow::Result<Vec<Value>> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    values
        .zip(1usize..)
        .map(|(value, document)| {
            value.map_err(|error| {
                anyhow::anyhow!("{file}, document {document} is not JSON: {error}")
            })
        })
        .collect()
}

fn yaml(file: &str, text: &str) -> anyhow::Result<Vec<Value>> {
    // A namespace's worth of objects is larger than configuration files are; what guards against aliases that
    // multiply stays as it is.
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_documents: 1_000_000,
            max_nodes: 50_000_000,
            max_events: 100_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let error = error.to_string();
        let error = error.lines().next().unwrap_or_default();
        let document = document_of(text, error);
        anyhow::anyhow!("{file}{document} is not YAML: {error}")
    })
}

/// Which document an error is in, from the line that it names.
fn document_of(text: &str, error: &str) -> String {
    let line = error
        .split_once("line ")
        .map(|(_, rest)| {
            rest.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        })
        .and_then(|digits| digits.parse::<usize>().ok());
    let Some(line) = line else {
        return String::new();
    };
    let before: Vec<_> = text.lines().take(line).collect();
    let marks = before
        .iter()
        .filter(|line| **line == "---" || line.starts_with("--- "))
        .count();
    // The mark before the first document is one of none.
    let opens = before
        .iter()
        .find(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .is_some_and(|line| line.starts_with("---"));
    format!(", document {}", marks + usize::from(!opens))
}

/// Lists fall apart into their items; those of a typed list get their kind from it, as the API server leaves it out.
fn flatten(origin: Origin, value: Value, inputs: &mut Vec<Input>) -> anyhow::Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => items.into_iter().zip(1..).try_for_each(|(value, item)| {
            let origin = Origin {
                item: Some(item),
                ..origin.clone()
            };
            flatten(origin, value, inputs)
        }),
        Value::Object(mut members) => {
            let kind = members
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let of_items = kind.strip_suffix("List").map(str::to_owned);
            let (Some(kind), Some(Value::Array(items))) = (of_items, members.remove("items"))
            else {
                inputs.push(Input {
                    origin,
                    value: Value::Object(members),
                });
                return Ok(());
            };
            let version = members.remove("apiVersion");
            for (mut value, item) in items.into_iter().zip(1..) {
                if let Value::Object(members) = &mut value
                    && !kind.is_empty()
                {
                    members
                        .entry("kind")
                        .or_insert_with(|| kind.as_str().into());
                    if let Some(version) = &version {
                        members
                            .entry("apiVersion")
                            .or_insert_with(|| version.clone());
                    }
                }
                let origin = Origin {
                    item: Some(item),
                    ..origin.clone()
                };
                flatten(origin, value, inputs)?;
            }
            Ok(())
        }
        _ => anyhow::bail!("{origin} is no object: give objects as the Kubernetes API writes them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(text: &str) -> Vec<(usize, Option<usize>, Value)> {
        let inputs = parse("f", text).unwrap();
        inputs
            .into_iter()
            .map(|input| (input.origin.document, input.origin.item, input.value))
            .collect()
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let yaml = "# two\n---\nkind: Pod\n---\n---\napiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n";
        assert_eq!(
            places(yaml),
            [
                (1, None, json!({"kind": "Pod"})),
                (2, Some(1), json!({"kind": "A"})),
                (2, Some(2), json!({"kind": "B"})),
            ]
        );
        let lines = "{\"kind\":\"A\"}\n{\"kind\":\"EventList\",\"apiVersion\":\"v1\",\"items\":[{\"x\":1}]}\n";
        assert_eq!(
            places(lines),
            [
                (1, None, json!({"kind": "A"})),
                (
                    2,
                    Some(1),
                    json!({"kind": "Event", "apiVersion": "v1", "x": 1})
                ),
            ]
        );
        assert_eq!(
            places("[{\"kind\":\"A\"}]"),
            [(1, Some(1), json!({"kind": "A"}))]
        );
        assert_eq!(places("{kind: A}"), [(1, None, json!({"kind": "A"}))]);
        assert_eq!(places(""), []);
    }

    #[test]
    fn yaml_keeps_what_only_looks_like_another_type() {
        let yaml = "a: \"1\"\nb: 2026-01-01T00:00:00Z\nc: yes\nd: 012345e6\ne: |\n  x\n  y\nf: 1.5\ng: ~\n";
        let values = places(yaml);
        assert_eq!(values[0].2["a"], "1");
        assert_eq!(values[0].2["b"], "2026-01-01T00:00:00Z");
        assert_eq!(values[0].2["e"], "x\ny\n");
        assert_eq!(values[0].2["f"], 1.5);
        assert_eq!(values[0].2["g"], Value::Null);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        let error = |text| parse("f.yaml", text).unwrap_err().to_string();
        let texts = [
            "a: 1\n---\nb: [1\n",
            "a: 1\na: 2\n",
            "{\"a\": 1}\n{\"b\": }\n",
            "- 1\n",
        ];
        let errors: Vec<_> = texts.into_iter().map(error).collect();
        assert!(errors.iter().all(|error| !error.contains('\n')));
        insta::assert_snapshot!(errors.join("\n"));
    }
}
