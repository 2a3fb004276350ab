//! What helm makes of the chart: valid manifests of any sensible values, a sentence for any others, and the rights, options and
//! metrics that there are.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod contradictions;
mod manifests;
mod monitoring;
mod pods;
mod rights;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use lighthouse_telemetry_tests::helm::{self, Helm};
use serde_json::{Value, json};

static HELM: LazyLock<Helm> = LazyLock::new(|| Helm::find().expect("helm"));

/// The least values, and these.
fn with(values: &Value) -> Value {
    let mut all = json!({"exporter": {"endpoint": "http://otel-collector.observability:4317"}});
    join(&mut all, values);
    all
}

/// As helm joins values. What is null stays so: helm takes it for *no default either*.
fn join(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                join(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// What helm has made of values before.
static RENDERED: Mutex<BTreeMap<String, Vec<Value>>> = Mutex::new(BTreeMap::new());

/// The manifests of the least values and these.
fn manifests(values: &Value) -> Vec<Value> {
    let values = with(values);
    // The tests ask for the same ones in the same order: it is quicker to wait for another one's.
    let mut rendered = RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
    let render = || {
        let manifests = HELM.manifests(&values);
        manifests.unwrap_or_else(|error| panic!("{values}: {error}"))
    };
    rendered
        .entry(values.to_string())
        .or_insert_with(render)
        .clone()
}

/// All manifests of a kind.
fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of = |manifest: &&Value| manifest["kind"] == kind;
    manifests.iter().filter(of).collect()
}

/// The Deployment or the StatefulSet.
fn workload(manifests: &[Value]) -> &Value {
    let mut workloads = of_kind(manifests, "Deployment");
    workloads.extend(of_kind(manifests, "StatefulSet"));
    assert_eq!(workloads.len(), 1, "{workloads:?}");
    workloads[0]
}

/// Sensible values, each with its name.
fn sensible() -> Vec<(&'static str, Value)> {
    let full = json!({
        "exporter": {
            "endpoint": "https://otel-collector.observability:4318", "protocol": "http/protobuf",
            "headers": {"secretKeyRef": {"name": "otlp"}},
            "tls": {"authority": {"secretName": "authority"}, "client": {"secretName": "client"}},
        },
        "config": {
            "namespaces": ["jx", "jx-staging"], "clusterName": "prod", "resyncInterval": "0", "settle": "7s",
            "orphanDeadline": "5m", "replayWindow": "1h30m", "childPullRequestDelay": "10m", "patchesPerSecond": 20,
            "logLevel": "info,kube=debug", "logFormat": "json",
        },
        "mappers": {
            "inline": {"batch-job": "AGFzbQEAAAA="}, "texts": {"flux": "version: \"1\"\n"}, "configMaps": ["team-a", "team-b"],
            "volumes": [{"name": "large", "persistentVolumeClaim": {"claimName": "mappers"}}],
        },
        "state": {
            "maxSize": "512MiB",
            "claim": {"enabled": true, "size": "2Gi", "storageClassName": "fast", "annotations": {"backup": "none"}},
        },
        "leaderElection": {"leaseDuration": "20s"},
        "image": {
            "repository": "registry.example.com/lighthouse-telemetry", "pullPolicy": "Always", "pullSecrets": ["pull"],
            "digest": format!("sha256:{}", "0".repeat(64)),
        },
        "deployment": {"replicas": 3, "labels": {"team": "platform"}, "annotations": {"note": "hello"}},
        "pod": {
            "labels": {"team": "platform"}, "annotations": {"note": "hello"}, "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "ci", "operator": "Exists"}], "priorityClassName": "high", "schedulerName": "other",
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
            ]}}},
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["collector"]}], "activeDeadlineSeconds": 3600,
            "env": {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod", "OTEL_BSP_MAX_QUEUE_SIZE": 4096},
        },
        "service": {
            "port": 8080, "type": "LoadBalancer", "loadBalancerIP": "10.0.0.9", "labels": {"team": "platform"},
            "annotations": {"note": "hello"},
        },
        "admin": {"port": 9191},
        "serviceAccount": {"name": "tracer", "annotations": {"cloud": "identity"}},
        "rbac": {"extraRules": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch", "patch"]}]},
        "podDisruptionBudget": {"enabled": true, "maxUnavailable": "50%"},
        "networkPolicy": {
            "enabled": true, "metricsFrom": [{"namespaceSelector": {}}],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
        },
        "metrics": {
            "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": true, "annotations": {"folder": "CI"}},
        },
        "admissionPolicy": {"enabled": true},
    });
    vec![
        ("the least", json!({})),
        ("all there is", full),
        (
            "several replicas without a claim",
            json!({"deployment": {"replicas": 2}}),
        ),
        ("none", json!({"deployment": {"replicas": 0}})),
        (
            "one replica that hands over",
            json!({"leaderElection": {"enabled": true}}),
        ),
        (
            "a claim for one replica",
            json!({"state": {"claim": {"enabled": true}}}),
        ),
        (
            "a claim that exists",
            json!({"state": {"existingClaim": "state"}}),
        ),
        (
            "all namespaces",
            json!({"config": {"allNamespaces": true}, "deployment": {"replicas": 2}}),
        ),
        (
            "one ClusterRole",
            json!({"rbac": {"clusterRole": true}, "config": {"namespaces": ["a", "b"]}}),
        ),
        (
            "no rights",
            json!({"rbac": {"create": false}, "serviceAccount": {"create": false, "name": "existing"}}),
        ),
        (
            "unverified webhooks",
            json!({"webhooks": {"insecure": true}, "secrets": {"lighthouse": {"hmac": {"secretKeyRef": {"name": ""}}}}}),
        ),
        (
            "spans into the log",
            json!({"exporter": {"type": "console", "endpoint": ""}}),
        ),
        (
            "another name",
            json!({"fullnameOverride": "traces", "nameOverride": "tracer"}),
        ),
        ("a long name", json!({"fullnameOverride": "n".repeat(80)})),
        (
            "what helm and Jenkins X give to every chart",
            json!({"global": {"a": 1}, "jx": {"releaseCRD": false}, "jxRequirements": {"cluster": {"provider": "gke"}}}),
        ),
        ("as the chart of the Go plugin", go_plugin()),
    ]
}

