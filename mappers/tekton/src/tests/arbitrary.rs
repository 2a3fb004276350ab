//! Whatever is in the fields: no panic, and trees that are well-formed.

use proptest::prelude::*;
use serde_json::{Value, json};
use span_mapper_sdk::testing::fault;
use span_mapper_sdk::{Description, Mapper, Object, Source, Subject};

use super::*;

const TEXTS: [&str; 24] = [
    "",
    "2026-03-02T10:00:00Z",
    "2026-03-02T10:00:30Z",
    "2026-03-02T10:00:10.250Z",
    "0001-01-01T00:00:00Z",
    "True",
    "False",
    "Unknown",
    "Succeeded",
    "Failed",
    "TaskRunCancelled",
    "TaskRunTimeout",
    "ToBeRetried",
    "Pending",
    "ResolvingTaskRef",
    "Running",
    "OOMKilled",
    "Skipped",
    "continue",
    "build",
    "step-build",
    "tekton.dev/v1",
    "é~/\"",
    r#"[{"key":"StartedAt","value":"2026-03-02T10:00:10.250Z"}]"#,
];

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop::sample::select(TEXTS.as_slice()).prop_map(Value::from),
        1 => prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1_i64..3).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
        ],
    ]
}

/// A value that has something at each of these pointers, most of the time.
fn shaped(pointers: &[Vec<String>]) -> BoxedStrategy<Value> {
    if pointers.iter().all(Vec::is_empty) {
        return any_leaf().boxed();
    }
    let mut members: std::collections::BTreeMap<String, Vec<Vec<String>>> = Default::default();
    for pointer in pointers {
        if let Some((first, rest)) = pointer.split_first() {
            members
                .entry(first.clone())
                .or_default()
                .push(rest.to_vec());
        }
    }
    let shape = if let Some(every) = members.get("*") {
        prop::collection::vec(shaped(every), 0..4)
            .prop_map(Value::from)
            .boxed()
    } else {
        let members: Vec<_> = members
            .into_iter()
            .map(|(key, below)| {
                prop::option::weighted(0.9, shaped(&below))
                    .prop_map(move |value| (key.clone(), value))
            })
            .collect();
        members
            .prop_map(|members| {
                let there = members
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value?)));
                Value::Object(there.collect())
            })
            .boxed()
    };
    prop_oneof![12 => shape, 1 => any_leaf()].boxed()
}

/// What the pointers to whole lists are followed by.
fn inside(pointer: &str) -> Vec<String> {
    let members: &[&str] = if pointer.ends_with("/conditions") {
        &["type", "status", "reason", "message", "lastTransitionTime"]
    } else if pointer.ends_with("/ownerReferences") {
        &["apiVersion", "kind", "name", "uid", "controller"]
    } else if pointer.ends_with("/series") {
        return ["count", "lastObservedTime"]
            .map(|member| format!("{pointer}/{member}"))
            .to_vec();
    } else {
        return vec![pointer.to_owned()];
    };
    members
        .iter()
        .map(|member| format!("{pointer}/*/{member}"))
        .collect()
}

fn object(fields: &[String]) -> BoxedStrategy<Value> {
    let always = [
        "/metadata/name",
        "/metadata/creationTimestamp",
        "/metadata/uid",
    ];
    let pointers: Vec<Vec<String>> = fields
        .iter()
        .flat_map(|field| inside(field))
        .chain(always.map(str::to_owned))
        .map(|pointer| {
            pointer
                .split('/')
                .skip(1)
                .map(|segment| segment.replace("~1", "/"))
                .collect()
        })
        .collect();
    shaped(&pointers)
}

fn any_subject(description: &Description) -> impl Strategy<Value = Object> + use<> {
    let watches: Vec<BoxedStrategy<Object>> = description
        .watches
        .iter()
        .zip(0_u32..)
        .map(|(watch, place)| {
            assert!(matches!(watch.source, Source::Objects(_)));
            let attached: Vec<_> = watch
                .attachments
                .iter()
                .zip(0_u32..)
                .map(|(attachment, place)| {
                    prop::collection::vec(object(&attachment.fields), 0..4)
                        .prop_map(move |objects| (place, objects))
                })
                .collect();
            (object(&watch.fields), attached, any::<bool>())
                .prop_map(move |(value, attached, deleted)| {
                    let attached = attached.into_iter().flat_map(|(place, objects)| {
                        objects
                            .into_iter()
                            .map(move |object| span_mapper_sdk::Attached {
                                attachment: place,
                                json: object.to_string(),
                            })
                    });
                    Object {
                        watch: place,
                        json: value.to_string(),
                        deleted,
                        attached: attached.collect(),
                        omitted: 0,
                    }
                })
                .boxed()
        })
        .collect();
    prop::strategy::Union::new(watches)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_fields_make_well_formed_trees(subject in any_subject(&describe::description())) {
        let subject = Subject::Object(subject);
        let outcome = Tekton::map(&subject).unwrap();
        let Outcome::Spans(trees) = &outcome else {
            return Err(TestCaseError::fail("no spans"));
        };
        for tree in trees {
            prop_assert_eq!(fault(tree), None);
        }
        prop_assert_eq!(&Tekton::map(&subject).unwrap(), &outcome);
    }
}

#[test]
fn what_is_no_json_is_an_error() {
    let subject = Object {
        watch: describe::TASK_RUN,
        json: "{".to_owned(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    };
    assert!(Tekton::map(&subject.into()).is_err());
    let unknown = subject_of_watch(9);
    assert_eq!(Tekton::map(&unknown).unwrap(), Outcome::NotOurs);
}

fn subject_of_watch(watch: u32) -> Subject {
    Subject::Object(Object {
        watch,
        json: json!({}).to_string(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    })
}
