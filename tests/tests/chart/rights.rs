//! The rights that the chart gives are those of the kinds that the built-in mappers watch and annotate, and no others.

use std::collections::BTreeSet;

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use lighthouse_telemetry::mappers::Mappers;
use serde_json::{Value, json};

use super::{manifests, of_kind, sensible};

/// API group, resource, verb.
type Right = (String, String, String);

fn right(group: &str, kind: &str, verb: &str) -> Right {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    (group.to_owned(), resource.plural, verb.to_owned())
}

/// What the host asks of the API server for these mappers: what is watched is listed, too, and nothing is read one by one.
fn needed(mappers: &Mappers) -> BTreeSet<Right> {
    let catalog = &mappers.catalog;
    let mut needed = BTreeSet::new();
    for (_, source) in catalog.sources() {
        for verb in ["list", "watch"] {
            needed.insert(right(&source.group, &source.kind, verb));
        }
    }
    for (watch, _, kind) in catalog.watches() {
        if !catalog.annotations(watch).is_empty() {
            needed.insert(right(&kind.group, &kind.kind, "patch"));
        }
    }
    needed
}

fn given(role: &Value) -> BTreeSet<Right> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        let items = rule[key].as_array().expect("a list").iter();
        items
            .map(|item| item.as_str().expect("a text").to_owned())
            .collect()
    };
    let mut given = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    given.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    given
}

#[test]
fn they_are_those_of_the_built_in_mappers() {
    let needed = needed(&Mappers::builtin().expect("mappers"));
    assert!(
        needed.contains(&right("tekton.dev", "CustomRun", "patch")),
        "{needed:?}"
    );
    let role = manifests(&json!({}));
    let role = of_kind(&role, "Role");
    assert_eq!(role.len(), 1);
    assert_eq!(given(role[0]), needed);
    let cluster_role = manifests(&json!({"config": {"allNamespaces": true}}));
    assert_eq!(of_kind(&cluster_role, "Role"), Vec::<&Value>::new());
    assert_eq!(given(of_kind(&cluster_role, "ClusterRole")[0]), needed);
}

#[test]
fn those_of_further_mappers_are_added() {
    let rule = json!({"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["list", "watch"]});
    let more = manifests(&json!({"rbac": {"extraRules": [rule]}}));
    let least = manifests(&json!({}));
    let more = given(of_kind(&more, "Role")[0]);
    let least = given(of_kind(&least, "Role")[0]);
    let added: BTreeSet<_> = more.difference(&least).cloned().collect();
    let expected = ["list", "watch"].map(|verb| right("argoproj.io", "Workflow", verb));
    assert_eq!(added, BTreeSet::from(expected));
}

#[test]
fn each_watched_namespace_has_them_and_no_other() {
    for (name, values) in sensible() {
        let manifests = manifests(&values);
        let rights = of_kind(&manifests, "Role");
        let of_lease = |role: &&&Value| role.to_string().contains("leases");
        let namespaces: Vec<&str> = rights
            .iter()
            .filter(|role| !of_lease(role))
            .map(|role| role["metadata"]["namespace"].as_str().expect("a namespace"))
            .collect();
        let cluster_roles = of_kind(&manifests, "ClusterRole").len();
        let is_wide =
            values["config"]["allNamespaces"] == true || values["rbac"]["clusterRole"] == true;
        if values["rbac"]["create"] == false {
            assert_eq!((namespaces.len(), cluster_roles), (0, 0), "{name}");
        } else if is_wide {
            assert_eq!((namespaces.len(), cluster_roles), (0, 1), "{name}");
        } else {
            let wanted = values["config"]["namespaces"].as_array();
            let wanted = wanted.map_or(vec!["jx"], |names| {
                names
                    .iter()
                    .map(|name| name.as_str().expect("a name"))
                    .collect()
            });
            assert_eq!((namespaces, cluster_roles), (wanted, 0), "{name}");
        }
        // Whoever has a right is the account of the Pod.
        let pod = &super::workload(&manifests)["spec"]["template"]["spec"];
        let mut bindings = of_kind(&manifests, "RoleBinding");
        bindings.extend(of_kind(&manifests, "ClusterRoleBinding"));
        for binding in bindings {
            let account = json!([{
                "kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": "jx",
            }]);
            assert_eq!(binding["subjects"], account, "{name}");
        }
    }
}

#[test]
fn the_lease_is_the_only_one_that_may_be_written() {
    let manifests = manifests(&json!({"deployment": {"replicas": 2}}));
    let roles = of_kind(&manifests, "Role");
    let roles: Vec<_> = roles
        .iter()
        .filter(|role| role.to_string().contains("leases"))
        .collect();
    assert_eq!(roles.len(), 1);
    let rules = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["lighthouse-telemetry"],
            "verbs": ["get", "update"],
        },
    ]);
    assert_eq!(roles[0]["rules"], rules);
}

#[test]
fn the_admission_policy_knows_the_annotations_of_the_mappers() {
    let mappers = Mappers::builtin().expect("mappers");
    let catalog = &mappers.catalog;
    let keys: BTreeSet<&str> = catalog
        .watches()
        .flat_map(|(watch, _, _)| catalog.annotations(watch))
        .map(|annotation| annotation.key.as_str())
        .collect();
    let manifests = manifests(&json!({"admissionPolicy": {"enabled": true}}));
    let policy = of_kind(&manifests, "ValidatingAdmissionPolicy")[0];
    let mut variables = policy["spec"]["variables"]
        .as_array()
        .expect("variables")
        .iter();
    let own = variables
        .find(|variable| variable["name"] == "own")
        .expect("the list");
    let own = own["expression"].as_str().expect("an expression");
    let own: BTreeSet<&str> = own.split('\'').skip(1).step_by(2).collect();
    assert_eq!(own, keys);
    // Wherever something may be patched, the policy is asked.
    let role = of_kind(&manifests, "Role")[0];
    let patched = given(role)
        .into_iter()
        .filter(|(_, _, verb)| verb == "patch");
    let patched: BTreeSet<_> = patched
        .map(|(group, resource, _)| (group, resource))
        .collect();
    let mut asked = BTreeSet::new();
    for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        .as_array()
        .expect("rules")
    {
        assert_eq!(rule["operations"], json!(["UPDATE"]));
        let group = rule["apiGroups"][0].as_str().expect("a group");
        for resource in rule["resources"].as_array().expect("resources") {
            asked.insert((
                group.to_owned(),
                resource.as_str().expect("a text").to_owned(),
            ));
        }
    }
    assert_eq!(asked, patched);
    let binding = of_kind(&manifests, "ValidatingAdmissionPolicyBinding")[0];
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
}
