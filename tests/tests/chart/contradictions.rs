//! Values that contradict each other, or lack what is needed.

use serde_json::{Value, json};

use super::{HELM, with};

/// Values, and what is said of them.
fn contradictions() -> Vec<(Value, &'static str)> {
    let key = |name: &str| json!({"lighthouse": {"hmac": {"secretKeyRef": {"name": name}}}});
    let otlp = |more: Value| {
        let mut exporter = json!({"endpoint": "https://collector:4318"});
        json_patch::merge(&mut exporter, &more);
        json!({"exporter": exporter})
    };
    vec![
        (
            json!({"secrets": key("")}),
            "secretKeyRef.name is empty: name the Secret with the key that Lighthouse signs",
        ),
        (
            json!({"webhooks": {"insecure": true}}),
            "webhooks.insecure takes webhooks from anybody, and",
        ),
        (
            json!({"secrets": {"lighthouse": {"hmac": {"secretKeyRef": {"key": ""}}}}}),
            "secrets.lighthouse.hmac.secretKeyRef.key is empty",
        ),
        (
            json!({"pod": {"env": {"LIGHTHOUSE_HMAC_KEY": "hunter2"}}}),
            "pod.env.LIGHTHOUSE_HMAC_KEY would show the key",
        ),
        (
            json!({"pod": {"env": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2"}}}),
            "pod.env.OTEL_EXPORTER_OTLP_HEADERS would show its tokens",
        ),
        (
            json!({"pod": {"env": {"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "authorization=hunter2"}}}),
            "pod.env.OTEL_EXPORTER_OTLP_METRICS_HEADERS would show its tokens",
        ),
        (
            json!({"exporter": {"endpoint": ""}}),
            "exporter.endpoint is empty: say where spans go",
        ),
        (
            json!({"pod": {"env": {"TRACES_EXPORTER_ENDPOINT": "tempo:4317"}}}),
            "exporter.endpoint and pod.env.TRACES_EXPORTER_ENDPOINT both say where spans go",
        ),
        (
            json!({"exporter": {"type": "none"}}),
            "but exporter.type none sends none",
        ),
        (
            json!({"exporter": {"type": "console", "endpoint": ""}, "pod": {"env": {"OTEL_TRACES_EXPORTER": "otlp"}}}),
            "exporter.type is console and pod.env chooses an exporter, too",
        ),
        (
            json!({"exporter": {"endpoint": "http://collector:4317", "tls": {"authority": {"secretName": "a"}}}}),
            "exporter.tls names certificates, but exporter.endpoint http://collector:4317 is plain text",
        ),
        (
            otlp(json!({"headers": {"secretKeyRef": {"name": "a", "key": ""}}})),
            "exporter.headers.secretKeyRef.key is empty",
        ),
        (
            json!({"config": {"allNamespaces": true, "namespaces": ["a", "b"]}}),
            "config.allNamespaces watches all namespaces and config.namespaces only a, b",
        ),
        (
            json!({"config": {"allNamespaces": true}, "rbac": {"clusterRole": false}}),
            "config.allNamespaces needs a ClusterRole, and rbac.clusterRole is false",
        ),
        (
            json!({"role": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}}),
            "put further ones into rbac.extraRules",
        ),
        (
            json!({"image": {"repository": "ghcr.io/jenkins-x/lighthouse-telemetry-plugin"}}),
            "is that of the Go plugin, which does not know the options of this chart",
        ),
        (
            json!({"serviceAccount": {"create": false}}),
            "serviceAccount.create is false and serviceAccount.name is empty",
        ),
        (
            json!({"deployment": {"replicas": 2}, "leaderElection": {"enabled": false}}),
            "deployment.replicas is 2 and leaderElection.enabled is false: each replica would export every span",
        ),
        (
            json!({"deployment": {"replicas": 2}, "state": {"existingClaim": "state"}}),
            "state.existingClaim is one claim and deployment.replicas is 2",
        ),
        (
            json!({"state": {"existingClaim": "state", "claim": {"enabled": true}}}),
            "state.existingClaim names the claim state and state.claim.enabled makes new ones",
        ),
        (
            json!({"state": {"existingClaim": "state"}, "leaderElection": {"enabled": true}}),
            "state.existingClaim and leaderElection.enabled",
        ),
        (json!({"service": {"port": 0}}), "service.port is 0"),
        (
            json!({"mappers": {"configMaps": ["team"], "volumes": [{"name": "team", "emptyDir": {}}]}}),
            "mappers names team twice",
        ),
        (
            json!({"mappers": {"inline": {"a": "AGFzbQEAAAA="}, "texts": {"a": "version: 1"}}}),
            "mappers.inline and mappers.texts both have the mapper a",
        ),
        (
            json!({"mappers": {"configMaps": ["inline"], "inline": {"a": "AGFzbQEAAAA="}}}),
            "mappers names inline twice",
        ),
        (
            json!({"pod": {"securityContext": {"runAsUser": 0}}}),
            "makes the plugin run as root",
        ),
        (
            json!({"pod": {"securityContext": {"runAsNonRoot": false}}}),
            "makes the plugin run as root",
        ),
        (
            json!({"networkPolicy": {"enabled": true}, "metrics": {"serviceMonitor": {"enabled": true}}}),
            "networkPolicy.metricsFrom is empty, so that nobody may read metrics",
        ),
        (
            json!({"networkPolicy": {"enabled": true, "webhooksFrom": []}}),
            "networkPolicy.webhooksFrom is empty: not even Lighthouse",
        ),
        // What the schema refuses; it names the place.
        (
            json!({"replicas": 2}),
            "additional properties 'replicas' not allowed",
        ),
        (json!({"config": {"settle": "soon"}}), "/config/settle"),
        (
            json!({"config": {"namespaces": ["Jx"]}}),
            "/config/namespaces/0",
        ),
        (
            json!({"exporter": {"endpoint": "collector:4317"}}),
            "/exporter/endpoint",
        ),
        (
            json!({"exporter": {"endpoint": "https://user:hunter2@collector"}}),
            "/exporter/endpoint",
        ),
        (
            json!({"mappers": {"inline": {"job": "not base64!"}}}),
            "/mappers/inline/job",
        ),
        (
            json!({"mappers": {"inline": {"Job/../x": "AGFzbQEAAAA="}}}),
            "invalid propertyName 'Job/../x'",
        ),
        (
            json!({"podDisruptionBudget": {"maxUnavailable": 0}}),
            "/podDisruptionBudget/maxUnavailable",
        ),
        (
            json!({"state": {"claim": {"accessModes": ["ReadWriteMany"]}}}),
            "/state/claim/accessModes/0",
        ),
        (
            json!({"admissionPolicy": {"annotations": ["it's"]}}),
            "/admissionPolicy/annotations/0",
        ),
    ]
}

#[test]
fn what_makes_no_sense_is_said_in_a_sentence() {
    for (values, said) in contradictions() {
        match HELM.manifests(&with(&values)) {
            Ok(_) => panic!("{values} is taken"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(said), "{values}: {error}");
            }
        }
    }
}

#[test]
fn an_old_cluster_is_told_what_it_lacks() {
    let chart = lighthouse_telemetry_tests::helm::chart();
    let chart = chart.to_string_lossy();
    let old = |values: &Value| {
        let arguments = ["template", "old", &chart, "--kube-version", "1.20.2"];
        HELM.run(&arguments, Some(&with(values)))
    };
    let refused = old(&json!({"admissionPolicy": {"enabled": true}}));
    let refused = refused.expect_err("there is no such policy").to_string();
    assert!(
        refused.contains("admissionPolicy.enabled needs Kubernetes 1.30, and this is v1.20.2"),
        "{refused}"
    );
    let budget = old(&json!({"podDisruptionBudget": {"enabled": true}})).expect("manifests");
    assert!(budget.contains("apiVersion: policy/v1beta1"), "{budget}");
}

#[test]
fn every_value_has_a_place_in_the_schema() {
    let chart = lighthouse_telemetry_tests::helm::chart();
    let read = |name: &str| std::fs::read_to_string(chart.join(name)).expect("a file");
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("values");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("a schema");
    let mut missing = Vec::new();
    differ(&values, &schema, "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

/// Keys that only one of both has.
fn differ(values: &Value, schema: &Value, path: &str, missing: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let values = values.as_object().expect("an object");
    for key in values.keys().filter(|key| !properties.contains_key(*key)) {
        missing.push(format!("{path}/{key} is in no schema"));
    }
    for (key, schema) in properties {
        match values.get(key) {
            Some(value) => differ(value, schema, &format!("{path}/{key}"), missing),
            // Of the chart of the Go plugin, and refused; and what Kubernetes has a default of.
            None if key == "role" || key == "medium" => {}
            None => missing.push(format!("{path}/{key} is in no values")),
        }
    }
}
