//! Requests: which path means what, and how it is answered.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::failure::Failure;
use super::list::{self, ListQuery};
use super::rendering::{Form, Rendering};
use super::resource::{self, api_version};
use super::selector::Selector;
use super::store::{ObjectKey, Store, Stored};
use super::watch::{self, WatchQuery};
use super::write;

/// Largest request body, as kube-apiserver has it (`MaxRequestBodyBytes`).
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Query parameters; those of no use to an API in memory are left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Parameters {
    watch: String,
    label_selector: String,
    field_selector: String,
    limit: Option<usize>,
    r#continue: String,
    resource_version: String,
    resource_version_match: String,
    allow_watch_bookmarks: String,
    send_initial_events: String,
    timeout_seconds: Option<u64>,
    dry_run: String,
}

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// A fixed document.
    Document(Value),
    Collection(Place),
    Object(Place, String),
}

/// A kind, in a namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    group: String,
    version: String,
    plural: String,
    namespace: Option<String>,
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match respond(shared, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn respond(shared: Arc<Shared>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let asked = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let met = shared.faults().meet(&parts.method, &asked);
    if let Some(answer) = met {
        answer.carry_out(&parts.headers).await?;
    }
    let target = target(&shared.store(), parts.uri.path()).ok_or_else(Failure::no_such_path)?;
    let Query(parameters) = Query::<Parameters>::try_from_uri(&parts.uri)
        .map_err(|error| Failure::bad_request(error.body_text()))?;
    let form = Form::accepted(text(&parts.headers, header::ACCEPT.as_str()))?;
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| {
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            "the request body is too large",
        )
    })?;
    match (&parts.method, target) {
        (&Method::GET, Target::Document(document)) => Ok(json_response(StatusCode::OK, &document)),
        (&Method::GET, Target::Collection(place)) => read(shared, &place, &parameters, form),
        (&Method::GET, Target::Object(place, name)) => {
            let store = shared.store();
            let (key, rendering) = object(&store, &place, name, form)?;
            let stored = store
                .get(&key)
                .ok_or_else(|| Failure::no_such_object(&key.resource.to_string(), &key.name))?;
            Ok(text_response(StatusCode::OK, rendering.object(stored)))
        }
        (method, Target::Collection(place)) => {
            let write = Write {
                method,
                headers: &parts.headers,
                parameters: &parameters,
                body: &body,
            };
            write.carry_out(&shared, &place, String::new(), form)
        }
        (method, Target::Object(place, name)) => {
            let write = Write {
                method,
                headers: &parts.headers,
                parameters: &parameters,
                body: &body,
            };
            write.carry_out(&shared, &place, name, form)
        }
        (_, Target::Document(_)) => Err(method_not_allowed()),
    }
}

fn method_not_allowed() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )
}

fn text<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A boolean query parameter: clients write `true` and `1`.
fn yes(text: &str) -> bool {
    matches!(text, "true" | "1" | "True")
}

fn target(store: &Store, path: &str) -> Option<Target> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let document = |document| Some(Target::Document(document));
    let resources = store.resources();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz"] => document(json!("ok")),
        ["version"] => document(version()),
        ["api"] => document(resource::core_versions()),
        ["apis"] => document(resource::groups(resources)),
        ["api", version] => document(resource::resource_list(resources, "", version)?),
        ["apis", group] => document(resource::group(resources, group)?),
        ["apis", group, version] => document(resource::resource_list(resources, group, version)?),
        ["api", version, rest @ ..] => within(store, "", version, rest),
        ["apis", group, version, rest @ ..] => within(store, group, version, rest),
        _ => None,
    }
}

fn within(store: &Store, group: &str, version: &str, segments: &[&str]) -> Option<Target> {
    let place = |namespace: Option<&str>, plural: &str| Place {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    let target = match segments {
        [plural] => Target::Collection(place(None, plural)),
        ["namespaces", name] => Target::Object(place(None, "namespaces"), (*name).to_owned()),
        ["namespaces", namespace, plural] => Target::Collection(place(Some(namespace), plural)),
        ["namespaces", namespace, plural, name] => {
            Target::Object(place(Some(namespace), plural), (*name).to_owned())
        }
        [plural, name] => Target::Object(place(None, plural), (*name).to_owned()),
        _ => return None,
    };
    let (Target::Collection(found) | Target::Object(found, _)) = &target else {
        return None;
    };
    let resource = store.resource(group, version, &found.plural)?;
    let misplaced = match &target {
        Target::Object(found, _) => resource.namespaced != found.namespace.is_some(),
        _ => found.namespace.is_some() && !resource.namespaced,
    };
    (!misplaced).then_some(target)
}

/// What clients compare themselves with; the version whose behaviour is followed here.
fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": "v1.34.0+embedded",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    })
}

