use serde_json::{Value, json};
use span_mapper_sdk::testing;
use span_mapper_sdk::{SpanTree, Timestamp};

use super::*;

mod refused;

/// What stands before a rule that is tested.
const HEAD: &str = "kind: Thing\ngroup: example.com\nversions: [v1]\nservice: Thing\n";
const MAIN: &str = "name: thing\nstart: object.metadata.creationTimestamp\n";

fn reading(text: &str) -> Reading {
    match Reading::of(text) {
        Ok(reading) => reading,
        Err(error) => panic!("{error:?}\n{text}"),
    }
}

fn thing(status: Value) -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"name": "one", "namespace": "jx", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"secret": "not for everybody"},
        "status": status,
    })
}

fn map(text: &str, object: &Value, attached: &[(u32, Value)]) -> Result<Outcome<'static>, Error> {
    let reading = reading(text);
    let subject = testing::subject(&reading.describe(), 0, object, attached);
    reading.map(&Subject::Object(subject))
}

fn trees(text: &str, object: &Value, attached: &[(u32, Value)]) -> Vec<SpanTree<'static>> {
    let outcome = map(text, object, attached);
    let Ok(Outcome::Spans(trees)) = outcome else {
        panic!("{outcome:?}");
    };
    for tree in &trees {
        assert_eq!(testing::fault(tree), None);
    }
    trees
}

fn tree(rules: &str, status: Value) -> SpanTree<'static> {
    let trees = trees(&[HEAD, MAIN, rules].concat(), &thing(status), &[]);
    let [tree] = <[_; 1]>::try_from(trees).unwrap();
    tree
}

fn attributes(rules: &str, status: Value) -> Value {
    let tree = tree(&["attributes:\n", rules].concat(), status);
    let mut attributes = testing::attributes(&tree.main.attributes);
    let about = attributes.as_object_mut().unwrap();
    about.retain(|key, _| !key.starts_with("k8s."));
    for odd in &tree.diagnostics {
        about.insert(format!("odd, {}", odd.pointer), odd.message.clone().into());
    }
    attributes
}

fn at(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text)
}

#[test]
fn a_span_of_an_object() {
    let rules = "end: object.status.finished\n\
        error: {when: object.status.phase == 'Failed', type: object.status.reason, message: object.status.message}\n\
        resource: {service.namespace: object.metadata.namespace}\n";
    let failed = json!({"phase": "Failed", "reason": "Broken", "message": "it broke", "finished": "2026-01-01T00:00:09.5Z"});
    let failed = tree(rules, failed);
    assert_eq!(failed.main.name, "thing");
    assert_eq!(failed.main.end, at("2026-01-01T00:00:09.5Z"));
    assert!(failed.main.has_failed());
    assert_eq!(
        testing::attributes(&failed.main.attributes),
        json!({
            "error.type": "Broken", "k8s.object.kind": "Thing", "k8s.object.name": "one", "k8s.object.uid": "u",
            "k8s.namespace.name": "jx",
        })
    );
    let running = tree(rules, json!({}));
    assert_eq!(running.main.end, None);
    assert!(!running.main.has_failed());
    assert_eq!(running.diagnostics, []);
}

#[test]
fn what_is_missing_gives_null_and_what_has_another_type_is_said() {
    let rules = "  missing: object.status.no.such.field\n  first: object.status.list[0].name\n  none: object.status.list[7].name\n  \
        optional: object.?status.?nothing.orValue('else')\n  number: object.status.number + 1\n  has: has(object.status.nothing)\n  \
        length: duration('1m2.5s')\n  texts: object.status.list.map(l, l.name)\n  null: object.status.zero\n  \
        wrong: object.status.number + 'x'\n  object: object.status\n";
    let status = json!({"list": [{"name": "a"}, {"name": "b"}], "number": 3, "zero": null});
    assert_eq!(
        attributes(rules, status),
        json!({
            "first": "a", "optional": "else", "number": 4, "has": false, "length": 62.5, "texts": ["a", "b"],
            "odd, line 17, column 10": "expression 'object.status.number + 'x'': an operation or a field does not go with the type of its values",
            "odd, line 18, column 11": "expression 'object.status': it gives a value of type map, not a text, a number, true or false, or a list of such",
        })
    );
}

