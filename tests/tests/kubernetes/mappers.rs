//! A mapper of a kind that the host does not know, mounted as the kubelet mounts a ConfigMap: it comes while the process
//! runs, is replaced while its objects are under way, and goes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::process::{Process, command};
use lighthouse_telemetry_tests::{wait, web};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::processes::receiver;
use super::{Ground, Test};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[(
    "a_mapper_of_a_foreign_kind_comes_is_replaced_and_goes",
    |ground| Box::pin(foreign_kind(ground)),
)];

/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// The service of its spans, as it stands in the module.
const SERVICE: &str = "Argo.Workflow";
/// As long, so that the module is valid with it in its place.
const OTHER_SERVICE: &str = "Argo.Replaced";

/// A ConfigMap as the kubelet mounts it.
struct Mount {
    directory: TempDir,
    generation: u32,
}

impl Mount {
    fn new() -> Result<Self> {
        let mut mount = Self {
            directory: tempfile::tempdir()?,
            generation: 0,
        };
        mount.swap(&[])?;
        Ok(mount)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Another content, all at once: a new directory, to which `..data` is swapped; the one before is removed.
    fn swap(&mut self, files: &[(&str, &[u8])]) -> Result<()> {
        let path = self.directory.path();
        let before = path.join(format!("..{}", self.generation));
        self.generation += 1;
        let name = format!("..{}", self.generation);
        fs::create_dir(path.join(&name))?;
        for (file, bytes) in files {
            fs::write(path.join(&name).join(file), bytes)?;
        }
        symlink(&name, path.join("..data_tmp"))?;
        fs::rename(path.join("..data_tmp"), path.join("..data"))?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("..") {
                fs::remove_file(entry.path())?;
            }
        }
        for (file, _) in files {
            symlink(format!("..data/{file}"), path.join(file))?;
        }
        if before.exists() {
            fs::remove_dir_all(before)?;
        }
        Ok(())
    }
}

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "workflows.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Workflow", "listKind": "WorkflowList", "plural": "workflows", "singular": "workflow"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
            }],
        },
    })
}

fn workflow(name: &str, is_over: bool) -> Value {
    let finished = is_over.then_some("2026-03-02T09:00:40Z");
    let phase = if is_over { "Succeeded" } else { "Running" };
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {"name": name, "namespace": "jx", "uid": format!("alias-of-{name}")},
        "spec": {"workflowTemplateRef": {"name": "build"}},
        "status": {
            "phase": phase, "startedAt": "2026-03-02T09:00:01Z", "finishedAt": finished,
            "nodes": {
                format!("{name}-1"): {
                    "displayName": "compile", "templateName": "compile", "type": "Pod", "phase": phase,
                    "boundaryID": name, "startedAt": "2026-03-02T09:00:02Z", "finishedAt": finished,
                },
            },
        },
    })
}

/// A Pod that a Workflow has made.
fn pod(name: &str, workflow: &str) -> Value {
    let at = |second: u32| format!("2026-03-02T09:00:{second:02}Z");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "jx", "uid": format!("alias-of-{name}"),
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": workflow,
                "uid": format!("alias-of-{workflow}"), "controller": true,
            }],
        },
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "compiler"}]},
        "status": {
            "phase": "Succeeded", "startTime": at(3),
            "containerStatuses": [{
                "name": "main", "image": "compiler", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": "containerd://1",
                "state": {"terminated": {
                    "exitCode": 0, "reason": "Completed", "startedAt": at(5), "finishedAt": at(30),
                    "containerID": "containerd://1",
                }},
            }],
        },
    })
}

/// A span, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    service: String,
    name: String,
    /// Name of the object, if it is a main span.
    object: Option<String>,
    /// Where its end comes from, if not from the object.
    end: Option<String>,
}

