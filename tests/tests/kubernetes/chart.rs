//! The chart on a real cluster: what helm makes of it there, and whether the rights that it gives are exactly enough.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry::receiver::Receiver;
use lighthouse_telemetry_tests::cluster::{request, string};
use lighthouse_telemetry_tests::helm::{self, Helm, RELEASE};
use lighthouse_telemetry_tests::host::Kills;
use lighthouse_telemetry_tests::load::Load;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::process::Process;
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario};
use lighthouse_telemetry_tests::{real, wait, web};
use serde_json::{Value, json};

use super::processes::{job, receiver};
use super::{Ground, Test, compare};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[
    ("the_chart_is_installed_upgraded_and_removed", |ground| {
        Box::pin(installed(ground))
    }),
    (
        "the_chart_takes_over_a_release_of_the_go_plugin",
        |ground| Box::pin(taken_over(ground)),
    ),
    ("with_the_rights_of_the_chart_a_trace_is_whole", |ground| {
        Box::pin(whole(ground))
    }),
    (
        "each_right_of_the_chart_that_is_missing_is_missed",
        |ground| Box::pin(missing(ground)),
    ),
    (
        "each_right_of_the_chart_on_the_lease_that_is_missing_is_missed",
        |ground| Box::pin(without_lease(ground)),
    ),
];

/// For something to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kinds of the built-in mappers, as the plugin names them.
const KINDS: [&str; 7] = [
    "CustomRun.tekton.dev",
    "Event",
    "LighthouseJob.lighthouse.jenkins.io",
    "PipelineActivity.jenkins.io",
    "PipelineRun.tekton.dev",
    "Pod",
    "TaskRun.tekton.dev",
];

/// Runs helm as the administrator.
async fn run(ground: &Ground, arguments: &[&str], values: Option<Value>) -> Result<String> {
    let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let kubeconfig = ground.new.kubeconfig().display().to_string();
    arguments.extend(["--kubeconfig".to_owned(), kubeconfig]);
    let ran = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Helm::find()?.run(&arguments, values.as_ref())
    });
    ran.await?
}

/// Installs or upgrades the chart in a namespace.
pub async fn put(ground: &Ground, command: &str, namespace: &str, values: Value) -> Result<String> {
    let chart = helm::chart();
    let chart = chart.to_string_lossy();
    let mut all = json!({"exporter": {"endpoint": "http://otel-collector.observability:4317"}});
    json_patch::merge(&mut all, &values);
    let arguments = [command, RELEASE, &chart, "--namespace", namespace];
    run(ground, &arguments, Some(all)).await
}

async fn installed(ground: &Ground) -> Result<()> {
    let client = ground.new.client();
    let namespace = "chart-installed";
    Namespace::create(client, namespace).await?;
    let get = async |path: &str| request(client, "GET", path, None).await;
    let apps = format!("/apis/apps/v1/namespaces/{namespace}");
    let core = format!("/api/v1/namespaces/{namespace}");
    let rights = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");

    let notes = put(ground, "install", namespace, json!({})).await?;
    let endpoint = format!("http://lighthouse-telemetry.{namespace}/lighthouse/events");
    ensure!(notes.contains(&endpoint), "{notes}");
    let deployment = get(&format!("{apps}/deployments/{RELEASE}")).await?;
    let strategy = deployment.pointer("/spec/strategy/type");
    ensure!(strategy == Some(&json!("Recreate")), "{deployment}");
    let service = get(&format!("{core}/services/{RELEASE}")).await?;
    ensure!(
        service.pointer("/spec/ports/0/port") == Some(&json!(80)),
        "{service}"
    );

    // Two replicas in place of one, and what comes with them. The kinds of this server are those of Kubernetes 1.20.
    let more = json!({
        "deployment": {"replicas": 2},
        "mappers": {"inline": {"team": "AGFzbQEAAAA="}},
        "networkPolicy": {"enabled": true},
        "podDisruptionBudget": {"enabled": true},
        "metrics": {"dashboard": {"enabled": true}},
    });
    put(ground, "upgrade", namespace, more).await?;
    let deployment = get(&format!("{apps}/deployments/{RELEASE}")).await?;
    let spec = deployment.pointer("/spec").context("no spec")?;
    ensure!(spec.pointer("/replicas") == Some(&json!(2)), "{spec}");
    ensure!(
        spec.pointer("/strategy/type") == Some(&json!("RollingUpdate")),
        "{spec}"
    );
    get(&format!("{rights}/roles/{RELEASE}-lease")).await?;
    get(&format!("{core}/configmaps/{RELEASE}-mappers")).await?;
    get(&format!("{core}/configmaps/{RELEASE}-dashboard")).await?;
    get(&format!(
        "/apis/policy/v1beta1/namespaces/{namespace}/poddisruptionbudgets/{RELEASE}"
    ))
    .await?;
    get(&format!(
        "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{RELEASE}"
    ))
    .await?;

    // A claim for each makes another kind of it; all namespaces take another kind of role.
    let others = json!({
        "deployment": {"replicas": 2}, "state": {"claim": {"enabled": true}}, "config": {"allNamespaces": true},
    });
    put(ground, "upgrade", namespace, others).await?;
    get(&format!("{apps}/statefulsets/{RELEASE}")).await?;
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{namespace}-{RELEASE}");
    get(&role).await?;
    for gone in [
        format!("{apps}/deployments/{RELEASE}"),
        format!("{rights}/roles/{RELEASE}"),
        format!("{core}/configmaps/{RELEASE}-mappers"),
    ] {
        ensure!(get(&gone).await.is_err(), "{gone} is still there");
    }

    run(
        ground,
        &["uninstall", RELEASE, "--namespace", namespace],
        None,
    )
    .await?;
    ensure!(get(&role).await.is_err(), "the ClusterRole is still there");
    for kind in [
        format!("{apps}/statefulsets"),
        format!("{core}/services"),
        format!("{core}/configmaps"),
        format!("{core}/serviceaccounts"),
        format!("{rights}/roles"),
        format!("{rights}/rolebindings"),
    ] {
        let list = get(&kind).await?;
        let items = list.pointer("/items").and_then(Value::as_array);
        ensure!(
            items.is_some_and(Vec::is_empty),
            "helm leaves behind {list}"
        );
    }
    Ok(())
}

