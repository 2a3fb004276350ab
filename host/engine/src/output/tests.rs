use lighthouse_telemetry_core::mapping::{
    Child, MappedEvent, Parent, SpanKind, Timestamp, TraceStart,
};

use super::*;

fn span(key: &str) -> MappedSpan {
    MappedSpan {
        key: key.into(),
        name: "name".into(),
        kind: SpanKind::Internal,
        start: Timestamp::default(),
        end: None,
        status: SpanStatus::Unset,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

fn child(key: &str, under: Option<u32>) -> Child {
    Child {
        under,
        span: span(key),
    }
}

fn tree() -> SpanTree {
    SpanTree {
        run: String::new(),
        service: "Pod".to_owned(),
        resource_attributes: Vec::new(),
        parents: vec![Parent::Root(TraceStart::Subject)],
        main: span(""),
        children: vec![child("a", None), child("b", Some(0)), child("c", Some(1))],
        may_annotate: true,
        diagnostics: Vec::new(),
    }
}

fn accepted(tree: SpanTree, limits: &OutputLimits) -> SpanTree {
    match accept(Outcome::Spans(vec![tree]), limits) {
        Ok(Outcome::Spans(mut trees)) => trees.pop().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn refused(change: impl FnOnce(&mut SpanTree)) -> BadOutput {
    let mut tree = tree();
    change(&mut tree);
    accept(Outcome::Spans(vec![tree]), &OutputLimits::default()).unwrap_err()
}

fn cut_of(tree: &SpanTree, what: &str) -> Option<AttributeValue> {
    let key = format!("span_mapper.cut.{what}");
    let mut attributes = tree.main.attributes.iter();
    attributes
        .find(|attribute| attribute.key == key)
        .map(|attribute| attribute.value.clone())
}

#[test]
fn what_keeps_the_rules_stays_as_it_is() {
    assert_eq!(accepted(tree(), &OutputLimits::default()), tree());
}

#[test]
fn broken_rules_are_called_by_their_names() {
    assert_eq!(
        refused(|tree| tree.parents.clear()),
        BadOutput::NoParent(String::new())
    );
    assert_eq!(
        refused(|tree| tree.service.clear()),
        BadOutput::NoService(String::new())
    );
    assert_eq!(
        refused(|tree| tree.main.key = "x".into()),
        BadOutput::MainKey("x".to_owned())
    );
    assert_eq!(
        refused(|tree| tree.children[1].span.key = "".into()),
        BadOutput::NoKey(1)
    );
    assert_eq!(
        refused(|tree| tree.children[1].span.key = "a".into()),
        BadOutput::KeyTwice("a".to_owned())
    );
    assert_eq!(
        refused(|tree| tree.children[1].span.key = "a\nb".into()),
        BadOutput::Newline("a\nb".to_owned())
    );
    assert_eq!(
        refused(|tree| tree.children[1].under = Some(1)),
        BadOutput::Under { child: 1, under: 1 }
    );
    assert_eq!(
        refused(|tree| tree.children[0].under = Some(u32::MAX)),
        BadOutput::Under {
            child: 0,
            under: u32::MAX
        }
    );
    assert_eq!(
        refused(|tree| tree.children[2].span.name = "".into()),
        BadOutput::NoName("c".to_owned())
    );
    assert_eq!(
        refused(|tree| tree.main.attributes.push(Attribute::new("", "x"))),
        BadOutput::NoAttributeKey(String::new())
    );
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let value = AttributeValue::Numbers(vec![1.0, number]);
        assert_eq!(
            refused(|tree| tree.main.attributes.push(Attribute::new("n", value))),
            BadOutput::NotFinite("n".to_owned())
        );
    }
    let twice = Outcome::Spans(vec![tree(), tree()]);
    assert_eq!(
        accept(twice, &OutputLimits::default()),
        Err(BadOutput::RunTwice(String::new()))
    );
}

#[test]
fn a_key_that_occurs_again_is_cut_and_said() {
    for filler in [0, 60] {
        let mut tree = tree();
        let attributes = &mut tree.main.attributes;
        attributes.push(Attribute::new("k", "first"));
        attributes.push(Attribute::new("k", "second"));
        attributes.extend((0..filler).map(|number| Attribute::new(format!("k{number}"), "v")));
        let tree = accepted(tree, &OutputLimits::default());
        assert_eq!(tree.main.attributes[0], Attribute::new("k", "first"));
        assert_eq!(
            tree.main
                .attributes
                .iter()
                .filter(|attribute| attribute.key == "k")
                .count(),
            1
        );
        assert_eq!(cut_of(&tree, "attributes"), Some(1.into()));
    }
}

#[test]
fn what_is_too_much_is_cut_in_order_and_counted() {
    let limits = OutputLimits {
        spans: 3,
        attributes_per_span: 2,
        events_per_span: 1,
        text_bytes: 5,
        ..OutputLimits::default()
    };
    let mut tree = tree();
    for key in ["a", "b", "c", "d"] {
        tree.main
            .attributes
            .push(Attribute::new(key, "ééé: too long"));
        tree.children[0].span.events.push(MappedEvent {
            name: key.into(),
            time: Timestamp::default(),
            attributes: Vec::new(),
        });
    }
    let tree = accepted(tree, &limits);
    assert_eq!(tree.children.len(), 2);
    assert_eq!(cut_of(&tree, "spans"), Some(1.into()));
    assert_eq!(tree.main.attributes[0], Attribute::new("a", "éé"));
    assert_eq!(cut_of(&tree, "attributes"), Some(2.into()));
    assert_eq!(tree.children[0].span.events.len(), 1);
    assert_eq!(cut_of(&tree, "events"), Some(3.into()));
    assert_eq!(cut_of(&tree, "texts"), Some(2.into()));
    assert_eq!(cut_of(&tree, "links"), None);
}

#[test]
fn all_texts_together_stay_within_their_limit() {
    for output_bytes in 0..60 {
        let limits = OutputLimits {
            output_bytes,
            ..OutputLimits::default()
        };
        let mut tree = tree();
        for span in [&mut tree.main]
            .into_iter()
            .chain(tree.children.iter_mut().map(|child| &mut child.span))
        {
            span.attributes.push(Attribute::new("key", "value"));
        }
        let mut tree = accepted(tree, &limits);
        tree.main
            .attributes
            .retain(|attribute| !attribute.key.starts_with("span_mapper.cut."));
        let bytes = |span: &MappedSpan| {
            let attributes = span.attributes.iter().map(|attribute| {
                let AttributeValue::Text(text) = &attribute.value else {
                    panic!("{attribute:?}")
                };
                attribute.key.len() + text.len()
            });
            span.name.len() + span.key.len() + attributes.sum::<usize>()
        };
        let children = tree.children.iter().map(|child| bytes(&child.span));
        let whole = bytes(&tree.main) + children.sum::<usize>();
        assert!(whole <= output_bytes as usize, "{whole} > {output_bytes}");
        assert!(
            tree.children
                .iter()
                .all(|child| !child.span.name.is_empty())
        );
    }
}
