//! Texts that are wrong: each is refused where it is wrong.

use super::*;

fn refused(text: &str) -> String {
    match Reading::of(text) {
        Err(Error::Configuration(at)) => format!("{}:{} {}", at.line, at.column, at.message),
        other => panic!("{:?}\n{text}", other.map(|it| it.describe())),
    }
}

/// After four lines that are right.
fn wrong(rules: &str) -> String {
    refused(&[HEAD, rules].concat())
}

#[track_caller]
fn starts(said: String, expected: &str) {
    assert!(said.starts_with(expected), "{said}\nnot {expected}");
}

#[test]
fn keys_and_values() {
    starts(
        wrong("name: a\nstart: object.a\nnmae: b\n"),
        "7:1 the key 'nmae' is not known here; known are version, kind,",
    );
    starts(wrong("name: a\n"), "1:1 the key 'start' is missing here");
    starts(
        wrong("name: [a]\nstart: object.a\n"),
        "5:7 this must be a text, not a list",
    );
    starts(wrong("name: a\nstart:\n"), "6:6 a text is missing here");
    starts(
        wrong("name: a\nname: b\n"),
        "6:1 the key 'name' is there twice",
    );
    starts(
        wrong("name: a\nstart: object.a\nerror: {wen: object.b}\n"),
        "7:8 the key 'when' is missing here",
    );
    starts(
        wrong("name: a\nstart: object.a\nspans:\n- {key: a, name: a, start: object.a, as: b}\n"),
        "8:42 'as' names what",
    );
    starts(
        wrong("name: a\nstart: object.a\nparents: [ownr]\n"),
        "7:11 'ownr' is no candidate for a parent",
    );
    starts(
        wrong("name: a\nstart: object.a\nattach: {e: {kind: Event, relation: involvd}}\n"),
        "7:37 'involvd' is no relation",
    );
    starts(
        wrong("name: a\nstart: object.a\nspanKind: sever\n"),
        "7:11 'sever' is no kind of span",
    );
    starts(
        wrong("name: a\nstart: object.a\nlet: {object: 'object.a'}\n"),
        "7:7 the name 'object' has a meaning already",
    );
    starts(refused(""), "1:1 there is nothing in it");
    starts(refused("- a\n"), "1:1 this must be an object");
    starts(
        wrong("name: &a a\nstart: *a\n"),
        "6:8 references (*name) are not known here",
    );
    starts(wrong("name: 'a\n"), "5:7 this is no YAML");
}

#[test]
fn expressions() {
    starts(wrong("name: a\nstart: object.a +\n"), "6:");
    starts(
        wrong("name: a\nstart: object.a\nend: 'object.b ? : 1'\n"),
        "7:18 this is no CEL expression",
    );
    starts(
        wrong("name: a\nstart: object.a\nend: |\n  object.b +\n    subject.c\n"),
        "9:5 the name 'subject' is not known here; known are object, attached,",
    );
    starts(
        wrong("name: now\nstart: now\n"),
        "6:8 the name 'now' is not known here",
    );
    starts(
        wrong("name: a ${objct.metadata.name}\nstart: object.a\n"),
        "5:11 the name 'objct' is not known here",
    );
    starts(
        wrong("name: a ${object.metadata.name\nstart: object.a\n"),
        "5:9 the '}' is missing that ends this '${'",
    );
    starts(
        wrong("name: a\nstart: object.a.matches('x')\n"),
        "6:17 the name 'matches' is not known here; known are bytes,",
    );
    starts(
        wrong("name: a\nstart: attached.events[0].a\n"),
        "6:17 the name 'events' is not known here",
    );
    starts(
        wrong("name: a\nstart: \"{'a': object.a}['a']\"\n"),
        "6:9 objects ({key: value}) are not made in expressions",
    );
    let nested = "[".repeat(200) + "1" + &"]".repeat(200);
    starts(wrong(&format!("name: a\nstart: '{nested}'\n")), "6:");
    let long = "object.a + ".repeat(1000) + "1";
    starts(
        wrong(&format!("name: a\nstart: {long}\n")),
        "6:8 the expression is longer than",
    );
}

#[test]
fn the_second_document_has_places_too() {
    let first = [HEAD, MAIN].concat();
    let second = first.replace("start: object", "start: objekt");
    starts(
        refused(&[&first, "---\n", &second].concat()),
        "13:8 the name 'objekt' is not known here",
    );
    assert_eq!(
        reading(&[&first, "---\n", &first].concat())
            .describe()
            .watches
            .len(),
        2
    );
}