/// What matters here of the chart of the Go plugin: names and labels.
const GO_PLUGIN: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: lighthouse-telemetry-plugin}
spec:
  selector: {matchLabels: &labels {app.kubernetes.io/name: lighthouse-telemetry-plugin, app.kubernetes.io/instance: lighthouse-telemetry-plugin}}
  template:
    metadata: {labels: *labels}
    spec: {containers: [{name: lighthouse-telemetry-plugin, image: go, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: lighthouse-telemetry-plugin}
spec: {selector: {app.kubernetes.io/name: lighthouse-telemetry-plugin}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: lighthouse-telemetry-plugin}
";

/// An upgrade with another chart, of what Helm 3 has installed.
async fn taken_over(ground: &Ground) -> Result<()> {
    let client = ground.new.client();
    let namespace = "chart-taken-over";
    Namespace::create(client, namespace).await?;
    let old = tempfile::tempdir()?;
    let definition = "apiVersion: v2\nname: lighthouse-telemetry-plugin\nversion: 0.1.2\n";
    std::fs::write(old.path().join("Chart.yaml"), definition)?;
    std::fs::create_dir(old.path().join("templates"))?;
    std::fs::write(old.path().join("templates/all.yaml"), GO_PLUGIN)?;
    let name = "lighthouse-telemetry-plugin";
    let put = async |command: &str, chart: &Path, more: &[&str], values: Option<Value>| {
        let chart = chart.to_string_lossy();
        let arguments = [command, name, &chart, "--namespace", namespace];
        run(ground, &[&arguments[..], more].concat(), values).await
    };
    put("install", old.path(), &["--server-side=false"], None).await?;
    let environment = json!({"TRACES_EXPORTER_TYPE": "otlp:grpc:insecure", "TRACES_EXPORTER_ENDPOINT": "tempo:4317"});
    let values = json!({"nameOverride": name, "pod": {"env": environment}});
    put("upgrade", &helm::chart(), &[], Some(values)).await?;

    let deployment = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let deployment = request(client, "GET", &deployment, None).await?;
    let containers = deployment.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Value::as_array);
    let names = containers
        .into_iter()
        .flatten()
        .map(|container| container.get("name"));
    let names: Vec<_> = names.flatten().collect();
    ensure!(names == [&json!("lighthouse-telemetry")], "{names:?}");
    // Lighthouse finds it where it was.
    let service = format!("/api/v1/namespaces/{namespace}/services/{name}");
    request(client, "GET", &service, None).await?;
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}");
    let role = request(client, "GET", &role, None).await;
    ensure!(role.is_err(), "its ClusterRole is still there");
    Ok(())
}

/// The main scenario by the binary as the chart's account, with nothing but the chart's rights.
async fn whole(ground: &Ground) -> Result<()> {
    let mut scenarios = Scenario::all(ANYWHERE)?.into_iter();
    let scenario = scenarios.find(|scenario| scenario.name == "pull-request");
    let scenario = scenario.context("no such scenario")?;
    let load = Load::create(ground.new.client(), "chart-whole", &scenario).await?;
    put(ground, "install", load.name(), json!({})).await?;
    let kubeconfig = ground.new.kubeconfig_of(load.name(), RELEASE).await?;
    let nothing = async |_: usize, _: &Process| Ok(());
    let (binary, mappers) = (&ground.binary, &ground.mappers);
    let played = real::play_load(
        load,
        &scenario,
        kubeconfig.path(),
        binary,
        mappers,
        Kills::NONE,
        nothing,
    );
    compare(&played.await?).map_err(anyhow::Error::msg)
}

