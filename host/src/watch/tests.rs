use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::response::{IntoResponse, Response};
use lighthouse_telemetry_core::description::{Attachment, Description, Relation, Source, Watch};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::mappers::{Compiler, Mappers};
use crate::recording::{Happening, Recording};
use crate::testing::{Asked, api, lines, status};

fn source(kind: &str, group: &str, version: &str) -> ObjectSource {
    ObjectSource {
        versions: vec!["v9".to_owned(), version.to_owned()],
        label_selector: Some("app=x".to_owned()),
        ..ObjectSource::of(group, version, kind)
    }
}

fn catalog(sources: &[ObjectSource]) -> Arc<Catalog> {
    let watches = sources
        .iter()
        .map(|source| Watch {
            source: Source::Objects(source.clone()),
            fields: vec!["/status/phase".to_owned()],
            attachments: Vec::new(),
            annotations: Vec::new(),
        })
        .collect();
    let description = Description {
        watches,
        ..Description::default()
    };
    Arc::new(Catalog::new([("test".to_owned(), description)]).expect("a catalog"))
}

pub(super) struct Watching {
    facts: mpsc::Receiver<Fact>,
    pub(super) watches: Watches,
    stop: CancellationToken,
    tasks: super::Watching,
}

pub(super) async fn watch(
    catalog: Arc<Catalog>,
    namespaces: &[&str],
    change: impl FnOnce(&mut Settings),
    answer: impl Fn(&Asked) -> Response + Send + Sync + 'static,
) -> Watching {
    follow(catalog, namespaces, change, api(answer).await)
}

pub(super) fn follow(
    catalog: Arc<Catalog>,
    namespaces: &[&str],
    change: impl FnOnce(&mut Settings),
    client: kube::Client,
) -> Watching {
    let namespaces = if namespaces.is_empty() {
        Namespaces::All
    } else {
        Namespaces::only(namespaces.iter().map(|name| (*name).to_owned()))
    };
    let mut settings = Settings::of(namespaces, None);
    settings.first_pause = Duration::from_millis(5);
    change(&mut settings);
    let (facts, taken) = mpsc::channel(4);
    let watches = Watches::default();
    let room = Room {
        settings,
        catalog,
        kinds: Arc::new(Kinds::new(client)),
        facts,
        watches: watches.clone(),
        metrics: Metrics::default(),
    };
    let stop = CancellationToken::new();
    let tasks = super::Watching::start(room, &stop);
    Watching {
        facts: taken,
        watches,
        stop,
        tasks,
    }
}

