//! Label and field selectors, in the syntax of the Kubernetes API, and which objects they select.

use serde_json::Value;
use thiserror::Error;

/// Which objects a request means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

/// One term of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

/// A selector that the API refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// Not in the syntax of a label selector.
    #[error("unable to parse requirement: '{0}'")]
    Label(String),
    /// Not in the syntax of a field selector.
    #[error("invalid selector: '{0}'; can't understand it")]
    Field(String),
    /// The API has no index on this field of this kind.
    #[error("field label not supported: {0}")]
    Unsupported(String),
}

impl Selector {
    /// Reads both selectors; empty ones select all. `fields_of` is the kind whose fields may be named.
    ///
    /// # Errors
    /// If one is not in the syntax of the Kubernetes API, or names a field that this kind cannot be selected by.
    pub fn parse(labels: &str, fields: &str, fields_of: &str) -> Result<Self, SelectorError> {
        Ok(Self {
            labels: requirements(labels)?,
            fields: field_terms(fields, fields_of)?,
        })
    }

    /// Whether an object is among those meant.
    #[must_use]
    pub fn selects(&self, object: &Value) -> bool {
        if *self == Self::default() {
            return true;
        }
        let labels = object.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_str());
        let by_labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
            Requirement::In(key, values) => {
                label(key).is_some_and(|label| values.iter().any(|value| value == label))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|label| values.iter().all(|value| value != label))
            }
        });
        by_labels
            && self
                .fields
                .iter()
                .all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

/// An unset field equals the empty text, as in the Kubernetes API.
fn field<'object>(object: &'object Value, path: &str) -> &'object str {
    let found = path
        .split('.')
        .try_fold(object, |value, segment| value.get(segment));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// The fields each kind may be selected by: `SelectableFields` in the registry packages of kube-apiserver; a
/// custom resource has the first two only.
fn supported(kind: &str, path: &str) -> bool {
    let own: &[&str] = match kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    };
    ["metadata.name", "metadata.namespace"].contains(&path) || own.contains(&path)
}

fn field_terms(text: &str, kind: &str) -> Result<Vec<(String, bool, String)>, SelectorError> {
    let terms = text.split(',').filter(|term| !term.trim().is_empty());
    terms
        .map(|term| {
            let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = term.split_once("==") {
                (path, true, value)
            } else if let Some((path, value)) = term.split_once('=') {
                (path, true, value)
            } else {
                return Err(SelectorError::Field(term.to_owned()));
            };
            let path = path.trim();
            if !supported(kind, path) {
                return Err(SelectorError::Unsupported(path.to_owned()));
            }
            Ok((path.to_owned(), equal, value.trim().to_owned()))
        })
        .collect()
}

fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut depth = 0_u32;
    let terms = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    terms
        .map(str::trim)
        .filter(|term| !term.is_empty())
        .map(|term| requirement(term).ok_or_else(|| SelectorError::Label(term.to_owned())))
        .collect()
}

fn requirement(term: &str) -> Option<Requirement> {
    if let Some(key) = term.strip_prefix('!') {
        return Some(Requirement::Absent(label_key(key)?));
    }
    if let Some((head, values)) = term.split_once('(') {
        let values = values.strip_suffix(')')?;
        let values: Option<Vec<_>> = values.split(',').map(label_value).collect();
        let mut words = head.split_whitespace();
        let key = label_key(words.next()?)?;
        return match (words.next()?, words.next()) {
            ("in", None) => Some(Requirement::In(key, values?)),
            ("notin", None) => Some(Requirement::NotIn(key, values?)),
            _ => None,
        };
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Some(Requirement::NotIn(
            label_key(key)?,
            vec![label_value(value)?],
        ));
    }
    if let Some((key, value)) = term.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(Requirement::In(label_key(key)?, vec![label_value(value)?]));
    }
    label_key(term).map(Requirement::Exists)
}

fn label_key(text: &str) -> Option<String> {
    let text = text.trim();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    (!text.is_empty() && text.chars().all(allowed)).then(|| text.to_owned())
}

fn label_value(text: &str) -> Option<String> {
    let text = text.trim();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    text.chars().all(allowed).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(labels: &str, fields: &str) -> bool {
        let pod = json!({"metadata": {"name": "a", "namespace": "jx", "labels": {"app": "shop", "x.io/tier": "web"}},
                         "status": {"phase": "Running"}});
        Selector::parse(labels, fields, "Pod")
            .unwrap()
            .selects(&pod)
    }

    #[test]
    fn label_selectors() {
        for selector in [
            "",
            "app",
            "app=shop",
            "app==shop,x.io/tier=web",
            "app!=blog",
            "app in (blog, shop),!gone",
            "app notin (blog,forum)",
            "gone!=x",
            "gone notin (x)",
            "x.io/tier",
        ] {
            assert!(selects(selector, ""), "{selector}");
        }
        for selector in [
            "app=blog",
            "gone",
            "!app",
            "app!=shop",
            "app in (blog)",
            "app notin (shop),x.io/tier",
            "gone=x",
            "app=shop,gone",
        ] {
            assert!(!selects(selector, ""), "{selector}");
        }
    }

    #[test]
    fn field_selectors() {
        assert!(selects("", "metadata.name=a,metadata.namespace==jx"));
        assert!(selects("", "status.phase!=Failed,spec.nodeName="));
        assert!(!selects("", "metadata.name!=a"));
        assert!(!selects("", "status.phase=Failed"));
        let event = json!({"involvedObject": {"kind": "Pod", "uid": "u"}});
        let selector = Selector::parse("", "involvedObject.kind=Pod", "Event").unwrap();
        assert!(selector.selects(&event));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for labels in [
            "a b",
            "a in b",
            "a in (b",
            "a within (b)",
            "=b",
            "!",
            "a=b c",
            "a=b=c",
        ] {
            assert_eq!(
                Selector::parse(labels, "", "Pod"),
                Err(SelectorError::Label(labels.to_owned())),
            );
        }
        assert_eq!(
            Selector::parse("", "metadata.name", "Pod"),
            Err(SelectorError::Field("metadata.name".to_owned()))
        );
        assert_eq!(
            Selector::parse("", "involvedObject.kind=Pod", "TaskRun"),
            Err(SelectorError::Unsupported("involvedObject.kind".to_owned()))
        );
    }
}
