//! The embedded Kubernetes API as its clients see it: through the `kube` client, and on the wire.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::core::GroupVersionKind;
use kube::runtime::watcher;
use lighthouse_telemetry::embedded::{Answer, Fault, Server};
use lighthouse_telemetry_core::description::ObjectSource;
use serde_json::{Value, json};

/// Long enough that only a test that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the embedded API did not answer")
}

fn pod(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "jx", "uid": format!("uid-{name}"), "labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": "shop"}]},
    })
}

async fn server(pods: &[&str]) -> (Server, Api<Pod>) {
    let server = Server::start().await.unwrap();
    for name in pods {
        server.apply(pod(name, "shop")).unwrap();
    }
    let api = Api::namespaced(server.client().unwrap(), "jx");
    (server, api)
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not an answer of the API: {other}"),
    }
}

fn name_of(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap()
}

#[tokio::test]
async fn discovery_finds_every_kind_in_its_preferred_version() {
    let (server, _) = server(&[]).await;
    server
        .apply(json!({"apiVersion": "shop.example/v2", "kind": "Policy", "metadata": {"name": "a", "namespace": "jx", "uid": "u"}}))
        .unwrap();
    let client = server.client().unwrap();
    let discovery = soon(kube::Discovery::new(client.clone()).run())
        .await
        .unwrap();
    let run = GroupVersionKind::gvk("tekton.dev", "v1", "PipelineRun");
    let (resource, capabilities) = discovery.resolve_gvk(&run).unwrap();
    assert_eq!(resource.plural, "pipelineruns");
    assert_eq!(capabilities.scope, kube::discovery::Scope::Namespaced);
    let policy = GroupVersionKind::gvk("shop.example", "v2", "Policy");
    assert_eq!(discovery.resolve_gvk(&policy).unwrap().0.plural, "policies");
    let pods = GroupVersionKind::gvk("", "v1", "Pod");
    let (resource, _) = soon(kube::discovery::pinned_kind(&client, &pods))
        .await
        .unwrap();
    assert_eq!(resource.plural, "pods");
    soon(client.apiserver_version()).await.unwrap();
}

#[tokio::test]
async fn get_as_partial_metadata_and_in_another_version() {
    let (server, pods) = server(&["a"]).await;
    let partial = soon(pods.get_metadata("a")).await.unwrap();
    assert_eq!(partial.types.unwrap().kind, "PartialObjectMetadata");
    assert_eq!(partial.metadata.uid.as_deref(), Some("uid-a"));
    assert_eq!(code(soon(pods.get("b")).await.unwrap_err()), 404);

    server
        .apply(json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "t", "namespace": "jx", "uid": "t"}}))
        .unwrap();
    let beta = GroupVersionKind::gvk("tekton.dev", "v1beta1", "TaskRun");
    let beta = ApiResource::from_gvk_with_plural(&beta, "taskruns");
    let runs: Api<DynamicObject> = Api::namespaced_with(server.client().unwrap(), "jx", &beta);
    let run = soon(runs.get("t")).await.unwrap();
    assert_eq!(run.types.unwrap().api_version, "tekton.dev/v1beta1");
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let (server, pods) = server(&["a", "b", "c"]).await;
    server.apply(pod("d", "blog")).unwrap();
    let parameters = ListParams::default().labels("app in (shop)").limit(2);
    let first = soon(pods.list(&parameters)).await.unwrap();
    assert_eq!(
        first.items.iter().map(name_of).collect::<Vec<_>>(),
        ["a", "b"]
    );
    let next = parameters
        .clone()
        .continue_token(first.metadata.continue_.as_deref().unwrap());
    let second = soon(pods.list(&next)).await.unwrap();
    assert_eq!(second.items.iter().map(name_of).collect::<Vec<_>>(), ["c"]);

    let by_name = ListParams::default().fields("metadata.name=d");
    assert_eq!(soon(pods.list(&by_name)).await.unwrap().items.len(), 1);
    let all: Api<Pod> = Api::all(server.client().unwrap());
    assert_eq!(
        soon(all.list(&ListParams::default()))
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    let elsewhere: Api<Pod> = Api::namespaced(server.client().unwrap(), "other");
    assert_eq!(
        soon(elsewhere.list(&ListParams::default()))
            .await
            .unwrap()
            .items
            .len(),
        0
    );

    server.apply(pod("d", "shop")).unwrap();
    server.compact();
    assert_eq!(code(soon(pods.list(&next)).await.unwrap_err()), 410);
    let wrong = ListParams::default().labels("app in shop");
    assert_eq!(code(soon(pods.list(&wrong)).await.unwrap_err()), 400);
}

