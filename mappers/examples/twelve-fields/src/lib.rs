//! The smallest mapper that is of use: twelve fields of a Pod, one span. Start your own from here. It is also what
//! the benches measure the cost of a sandbox with.

use span_mapper_sdk::contract::Owner;
use span_mapper_sdk::object::Metadata;
use span_mapper_sdk::read::{self, Text, Time};
use span_mapper_sdk::{
    Configuration, Description, Error, Mapper, ObjectSource, Outcome, Parent, Span, SpanTree,
    Subject, Watch, export_mapper, record,
};

/// The mapper.
pub struct TwelveFields;

/// What is read beside name, namespace, uid and the time of creation, which always come.
const FIELDS: [&str; 8] = [
    "/spec/nodeName",
    "/spec/serviceAccountName",
    "/spec/restartPolicy",
    "/spec/priorityClassName",
    "/status/phase",
    "/status/podIP",
    "/status/qosClass",
    "/status/startTime",
];

record! {
    /// A Pod.
    struct Pod<'a> {
        /// Who it is.
        metadata: Metadata<'a> = "metadata",
        /// What is wanted.
        spec: Spec<'a> = "spec",
        /// What is.
        status: Status<'a> = "status",
    }

    /// What is wanted.
    struct Spec<'a> {
        /// Where it runs.
        node_name: Text<'a> = "nodeName",
        /// As whom.
        service_account_name: Text<'a> = "serviceAccountName",
        /// What happens when a container ends.
        restart_policy: Text<'a> = "restartPolicy",
        /// How important it is.
        priority_class_name: Text<'a> = "priorityClassName",
    }

    /// What is.
    struct Status<'a> {
        /// How far it is.
        phase: Text<'a> = "phase",
        /// Its address.
        pod_ip: Text<'a> = "podIP",
        /// What it may count on.
        qos_class: Text<'a> = "qosClass",
        /// When its node took it over.
        started: Time = "startTime",
    }
}

impl Mapper for TwelveFields {
    fn configure(_: &Configuration) -> Result<Description, Error> {
        let pods = ObjectSource::new("", ["v1"], "Pod");
        Ok(Description::new(env!("CARGO_PKG_VERSION")).watch(Watch::objects(pods).fields(FIELDS)))
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        let Subject::Object(object) = subject else {
            return Ok(Outcome::NotOurs);
        };
        let (pod, diagnostics) = read::parse::<Pod<'_>>(&object.json)?;
        let Pod {
            metadata,
            spec,
            status,
        } = &pod;
        let Some(start) = status.started.get().or(metadata.created.get()) else {
            return Ok(Outcome::wait("not-created"));
        };
        let main = Span::main("pod", start)
            .with("k8s.pod.name", metadata.name.get())
            .with("k8s.pod.uid", metadata.uid.get())
            .with("k8s.namespace.name", metadata.namespace.get())
            .with("k8s.node.name", spec.node_name.get())
            .with("k8s.pod.ip", status.pod_ip.get())
            .with("pod.phase", status.phase.get())
            .with("pod.qos_class", status.qos_class.get())
            .with("pod.restart_policy", spec.restart_policy.get())
            .with("pod.priority_class", spec.priority_class_name.get())
            .with("pod.service_account", spec.service_account_name.get());
        let tree = SpanTree::new("Pod", main)
            .under(Parent::Owner(Owner::any("")))
            .with_diagnostics(diagnostics);
        Ok(Outcome::Spans(vec![tree]))
    }
}

export_mapper!(TwelveFields);

#[cfg(test)]
mod tests {
    use super::*;
    use span_mapper_sdk::testing;

    #[test]
    fn a_pod_is_one_span() {
        let description = TwelveFields::configure(&testing::configuration()).unwrap();
        let pod = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"nodeName": "worker", "restartPolicy": "Never"},
            "status": {"phase": "Running", "startTime": "2026-01-02T03:04:06Z"}
        });
        let subject = Subject::Object(testing::subject(&description, 0, &pod, &[]));
        let Ok(Outcome::Spans(trees)) = TwelveFields::map(&subject) else {
            panic!("no spans")
        };
        assert_eq!(testing::fault(&trees[0]), None);
        assert_eq!(
            testing::attributes(&trees[0].main.attributes),
            serde_json::json!({
                "k8s.pod.name": "p",
                "k8s.pod.uid": "u",
                "k8s.namespace.name": "n",
                "k8s.node.name": "worker",
                "pod.phase": "Running",
                "pod.restart_policy": "Never",
            })
        );
    }
}