/// Values as they are written for the chart of the Go plugin.
fn go_plugin() -> Value {
    json!({
        "exporter": {"endpoint": ""},
        "fullnameOverride": null, "nameOverride": null,
        "image": {"tag": null, "pullPolicy": null},
        "config": {"resyncInterval": "5m", "childPullRequestDelay": "10m", "logLevel": "DEBUG"},
        "secrets": {"lighthouse": {"hmac": {"secretKeyRef": {"name": "other-token", "key": "token"}}}},
        "jx": {"releaseCRD": true},
        "deployment": {"replicas": 1, "revisionHistoryLimit": 3, "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "pod": {
            "resources": {"requests": {"cpu": "0.2", "memory": "256M"}, "limits": {"cpu": "1", "memory": "512M"}},
            "labels": {"e": "f"}, "annotations": {"g": "h"}, "activeDeadlineSeconds": null, "enableServiceLinks": true,
            "terminationGracePeriodSeconds": 30, "affinity": {}, "nodeSelector": {"disk": "fast"}, "tolerations": [],
            "hostAliases": [], "schedulerName": null, "securityContext": {"fsGroup": 1000},
            "env": {"TRACES_EXPORTER_TYPE": "otlp:grpc:insecure", "TRACES_EXPORTER_ENDPOINT": "tempo.observability:4317"},
        },
        "service": {"port": 8081, "type": null, "loadBalancerIP": null, "labels": {"i": "j"}, "annotations": {"k": "l"}},
        "serviceAccount": {"annotations": {"m": "n"}},
    })
}

#[test]
fn helm_has_nothing_to_say() {
    let chart = helm::chart();
    let chart = chart.to_string_lossy();
    let linted = HELM.run(&["lint", "--strict", &chart], Some(&with(&json!({}))));
    assert!(linted.is_ok(), "{linted:?}");
}

#[test]
fn what_was_set_for_the_go_plugin_means_the_same() {
    let manifests = manifests(&go_plugin());
    let workload = workload(&manifests);
    let pod = &workload["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let arguments = container["args"].to_string();
    for argument in [
        "--resync-interval=5m",
        "--child-pr-delay=10m",
        "--log-level=DEBUG",
        "--namespace=jx",
    ] {
        assert!(arguments.contains(argument), "{argument} in {arguments}");
    }
    let labelled = |object: &Value, key: &str, value: &str| {
        assert_eq!(object["metadata"]["labels"][key], value, "{object}");
    };
    let annotated = |object: &Value, key: &str, value: &str| {
        assert_eq!(object["metadata"]["annotations"][key], value, "{object}");
    };
    labelled(workload, "a", "b");
    annotated(workload, "c", "d");
    labelled(pod, "e", "f");
    annotated(pod, "g", "h");
    assert_eq!(workload["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(pod["spec"]["enableServiceLinks"], true);
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(pod["spec"]["nodeSelector"]["disk"], "fast");
    assert_eq!(pod["spec"]["securityContext"]["fsGroup"], 1000);
    assert_eq!(container["resources"]["limits"]["memory"], "512M");
    let environment = container["env"].to_string();
    assert!(
        environment.contains("tempo.observability:4317"),
        "{environment}"
    );
    let hmac = &pod["spec"]["volumes"][1]["secret"];
    assert_eq!(hmac["secretName"], "other-token");
    assert_eq!(hmac["items"][0]["key"], "token");
    let service = of_kind(&manifests, "Service")[0];
    labelled(service, "i", "j");
    annotated(service, "k", "l");
    assert_eq!(service["spec"]["ports"][0]["port"], 8081);
    annotated(of_kind(&manifests, "ServiceAccount")[0], "m", "n");
}
