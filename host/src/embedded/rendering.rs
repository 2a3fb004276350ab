//! What a response shows of an object: in which version of its kind, and whole or only its metadata.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::store::Stored;
use http::StatusCode;

/// How objects are shown in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendering {
    /// The `apiVersion` of the request's path.
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) form: Form,
}

/// How much of an object a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    /// `as=PartialObjectMetadata` or its list.
    Metadata,
}

impl Form {
    /// The first form in an `Accept` header that the API can give: JSON, whole or as partial metadata. Tables,
    /// protobuf and aggregated discovery it cannot; clients that prefer those name JSON as well.
    pub(super) fn accepted(accept: Option<&str>) -> Result<Self, Failure> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
            return Ok(Self::Whole);
        };
        accept
            .split(',')
            .find_map(|media_type| {
                let mut parts = media_type.split(';').map(str::trim);
                let known = ["application/json", "application/*", "*/*"];
                parts.next().filter(|name| known.contains(name))?;
                match parts.find_map(|parameter| parameter.strip_prefix("as=")) {
                    None => Some(Self::Whole),
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                        Some(Self::Metadata)
                    }
                    Some(_) => None,
                }
            })
            .ok_or_else(|| {
                Failure::new(
                    StatusCode::NOT_ACCEPTABLE,
                    "NotAcceptable",
                    "only the following media types are accepted: application/json",
                )
            })
    }
}

impl Rendering {
    /// An object by itself or in a watch.
    pub(super) fn object(&self, stored: &Stored) -> Bytes {
        let same_version =
            stored.value.get("apiVersion").and_then(Value::as_str) == Some(&self.api_version);
        match self.form {
            Form::Whole if same_version => stored.text.clone(),
            Form::Whole => self.converted(&stored.value).to_string().into(),
            Form::Metadata => partial(&stored.value).to_string().into(),
        }
    }

    /// A list. Items of the core group do not say their kind there, as kube-apiserver writes them.
    pub(super) fn list(&self, metadata: &Value, objects: &[impl AsRef<Stored>]) -> Bytes {
        let (kind, api_version) = match self.form {
            Form::Whole => (format!("{}List", self.kind), self.api_version.as_str()),
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1"),
        };
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        let mut text = head.to_string();
        // The items are texts already: a cluster may have very many objects.
        text.truncate(text.len() - 1);
        text.push_str(",\"items\":[");
        let mut text = text.into_bytes();
        for (place, stored) in objects.iter().enumerate() {
            if place > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&self.item(stored.as_ref()));
        }
        text.extend_from_slice(b"]}");
        text.into()
    }

    fn item(&self, stored: &Stored) -> Bytes {
        let core = !self.api_version.contains('/');
        match (self.form, &stored.value) {
            (Form::Whole, Value::Object(members)) if core => {
                WithoutKind(members).to_string().into()
            }
            _ => self.object(stored),
        }
    }

    /// An object that says nothing but a resource version.
    pub(super) fn bookmark(&self, revision: u64, initial_events_end: bool) -> Value {
        let (kind, api_version) = match self.form {
            Form::Whole => (self.kind.as_str(), self.api_version.as_str()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
        };
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if let Some(metadata) = metadata.as_object_mut().filter(|_| initial_events_end) {
            metadata.insert(
                "annotations".to_owned(),
                json!({"k8s.io/initial-events-end": "true"}),
            );
        }
        json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    }

    fn converted(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(members) = object.as_object_mut() {
            members.insert("apiVersion".to_owned(), json!(self.api_version));
        }
        object
    }
}

/// An object that does not say what it is. There is one version of a kind of the core group.
struct WithoutKind<'a>(&'a Map<String, Value>);

impl fmt::Display for WithoutKind<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        let says = |key: &str| key == "apiVersion" || key == "kind";
        let members = self.0.iter().filter(|(key, _)| !says(key));
        for (place, (key, value)) in members.enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let key = Value::from(key.as_str());
            write!(formatter, "{comma}{key}:{value}")?;
        }
        formatter.write_str("}")
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn items_of_the_core_group_do_not_say_their_kind() {
        let rendering = |api_version: &str, form| Rendering {
            api_version: api_version.to_owned(),
            kind: "Thing".to_owned(),
            form,
        };
        let stored = |api_version: &str| {
            let value = json!({
                "apiVersion": api_version, "kind": "Thing", "metadata": {"name": "a\"b"}, "spec": [1],
            });
            Arc::new(Stored {
                text: value.to_string().into(),
                value,
            })
        };
        let list = |rendering: &Rendering, objects: &[Arc<Stored>]| -> Value {
            let text = rendering.list(&json!({"resourceVersion": "7"}), objects);
            serde_json::from_slice(&text).expect("JSON")
        };
        let item = json!({"metadata": {"name": "a\"b"}, "spec": [1]});
        assert_eq!(
            list(&rendering("v1", Form::Whole), &[stored("v1"), stored("v1")]),
            json!({
                "kind": "ThingList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
                "items": [item, item],
            })
        );
        let named = list(
            &rendering("example.com/v2", Form::Whole),
            &[stored("example.com/v1")],
        );
        assert_eq!(named["items"][0]["apiVersion"], "example.com/v2");
        assert_eq!(named["items"][0]["kind"], "Thing");
        let partial = list(&rendering("v1", Form::Metadata), &[stored("v1")]);
        assert_eq!(partial["items"][0]["metadata"]["name"], "a\"b");
        assert_eq!(list(&rendering("v1", Form::Whole), &[])["items"], json!([]));
    }

    #[test]
    fn the_first_form_that_can_be_given_is_given() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(Form::accepted(None), Ok(Form::Whole));
        assert_eq!(Form::accepted(Some("*/*")), Ok(Form::Whole));
        assert_eq!(Form::accepted(Some(table)), Ok(Form::Whole));
        assert_eq!(Form::accepted(Some(partial)), Ok(Form::Metadata));
        let protobuf = Form::accepted(Some("application/vnd.kubernetes.protobuf"));
        assert_eq!(protobuf.unwrap_err().code, StatusCode::NOT_ACCEPTABLE);
    }
}
