//! `docs/mappers.md` followed on a cluster as it is written, with the real kubectl and helm.
//!
//! Only the kubelet is missing, and what it does this does: it mounts what the chart tells a Pod to mount, and starts the plugin
//! as the Pod's account with the Pod's options. A port cannot be forwarded without one; of that command it is seen whether there
//! is such a port, and what asks there is sent to the plugin.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::cluster::{request, string};
use lighthouse_telemetry_tests::guide::{Block, Desk, blocks};
use lighthouse_telemetry_tests::helm::{RELEASE, chart};
use lighthouse_telemetry_tests::mount::Mount;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::process::Process;
use lighthouse_telemetry_tests::{tool, wait};
use serde_json::{Value, json};

use super::chart::put;
use super::foreign::{PATIENCE, build, definition, main_span, pod};
use super::processes::receiver;
use super::{Ground, Test};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[(
    "the_guide_is_followed_on_a_cluster_as_it_is_written",
    |ground| Box::pin(followed(ground)),
)];

/// The namespace and the kind of the guide.
const NAMESPACE: &str = "jx";
const API_VERSION: &str = "example.com/v1";

/// A stand-in that is kubectl but for `port-forward -n NAMESPACE OBJECT PORT`.
const KUBECTL: &str = r#"#!/bin/sh
if [ "$1" = port-forward ]; then
  ports=$('KUBECTL' get "$2" "$3" "$4" --output 'jsonpath={.spec.template.spec.containers[*].ports[*].containerPort}') || exit 1
  case " $ports " in
  *" $5 "*) exit 0 ;;
  *) echo "$4 has the ports $ports, and not $5" >&2; exit 1 ;;
  esac
fi
exec 'KUBECTL' "$@"
"#;

fn desk(ground: &Ground) -> Result<Desk> {
    let script = |path: &Path| format!("#!/bin/sh\nexec '{}' \"$@\"\n", path.display());
    let kubectl = KUBECTL.replace("KUBECTL", &tool::find("kubectl")?.display().to_string());
    let desk = Desk::new(&[
        ("kubectl", &kubectl),
        ("helm", &script(&tool::find("helm")?)),
        ("lighthouse-telemetry", &script(&ground.binary)),
    ])?;
    let charts = chart();
    let charts = charts.parent().context("no folder of charts")?;
    symlink(fs::canonicalize(charts)?, desk.file("charts"))?;
    Ok(desk)
}

/// Runs commands to their end; what they print.
async fn run(ground: &Ground, mut command: Command, what: &str) -> Result<String> {
    command.env("KUBECONFIG", ground.new.kubeconfig());
    let output: Output = tokio::task::spawn_blocking(move || command.output()).await??;
    let [said, complaints] = [output.stdout, output.stderr].map(String::from_utf8);
    let (said, complaints) = (said?, complaints?);
    ensure!(output.status.success(), "{what}\n{said}\n{complaints}");
    Ok(said)
}

/// The plugin as the kubelet would start it.
struct Pod {
    process: Process,
    _mounts: Vec<Mount>,
}

impl Pod {
    async fn start(ground: &Ground, receiver: &Receiver) -> Result<Self> {
        let client = ground.new.client();
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}");
        let deployment = request(client, "GET", &path, None).await?;
        let spec = deployment.pointer("/spec/template/spec");
        let spec = spec.context("no template of a Pod")?;
        let mut arguments = vec!["--settle=1s".to_owned()];
        let mut mounts = Vec::new();
        for argument in items(spec, "/containers/0/args") {
            let argument = argument.as_str().context("an argument is no text")?;
            if argument.starts_with("--namespace=") {
                arguments.push(argument.to_owned());
            } else if let Some(directory) = argument.strip_prefix("--mappers=") {
                let mount = mounted(ground, spec, directory).await?;
                arguments.push(format!("--mappers={}", mount.path().display()));
                mounts.push(mount);
            }
        }
        ensure!(!mounts.is_empty(), "it has no mappers: {spec}");
        let account = string(spec, "/serviceAccountName")?;
        let kubeconfig = ground.new.kubeconfig_of(NAMESPACE, &account).await?;
        let endpoint = receiver.grpc_endpoint();
        let process =
            Process::start(&ground.binary, kubeconfig.path(), &endpoint, &arguments).await?;
        process.ready().await?;
        Ok(Self {
            process,
            _mounts: mounts,
        })
    }
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let items = value.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// The texts of the ConfigMap that a Pod mounts at a directory.
async fn mounted(ground: &Ground, pod: &Value, directory: &str) -> Result<Mount> {
    let find = |list: &str, key: &str, wanted: &str| {
        let mut items = items(pod, list);
        let item = items.find(|item| item.get(key) == Some(&json!(wanted)));
        item.with_context(|| format!("no {key} {wanted} in {list} of {pod}"))
    };
    let volume = string(
        find("/containers/0/volumeMounts", "mountPath", directory)?,
        "/name",
    )?;
    let name = string(find("/volumes", "name", &volume)?, "/configMap/name")?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}");
    let map = request(ground.new.client(), "GET", &path, None).await?;
    let data = map.pointer("/data").and_then(Value::as_object);
    let files = data.with_context(|| format!("no texts in {map}"))?.iter();
    let files: Vec<(&str, &[u8])> = files
        .filter_map(|(file, text)| Some((file.as_str(), text.as_str()?.as_bytes())))
        .collect();
    let mut mount = Mount::new()?;
    mount.swap(&files)?;
    Ok(mount)
}

