//! Attributes: their names, types and values.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::Value as Json;

use super::tables::{Known, Tables, Type};
use super::{FaultsAt, names};

/// A list of attributes, of whatever it is.
pub(super) fn check(tables: &Tables, attributes: &[KeyValue], faults: &mut FaultsAt<'_>) {
    let mut seen = BTreeSet::new();
    for attribute in attributes {
        let key = attribute.key.as_str();
        if !seen.insert(key) {
            faults.of(key, "is there twice");
        }
        let Some(value) = value(attribute) else {
            faults.of(key, "has no value");
            continue;
        };
        match tables.find(key) {
            Known::Attribute { kind, values } => {
                if !has_type(value, kind) {
                    faults.of(key, format!("is {value:?}, not of type {kind:?}"));
                } else if values.is_some_and(|values| !values.concat().contains(&json(value))) {
                    faults.of(
                        key,
                        format!("is {value:?}, which is no value that it can have"),
                    );
                }
            }
            Known::Deprecated(instead) => {
                faults.of(key, format!("is deprecated by the conventions: {instead}"));
            }
            Known::Invented => faults.of(
                key,
                "is no name of the conventions, whose namespace it is in",
            ),
            Known::Unknown => {
                faults.of(key, "is in none of the tables");
                if let Some(fault) = names::fault_of_attribute(key) {
                    faults.of(key, fault);
                }
            }
        }
        if key.ends_with(".url.full")
            && let Some(fault) = fault_of_url(key, value)
        {
            faults.of(key, fault);
        }
    }
}

/// The text that an attribute has.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match value(attribute)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn value(attribute: &KeyValue) -> Option<&Value> {
    attribute.value.as_ref()?.value.as_ref()
}

fn has_type(value: &Value, kind: Type) -> bool {
    match (value, kind) {
        (Value::StringValue(_), Type::Text)
        | (Value::IntValue(_), Type::Integer)
        | (Value::DoubleValue(_), Type::Number)
        | (Value::BoolValue(_), Type::Boolean) => true,
        (Value::ArrayValue(list), Type::Texts) => list
            .values
            .iter()
            .all(|AnyValue { value }| matches!(value, Some(Value::StringValue(_)))),
        _ => false,
    }
}

/// As the tables write a value that is one of several.
fn json(value: &Value) -> Json {
    match value {
        Value::StringValue(text) => Json::from(text.as_str()),
        Value::IntValue(integer) => Json::from(*integer),
        Value::BoolValue(boolean) => Json::from(*boolean),
        _ => Json::Null,
    }
}

/// What is wrong with a URL. Of all: "MUST NOT contain credentials" (`url.full`), "to locate and identify", which a browser
/// can. Of a repository: "the complete HTTP(S) address", and it "SHOULD NOT include the .git extension".
fn fault_of_url(key: &str, value: &Value) -> Option<&'static str> {
    let Value::StringValue(url) = value else {
        return None;
    };
    let Some((_, rest)) = url
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return Some("is no address of HTTP");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        Some("has no host")
    } else if authority.contains('@') {
        Some("has credentials")
    } else if key == "vcs.repository.url.full" && rest.trim_end_matches('/').ends_with(".git") {
        Some("has the extension .git")
    } else {
        None
    }
}