#[test]
fn what_does_not_go_without_a_name_that_has_no_value_has_none() {
    let rules = "let:\n  failed: object.status.conditions.filter(c, c.type == 'Failed')[0]\n  late: failed.at > 'b'\n\
        error: {when: failed.status == 'True', type: failed.reason}\nend: \"failed == null ? object.status.at : failed.at\"\n\
        attributes: {words: failed + 'x', late: '!late', wrong: object.status.at + 1}\n";
    let fine = json!({"at": "2026-01-01T00:00:05Z"});
    let fine = tree(rules, fine);
    assert!(!fine.main.has_failed());
    assert_eq!(fine.main.end, at("2026-01-01T00:00:05Z"));
    let odd: Vec<_> = fine.diagnostics.iter().map(|it| &*it.pointer).collect();
    assert_eq!(odd, ["line 12, column 57"]);
    let failed = json!({"at": "c", "conditions": [{"type": "Failed", "status": "True", "reason": "Broken", "at": "2026-01-01T00:00:07Z"}]});
    let failed = tree(rules, failed);
    assert!(failed.main.has_failed());
    assert_eq!(failed.main.end, at("2026-01-01T00:00:07Z"));
}

#[test]
fn spans_and_events_for_each() {
    let rules = "spans:\n- forEach: object.status.steps\n  as: step\n  key: ${step.name}\n  name: step ${step.name}\n  when: step.name != 'skipped'\n  \
        start: step.started\n  end: step.finished\n  spans:\n  - forEach: step.parts\n    key: ${step.name}/${key}\n    name: part\n    start: item\n\
        events:\n- forEach: object.status.steps\n  name: seen\n  time: item.started\n  attributes: {place: key}\n";
    let steps = json!({"steps": [
        {"name": "a", "started": "2026-01-01T00:00:01Z", "finished": "2026-01-01T00:00:03Z", "parts": ["2026-01-01T00:00:02Z"]},
        {"name": "skipped", "started": "2026-01-01T00:00:01Z"},
        {"name": "not yet"},
        {"name": "a", "started": "2026-01-01T00:00:04Z"},
    ]});
    let tree = tree(rules, steps);
    let children: Vec<_> = tree
        .children
        .iter()
        .map(|child| {
            (
                &*child.span.key,
                &*child.span.name,
                child.under,
                child.span.end,
            )
        })
        .collect();
    assert_eq!(
        children,
        [
            ("a", "step a", None, at("2026-01-01T00:00:03Z")),
            ("a/0", "part", Some(0), at("2026-01-01T00:00:03Z")),
            ("a/2", "step a", None, None),
        ]
    );
    assert_eq!(tree.main.events.len(), 3);
    assert_eq!(tree.diagnostics, []);
}

#[test]
fn an_object_that_reconciles_for_ever_has_runs() {
    let rules = "runs: {forEach: object.status.history, as: run, key: '${run.id}'}\nname: run\nstart: run.from\nend: run.from\n";
    let text = [HEAD, rules].concat();
    let history = json!({"history": [
        {"id": 2, "from": "2026-01-01T00:00:02Z"}, {"id": 1, "from": "2026-01-01T00:00:01Z"}, {"id": 3}, {"id": 2},
    ]});
    let trees = trees(&text, &thing(history), &[]);
    let runs: Vec<_> = trees.iter().map(|tree| &*tree.run).collect();
    assert_eq!(runs, ["2", "1"]);
    assert_eq!(
        map(&text, &thing(json!({})), &[]),
        Ok(Outcome::wait("no-run"))
    );
}

#[test]
fn what_comes_along_is_known_by_its_name() {
    let text = [
        HEAD,
        MAIN,
        "attach:\n  events: {kind: Event, relation: involved}\n  jobs: {kind: Job, group: batch, relation: labelled job-of}\n",
        "attributes: {events: 'attached.events.map(e, e.reason)', jobs: size(attached.jobs)}\n",
    ];
    let attached = [
        (0, json!({"reason": "Started", "message": "hello"})),
        (1, json!({"metadata": {"name": "j"}})),
    ];
    let text = text.concat();
    let trees = trees(&text, &thing(json!({})), &attached);
    let attributes = testing::attributes(&trees[0].main.attributes);
    assert_eq!(
        (&attributes["events"], &attributes["jobs"]),
        (&json!(["Started"]), &json!(1))
    );
    let description = reading(&text).describe();
    let attachments = &description.watches[0].attachments;
    assert_eq!(attachments[0].fields, ["/reason"]);
    assert_eq!(attachments[1].fields, ["/metadata/name"]);
}

