//! The tables in `tests/conventions`: what the conventions say, and what is our own.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::names;
use crate::scenario::folder_of_tests;

/// All tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// First parts of names that belong to the conventions.
    namespaces: BTreeSet<String>,
    conventions: BTreeMap<String, Attribute>,
    pub(super) spans: BTreeMap<String, SpanConvention>,
    pub(super) own: Own,
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Type {
    #[serde(rename = "string")]
    Text,
    #[serde(rename = "int")]
    Integer,
    #[serde(rename = "double")]
    Number,
    #[serde(rename = "boolean")]
    Boolean,
    #[serde(rename = "string[]")]
    Texts,
}

/// How far an attribute of the conventions has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stability {
    Stable,
    Unstable,
    Deprecated,
}

/// An attribute of the conventions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    #[serde(rename = "type")]
    kind: Type,
    values: Option<Vec<Value>>,
    stability: Stability,
    /// What to use instead of a deprecated one.
    instead: Option<String>,
}

/// An attribute of our own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnAttribute {
    #[serde(rename = "type")]
    kind: Type,
    /// All that it can be.
    values: Option<Vec<Value>>,
    meaning: String,
    /// One of the reasons.
    because: Option<String>,
}

/// A span of the conventions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpanConvention {
    pub kind: String,
    /// Attributes that make its name, joined by spaces, as far as they are set.
    #[serde(default)]
    pub name: Vec<String>,
    pub required: Vec<String>,
    pub required_if: BTreeMap<String, Condition>,
}

/// When an attribute is required.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    pub attribute: String,
    pub is: Vec<String>,
}

/// What is exported beside the conventions, and where they are departed from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    /// By kind of an object, the convention that its main span follows.
    pub spans: BTreeMap<String, String>,
    pub missing: Vec<Missing>,
    /// By attribute.
    custom_values: BTreeMap<String, CustomValues>,
    reasons: BTreeMap<String, String>,
    attributes: BTreeMap<String, OwnAttribute>,
}

/// Values that are not among the well-known ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomValues {
    /// None: it may have any.
    values: Option<Vec<Value>>,
    because: String,
}

/// A required attribute that is not set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Missing {
    pub span: String,
    pub attribute: String,
    because: String,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'t> {
    Attribute {
        kind: Type,
        /// All that it may be: values of the conventions, and of our own.
        values: Option<[&'t [Value]; 2]>,
    },
    Deprecated(&'t str),
    /// Not in any table, but in a namespace of the conventions.
    Invented,
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributesFile {
    version: String,
    namespaces: BTreeSet<String>,
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpansFile {
    version: String,
    spans: BTreeMap<String, SpanConvention>,
}

impl Tables {
    /// From the files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read() -> Result<Self> {
        let AttributesFile {
            version,
            namespaces,
            attributes,
        } = read("attributes.yaml")?;
        let spans: SpansFile = read("spans.yaml")?;
        anyhow::ensure!(
            version == spans.version,
            "attributes are of {version}, spans of {}",
            spans.version
        );
        Ok(Self {
            namespaces,
            conventions: attributes,
            spans: spans.spans,
            own: read("own.yaml")?,
        })
    }

    /// What is known of this name.
    pub(super) fn find(&self, name: &str) -> Known<'_> {
        if let Some(own) = self.own.attributes.get(name) {
            return Known::Attribute {
                kind: own.kind,
                values: own.values.as_deref().map(|values| [&[], values]),
            };
        }
        match self.of_conventions(name) {
            Some(attribute) if attribute.stability == Stability::Deprecated => {
                Known::Deprecated(attribute.instead.as_deref().unwrap_or_default())
            }
            Some(attribute) => Known::Attribute {
                kind: attribute.kind,
                values: attribute.values.as_deref().and_then(|values| {
                    let custom = self.own.custom_values.get(name);
                    let custom = custom.map_or(Some(&[][..]), |custom| custom.values.as_deref());
                    custom.map(|custom| [values, custom])
                }),
            },
            None if self.is_of_conventions(name) => Known::Invented,
            None => Known::Unknown,
        }
    }

    fn of_conventions(&self, name: &str) -> Option<&Attribute> {
        self.conventions.get(name).or_else(|| {
            let mut templates = self.conventions.iter().filter(|(template, _)| {
                let prefix = template.strip_suffix("<key>");
                prefix.is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
            });
            templates.next().map(|(_, attribute)| attribute)
        })
    }

    /// Whether nobody but the conventions may make up this name.
    fn is_of_conventions(&self, name: &str) -> bool {
        let namespace = name.split('.').next().unwrap_or_default();
        self.namespaces.contains(namespace)
    }

    /// What is wrong with the tables themselves.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, own) in &self.own.attributes {
            if self.of_conventions(name).is_some() {
                faults.push(format!("{name} is one of the conventions"));
            }
            if own.meaning.is_empty() {
                faults.push(format!("{name} has no meaning"));
            }
            let because = own.because.as_ref();
            let why = because.and_then(|because| self.own.reasons.get(because));
            let needs_reason = self.is_of_conventions(name)
                || !name.contains('.')
                || names::fault_of_attribute(name).is_some();
            if (needs_reason || because.is_some()) && why.is_none_or(String::is_empty) {
                faults.push(format!("{name} needs a reason"));
            }
        }
        for (name, custom) in &self.own.custom_values {
            let known = self.of_conventions(name);
            if known.is_none_or(|attribute| attribute.values.is_none()) || custom.because.is_empty()
            {
                faults.push(format!(
                    "custom values of {name}: no such list, or no reason"
                ));
            }
        }
        for missing in &self.own.missing {
            let convention = self.spans.get(&missing.span);
            if !convention.is_some_and(|span| span.required.contains(&missing.attribute))
                || missing.because.is_empty()
            {
                faults.push(format!("{missing:?}: not required, or no reason"));
            }
        }
        for (kind, convention) in &self.own.spans {
            if !self.spans.contains_key(convention) {
                faults.push(format!("{kind} is said to be {convention}, which is none"));
            }
        }
        for (name, convention) in &self.spans {
            let attributes = convention.required.iter().chain(&convention.name);
            let conditions = convention.required_if.iter();
            let attributes = attributes.chain(
                conditions.flat_map(|(attribute, condition)| [attribute, &condition.attribute]),
            );
            for attribute in attributes {
                if self.of_conventions(attribute).is_none() {
                    faults.push(format!("{name} has {attribute}, which is none"));
                }
            }
        }
        faults
    }
}

