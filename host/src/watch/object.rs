//! An object as it comes from the API server, decoded once, as far as it is wanted, and without assumptions: a field of
//! the wrong type in one object must not break the list that it comes in.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope, Resource};
use lighthouse_telemetry_core::object::Uid;
use lighthouse_telemetry_core::projection::Projection;
use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object of any kind.
#[derive(Clone, Debug)]
pub struct Raw {
    value: Value,
    /// Only what the watcher reads: the resource version and the name.
    metadata: ObjectMeta,
}

impl Raw {
    /// The object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its uid, if it has one.
    pub fn uid(&self) -> Option<Uid> {
        let uid = self.value.pointer("/metadata/uid")?.as_str()?;
        (!uid.is_empty()).then(|| Arc::from(uid))
    }

    /// Says which kind it is: the API server leaves that out of the items of a list.
    pub fn complete(&mut self, resource: &ApiResource) {
        if let Value::Object(members) = &mut self.value {
            for (key, text) in [
                ("apiVersion", &resource.api_version),
                ("kind", &resource.kind),
            ] {
                if !members.get(key).is_some_and(Value::is_string) {
                    members.insert(key.to_owned(), Value::from(text.as_str()));
                }
            }
        }
    }
}

thread_local! {
    /// What of an object is read on this thread.
    static READS: RefCell<Option<Arc<Projection>>> = const { RefCell::new(None) };
}

/// Does something that reads objects, of which only what is selected is kept; all else of a large object would be made into a
/// tree for nothing. kube decodes where it is polled and gives no other way to tell it what for.
pub fn reading<T>(reads: &Arc<Projection>, something: impl FnOnce() -> T) -> T {
    let before = READS.replace(Some(Arc::clone(reads)));
    let done = something();
    READS.set(before);
    done
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reads = READS.with_borrow(Option::clone);
        let mut value = match reads {
            Some(reads) => reads.deserialize(deserializer)?,
            None => Value::deserialize(deserializer)?,
        };
        let mut metadata = ObjectMeta::default();
        if let Some(members) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            members.remove("managedFields");
            let text = |key| members.get(key).and_then(Value::as_str).map(str::to_owned);
            metadata.resource_version = text("resourceVersion");
            metadata.name = text("name");
            metadata.namespace = text("namespace");
        }
        Ok(Self { value, metadata })
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource() -> ApiResource {
        ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
        }
    }

    #[test]
    fn managed_fields_are_dropped_and_the_kind_is_filled_in() {
        let mut raw: Raw = serde_json::from_value(json!({
            "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "managedFields": [{}]},
        }))
        .expect("an object");
        raw.complete(&resource());
        assert_eq!(
            raw.value(),
            &json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "a", "uid": "1", "resourceVersion": "7"},
            })
        );
        assert_eq!(raw.uid().as_deref(), Some("1"));
        assert_eq!(raw.meta().resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let wanted = Arc::new(Projection::of(["/spec/a", "/metadata/uid"]).expect("pointers"));
        let text =
            r#"{"spec": {"b": [1, {}], "a": {"c": 2}}, "metadata": {"uid": "1", "name": "n"}}"#;
        let read = || serde_json::from_str::<Raw>(text).expect("an object");
        let raw = reading(&wanted, read);
        let expected = json!({"metadata": {"uid": "1"}, "spec": {"a": {"c": 2}}});
        assert_eq!(raw.value(), &expected);
        assert_eq!(read().value().pointer("/spec/b/0"), Some(&json!(1)));
    }

    #[test]
    fn whatever_comes_is_taken() {
        for value in [
            json!(null),
            json!([1]),
            json!({"metadata": 3}),
            json!({"metadata": {"uid": 1}}),
        ] {
            let mut raw: Raw = serde_json::from_value(value).expect("anything");
            raw.complete(&resource());
            assert_eq!(raw.uid(), None);
        }
    }
}