fn read(
    shared: Arc<Shared>,
    place: &Place,
    parameters: &Parameters,
    form: Form,
) -> Result<Response, Failure> {
    let resource_version = watch::resource_version(&parameters.resource_version)?;
    let (key, rendering) = object(&shared.store(), place, String::new(), form)?;
    let selector = Selector::parse(
        &parameters.label_selector,
        &parameters.field_selector,
        &rendering.kind,
    )
    .map_err(|error| Failure::bad_request(error.to_string()))?;
    if yes(&parameters.watch) {
        let query = WatchQuery {
            resource: key.resource,
            namespace: place.namespace.clone(),
            selector,
            rendering,
            resource_version,
            send_initial_events: yes(&parameters.send_initial_events),
            bookmarks: yes(&parameters.allow_watch_bookmarks),
            timeout: watch::timeout(parameters.timeout_seconds),
        };
        let lines = Body::from_stream(watch::watch(shared, query));
        return Ok(([(header::CONTENT_TYPE, "application/json")], lines).into_response());
    }
    let query = ListQuery {
        resource: key.resource,
        namespace: place.namespace.clone(),
        selector,
        limit: parameters.limit.unwrap_or_default(),
        continues: parameters.r#continue.clone(),
        resource_version,
        exact: parameters.resource_version_match == "Exact",
    };
    let page = list::list(&shared.store(), &query)?;
    Ok(text_response(
        StatusCode::OK,
        rendering.list(&page.metadata, &page.objects),
    ))
}

fn object(
    store: &Store,
    place: &Place,
    name: String,
    form: Form,
) -> Result<(ObjectKey, Rendering), Failure> {
    let resource = store
        .resource(&place.group, &place.version, &place.plural)
        .ok_or_else(Failure::no_such_path)?;
    let key = ObjectKey {
        resource: resource.key(),
        namespace: place.namespace.clone().unwrap_or_default(),
        name,
    };
    let rendering = Rendering {
        api_version: api_version(&place.group, &place.version),
        kind: resource.kind.clone(),
        form,
    };
    Ok((key, rendering))
}

struct Write<'request> {
    method: &'request Method,
    headers: &'request HeaderMap,
    parameters: &'request Parameters,
    body: &'request Bytes,
}

impl Write<'_> {
    fn carry_out(
        &self,
        shared: &Shared,
        place: &Place,
        name: String,
        form: Form,
    ) -> Result<Response, Failure> {
        if !self.parameters.dry_run.is_empty() {
            return Err(Failure::bad_request("this server does not do dry runs"));
        }
        let mut store = shared.store();
        let on_collection = name.is_empty();
        let (key, rendering) = object(&store, place, name, form)?;
        let kind = rendering.kind.as_str();
        let (code, stored) = match (self.method, on_collection) {
            (&Method::POST, true) => {
                let created = write::create(&mut store, key, kind, self.json()?)?;
                (StatusCode::CREATED, created)
            }
            (&Method::PUT, false) => {
                let updated = write::update(&mut store, key, kind, self.json()?)?;
                (StatusCode::OK, updated)
            }
            (&Method::PATCH, false) => {
                self.expect_merge_patch()?;
                (
                    StatusCode::OK,
                    write::merge_patch(&mut store, key, &self.json()?)?,
                )
            }
            (&Method::DELETE, false) => {
                let options = if self.body.is_empty() {
                    Value::Null
                } else {
                    self.json()?
                };
                (StatusCode::OK, write::delete(&mut store, &key, &options)?)
            }
            _ => return Err(method_not_allowed()),
        };
        shared.announce(&store);
        drop(store);
        Ok(self.written(code, &rendering, &stored))
    }

    fn written(&self, code: StatusCode, rendering: &Rendering, stored: &Stored) -> Response {
        if self.method != Method::DELETE {
            return text_response(code, rendering.object(stored));
        }
        let metadata = |field: &str| stored.value.pointer(&format!("/metadata/{field}"));
        json_response(
            code,
            &json!({
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {"name": metadata("name"), "uid": metadata("uid")},
            }),
        )
    }

    fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(self.body)
            .map_err(|error| Failure::bad_request(format!("the body is not JSON: {error}")))
    }

    fn expect_merge_patch(&self) -> Result<(), Failure> {
        let media_type = text(self.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let name = media_type.split(';').next().unwrap_or_default().trim();
        if name == "application/merge-patch+json" {
            return Ok(());
        }
        Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/merge-patch+json",
        ))
    }
}

fn json_response(code: StatusCode, value: &Value) -> Response {
    text_response(code, value.to_string().into())
}

fn text_response(code: StatusCode, text: Bytes) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::resource::Resource;
    use super::*;

    #[test]
    fn paths_mean_what_they_mean_in_kubernetes() {
        let store = Store::new(Resource::of_jenkins_x());
        let place = |group: &str, version: &str, plural: &str, namespace: Option<&str>| Place {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.map(str::to_owned),
        };
        assert_eq!(
            target(&store, "/api/v1/namespaces/jx/pods/a"),
            Some(Target::Object(
                place("", "v1", "pods", Some("jx")),
                "a".to_owned()
            ))
        );
        assert_eq!(
            target(&store, "/api/v1/namespaces/jx"),
            Some(Target::Object(
                place("", "v1", "namespaces", None),
                "jx".to_owned()
            ))
        );
        assert_eq!(
            target(&store, "/apis/tekton.dev/v1/taskruns"),
            Some(Target::Collection(place(
                "tekton.dev",
                "v1",
                "taskruns",
                None
            )))
        );
        for path in [
            "/api/v1/pods/a",
            "/api/v1/namespaces/jx/namespaces",
            "/api/v2/pods",
            "/apis/tekton.dev/v2",
            "/apis/shop.example",
            "/apis/tekton.dev/v1/namespaces/jx/taskruns/a/status",
            "/metrics",
        ] {
            assert_eq!(target(&store, path), None, "{path}");
        }
    }
}
