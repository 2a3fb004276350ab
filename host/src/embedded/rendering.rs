//! What a response shows of an object: in which version of its kind, and whole or only its metadata.

use bytes::Bytes;
use serde_json::{Value, json};

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
    pub(super) fn list(&self, metadata: &Value, objects: &[impl AsRef<Stored>]) -> Value {
        let core = !self.api_version.contains('/');
        let items: Vec<Value> = objects
            .iter()
            .map(|stored| match self.form {
                Form::Metadata => partial(&stored.as_ref().value),
                Form::Whole => {
                    let mut object = self.converted(&stored.as_ref().value);
                    if let Some(members) = object.as_object_mut().filter(|_| core) {
                        members.remove("apiVersion");
                        members.remove("kind");
                    }
                    object
                }
            })
            .collect();
        let (kind, api_version) = match self.form {
            Form::Whole => (format!("{}List", self.kind), self.api_version.as_str()),
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1"),
        };
        json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})
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

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