fn spans(received: &[ResourceSpans]) -> Vec<Span> {
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
    let text = |attributes: &[KeyValue], key: &str| {
        let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    let mut spans = Vec::new();
    for resource in received.iter().cloned() {
        let of = resource.resource.unwrap_or_default().attributes;
        let service = text(&of, "service.name").unwrap_or_default();
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            spans.push(Span {
                trace: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                service: service.clone(),
                object: text(&span.attributes, "k8s.object.name").or_else(|| {
                    let is_main = span.name == "pod";
                    text(&span.attributes, "k8s.pod.name").filter(|_| is_main)
                }),
                end: text(&span.attributes, "lighthouse.telemetry.end"),
                name: span.name,
            });
        }
    }
    spans
}

/// Waits for the main span of an object.
async fn main_span(receiver: &Receiver, object: &str) -> Result<Span> {
    let of = |span: &Span| span.object.as_deref() == Some(object);
    let arrived = receiver.wait_for(|received| spans(received).iter().any(of));
    let arrived = tokio::time::timeout(PATIENCE, arrived).await;
    let spans = spans(&arrived.unwrap_or_else(|_| receiver.spans()));
    let span = spans.iter().find(|span| of(span)).cloned();
    span.with_context(|| format!("no span of {object} arrives; there are {spans:?}"))
}

/// Waits until what the process says of its mappers is as wished.
async fn mappers(process: &Process, what: &str, wished: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut said = Value::Null;
    let waited = wait::until(PATIENCE, async || {
        said = serde_json::from_str(&web::get(process.admin(), "/api/mappers").await?)?;
        Ok(wished(&said))
    })
    .await;
    waited.with_context(|| format!("{what}: the process says {said}"))?;
    Ok(said)
}

/// The Argo mapper in what the process says.
fn argo(said: &Value) -> Option<&Value> {
    let mut mappers = said.get("mappers")?.as_array()?.iter();
    mappers.find(|mapper| mapper.get("name") == Some(&json!("argo")))
}

fn of_argo<'a>(said: &'a Value, pointer: &str) -> Option<&'a Value> {
    argo(said)?.pointer(pointer)
}

fn is_watched(said: &Value, state: &str) -> bool {
    of_argo(said, "/kinds/0/watches/0/state") == Some(&json!(state))
}

/// Waits until no watch of Workflows is shown.
async fn unwatched(process: &Process) -> Result<()> {
    let is_watch = |line: &str| {
        line.starts_with("lighthouse_telemetry_watches{") && line.contains("Workflow.argoproj.io")
    };
    wait::until(PATIENCE, async || {
        let metrics = web::get(process.admin(), "/metrics").await?;
        Ok(!metrics.lines().any(is_watch))
    })
    .await
}

/// The same module with another name of its service.
fn renamed(module: &[u8]) -> Result<Vec<u8>> {
    let (from, to) = (SERVICE.as_bytes(), OTHER_SERVICE.as_bytes());
    let mut module = module.to_vec();
    let places = module.windows(from.len()).enumerate();
    let places: Vec<usize> = places
        .filter(|(_, window)| *window == from)
        .map(|(place, _)| place)
        .collect();
    ensure!(!places.is_empty(), "the module does not name its service");
    for place in places {
        let there = module.get_mut(place..place + to.len());
        there.context("beyond the module")?.copy_from_slice(to);
    }
    Ok(module)
}