#[tokio::test]
async fn items_of_a_core_list_do_not_say_their_kind() {
    let (server, _) = server(&["a"]).await;
    server
        .apply(json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "t", "namespace": "jx", "uid": "t"}}))
        .unwrap();
    let client = server.client().unwrap();
    let list = async |path: &str| {
        let request = Request::get(path).body(Vec::new()).unwrap();
        soon(client.request::<Value>(request)).await.unwrap()
    };
    let pods = list("/api/v1/pods").await;
    assert_eq!(pods["kind"], "PodList");
    assert_eq!(pods["items"][0].get("kind"), None);
    let runs = list("/apis/tekton.dev/v1/taskruns").await;
    assert_eq!(runs["items"][0]["kind"], "TaskRun");
}

#[tokio::test]
async fn a_watch_tells_what_changes_for_its_selector() {
    let (server, pods) = server(&["a"]).await;
    let parameters = WatchParams::default().labels("app=shop");
    let mut events = soon(pods.watch(&parameters, "0")).await.unwrap().boxed();
    server.apply(pod("b", "blog")).unwrap();
    server.apply(pod("b", "shop")).unwrap();
    server.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": "jx", "uid": "uid-b", "labels": {"app": "shop"}}})).unwrap();
    server.apply(pod("b", "blog")).unwrap();
    server.delete(&pod("a", "shop")).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        match soon(events.try_next()).await.unwrap().unwrap() {
            WatchEvent::Added(pod) => seen.push(format!("+{}", name_of(&pod))),
            WatchEvent::Modified(pod) => seen.push(format!("~{}", name_of(&pod))),
            WatchEvent::Deleted(pod) => seen.push(format!("-{}", name_of(&pod))),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(seen, ["+a", "+b", "~b", "-b", "-a"]);
    assert_eq!(server.newest_resource_version(), 7);
    let mine = ObjectSource {
        label_selector: Some("app=blog".to_owned()),
        ..ObjectSource::of("", "v1", "Pod")
    };
    assert_eq!(server.newest_of(&mine), Ok(6));
}

#[tokio::test]
async fn a_watch_goes_on_from_a_resource_version_and_ends_in_a_bookmark() {
    let (server, pods) = server(&["a", "b"]).await;
    let parameters = WatchParams::default().timeout(1);
    let events: Vec<_> = soon(
        soon(pods.watch(&parameters, "2"))
            .await
            .unwrap()
            .try_collect(),
    )
    .await
    .unwrap();
    assert!(
        matches!(&events[0], WatchEvent::Added(pod) if name_of(pod) == "b"),
        "{events:?}"
    );
    let newest = server.newest_resource_version().to_string();
    assert!(
        matches!(&events[1..], [WatchEvent::Bookmark(bookmark)] if bookmark.metadata.resource_version == newest),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_watch_from_before_the_compaction_is_told_gone() {
    let (server, pods) = server(&["a", "b"]).await;
    server.compact();
    let mut events = soon(pods.watch(&WatchParams::default(), "2"))
        .await
        .unwrap()
        .boxed();
    match soon(events.try_next()).await.unwrap() {
        Some(WatchEvent::Error(status)) => assert_eq!(status.code, 410),
        other => panic!("{other:?}"),
    }
    assert!(soon(events.try_next()).await.unwrap().is_none());
    server.apply(pod("c", "shop")).unwrap();
    let mut events = soon(pods.watch(&WatchParams::default(), "3"))
        .await
        .unwrap()
        .boxed();
    assert!(matches!(
        soon(events.try_next()).await.unwrap(),
        Some(WatchEvent::Added(_))
    ));
}

/// The names a watcher holds after each of its events until `enough` of them is true.
async fn watched(
    events: &mut (impl futures::Stream<Item = Result<watcher::Event<Pod>, watcher::Error>> + Unpin),
    names: &mut std::collections::BTreeSet<String>,
    enough: impl Fn(&std::collections::BTreeSet<String>) -> bool,
) {
    let mut listed = std::collections::BTreeSet::new();
    while !enough(names) {
        match soon(events.next()).await.unwrap() {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.insert(name_of(&pod).to_owned());
            }
            Ok(watcher::Event::InitDone) => *names = std::mem::take(&mut listed),
            Ok(watcher::Event::Apply(pod)) => {
                names.insert(name_of(&pod).to_owned());
            }
            Ok(watcher::Event::Delete(pod)) => {
                names.remove(name_of(&pod));
            }
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn a_watcher_recovers_from_dropped_watches_refusals_and_compaction() {
    let (server, pods) = server(&["a", "b"]).await;
    for config in [
        watcher::Config::default().page_size(1),
        watcher::Config::default().streaming_lists(),
    ] {
        server.apply(pod("a", "shop")).unwrap();
        let mut events = watcher(pods.clone(), config).boxed();
        let mut names = std::collections::BTreeSet::new();
        watched(&mut events, &mut names, |names| names.len() == 2).await;
        let refused = server.break_with(Fault {
            method: Some(Method::GET),
            path: "watch=true".to_owned(),
            times: Some(1),
            answer: Answer::Refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        });
        server.drop_watches();
        server.delete(&pod("a", "shop")).unwrap();
        server.compact();
        watched(&mut events, &mut names, |names| !names.contains("a")).await;
        assert_eq!(server.hits(refused), 1);
    }
}

#[tokio::test]
async fn a_merge_patch_sets_annotations_and_minds_uid_and_resource_version() {
    let (server, pods) = server(&["a"]).await;
    let patch = |metadata: Value| Patch::Merge(json!({"metadata": metadata}));
    let set = patch(json!({"uid": "uid-a", "annotations": {"x": "1"}}));
    let patched = soon(pods.patch("a", &PatchParams::default(), &set))
        .await
        .unwrap();
    assert_eq!(patched.metadata.resource_version.as_deref(), Some("3"));
    assert_eq!(patched.metadata.annotations.unwrap()["x"], "1");
    // The same once more changes nothing.
    soon(pods.patch("a", &PatchParams::default(), &set))
        .await
        .unwrap();
    assert_eq!(server.newest_resource_version(), 3);
    // Its controller writes on, and the annotation stays.
    server.apply(pod("a", "blog")).unwrap();
    assert_eq!(
        server.get(&pod("a", "blog")).unwrap()["metadata"]["annotations"]["x"],
        "1"
    );

    for refused in [json!({"uid": "other"}), json!({"resourceVersion": "3"})] {
        let answer = soon(pods.patch("a", &PatchParams::default(), &patch(refused))).await;
        assert_eq!(code(answer.unwrap_err()), 409);
    }
    let missing = soon(pods.patch("b", &PatchParams::default(), &set)).await;
    assert_eq!(code(missing.unwrap_err()), 404);
    let strategic = Patch::Strategic(json!({"metadata": {"annotations": {"x": "1"}}}));
    let answer = soon(pods.patch("a", &PatchParams::default(), &strategic)).await;
    assert_eq!(code(answer.unwrap_err()), 415);
}

#[tokio::test]
async fn objects_are_created_updated_and_deleted() {
    let (_server, pods) = server(&[]).await;
    let new: Pod = serde_json::from_value(json!({
        "metadata": {"generateName": "a-"}, "spec": {"containers": [{"name": "main"}]},
    }))
    .unwrap();
    let created = soon(pods.create(&PostParams::default(), &new))
        .await
        .unwrap();
    let name = name_of(&created);
    assert!(
        name.len() > 2
            && created.metadata.uid.is_some()
            && created.metadata.creation_timestamp.is_some()
    );
    assert_eq!(
        code(
            soon(pods.create(&PostParams::default(), &created))
                .await
                .unwrap_err()
        ),
        409
    );

    let updated = soon(pods.replace(name, &PostParams::default(), &created))
        .await
        .unwrap();
    assert_eq!(
        updated.metadata.resource_version,
        created.metadata.resource_version
    );
    let mut changed = created.clone();
    changed.metadata.labels = Some([("app".to_owned(), "shop".to_owned())].into());
    soon(pods.replace(name, &PostParams::default(), &changed))
        .await
        .unwrap();
    // The second writer has not read what the first wrote.
    changed.metadata.labels = None;
    assert_eq!(
        code(
            soon(pods.replace(name, &PostParams::default(), &changed))
                .await
                .unwrap_err()
        ),
        409
    );

    let another = DeleteParams::default().preconditions(kube::api::Preconditions {
        uid: Some("other".to_owned()),
        resource_version: None,
    });
    assert_eq!(
        code(soon(pods.delete(name, &another)).await.unwrap_err()),
        409
    );
    soon(pods.delete(name, &DeleteParams::default()))
        .await
        .unwrap();
    assert_eq!(
        code(
            soon(pods.delete(name, &DeleteParams::default()))
                .await
                .unwrap_err()
        ),
        404
    );
}

#[tokio::test]
async fn faults_refuse_what_they_are_for_until_healed() {
    let (server, pods) = server(&["a"]).await;
    let fault = server.break_with(Fault {
        method: None,
        path: "/pods".to_owned(),
        times: None,
        answer: Answer::Refuse(StatusCode::FORBIDDEN, "Forbidden"),
    });
    assert_eq!(code(soon(pods.get("a")).await.unwrap_err()), 403);
    assert_eq!(
        code(soon(pods.list(&ListParams::default())).await.unwrap_err()),
        403
    );
    assert_eq!(server.hits(fault), 2);
    server.heal(fault);
    soon(pods.get("a")).await.unwrap();
}

#[tokio::test]
async fn one_too_many_is_told_when_to_come_back() {
    let (server, pods) = server(&["a"]).await;
    let fault = server.break_with(Fault {
        method: None,
        path: "/pods".to_owned(),
        times: Some(1),
        answer: Answer::TooMany(7),
    });
    match soon(pods.get("a")).await.unwrap_err() {
        kube::Error::Api(status) => {
            assert_eq!(status.code, 429);
            assert_eq!(status.details.unwrap().retry_after_seconds, 7);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.hits(fault), 1);
    soon(pods.get("a")).await.unwrap();
}

#[tokio::test]
async fn a_token_is_demanded() {
    let (server, pods) = server(&["a"]).await;
    server.break_with(Fault {
        method: None,
        path: String::new(),
        times: None,
        answer: Answer::Demand("new".to_owned()),
    });
    assert_eq!(code(soon(pods.get("a")).await.unwrap_err()), 401);
    let mut config = kube::Config::new(server.url().parse().unwrap());
    config.auth_info.token = Some("new".to_owned().into());
    let client = kube::Client::try_from(config).unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "jx");
    soon(pods.get("a")).await.unwrap();
}

#[tokio::test]
async fn a_silenced_watch_stays_open_and_says_nothing() {
    let (server, pods) = server(&["a"]).await;
    let parameters = WatchParams::default().timeout(1);
    let mut silent = soon(pods.watch(&parameters, "0")).await.unwrap().boxed();
    assert!(soon(silent.try_next()).await.unwrap().is_some());
    server.silence_watches();
    server.apply(pod("b", "shop")).unwrap();
    // Another one tells, and ends in its time.
    let another = soon(pods.watch(&parameters, "0")).await.unwrap();
    let told: Vec<_> = soon(another.try_collect()).await.unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    let next = tokio::time::timeout(Duration::from_millis(100), silent.next()).await;
    assert!(next.is_err(), "{next:?}");
    // Only a server that ends does not leave it open.
    server.drop_watches();
    assert!(soon(silent.try_next()).await.unwrap().is_none());
}