/// The rules of a Role, each for one resource.
async fn rules(ground: &Ground, namespace: &str, role: &str) -> Result<Vec<Value>> {
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{role}");
    let role = request(ground.new.client(), "GET", &path, None).await?;
    let rules = role.pointer("/rules").and_then(Value::as_array);
    Ok(rules.context("no rules")?.clone())
}

/// These rules without a verb.
fn without(rules: &[Value], verb: &str) -> Vec<Value> {
    let mut rules = rules.to_vec();
    for rule in &mut rules {
        if let Some(verbs) = rule.get_mut("verbs").and_then(Value::as_array_mut) {
            verbs.retain(|other| other != verb);
        }
    }
    rules.retain(|rule| rule.get("verbs") != Some(&json!([])));
    rules
}

/// Gives the chart's account in namespace `home` these rights in any one.
pub async fn grant(ground: &Ground, home: &str, namespace: &str, rules: &[Value]) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "some"}, "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "some"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "some"},
        "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": home}],
    });
    for (kind, object) in [("roles", role), ("rolebindings", binding)] {
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/{kind}");
        request(ground.new.client(), "POST", &path, Some(&object)).await?;
    }
    Ok(())
}

async fn start(
    ground: &Ground,
    kubeconfig: &Path,
    receiver: &Receiver,
    arguments: &[&str],
) -> Result<Process> {
    let endpoint = receiver.grpc_endpoint();
    Process::start(&ground.binary, kubeconfig, &endpoint, arguments).await
}

/// One process watches three namespaces, in each of which a verb is missing for all kinds; it says so of each kind.
async fn missing(ground: &Ground) -> Result<()> {
    let client = ground.new.client();
    let home = "chart-rights";
    Namespace::create(client, home).await?;
    put(ground, "install", home, json!({})).await?;
    let rules = rules(ground, home, RELEASE).await?;
    let mut unpatched = None;
    for verb in ["list", "watch", "patch"] {
        let namespace = Namespace::create(client, &format!("chart-no-{verb}")).await?;
        grant(ground, home, namespace.name(), &without(&rules, verb)).await?;
        unpatched = Some(namespace);
    }
    let kubeconfig = ground.new.kubeconfig_of(home, RELEASE).await?;
    let receiver = receiver().await?;
    let namespaces = "chart-rights,chart-no-list,chart-no-watch,chart-no-patch";
    let arguments = ["--namespace", namespaces, "--settle", "1h"];
    let process = start(ground, kubeconfig.path(), &receiver, &arguments).await?;

    let expected: BTreeSet<(String, String)> = ["chart-no-list", "chart-no-watch"]
        .iter()
        .flat_map(|namespace| KINDS.map(|kind| ((*namespace).to_owned(), kind.to_owned())))
        .collect();
    // What is missing is all that is missing: of the namespaces with the right to read nothing is said.
    let waited = process.readiness(|_, text| forbidden(text) == expected);
    waited
        .await
        .context("it does not say what it may not read")?;

    let mut namespace = unpatched.context("no namespace")?;
    for object in objects() {
        namespace.apply(&object).await?;
    }
    let patched = KINDS.iter().filter(|kind| **kind != "Event");
    let kinds: Vec<&str> = patched.filter_map(|kind| kind.split('.').next()).collect();
    let said = async || {
        let metrics = web::get(process.admin(), "/metrics").await?;
        Ok(kinds.iter().all(|kind| {
            metrics.contains(&format!(
                "lighthouse_telemetry_patches_forbidden{{kind=\"{kind}\"}} 1"
            ))
        }))
    };
    let waited = wait::until(PATIENCE, said).await;
    waited.context("it does not say what it may not annotate")?;
    let ended = process.terminate().await?;
    for rule in &rules {
        let group = string(rule, "/apiGroups/0")?;
        let resources = rule.pointer("/resources").and_then(Value::as_array);
        for resource in resources.context("no resources")? {
            if resource == "events" {
                continue;
            }
            let wanted = format!(
                "apiGroups: [\\\"{group}\\\"], resources: [\\\"{}\\\"], verbs: [\\\"patch\\\"]",
                resource.as_str().context("no text")?
            );
            ensure!(ended.log.contains(&wanted), "{wanted} in {}", ended.log);
        }
    }
    Ok(())
}

