//! Writes by clients: create, update, merge patch and delete, with the preconditions of the Kubernetes API.

use std::sync::Arc;

use http::StatusCode;
use lighthouse_telemetry_core::catalog::group_version;
use serde_json::{Value, json};

use super::failure::Failure;
use super::store::{ObjectKey, Store, Stored};

/// Creates the object of a request body. A name may be generated; uid and creation time are set if it has none,
/// so that a recorded object keeps its own.
pub(super) fn create(
    store: &mut Store,
    mut key: ObjectKey,
    kind: &str,
    mut object: Value,
) -> Result<Arc<Stored>, Failure> {
    let text = |object: &Value, pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    expect_kind(&object, &key, kind)?;
    key.name = text(&object, "/metadata/name");
    if key.name.is_empty() {
        let prefix = text(&object, "/metadata/generateName");
        if prefix.is_empty() {
            return Err(Failure::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                "metadata.name: Required value: name or generateName is required",
            ));
        }
        let uid = store.new_uid(&key);
        key.name = format!("{prefix}{}", uid.get(..5).unwrap_or_default());
    }
    if store.get(&key).is_some() {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "AlreadyExists",
            format!("{} \"{}\" already exists", key.resource, key.name),
        ));
    }
    let uid = store.new_uid(&key);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let metadata = members(&mut object, "metadata")?;
    metadata.insert("name".to_owned(), json!(key.name));
    if !key.namespace.is_empty() {
        metadata.insert("namespace".to_owned(), json!(key.namespace));
    }
    metadata.entry("uid").or_insert_with(|| json!(uid));
    metadata
        .entry("creationTimestamp")
        .or_insert_with(|| json!(now.to_string()));
    store.write(key, object)
}

/// Replaces an object by the one of a request body.
pub(super) fn update(
    store: &mut Store,
    key: ObjectKey,
    kind: &str,
    mut object: Value,
) -> Result<Arc<Stored>, Failure> {
    expect_kind(&object, &key, kind)?;
    let current = existing(store, &key)?;
    preconditions(&key, &current.value, object.get("metadata"))?;
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if let Some(value) = current.value.pointer(&format!("/metadata/{field}")) {
            members(&mut object, "metadata")?.insert(field.to_owned(), value.clone());
        }
    }
    store.write(key, object)
}

/// Applies a JSON merge patch (RFC 7396). A uid or resource version in it is a precondition.
pub(super) fn merge_patch(
    store: &mut Store,
    key: ObjectKey,
    patch: &Value,
) -> Result<Arc<Stored>, Failure> {
    let current = existing(store, &key)?;
    preconditions(&key, &current.value, patch.get("metadata"))?;
    let mut object = current.value.clone();
    json_patch::merge(&mut object, patch);
    for pointer in ["/kind", "/metadata/name", "/metadata/namespace"] {
        if object.pointer(pointer) != current.value.pointer(pointer) {
            return Err(Failure::bad_request(format!(
                "the patch changes {pointer}, which cannot be changed"
            )));
        }
    }
    store.write(key, object)
}

/// Deletes an object; `options` are `DeleteOptions`, or nothing.
pub(super) fn delete(
    store: &mut Store,
    key: &ObjectKey,
    options: &Value,
) -> Result<Arc<Stored>, Failure> {
    let current = existing(store, key)?;
    preconditions(key, &current.value, options.get("preconditions"))?;
    store.delete(key)
}

fn existing(store: &Store, key: &ObjectKey) -> Result<Arc<Stored>, Failure> {
    store
        .get(key)
        .cloned()
        .ok_or_else(|| Failure::no_such_object(&key.resource.to_string(), &key.name))
}

/// 409 if `expected` names another uid or resource version than the object has.
fn preconditions(key: &ObjectKey, object: &Value, expected: Option<&Value>) -> Result<(), Failure> {
    let resource = key.resource.to_string();
    let differs = |field: &str| {
        let wanted = expected?.get(field)?.as_str()?;
        let actual = object.pointer(&format!("/metadata/{field}"))?.as_str()?;
        (!wanted.is_empty() && wanted != actual).then(|| (wanted.to_owned(), actual.to_owned()))
    };
    if let Some((wanted, actual)) = differs("uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}"
        );
        return Err(Failure::conflict(&resource, &key.name, &why));
    }
    if differs("resourceVersion").is_some() {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Failure::conflict(&resource, &key.name, why));
    }
    Ok(())
}

fn expect_kind(object: &Value, key: &ObjectKey, kind: &str) -> Result<(), Failure> {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, _) = group_version(text("apiVersion"));
    if text("kind") == kind && group == &*key.resource.group {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "the object is of kind '{}' and version '{}', the path is for kind '{kind}' of group '{}'",
        text("kind"),
        text("apiVersion"),
        key.resource.group,
    )))
}

fn members<'object>(
    object: &'object mut Value,
    field: &str,
) -> Result<&'object mut serde_json::Map<String, Value>, Failure> {
    object
        .get_mut(field)
        .and_then(Value::as_object_mut)
        .ok_or_else(|| Failure::bad_request(format!("the object has no {field}")))
}
