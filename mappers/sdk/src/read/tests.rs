use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::contract::Precision;

crate::record! {
    struct Inner<'a> {
        text: Text<'a> = "text",
        time: Time = "time",
    }

    struct Outer<'a> {
        number: Integer = "number",
        boolean: Boolean = "boolean",
        inner: Inner<'a> = "inner",
        list: List<Inner<'a>> = "list",
        labels: Map<'a, Text<'a>> = "labels",
    }
}

fn odd(value: &Value) -> Vec<String> {
    let text = value.to_string();
    let (_, odd) = parse::<Outer>(&text).unwrap();
    odd.into_iter()
        .map(|odd| format!("{}: {}", odd.pointer, odd.message))
        .collect()
}

#[test]
fn reads_what_is_there() {
    let text = r#"{"number":3,"boolean":true,"unknown":[{}],"inner":{"text":"a\nb","time":"2026-01-01T00:00:00Z"},
        "list":[null,{"text":"c"}],"labels":{"a/b":"d"}}"#;
    let (outer, odd) = parse::<Outer>(text).unwrap();
    assert_eq!(odd, []);
    assert_eq!(outer.number.get(), Some(3));
    assert!(outer.boolean.is_true());
    assert_eq!(outer.inner.text.get(), Some("a\nb"));
    assert_eq!(outer.inner.time.get().unwrap().precision, Precision::Second);
    assert_eq!(outer.list.len(), 2);
    assert_eq!(outer.list[1].text, "c");
    assert_eq!(outer.labels.text("a/b"), Some("d"));
}

#[test]
fn members_are_read_in_any_order() {
    let mut members = [
        r#""boolean":true"#,
        r#""inner":{"time":"2026-01-01T00:00:00Z","text":"a"}"#,
        r#""labels":{"number":"b"}"#,
        r#""list":[{"text":"c"}]"#,
        r#""number":3"#,
        r#""numbers":[{"number":4}]"#,
    ];
    let read = |members: &[&str]| {
        let text = format!("{{{}}}", members.join(","));
        format!("{:?}", parse::<Outer>(&text).unwrap())
    };
    let first = read(&members);
    assert!(first.contains("Integer(Some(3))"), "{first}");
    for _ in 0..members.len() {
        members.rotate_left(1);
        assert_eq!(read(&members), first);
        members.reverse();
        assert_eq!(read(&members), first);
        members.reverse();
    }
}

#[test]
fn what_is_missing_or_null_is_not_odd() {
    assert_eq!(odd(&json!({})), [] as [&str; 0]);
    let null = json!({"number": null, "inner": null, "list": null, "labels": {"a": null}});
    assert_eq!(odd(&null), [] as [&str; 0]);
    let zero = json!({"inner": {"time": "0001-01-01T00:00:00Z", "text": ""}});
    assert_eq!(odd(&zero), [] as [&str; 0]);
}

#[test]
fn what_is_of_another_type_is_missing_and_named() {
    let value = json!({
        "number": 1.5,
        "boolean": "yes",
        "inner": [1, {"a": 2}],
        "list": [{"text": {}}, {"time": "soon"}, 3],
        "labels": {"a/b~c": 7},
    });
    assert_eq!(
        odd(&value),
        [
            "/boolean: not true or false",
            "/inner: not an object",
            "/labels/a~1b~0c: not a text",
            "/list/0/text: not a text",
            "/list/1/time: not a time from 1970 on, in RFC 3339",
            "/list/2: not an object",
            "/number: not a whole number",
        ]
    );
    assert_eq!(odd(&json!({"number": u64::MAX})).len(), 1);
}

#[test]
fn the_list_of_oddities_is_short() {
    let value = json!({"list": vec![1; 1000]});
    assert_eq!(odd(&value).len(), 16);
}

#[test]
fn only_text_that_is_no_json_is_an_error() {
    assert!(matches!(parse::<Outer>("{"), Err(Error::Subject(_))));
    let (outer, odd) = parse::<Outer>("7").unwrap();
    assert_eq!(outer, Outer::default());
    assert_eq!(odd.len(), 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c/~é\"\\\\]{0,3}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("number"),
        Just("boolean"),
        Just("inner"),
        Just("list"),
        Just("labels"),
        Just("text"),
        Just("time"),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| {
                Value::Object(
                    map.into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

#[test]
fn what_is_cut_off_or_goes_on_is_no_json() {
    let whole = r#"{"a":[true,null,-1.5e3,"x"],"inner":{"text":"a\u00e9\ud83d\ude00\"","time":""},"list":[{}]}"#;
    let (outer, odd) = parse::<Outer>(whole).unwrap();
    assert_eq!((outer.inner.text.as_str(), odd), ("aé😀\"", Vec::new()));
    for end in 0..whole.len() {
        assert!(parse::<Outer>(&whole[..end]).is_err(), "{end}");
    }
    for wrong in [
        "{} {}",
        "{,}",
        r#"{"a":1,}"#,
        r#"{"a" 1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"list":[1,]}"#,
        r#"{"list":[,1]}"#,
        r#"{"number":--1}"#,
        r#"{"number":tru}"#,
        r#"{"inner":{"text":"\ud83d"}}"#,
        r#"{"inner":{"text":"\q"}}"#,
        r#"{"inner":{"text":"\u+123"}}"#,
    ] {
        assert!(parse::<Outer>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_skipped_may_be_nested_as_deep_as_it_likes() {
    let depth = 100_000;
    let text = ["{\"unknown\":", &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
    assert_eq!(parse::<Outer>(&text), Ok((Outer::default(), Vec::new())));
}

proptest! {
    #[test]
    fn any_text_comes_back(text in ".{0,60}") {
        let json = Value::from([text.as_str(), "next"].as_slice()).to_string();
        let (list, odd) = parse::<List<Text>>(&json).unwrap();
        prop_assert_eq!(odd, []);
        let read: Vec<_> = list.iter().map(|text| text.as_str()).collect();
        prop_assert_eq!(read, [text.as_str(), "next"]);
    }

    #[test]
    fn text_that_is_no_json_is_read_without_a_panic(text in r#"[\[\]{}:,"\\utrue0-9. é]{0,40}"#) {
        let _ = parse::<Outer>(&text);
        let _ = parse::<List<Inner>>(&text);
    }

    #[test]
    fn any_json_is_read_and_every_oddity_points_somewhere(value in any_json()) {
        let text = value.to_string();
        let (_, odd) = parse::<Outer>(&text).unwrap();
        for odd in odd {
            prop_assert!(value.pointer(&odd.pointer).is_some(), "{}", odd.pointer);
        }
    }
}
