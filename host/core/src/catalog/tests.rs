//! What is read of an object is enough.

use proptest::prelude::*;
use serde::de::DeserializeSeed as _;
use serde_json::json;

use super::*;
use crate::description::{AnnotationValue, Attachment};

fn catalog(fields: Vec<String>, of_attached: Vec<String>, relation: Relation) -> Catalog {
    let attachment = Attachment {
        source: ObjectSource::of("", "v1", "Thing"),
        relation,
        fields: of_attached,
    };
    let annotation = Annotation {
        key: "example.com/a~b".to_owned(),
        value: AnnotationValue::Traceparent,
    };
    let watch = Watch {
        source: Source::Objects(ObjectSource::of("", "v1", "Thing")),
        fields,
        attachments: vec![attachment],
        annotations: vec![annotation],
    };
    let description = Description {
        watches: vec![watch],
        ..Description::default()
    };
    Catalog::new([("mapper".to_owned(), description)]).unwrap()
}

fn field() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "spec",
        "status",
        "metadata",
        "labels",
        "annotations",
        "a",
        "b",
        "*",
        "0",
        "1",
    ]);
    prop::collection::vec(segment, 1..4).prop_map(|path| format!("/{}", path.join("/")))
}

fn inner() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(null)), Just(json!(1)), Just(json!("x"))];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_object_is_the_same_with_what_is_read_of_it(
        fields in prop::collection::vec(field(), 0..4),
        of_attached in prop::collection::vec(field(), 0..4),
        relation in prop::sample::select(vec![
            Relation::Involved, Relation::Owned, Relation::Labelled("a".to_owned()),
        ]),
        spec in inner(),
        status in inner(),
    ) {
        let catalog = catalog(fields, of_attached, relation);
        let object = json!({
            "apiVersion": "v1",
            "kind": "Thing",
            "metadata": {
                "name": "n", "namespace": "s", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-03-02T09:00:00Z",
                "labels": {"a": "1", "b": "2"},
                "annotations": {"example.com/a~b": "1", "b": "2"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Thing", "name": "o", "uid": "v", "controller": true}],
            },
            "involvedObject": {"uid": "w", "kind": "Thing", "apiVersion": "v1", "name": "w"},
            "spec": spec,
            "status": status,
        });
        let (id, _) = catalog.sources().next().unwrap();
        let text = object.to_string();
        let mut json = serde_json::Deserializer::from_str(&text);
        let read = catalog.reads(id).unwrap().deserialize(&mut json).unwrap();
        let (of_read, of_whole) = (catalog.object(id, &read), catalog.object(id, &object));
        prop_assert_eq!(format!("{of_read:?}"), format!("{of_whole:?}"));
    }
}
