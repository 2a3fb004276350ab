//! Every manifest as Kubernetes defines its kind.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{HELM, manifests, of_kind, sensible, with};

/// What is lost of a manifest where it is read as its kind: fields that the kind does not have.
fn lost<K: DeserializeOwned + Serialize>(manifest: &Value) -> Vec<String> {
    let typed: K = match serde_json::from_value(manifest.clone()) {
        Ok(typed) => typed,
        Err(error) => return vec![error.to_string()],
    };
    let mut lost = Vec::new();
    compare(manifest, &json!(typed), "", &mut lost);
    lost
}

fn compare(before: &Value, after: &Value, path: &str, lost: &mut Vec<String>) {
    match before {
        Value::Object(members) => {
            for (key, value) in members {
                compare(value, &after[key], &format!("{path}/{key}"), lost);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                compare(item, &after[place], &format!("{path}/{place}"), lost);
            }
        }
        _ if before != after => lost.push(format!("{path}: {before} became {after}")),
        _ => {}
    }
}

/// What is wrong with a manifest.
fn wrong(manifest: &Value) -> Vec<String> {
    let text = |key: &str| manifest[key].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("apps/v1", "Deployment") => lost::<Deployment>(manifest),
        ("apps/v1", "StatefulSet") => lost::<StatefulSet>(manifest),
        ("v1", "Service") => lost::<Service>(manifest),
        ("v1", "ServiceAccount") => lost::<ServiceAccount>(manifest),
        ("v1", "ConfigMap") => lost::<ConfigMap>(manifest),
        ("rbac.authorization.k8s.io/v1", "Role") => lost::<Role>(manifest),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => lost::<RoleBinding>(manifest),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => lost::<ClusterRole>(manifest),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            lost::<ClusterRoleBinding>(manifest)
        }
        ("policy/v1", "PodDisruptionBudget") => lost::<PodDisruptionBudget>(manifest),
        ("networking.k8s.io/v1", "NetworkPolicy") => lost::<NetworkPolicy>(manifest),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => {
            lost::<ValidatingAdmissionPolicy>(manifest)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
            lost::<ValidatingAdmissionPolicyBinding>(manifest)
        }
        // Of the Prometheus operator; what matters of them is tested by itself.
        ("monitoring.coreos.com/v1", "ServiceMonitor" | "PrometheusRule") => Vec::new(),
        (version, kind) => vec![format!("{version} {kind} is not expected")],
    }
}

#[test]
fn each_is_what_its_kind_may_be() {
    for (name, values) in sensible() {
        let mut names = BTreeSet::new();
        for manifest in manifests(&values) {
            let wrong = wrong(&manifest);
            assert_eq!(wrong, Vec::<String>::new(), "{name}: {manifest}");
            let metadata = &manifest["metadata"];
            let place = [&manifest["kind"], &metadata["namespace"], &metadata["name"]];
            assert!(
                names.insert(place.map(Value::to_string)),
                "{name}: {place:?} is there twice"
            );
            let length = metadata["name"].as_str().expect("a name").len();
            assert!(length <= 63, "{name}: {place:?} is too long");
            assert_eq!(
                metadata["labels"]["app.kubernetes.io/managed-by"], "Helm",
                "{place:?}"
            );
        }
    }
}

#[test]
fn a_field_that_no_kind_has_is_found() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": [{"port": 1}]}});
    assert_eq!(wrong(&service), ["/spec/prots/0/port: 1 became null"]);
    let port =
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": "eighty"}]}});
    assert_eq!(wrong(&port).len(), 1);
}

#[test]
fn services_find_the_pods_and_their_ports() {
    for (name, values) in sensible() {
        let manifests = manifests(&values);
        let pod = &super::workload(&manifests)["spec"]["template"];
        let ports: Vec<&Value> = pod["spec"]["containers"][0]["ports"]
            .as_array()
            .expect("ports")
            .iter()
            .map(|port| &port["name"])
            .collect();
        for service in of_kind(&manifests, "Service") {
            for (key, value) in service["spec"]["selector"].as_object().expect("a selector") {
                assert_eq!(pod["metadata"]["labels"][key], *value, "{name}");
            }
            let target = &service["spec"]["ports"][0]["targetPort"];
            assert!(ports.contains(&target), "{name}: {target}");
        }
    }
}

#[test]
fn the_notes_give_lighthouse_the_address_of_the_service() {
    let chart = lighthouse_telemetry_tests::helm::chart();
    let chart = chart.to_string_lossy();
    let notes = |values: &Value| {
        let arguments = [
            "install",
            "traces",
            &chart,
            "--namespace",
            "ci",
            "--dry-run=client",
        ];
        let said = HELM.run(&arguments, Some(&with(values))).expect("notes");
        let (_, notes) = said.split_once("NOTES:").expect("notes");
        notes.to_owned()
    };
    let least = notes(&json!({}));
    let endpoint = "endpoint: http://traces-lighthouse-telemetry.ci/lighthouse/events";
    assert!(least.contains(endpoint), "{least}");
    assert!(least.contains("watches ci."), "{least}");
    assert!(!least.contains("Beware"), "{least}");
    let other = notes(&json!({
        "service": {"port": 8080}, "fullnameOverride": "tracer", "config": {"namespaces": ["a", "b"]},
        "webhooks": {"insecure": true}, "secrets": {"lighthouse": {"hmac": {"secretKeyRef": {"name": ""}}}},
    }));
    assert!(
        other.contains("http://tracer.ci:8080/lighthouse/events"),
        "{other}"
    );
    assert!(other.contains("watches a, b."), "{other}");
    assert!(other.contains("Beware"), "{other}");
}