#[test]
fn conditions_decide_whether_it_is_mapped() {
    let text = [
        HEAD,
        MAIN,
        "skip: object.spec.kind == 'other'\nwait: {not-seen: '!has(object.status.seen)'}\nannotate: object.status.seen\n",
    ];
    let text = text.concat();
    assert_eq!(
        map(&text, &thing(json!({})), &[]),
        Ok(Outcome::wait("not-seen"))
    );
    assert!(trees(&text, &thing(json!({"seen": true})), &[])[0].may_annotate);
    let mut other = thing(json!({}));
    other["spec"]["kind"] = "other".into();
    assert_eq!(map(&text, &other, &[]), Ok(Outcome::NotOurs));
    let error = map(&text.replace("== 'other'", "+ 1"), &other, &[]);
    let Err(Error::Evaluation(at)) = error else {
        panic!("{error:?}");
    };
    assert_eq!((at.line, at.column), (7, 7));
}

#[test]
fn one_that_is_deleted_has_ended() {
    let text = [
        HEAD,
        MAIN,
        "spans:\n- {key: a, name: a, start: object.status.started}\n",
    ]
    .concat();
    let reading = reading(&text);
    let status = json!({"started": "2026-01-01T00:00:05Z"});
    let mut object = testing::subject(&reading.describe(), 0, &thing(status), &[]);
    object.deleted = true;
    let outcome = reading.map(&Subject::Object(object));
    let Ok(Outcome::Spans(trees)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(trees[0].main.end, at("2026-01-01T00:00:05Z"));
    assert_eq!(trees[0].children[0].span.end, at("2026-01-01T00:00:05Z"));
}

#[test]
fn parents_are_candidates_in_their_order() {
    let rules = "parents:\n- remote: {traceparent: \"object.metadata.annotations['example.com/traceparent']\"}\n\
        - target: {kind: Other, group: example.com, name: '${object.spec.other}', span: a}\n\
        - labelled: {kind: Third, labels: {of: '${object.metadata.name}'}}\n- owner: {kind: Parent}\n- root\n";
    let text = [HEAD, MAIN, rules].concat();
    let mut object = thing(json!({}));
    let all = |object: &Value| trees(&text, object, &[]).remove(0).parents;
    assert_eq!(all(&object).len(), 3);
    object["spec"]["other"] = "o".into();
    object["metadata"]["annotations"] = json!({"example.com/traceparent": "00-1-2-01"});
    let parents = all(&object);
    assert_eq!(parents.len(), 5);
    assert!(
        matches!(&parents[0], span_mapper_sdk::Parent::Remote(remote) if remote.traceparent == "00-1-2-01")
    );
    assert!(
        matches!(&parents[1], span_mapper_sdk::Parent::Target(target) if target.name == "o" && target.span == "a")
    );
}

#[test]
fn the_fields_that_are_read_are_those_that_the_expressions_read() {
    let cases = [
        ("object.status.phase", vec!["/status/phase"]),
        ("has(object.status.phase)", vec!["/status/phase"]),
        ("object['status']['a/b']", vec!["/status/a~1b"]),
        ("object.?status.?phase.orValue('')", vec!["/status/phase"]),
        (
            "object.status.a == 1 ? object.status.b : object.status.c",
            vec!["/status/a", "/status/b", "/status/c"],
        ),
        (
            "object.status.conditions.filter(c, c.type == 'Ready')[0].message",
            vec!["/status/conditions/*/message", "/status/conditions/*/type"],
        ),
        (
            "object.status.conditions.exists(c, c.type == 'Ready')",
            vec!["/status/conditions/*/type"],
        ),
        (
            "object.status.list.map(l, l.name + l.kind)",
            vec!["/status/list/*/kind", "/status/list/*/name"],
        ),
        ("size(object.status.list)", vec!["/status/list"]),
        ("object.status.list.all(l, true)", vec!["/status/list"]),
        (
            "object.status.nodes.map(n, object.status.nodes[n].phase)",
            vec!["/status/nodes/*"],
        ),
        (
            "(object.status.a + object.status.b).filter(i, i.x)[0].y",
            vec![
                "/status/a/*/x",
                "/status/a/*/y",
                "/status/b/*/x",
                "/status/b/*/y",
            ],
        ),
        (
            "[object.status.a, object.status.b][0].c",
            vec!["/status/a/c", "/status/b/c"],
        ),
        ("object.status.a.b + object.status.a", vec!["/status/a"]),
        ("size(object) > 1", vec![]),
    ];
    for (expression, fields) in cases {
        let text = [
            HEAD,
            "name: a\nstart: \"'2026-01-01T00:00:00Z'\"\nattributes: {a: \"",
            expression,
            "\"}\n",
        ];
        assert_eq!(
            reading(&text.concat()).describe().watches[0].fields,
            fields,
            "{expression}"
        );
    }
    let text = [
        HEAD,
        "name: a\nlet: {ready: 'object.status.list.filter(l, l.is)[0]'}\nstart: ready.at\n",
    ];
    assert_eq!(
        reading(&text.concat()).describe().watches[0].fields,
        ["/status/list/*/at", "/status/list/*/is"]
    );
}

#[test]
fn whatever_is_in_an_object_its_trees_are_well_formed() {
    let rules = "let: {ready: \"object.status.conditions.filter(c, c.type == 'Ready')[0]\"}\nend: ready.lastTransitionTime\n\
        error: {when: ready.status == 'False', type: ready.reason, message: ready.message}\n\
        spans:\n- {forEach: object.status.steps, key: '${item.name}', name: '${item.name}', start: item.started, end: item.finished}\n";
    let text = [HEAD, MAIN, rules].concat();
    let reading = reading(&text);
    let whole = thing(json!({
        "conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:05Z"}],
        "steps": [{"name": "a", "started": "2026-01-01T00:00:01Z", "finished": "2026-01-01T00:00:02Z"}],
    }));
    let mut mapped = 0;
    for place in 0..60 {
        for odd in 0..12 {
            let mangled = testing::mangle(&whole, &[(place, odd)]);
            let subject = testing::subject(&reading.describe(), 0, &mangled, &[]);
            if let Ok(Outcome::Spans(trees)) = reading.map(&Subject::Object(subject)) {
                assert_eq!(testing::fault(&trees[0]), None, "{mangled}");
                mapped += 1;
            }
        }
    }
    assert!(mapped > 500, "{mapped}");
}