fn read<T: DeserializeOwned>(file: &str) -> Result<T> {
    let path = folder_of_tests().join("conventions").join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot use {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        Tables::read().unwrap()
    }

    #[test]
    fn the_tables_fit_together() {
        assert_eq!(tables().faults(), Vec::<String>::new());
    }

    /// What stands between backticks, `{a,b}` told one by one.
    fn named_in(text: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for quoted in text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
        {
            match quoted.split_once('{').and_then(|(before, rest)| {
                let (parts, after) = rest.split_once('}')?;
                Some((before, parts, after))
            }) {
                Some((before, parts, after)) => {
                    names.extend(parts.split(',').map(|part| [before, part, after].concat()))
                }
                None => {
                    names.insert(quoted.to_owned());
                }
            }
        }
        names
    }

    #[test]
    fn the_reference_names_all_attributes_of_our_own() {
        let reference = folder_of_tests().join("../docs/spans.md");
        let named = named_in(&std::fs::read_to_string(reference).unwrap());
        let own = tables().own.attributes.into_keys();
        let missing: Vec<_> = own.filter(|name| !named.contains(name)).collect();
        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(
            named_in("| `a.{b,c}`, `d` |\n`e"),
            ["a.b", "a.c", "d", "e"].map(str::to_owned).into()
        );
    }

    #[test]
    fn a_name_in_a_namespace_of_the_conventions_needs_a_reason() {
        let mut tables = tables();
        let object = tables.own.attributes.get_mut("k8s.object.kind").unwrap();
        object.because = None;
        let exit_code = tables.own.attributes.get_mut("exit-code").unwrap();
        exit_code.because = Some("habit".to_owned());
        assert_eq!(
            tables.faults(),
            ["exit-code needs a reason", "k8s.object.kind needs a reason"]
        );
    }

    #[test]
    fn what_the_conventions_have_is_not_our_own() {
        let mut tables = tables();
        let own = tables.own.attributes.get("pr.title").unwrap().clone();
        tables
            .own
            .attributes
            .insert("vcs.change.title".to_owned(), own);
        assert_eq!(
            tables.faults(),
            [
                "vcs.change.title is one of the conventions",
                "vcs.change.title needs a reason"
            ]
        );
    }

    #[test]
    fn departures_are_from_something() {
        let mut tables = tables();
        let custom = &mut tables.own.custom_values;
        let values = CustomValues {
            values: None,
            because: "why not".to_owned(),
        };
        custom.insert("vcs.change.title".to_owned(), values);
        let missing = Missing {
            span: "cicd.pipeline.run".to_owned(),
            attribute: "cicd.pipeline.name".to_owned(),
            because: "why not".to_owned(),
        };
        tables.own.missing = vec![missing];
        let spans = &mut tables.own.spans;
        spans.insert("Pod".to_owned(), "k8s.pod".to_owned());
        let run = tables.spans.get_mut("cicd.pipeline.run").unwrap();
        run.required.push("cicd.pipeline.outcome".to_owned());
        assert_eq!(
            tables.faults(),
            [
                "custom values of vcs.change.title: no such list, or no reason",
                "Missing { span: \"cicd.pipeline.run\", attribute: \"cicd.pipeline.name\", because: \"why not\" }: \
                 not required, or no reason",
                "Pod is said to be k8s.pod, which is none",
                "cicd.pipeline.run has cicd.pipeline.outcome, which is none"
            ]
        );
    }

    #[test]
    fn templates_stand_for_any_key() {
        let tables = tables();
        let known = |name| matches!(tables.find(name), Known::Attribute { .. });
        assert!(known("k8s.pod.label.app.kubernetes.io/name"));
        assert!(!known("k8s.pod.label."));
        assert!(!known("k8s.pod.label"));
    }
}
