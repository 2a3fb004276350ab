//! The Pod: options that the binary knows, what is mounted, and what it may not do.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser;
use lighthouse_telemetry::cli::{Arguments, Command};
use lighthouse_telemetry::config::Options;
use lighthouse_telemetry::export::{self, Overrides};
use serde_json::{Value, json};

use super::{manifests, of_kind, sensible, workload};

fn container(workload: &Value) -> &Value {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array();
    let containers = containers.expect("containers");
    assert_eq!(containers.len(), 1);
    &containers[0]
}

fn arguments(container: &Value) -> Vec<&str> {
    let arguments = container["args"].as_array().expect("arguments").iter();
    arguments
        .map(|argument| argument.as_str().expect("a text"))
        .collect()
}

/// The options as the binary reads them.
fn options(container: &Value) -> Options {
    let given = arguments(container);
    let all = ["lighthouse-telemetry"].into_iter().chain(given);
    let parsed = Arguments::try_parse_from(all);
    match parsed.unwrap_or_else(|error| panic!("{error}")).command {
        Command::Serve(options) => *options,
        other => panic!("{other:?}"),
    }
}

/// The environment variables that have a value, not a reference to one.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let variables = container["env"].as_array().into_iter().flatten();
    let text = |variable: &Value, key: &str| variable[key].as_str().map(str::to_owned);
    variables
        .filter_map(|variable| Some((text(variable, "name")?, text(variable, "value")?)))
        .collect()
}

#[test]
fn the_binary_takes_its_options_and_variables() {
    for (name, values) in sensible() {
        let manifests = manifests(&values);
        let container = container(workload(&manifests));
        let options = options(container);
        let overrides = Overrides {
            exporter: options.traces_exporter_type.clone(),
            endpoint: options.traces_exporter_endpoint.clone(),
        };
        let settings = export::Settings::parse(&environment(container), &overrides);
        let settings = settings.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(settings.destinations.len(), 1, "{name}");
        assert_eq!(
            options.insecure_webhooks,
            options.lighthouse_hmac_key_file.is_none(),
            "{name}"
        );
    }
}

#[test]
fn options_say_what_the_values_say() {
    let of = |values: Value| options(container(workload(&manifests(&values))));
    let least = of(json!({}));
    assert_eq!(least.cluster.namespace, ["jx"]);
    assert!(!least.leader.leader_election);
    assert_eq!(least.log_level, "info");
    let several = of(json!({
        "config": {"namespaces": ["a", "b"], "settle": "7s", "patchesPerSecond": 20, "clusterName": "prod",
            "metricAttributes": ["cicd.pipeline.name", "vcs.repository.name"], "metricSeries": 100_000},
        "deployment": {"replicas": 2}, "leaderElection": {"leaseDuration": "20s"},
        "mappers": {"inline": {"a": "AGFzbQEAAAA="}, "configMaps": ["b"], "volumes": [{"name": "c", "emptyDir": {}}],
            "compileMemory": "768MiB"},
        "state": {"maxSize": "512MiB"},
    }));
    assert_eq!(several.cluster.namespace, ["a", "b"]);
    assert_eq!(several.settle.as_secs(), 7);
    assert_eq!(several.patches_per_second, 20);
    assert_eq!(several.cluster_name.as_deref(), Some("prod"));
    let metrics = several.metrics.settings();
    assert_eq!(
        metrics.attributes,
        ["cicd.pipeline.name", "vcs.repository.name"]
    );
    assert_eq!(metrics.series, 100_000);
    assert!(several.leader.leader_election);
    assert_eq!(several.leader.lease_name, "lighthouse-telemetry");
    assert_eq!(several.leader.lease_namespace.as_deref(), Some("jx"));
    assert_eq!(several.leader.lease_duration.as_secs(), 20);
    let mappers: Vec<_> = several
        .mappers
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(mappers, ["/mappers/inline", "/mappers/b", "/mappers/c"]);
    assert_eq!(several.compiler.mapper_compile_memory, 768 << 20);
    assert_eq!(several.state.state_max_size, 512 << 20);
    let all = of(json!({"config": {"allNamespaces": true}}));
    assert!(all.cluster.all_namespaces);
}

#[test]
fn what_is_mounted_is_there_and_what_is_named_is_mounted() {
    for (name, values) in sensible() {
        let manifests = manifests(&values);
        let workload = workload(&manifests);
        let container = container(workload);
        let names = |list: &Value, pointer: &str| -> BTreeSet<String> {
            let items = list.as_array().into_iter().flatten();
            items
                .map(|item| item.pointer(pointer).and_then(Value::as_str))
                .map(|name| name.expect("a name").to_owned())
                .collect()
        };
        let mut volumes = names(&workload["spec"]["template"]["spec"]["volumes"], "/name");
        volumes.extend(names(
            &workload["spec"]["volumeClaimTemplates"],
            "/metadata/name",
        ));
        assert_eq!(
            names(&container["volumeMounts"], "/name"),
            volumes,
            "{name}"
        );

        let mounted = names(&container["volumeMounts"], "/mountPath");
        let options = options(container);
        let mut used: Vec<_> = options.mappers.clone();
        used.extend(options.state.state_dir);
        used.extend(options.lighthouse_hmac_key_file);
        let certificates = environment(container).into_iter();
        let certificates = certificates.filter(|(_, value)| value.starts_with("/etc/"));
        used.extend(certificates.map(|(_, path)| path.into()));
        for path in used {
            let is_mounted = path
                .ancestors()
                .any(|path| mounted.contains(&*path.to_string_lossy()));
            assert!(is_mounted, "{name}: {}", path.display());
        }
    }
}

#[test]
fn the_pod_has_no_privilege() {
    for (name, values) in sensible() {
        let manifests = manifests(&values);
        let workload = workload(&manifests);
        let pod = &workload["spec"]["template"]["spec"];
        let context = &pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{name}");
        assert_eq!(context["runAsUser"], 65_532, "{name}");
        assert_eq!(
            context["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        let container = container(workload);
        let expected = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], expected, "{name}");
        for key in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod[key].is_null(), "{name}: {key}");
        }
        for account in of_kind(&manifests, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "admin", "{name}");
        }
    }
}

/// Two at a time without an election would export everything twice.
#[test]
fn two_work_at_once_only_if_one_leads() {
    for (name, values) in sensible() {
        let manifests = manifests(&values);
        let workload = workload(&manifests);
        let elects = options(container(workload)).leader.leader_election;
        let replicas = workload["spec"]["replicas"].as_u64().expect("a number");
        let overlaps = workload["spec"]["strategy"]["type"] == "RollingUpdate";
        assert!(elects || (replicas <= 1 && !overlaps), "{name}");
        let has_lease = of_kind(&manifests, "Role")
            .iter()
            .any(|role| role.to_string().contains("leases"));
        let has_rights = values["rbac"]["create"] != false;
        assert_eq!(has_lease, elects && has_rights, "{name}");
        let variables: Vec<&Value> = container(workload)["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|variable| &variable["name"])
            .collect();
        let knows_address = variables.contains(&&json!("POD_IP"));
        assert_eq!(knows_address, elects, "{name}: {variables:?}");
    }
}
