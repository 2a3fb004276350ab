//! Lists: at a resource version, selected, and in pages that all show the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::Failure;
use super::resource::ResourceKey;
use super::selector::Selector;
use super::store::{ObjectKey, Store, Stored};

/// What a list request asks for.
#[derive(Clone, Debug)]
pub(super) struct ListQuery {
    pub(super) resource: ResourceKey,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    pub(super) limit: usize,
    /// As in the request; empty without.
    pub(super) continues: String,
    pub(super) resource_version: Option<u64>,
    /// `resourceVersionMatch=Exact`.
    pub(super) exact: bool,
}

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<Arc<Stored>>,
    /// `metadata` of the list.
    pub(super) metadata: Value,
}

/// Where the next page starts; opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    revision: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn parse(text: &str) -> Result<Self, Failure> {
        hex::decode(text)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| Failure::bad_request("continue key is not valid"))
    }

    fn text(&self) -> String {
        hex::encode(json!(self).to_string())
    }
}

/// Answers a list request.
pub(super) fn list(store: &Store, query: &ListQuery) -> Result<Page, Failure> {
    let continues = if query.continues.is_empty() {
        None
    } else {
        Some(Continue::parse(&query.continues)?)
    };
    let asked = query.resource_version.unwrap_or_default();
    if asked > store.revision() {
        // As kube-apiserver does when its cache does not catch up in time.
        return Err(Failure::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!(
                "Too large resource version: {asked}, current: {}",
                store.revision()
            ),
        ));
    }
    let revision = match &continues {
        Some(continues) => continues.revision,
        None if query.exact => asked,
        None => store.revision(),
    };
    let mut selected = at(store, query, continues.as_ref(), revision)?
        .filter(|(_, stored)| query.selector.selects(&stored.value));
    let limit = if query.limit == 0 {
        usize::MAX
    } else {
        query.limit
    };
    let shown: Vec<_> = selected.by_ref().take(limit).collect();
    // How many more there are a server need not say, and it would have to count them for every page.
    let is_more = selected.next().is_some();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (Some((last, _)), Some(members)) =
        (shown.last().filter(|_| is_more), metadata.as_object_mut())
    {
        let next = Continue {
            revision,
            namespace: last.namespace.clone(),
            name: last.name.clone(),
        };
        members.insert("continue".to_owned(), json!(next.text()));
    }
    Ok(Page {
        objects: shown
            .into_iter()
            .map(|(_, stored)| Arc::clone(stored))
            .collect(),
        metadata,
    })
}

/// Objects in the order in which they are listed.
type Objects<'list> = Box<dyn Iterator<Item = (&'list ObjectKey, &'list Arc<Stored>)> + 'list>;

/// The objects as they were at a resource version: as they are, with all later changes undone. Only those after a place, if
/// there is one.
fn at<'list>(
    store: &'list Store,
    query: &'list ListQuery,
    from: Option<&'list Continue>,
    revision: u64,
) -> Result<Objects<'list>, Failure> {
    let namespace = query.namespace.as_deref();
    let is_after = move |key: &ObjectKey| {
        from.is_none_or(|from| (&key.namespace, &key.name) > (&from.namespace, &from.name))
    };
    let mut changes = store
        .changes_after(revision)?
        .rev()
        .filter(|change| {
            change.key.resource == query.resource
                && namespace.is_none_or(|namespace| namespace == change.key.namespace)
        })
        .peekable();
    let after = from.map(|from| (from.namespace.as_str(), from.name.as_str()));
    let objects = store.objects(&query.resource, namespace, after);
    // Mostly so, and then nothing is copied: a page of a long list is a small part of it.
    if changes.peek().is_none() {
        return Ok(Box::new(objects));
    }
    let mut objects: BTreeMap<_, _> = objects.collect();
    for change in changes.filter(|change| is_after(&change.key)) {
        match &change.before {
            Some(before) => objects.insert(&change.key, before),
            None => objects.remove(&change.key),
        };
    }
    Ok(Box::new(objects.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::super::resource::Resource;
    use super::*;

    fn pod(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "jx", "uid": name}})
    }

    fn query(limit: usize, continues: &str) -> ListQuery {
        ListQuery {
            resource: Resource::namespaced("", &["v1"], "Pod").key(),
            namespace: None,
            selector: Selector::default(),
            limit,
            continues: continues.to_owned(),
            resource_version: None,
            exact: false,
        }
    }

    fn names(page: &Page) -> Vec<&str> {
        let names = page
            .objects
            .iter()
            .map(|stored| &stored.value["metadata"]["name"]);
        names.map(|name| name.as_str().unwrap()).collect()
    }

    #[test]
    fn all_pages_show_the_moment_of_the_first() {
        let mut store = Store::new(Resource::of_jenkins_x());
        for name in ["a", "b", "d"] {
            store.apply(pod(name)).unwrap();
        }
        let first = list(&store, &query(2, "")).unwrap();
        assert_eq!(names(&first), ["a", "b"]);
        store.apply(pod("c")).unwrap();
        let gone = store.key_of_recorded(&pod("d")).unwrap();
        store.delete(&gone).unwrap();
        let next = first.metadata["continue"].as_str().unwrap();
        let second = list(&store, &query(2, next)).unwrap();
        assert_eq!(names(&second), ["d"]);
        assert_eq!(
            second.metadata,
            json!({"resourceVersion": first.metadata["resourceVersion"]})
        );
        assert_eq!(
            names(&list(&store, &query(0, "")).unwrap()),
            ["a", "b", "c"]
        );

        store.compact();
        assert_eq!(
            list(&store, &query(2, next)).unwrap_err().code,
            StatusCode::GONE
        );
        assert_eq!(
            list(&store, &query(2, "nonsense")).unwrap_err().code,
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn an_exact_list_is_as_it_was() {
        let mut store = Store::new(Resource::of_jenkins_x());
        store.apply(pod("a")).unwrap();
        store.apply(pod("b")).unwrap();
        let mut then = query(0, "");
        then.resource_version = Some(2);
        then.exact = true;
        assert_eq!(names(&list(&store, &then).unwrap()), ["a"]);
        then.exact = false;
        assert_eq!(names(&list(&store, &then).unwrap()), ["a", "b"]);
        then.resource_version = Some(99);
        assert_eq!(
            list(&store, &then).unwrap_err().code,
            StatusCode::GATEWAY_TIMEOUT
        );
    }
}
