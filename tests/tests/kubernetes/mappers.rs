//! A mapper of a kind that the host does not know, mounted as the kubelet mounts a ConfigMap: it comes while the process
//! runs, is replaced while its objects are under way, and goes.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry_tests::mount::{Mount, renamed};
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::process::{Process, command};
use lighthouse_telemetry_tests::{wait, web};
use serde_json::{Value, json};

use super::foreign::{PATIENCE, definition, main_span, mapper, mappers, pod, spans};
use super::processes::receiver;
use super::{Ground, Test};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[(
    "a_mapper_of_a_foreign_kind_comes_is_replaced_and_goes",
    |ground| Box::pin(foreign_kind(ground)),
)];

/// The service of its spans, as it stands in the module.
const SERVICE: &str = "Argo.Workflow";
/// As long, so that the module is valid with it in its place.
const OTHER_SERVICE: &str = "Argo.Replaced";

/// A Workflow with one node.
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

fn of_argo<'a>(said: &'a Value, pointer: &str) -> Option<&'a Value> {
    mapper(said, "argo")?.pointer(pointer)
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

async fn foreign_kind(ground: &Ground) -> Result<()> {
    let module = fs::read(ground.components.join("argo-workflow.wasm"))?;
    let other = renamed(&module, SERVICE, OTHER_SERVICE)?;
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
    ground
        .new
        .establish(&definition("argoproj.io", "v1alpha1", "Workflow"))
        .await?;
    let listed = |said: &Value| is_watched(said, "listed");
    mappers(&process, "the kind is not watched", listed).await?;
    namespace.apply(&workflow("first", true)).await?;
    let first = main_span(&receiver, "first").await?;
    ensure!(first.service == SERVICE, "{first:?}");

    // A Workflow and its Pod are under way when the mapper is replaced: by what is none, and by what is one.
    namespace.apply(&workflow("second", false)).await?;
    let owner = ("argoproj.io/v1alpha1", "Workflow", "second");
    namespace.apply(&pod("second-pod", owner)).await?;
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
    let before = calls(
        &mappers(&process, "the mapper is gone", |said| {
            mapper(said, "argo").is_some()
        })
        .await?,
    );
    namespace.apply(&workflow("fourth", false)).await?;
    let mapped = |said: &Value| calls(said) > before;
    mappers(&process, "the fourth is not mapped", mapped).await?;
    mount.swap(&[])?;
    let gone = |said: &Value| mapper(said, "argo").is_none();
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