/// Records while a Build ends, until it is interrupted as if by a person.
async fn record(
    ground: &Ground,
    desk: &Desk,
    block: &Block,
    namespace: &mut Namespace,
) -> Result<()> {
    let log = fs::File::create(desk.file("record.log"))?;
    let mut recording = desk
        .block(block)
        .env("KUBECONFIG", ground.new.kubeconfig())
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let has = async |text: &str| {
        let waited = wait::until(PATIENCE, async || {
            // It is not there at once.
            let recorded = fs::read_to_string(desk.file("builds.ndjson"));
            Ok(recorded.is_ok_and(|recorded| recorded.contains(text)))
        });
        let log = || fs::read_to_string(desk.file("record.log"));
        waited
            .await
            .with_context(|| format!("'{text}' is not recorded: {:?}", log()))
    };
    has("\"name\":\"green\"").await?;
    namespace.apply(&build(API_VERSION, "green", true)?).await?;
    has("\"completionTime\":\"").await?;
    let group = format!("-{}", recording.id());
    let kill = Command::new("kill").args(["-INT", "--", &group]).status()?;
    ensure!(kill.success(), "it cannot be interrupted");
    let status = tokio::task::spawn_blocking(move || recording.wait()).await??;
    ensure!(
        status.success(),
        "{status}: {}",
        fs::read_to_string(desk.file("record.log"))?
    );
    Ok(())
}

/// A Job that has failed.
fn job() -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "migrate"}]}});
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "jx", "uid": "alias-of-migrate"},
        "spec": {"template": template},
        "status": {
            "startTime": "2026-03-02T09:00:02Z",
            "conditions": [{
                "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": "2026-03-02T09:01:00Z",
            }],
        },
    })
}

async fn followed(ground: &Ground) -> Result<()> {
    ground
        .new
        .establish(&definition("example.com", "v1", "Build"))
        .await?;
    let mut namespace = Namespace::create(ground.new.client(), NAMESPACE).await?;
    put(ground, "install", NAMESPACE, json!({})).await?;
    namespace.apply(&job()).await?;
    namespace
        .apply(&build(API_VERSION, "green", false)?)
        .await?;

    let receiver = receiver().await?;
    let desk = desk(ground)?;
    let mut plugin = None;
    let mut said = String::new();
    let mut in_cluster = 0;
    for block in blocks()? {
        let text = block.text;
        let mut command = desk.block(&block);
        match block.info {
            "sh" => said = run(ground, command, text).await?,
            "sh cluster" => {
                in_cluster += 1;
                if text.starts_with("lighthouse-telemetry record ") {
                    record(ground, &desk, &block, &mut namespace).await?;
                } else if text == "lighthouse-telemetry mapper list\n" {
                    let Pod { process, .. } = plugin.as_ref().context("no plugin runs")?;
                    let asks = format!("{} --server http://{}", text.trim_end(), process.admin());
                    command = desk.command(&desk.file("."), &asks);
                    let list = run(ground, command, text).await?;
                    for shown in ["build ", "Build.example.com", "declarative"] {
                        ensure!(list.contains(shown), "{shown} in {list}");
                    }
                } else {
                    run(ground, command, text).await?;
                }
                if text.starts_with("helm upgrade ") {
                    plugin = Some(Pod::start(ground, &receiver).await?);
                    let owner = (API_VERSION, "Build", "green");
                    namespace.apply(&pod("green-pod", owner)).await?;
                }
            }
            "text" => ensure!(said == text, "the guide shows\n{text}\nand it is\n{said}"),
            // Without Rust and JavaScript.
            _ => desk.write_mapper(&block)?,
        }
    }
    ensure!(in_cluster >= 5, "{in_cluster} blocks for a cluster");

    let span = main_span(&receiver, "green").await?;
    ensure!(
        (&*span.service, &*span.name) == ("Build", "build"),
        "{span:?}"
    );
    let of_pod = main_span(&receiver, "green-pod").await?;
    ensure!(of_pod.parent == span.id, "{of_pod:?} {span:?}");
    let replayed = fs::read_to_string(desk.file("builds.snap"))?;
    ensure!(replayed.contains(&span.id), "{} in {replayed}", span.id);
    let Pod { process, .. } = plugin.context("no plugin runs")?;
    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}", ended.log);
    Ok(())
}