/// The blocks of YAML in the part of the guide about it.
fn guide() -> Vec<&'static str> {
    let guide = include_str!("../../../docs/mappers.md");
    let (_, part) = guide.split_once("\n## In YAML\n").unwrap();
    let (part, _) = part.split_once("\n## ").unwrap();
    let blocks = part.split("\n```yaml\n").skip(1);
    blocks
        .map(|block| block.split_once("\n```\n").unwrap().0)
        .collect()
}

#[test]
fn what_the_guide_shows_is_right() {
    let [whole, parents] = guide()[..] else {
        panic!("{:?}", guide());
    };
    let description = reading(whole).describe();
    assert_eq!(
        description.watches[0].fields,
        [
            "/metadata/creationTimestamp",
            "/status/completionTime",
            "/status/conditions/*/lastTransitionTime",
            "/status/conditions/*/message",
            "/status/conditions/*/reason",
            "/status/conditions/*/status",
            "/status/conditions/*/type",
            "/status/startTime",
        ]
    );
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "jx", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {
            "startTime": "2026-01-01T00:00:02Z",
            "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "gave up",
                "lastTransitionTime": "2026-01-01T00:01:00Z"}],
        },
    });
    let tree = trees(whole, &job, &[]).remove(0);
    assert!(tree.main.has_failed());
    assert_eq!(tree.main.end, at("2026-01-01T00:01:00Z"));
    assert_eq!(tree.children[0].span.end, at("2026-01-01T00:00:02Z"));
    reading(&[HEAD, MAIN, parents, "\n"].concat());
}