/// Namespaces and kinds that may not be read, of what the process says of its readiness.
fn forbidden(text: &str) -> BTreeSet<(String, String)> {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    let troubles = said.get("troubles").and_then(Value::as_array).cloned();
    let text = |trouble: &Value, key: &str| Some(trouble.get(key)?.as_str()?.to_owned());
    let troubles = troubles.unwrap_or_default();
    troubles
        .iter()
        .filter_map(|trouble| {
            let kind = text(trouble, "kind")?;
            match text(trouble, "state")?.as_str() {
                "forbidden" => Some((text(trouble, "namespace")?, kind)),
                // Nothing else may be wrong.
                state => Some((state.to_owned(), kind)),
            }
        })
        .collect()
}

/// One object of each kind, all of one trace and under way.
fn objects() -> Vec<Value> {
    let start = "2026-03-02T09:00:00Z";
    let owned = |kind: &str, version: &str, name: &str, owner: Option<(&str, &str, &str)>| {
        let owner = owner.map(|(version, kind, name)| {
            json!([{
                "apiVersion": version, "kind": kind, "name": name, "uid": format!("alias-of-{name}"), "controller": true,
            }])
        });
        json!({
            "apiVersion": version, "kind": kind,
            "metadata": {
                "name": name, "namespace": "jx", "uid": format!("alias-of-{name}"), "ownerReferences": owner,
                "labels": {"tekton.dev/pipeline": "build", "lighthouse.jenkins-x.io/id": "a-job"},
            },
            "status": {"startTime": start},
        })
    };
    let (tekton, old_tekton) = ("tekton.dev/v1", "tekton.dev/v1beta1");
    let run = Some((tekton, "PipelineRun", "a-run"));
    let of_job = Some(("lighthouse.jenkins.io/v1alpha1", "LighthouseJob", "a-job"));
    let mut pod = owned("Pod", "v1", "a-pod", Some((tekton, "TaskRun", "a-task")));
    let containers = json!({"spec": {"containers": [{"name": "main", "image": "busybox"}]}});
    json_patch::merge(&mut pod, &containers);
    let mut activity = owned("PipelineActivity", "jenkins.io/v1", "an-activity", None);
    let spec = json!({"spec": {"pipeline": "acme/shop/main", "build": "1", "startedTimestamp": start, "status": "Running"}});
    json_patch::merge(&mut activity, &json!({"status": null}));
    json_patch::merge(&mut activity, &spec);
    vec![
        job("a-job", "running"),
        owned("PipelineRun", tekton, "a-run", of_job),
        owned("TaskRun", tekton, "a-task", run),
        owned("CustomRun", old_tekton, "a-custom-run", run),
        pod,
        activity,
    ]
}

/// A replica of two as the chart's account: with all rights it leads; without any one of them it says what it cannot.
async fn without_lease(ground: &Ground) -> Result<()> {
    let client = ground.new.client();
    let home = "chart-lease";
    Namespace::create(client, home).await?;
    put(
        ground,
        "install",
        home,
        json!({"deployment": {"replicas": 2}}),
    )
    .await?;
    let kubeconfig = ground.new.kubeconfig_of(home, RELEASE).await?;
    let receiver = receiver().await?;
    let options = |namespace: &'static str| {
        let watched = [
            "--namespace",
            home,
            "--leader-election",
            "--lease-duration",
            "2s",
        ];
        [
            &watched[..],
            &["--lease-name", RELEASE, "--lease-namespace", namespace],
        ]
        .concat()
    };
    let process = start(ground, kubeconfig.path(), &receiver, &options(home)).await?;
    process.leads(PATIENCE).await?;
    ensure!(process.terminate().await?.status.success(), "the leader");

    let rules = rules(ground, home, &format!("{RELEASE}-lease")).await?;
    for (verb, namespace) in [
        ("get", "chart-no-get"),
        ("create", "chart-no-create"),
        ("update", "chart-no-update"),
    ] {
        Namespace::create(client, namespace).await?;
        grant(ground, home, namespace, &without(&rules, verb)).await?;
        let process = start(ground, kubeconfig.path(), &receiver, &options(namespace)).await?;
        if verb == "update" {
            // It makes the Lease, and cannot keep it.
            let ended = process.end().await?;
            ensure!(!ended.status.success(), "it ended as if all were well");
            ensure!(
                ended.log.contains("cannot update resource"),
                "{}",
                ended.log
            );
            continue;
        }
        let said = format!("cannot {verb} resource");
        let says = |_: u16, text: &str| text.contains(&said);
        let waited = process.readiness(says).await;
        waited.with_context(|| format!("without {verb} it says nothing"))?;
        ensure!(
            process.terminate().await?.status.success(),
            "without {verb}"
        );
    }
    Ok(())
}