impl Watching {
    /// The next fact, short.
    pub(super) async fn next(&mut self) -> String {
        match self.facts.recv().await.expect("a fact") {
            Fact::Applied(_, object) => format!(
                "{}/{} applied at {}",
                object.reference.kind.kind, object.reference.name, object.resource_version
            ),
            Fact::Deleted(_, object) => format!("{} deleted", object.reference.name),
            Fact::Relisted(_, uids) => format!("relisted {uids:?}"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn trouble(&self, state: &str) -> Value {
        loop {
            let (_, report) = self.watches.report();
            let troubles = report["troubles"].as_array().expect("troubles");
            if let Some(trouble) = troubles.iter().find(|trouble| trouble["state"] == state) {
                return trouble.clone();
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn pod(name: &str, version: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "jx", "uid": format!("uid-{name}"), "resourceVersion": version,
            "managedFields": [{"manager": "x"}],
        },
        "status": {"phase": "Running"},
    })
}

pub(super) fn list(items: &[Value], version: &str, more: Option<&str>) -> Response {
    axum::Json(json!({
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version, "continue": more},
        "items": items,
    }))
    .into_response()
}

pub(super) fn pods() -> Arc<Catalog> {
    catalog(&[source("Pod", "", "v1")])
}

#[tokio::test]
async fn lists_in_pages_then_follows() {
    let mut watching = watch(pods(), &[], |_| {}, |asked| {
        assert!(asked.path.contains("labelSelector=app%3Dx"), "{}", asked.path);
        if asked.path.contains("watch=true") {
            assert!(asked.path.contains("resourceVersion=10"), "{}", asked.path);
            lines(
                &[
                    json!({"type": "MODIFIED", "object": pod("a", "11")}),
                    json!({"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "12"}}}),
                    json!({"type": "ADDED", "object": pod("c", "13")}),
                    json!({"type": "DELETED", "object": pod("b", "14")}),
                ],
                true,
            )
        } else if asked.path.contains("continue=more") {
            list(&[pod("b", "2")], "10", None)
        } else {
            list(&[pod("a", "1")], "10", Some("more"))
        }
    })
    .await;
    for expected in [
        "Pod/a applied at 1",
        "Pod/b applied at 2",
        "relisted {\"uid-a\", \"uid-b\"}",
        "Pod/a applied at 11",
        "Pod/c applied at 13",
        "b deleted",
    ] {
        assert_eq!(watching.next().await, expected);
    }
    assert!(watching.watches.report().0);
    watching.stop.cancel();
    watching.tasks.stopped().await;
    assert!(watching.facts.recv().await.is_none());
}

#[tokio::test]
async fn lists_of_several_namespaces_complete_each_other() {
    let lists = AtomicU32::new(0);
    let mut watching = watch(pods(), &["jx", "other"], |_| {}, move |asked| {
        let other = asked.path.contains("namespaces/other/");
        if asked.path.contains("watch=true") {
            // The one in jx is too old after its first list.
            if other || lists.load(Ordering::Relaxed) > 1 {
                return lines(&[], true);
            }
            return lines(
                &[json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "message": "too old"}})],
                false,
            );
        }
        if other {
            list(&[pod("o", "5")], "9", None)
        } else if lists.fetch_add(1, Ordering::Relaxed) == 0 {
            list(&[pod("a", "1")], "10", None)
        } else {
            list(&[pod("b", "2")], "20", None)
        }
    })
    .await;
    let mut facts = Vec::new();
    while facts.last().map(String::as_str) != Some("relisted {\"uid-b\", \"uid-o\"}") {
        facts.push(watching.next().await);
    }
    let complete = "relisted {\"uid-a\", \"uid-o\"}";
    assert!(facts.iter().any(|fact| fact == complete), "{facts:?}");
    // Never one that knows one namespace alone.
    assert!(
        facts
            .iter()
            .filter(|fact| fact.starts_with("relisted"))
            .all(|fact| fact.contains("uid-o") && fact.contains(',')),
        "{facts:?}"
    );
}

#[tokio::test]
async fn odd_objects_do_not_stop_the_rest() {
    let mut watching = watch(
        pods(),
        &[],
        |_| {},
        |asked| {
            if asked.path.contains("watch=true") {
                return lines(&[], true);
            }
            let odd = [
                json!({"metadata": {"name": 7, "uid": "uid-odd"}}),
                json!({"metadata": "nothing"}),
                json!(3),
            ];
            list(&[&odd[..], &[pod("a", "1")]].concat(), "10", None)
        },
    )
    .await;
    assert_eq!(watching.next().await, "Pod/a applied at 1");
    // What is there by its uid is not gone.
    assert_eq!(watching.next().await, "relisted {\"uid-a\", \"uid-odd\"}");
}

#[tokio::test]
async fn a_missing_kind_is_reported_and_found_when_it_comes() {
    let asked_for = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked_for);
    let sources = [
        source("Pod", "", "v1"),
        source("TaskRun", "tekton.dev", "v1"),
    ];
    let mut watching = watch(catalog(&sources), &[], |_| {}, move |asked| {
        if asked.path.contains("watch=true") {
            lines(&[], true)
        } else if asked.path == "/apis/tekton.dev/v1" {
            if counted.fetch_add(1, Ordering::Relaxed) < 3 {
                return status(404, "the server could not find the requested resource");
            }
            axum::Json(json!({
                "kind": "APIResourceList",
                "groupVersion": "tekton.dev/v1",
                "resources": [{"name": "taskruns", "singularName": "", "namespaced": true, "kind": "TaskRun", "verbs": ["list"]}],
            }))
            .into_response()
        } else if asked.path.starts_with("/apis/tekton.dev/v1/taskruns?") {
            list(&[pod("t", "3")], "10", None)
        } else if asked.path.starts_with("/api/v1/pods?") {
            list(&[pod("a", "1")], "10", None)
        } else {
            status(404, "the server could not find the requested resource")
        }
    })
    .await;
    let mut facts = Vec::new();
    for _ in 0..4 {
        facts.push(watching.next().await);
    }
    facts.sort();
    assert_eq!(
        facts,
        [
            "Pod/a applied at 1",
            "TaskRun/t applied at 3",
            "relisted {\"uid-a\"}",
            "relisted {\"uid-t\"}"
        ]
    );
    assert!(asked_for.load(Ordering::Relaxed) >= 4);
}

#[tokio::test]
async fn a_kind_that_may_not_be_read_is_reported_with_the_rule() {
    let mut watching = watch(
        pods(),
        &["jx", "closed"],
        |_| {},
        |asked| {
            if asked.path.contains("namespaces/closed/") {
                status(403, "pods is forbidden")
            } else if asked.path.contains("watch=true") {
                lines(&[], true)
            } else {
                list(&[pod("a", "1")], "10", None)
            }
        },
    )
    .await;
    let trouble = watching.trouble("forbidden").await;
    assert_eq!(trouble["namespace"], "closed");
    assert_eq!(
        trouble["detail"],
        "add this rule to the Role in namespace closed: apiGroups: [\"\"], resources: [\"pods\"], \
         verbs: [\"list\", \"watch\"]"
    );
    assert_eq!(watching.next().await, "Pod/a applied at 1");
    let mut ready = watching.watches.ready();
    ready.wait_for(|ready| *ready).await.expect("readiness");
}

#[tokio::test]
async fn a_mapper_of_a_kind_that_may_not_be_read_says_which_rule_it_needs() {
    const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("argo.wasm"), ARGO).unwrap();
    let mappers =
        Mappers::strictly(vec![directory.path().to_owned()], Compiler::default()).unwrap();
    let watching = watch(
        Arc::clone(&mappers.catalog),
        &[],
        |_| {},
        |asked| match asked.path.as_str() {
            "/apis/argoproj.io/v1alpha1" => axum::Json(json!({
                "kind": "APIResourceList", "groupVersion": "argoproj.io/v1alpha1",
                "resources": [{
                    "name": "workflows", "singularName": "workflow", "kind": "Workflow", "namespaced": true,
                    "verbs": ["get", "list", "patch", "watch"],
                }],
            }))
            .into_response(),
            path if path.contains("/workflows") => status(403, "workflows.argoproj.io is forbidden"),
            _ => status(404, "there is nothing else"),
        },
    )
    .await;
    watching.trouble("forbidden").await;
    let report = crate::mappers::Report::of(&mappers);
    let said = report.to_json(&Metrics::default(), &watching.watches);
    assert_eq!(said["mappers"][0]["name"], "argo");
    assert_eq!(
        said["mappers"][0]["kinds"][0]["watches"][0]["detail"],
        "add this rule to the ClusterRole: apiGroups: [\"argoproj.io\"], resources: [\"workflows\"], \
         verbs: [\"list\", \"watch\"]"
    );
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_asked_again() {
    let failures = Mutex::new(vec![
        status(500, "etcd is down"),
        "not JSON".into_response(),
    ]);
    let mut watching = watch(
        pods(),
        &[],
        |_| {},
        move |asked| {
            if asked.path.contains("watch=true") {
                return lines(&[], true);
            }
            match failures.lock().expect("the list").pop() {
                Some(failure) => failure,
                None => list(&[pod("a", "1")], "10", None),
            }
        },
    )
    .await;
    let trouble = watching.trouble("failing").await;
    let detail = trouble["detail"].as_str().expect("a text");
    assert!(
        detail.starts_with("the API server cannot be asked: "),
        "{detail}"
    );
    assert!(!watching.watches.report().0);
    assert_eq!(watching.next().await, "Pod/a applied at 1");
    assert_eq!(watching.next().await, "relisted {\"uid-a\"}");
    assert!(watching.watches.report().0);
}

#[tokio::test]
async fn everything_is_listed_anew_at_each_resync() {
    let change = |settings: &mut Settings| {
        settings.resync_interval = Some(Duration::from_millis(20));
    };
    let mut watching = watch(pods(), &[], change, |asked| {
        if asked.path.contains("watch=true") {
            lines(&[], true)
        } else {
            list(&[pod("a", "1")], "10", None)
        }
    })
    .await;
    for _ in 0..3 {
        assert_eq!(watching.next().await, "Pod/a applied at 1");
        assert_eq!(watching.next().await, "relisted {\"uid-a\"}");
    }
}

#[tokio::test]
async fn what_is_only_attached_is_listed_after_what_it_belongs_to() {
    let watch_of_jobs = Watch {
        source: Source::Objects(source("LighthouseJob", "lighthouse.jenkins.io", "v1alpha1")),
        fields: vec!["/status".to_owned()],
        attachments: vec![Attachment {
            source: source("Pod", "", "v1"),
            relation: Relation::Owned,
            fields: vec!["/status".to_owned()],
        }],
        annotations: Vec::new(),
    };
    let description = Description {
        watches: vec![watch_of_jobs],
        ..Description::default()
    };
    let catalog = Catalog::new([("test".to_owned(), description)]).expect("a catalog");
    let mut watching = watch(
        Arc::new(catalog),
        &[],
        |_| {},
        |asked| {
            if asked.path.contains("watch=true") {
                lines(&[], true)
            } else if asked.path.contains("lighthousejobs") {
                list(&[pod("j", "1")], "10", None)
            } else if asked.path.contains("/pods") {
                list(&[pod("p", "2")], "10", None)
            } else {
                status(404, "not found")
            }
        },
    )
    .await;
    for expected in [
        "LighthouseJob/j applied at 1",
        "relisted {\"uid-j\"}",
        "Pod/p applied at 2",
        "relisted {\"uid-p\"}",
    ] {
        assert_eq!(watching.next().await, expected);
    }
}

/// The built-in mappers on a recorded run.
#[test]
fn what_is_read_of_a_recorded_object_is_enough() {
    let catalog = Mappers::builtin().expect("the built-in mappers").catalog;
    let recording = include_str!("../../recordings/pull-request.ndjson");
    let recording = Recording::parse(recording).expect("a recording");
    let mut compared = 0;
    for entry in recording.entries() {
        let Happening::Applied(object) = &entry.happening else {
            continue;
        };
        let text = object.to_string();
        for (id, source) in catalog.sources() {
            if object["kind"] != source.kind.as_str() {
                continue;
            }
            let read = decode(text.as_bytes(), &catalog, id).expect("an object");
            let whole = catalog.object(id, object).expect("an object");
            assert_eq!(format!("{read:?}"), format!("{whole:?}"));
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}