async fn foreign_kind(ground: &Ground) -> Result<()> {
    let module = fs::read(ground.components.join("argo-workflow.wasm"))?;
    let other = renamed(&module)?;
    let receiver = receiver().await?;
    let mut namespace = Namespace::create(ground.new.client(), "mappers").await?;
    let mut mount = Mount::new()?;
    let directory = mount.path().display().to_string();
    let arguments = [
        "--namespace",
        namespace.name(),
        "--settle",
        "1s",
        "--mappers",
        &directory,
    ];
    let process = Process::start(
        &ground.binary,
        ground.new.kubeconfig(),
        &receiver.grpc_endpoint(),
        &arguments.map(str::to_owned),
    )
    .await?;
    process.ready().await?;

    mount.swap(&[("argo.wasm", &module)])?;
    let missing = |said: &Value| is_watched(said, "missing");
    mappers(&process, "the kind is not said to be missing", missing).await?;
    ground.new.establish(&definition()).await?;
    let listed = |said: &Value| is_watched(said, "listed");
    mappers(&process, "the kind is not watched", listed).await?;
    namespace.apply(&workflow("first", true)).await?;
    let first = main_span(&receiver, "first").await?;
    ensure!(first.service == SERVICE, "{first:?}");

    // A Workflow and its Pod are under way when the mapper is replaced: by what is none, and by what is one.
    namespace.apply(&workflow("second", false)).await?;
    namespace.apply(&pod("second-pod", "second")).await?;
    let pod_span = main_span(&receiver, "second-pod").await?;
    let (half, _) = module.split_at(module.len() / 2);
    mount.swap(&[("argo.wasm", half)])?;
    let refused = |said: &Value| of_argo(said, "/refused").is_some_and(Value::is_object);
    let said = mappers(&process, "half a module is not refused", refused).await?;
    ensure!(of_argo(&said, "/inUse") == Some(&json!(true)), "{said}");
    mount.swap(&[("argo.wasm", &other)])?;
    let digest = of_argo(&said, "/digest").cloned();
    let replaced = |said: &Value| {
        let is_fine = of_argo(said, "/refused").is_some_and(Value::is_null);
        is_fine && of_argo(said, "/digest") != digest.as_ref()
    };
    mappers(&process, "the mapper is not replaced", replaced).await?;
    namespace.apply(&workflow("third", true)).await?;
    namespace.apply(&workflow("second", true)).await?;
    for name in ["second", "third"] {
        let span = main_span(&receiver, name).await?;
        ensure!(span.service == OTHER_SERVICE, "{span:?}");
    }
    // The Pod was exported before the Workflow ended, and by its id the trace is whole.
    let second = main_span(&receiver, "second").await?;
    ensure!(pod_span.parent == second.id, "{pod_span:?} {second:?}");
    ensure!(pod_span.trace == second.trace, "{pod_span:?} {second:?}");

    list(ground, &process).await?;

    // A Workflow is under way when the mapper goes.
    let calls = |said: &Value| of_argo(said, "/calls").and_then(Value::as_u64);
    let before =
        calls(&mappers(&process, "the mapper is gone", |said| argo(said).is_some()).await?);
    namespace.apply(&workflow("fourth", false)).await?;
    let mapped = |said: &Value| calls(said) > before;
    mappers(&process, "the fourth is not mapped", mapped).await?;
    mount.swap(&[])?;
    let gone = |said: &Value| argo(said).is_none();
    mappers(&process, "the mapper does not go", gone).await?;
    let unwatched = unwatched(&process).await;
    unwatched.context("the kind is still watched")?;
    let fourth = main_span(&receiver, "fourth").await?;
    ensure!(fourth.end.as_deref() == Some("unwatched"), "{fourth:?}");
    namespace.apply(&workflow("fifth", true)).await?;
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}", ended.log);

    let spans = spans(&receiver.spans());
    ensure!(
        !spans
            .iter()
            .any(|span| span.object.as_deref() == Some("fifth")),
        "{spans:?}"
    );
    let mut ids = BTreeMap::new();
    for span in &spans {
        let before = ids.insert(span.id.clone(), span);
        ensure!(before.is_none(), "exported twice: {before:?} {span:?}");
    }
    Ok(())
}

/// What `mappers list` shows.
async fn list(ground: &Ground, process: &Process) -> Result<()> {
    let server = format!("http://{}", process.admin());
    let binary = ground.binary.clone();
    let listed = tokio::task::spawn_blocking(move || {
        let list = ["mappers", "list", "--server", &server];
        command(&binary).args(list).output()
    });
    let listed = listed.await??;
    let text = String::from_utf8(listed.stdout)?;
    ensure!(
        listed.status.success(),
        "{text} {}",
        String::from_utf8(listed.stderr)?
    );
    for shown in ["argo ", "Workflow.argoproj.io", "built-in", "Last reload"] {
        ensure!(text.contains(shown), "{shown} in {text}");
    }
    Ok(())
}
