//! Pods as they occur, and as they should not.

mod fixture;
mod lives;
mod troubles;

use proptest::prelude::*;
use serde_json::{Value, json};
use span_mapper_sdk::testing::{self, attributes};
use span_mapper_sdk::{Outcome, Parent, Subject};

use fixture::{Case, pod};

#[test]
fn a_pod_belongs_to_its_controller_or_to_no_trace() {
    let case = Case::new(pod());
    let tree = case.tree();
    assert_eq!(tree.service, "Pod");
    assert_eq!(
        attributes(&tree.resource_attributes),
        json!({"service.namespace": "jx"})
    );
    let [Parent::Owner(owner)] = tree.parents.as_slice() else {
        panic!("{:?}", tree.parents);
    };
    assert_eq!((&owner.group, &owner.kind), (&None, &None));
    assert_eq!(owner.span, "pod/build-pod");

    let mut alone = pod();
    alone["metadata"]["ownerReferences"] = json!([{"kind": "Note"}]);
    assert_eq!(Case::new(alone).outcome(), Outcome::NotOurs);
}

#[test]
fn a_pod_is_annotated_once_somebody_has_taken_it_over() {
    let mut object = pod();
    object["status"] = json!({"phase": "Pending"});
    assert!(!Case::new(object.clone()).tree().may_annotate);
    object["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False"}]);
    assert!(Case::new(object.clone()).tree().may_annotate);
    object["status"] = json!({"startTime": "2023-11-14T22:13:21Z"});
    assert!(Case::new(object).tree().may_annotate);
}

#[test]
fn a_pod_without_any_time_waits() {
    let mut object = pod();
    object["metadata"]["creationTimestamp"] = Value::Null;
    object["status"] = json!({});
    assert_eq!(
        Case::new(object).without_events().outcome(),
        Outcome::wait("no-creation-time")
    );
}

#[test]
fn oddities_are_told_and_the_rest_is_mapped() {
    let mut object = pod();
    object["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = json!("none");
    object["spec"]["initContainers"] = json!(7);
    let mut case = Case::new(object);
    case.events[0]["count"] = json!("often");
    let tree = case.tree();
    let told: Vec<String> = tree
        .diagnostics
        .iter()
        .map(|odd| format!("{} {}", odd.pointer, odd.message))
        .collect();
    assert_eq!(
        told,
        [
            "/spec/initContainers not a list",
            "/status/containerStatuses/0/state/terminated/exitCode not a whole number",
            " Event build-pod.17979cfe80ab7c80: /count is not a whole number",
        ]
    );
    assert!(case.tree().main.end.is_some());
}

#[test]
fn a_webhook_is_none_of_its_subjects() {
    use span_mapper_sdk::Mapper;
    let webhook = span_mapper_sdk::Webhook {
        watch: 0,
        kind: "push".to_owned(),
        guid: None,
        received: span_mapper_sdk::Timestamp::nanoseconds(1),
        json: "{}".to_owned(),
    };
    assert_eq!(
        crate::Kubernetes::map(&Subject::Webhook(webhook)).unwrap(),
        Outcome::NotOurs
    );
}

fn changes() -> impl Strategy<Value = Vec<(u16, u8)>> {
    proptest::collection::vec((any::<u16>(), any::<u8>()), 0..10)
}

proptest! {
    #[test]
    fn any_pod_is_mapped_to_a_tree_without_fault(
        of_pod in changes(),
        of_events in changes(),
        deleted: bool,
        left in 0..32_usize,
        running: bool,
    ) {
        let mut object = pod();
        if running {
            object["status"]["phase"] = json!("Running");
            object["status"]["containerStatuses"][1]["state"] = json!({"running": {"startedAt": "2023-11-14T22:13:31Z"}});
        }
        let mut case = Case::new(testing::mangle(&object, &of_pod));
        let events = testing::mangle(&Value::from(std::mem::take(&mut case.events)), &of_events);
        case.events = events.as_array().cloned().unwrap_or_default();
        case.events.truncate(left);
        case.deleted = deleted;
        if let Outcome::Spans(trees) = case.outcome() {
            let tree = &trees[0];
            prop_assert_eq!(testing::fault(tree), None);
            prop_assert!(!deleted || tree.main.end.is_some());
            prop_assert!(tree.main.end.is_none() || tree.children.iter().all(|child| child.span.end.is_some()));
        }
    }

    #[test]
    fn the_order_of_events_does_not_matter(order in Just(Case::new(pod()).events).prop_shuffle()) {
        let mut case = Case::new(pod());
        let expected = case.tree();
        case.events = order;
        prop_assert_eq!(case.tree(), expected);
    }
}
