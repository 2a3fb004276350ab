//! Makes spans of an object, as a document says.

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::Env;
use span_mapper_sdk::contract::{LabelMatch, Remote};
use span_mapper_sdk::{
    AttributeValue, Diagnostic, Error, Object, Outcome, Owner, Parent, Span, SpanEvent, SpanTree,
    Target, Timestamp,
};

use crate::document::{Candidate, ChildRule, Each, EventRule, Kind, SpanRule};
use crate::evaluation::{self, Trouble, Values};
use crate::expression::{Expression, Text};

/// No more than these: the same trouble with each of a thousand elements tells nothing new.
const TROUBLES: usize = 16;

/// What was found on the way.
#[derive(Default)]
struct Notes {
    troubles: BTreeSet<Trouble>,
    /// The latest time that was told of anything.
    latest: Option<Timestamp>,
}

impl Notes {
    /// A value, or none: what cannot be had is noted and left out.
    fn lenient<T>(&mut self, result: Result<Option<T>, Trouble>) -> Option<T> {
        result.unwrap_or_else(|trouble| {
            self.note(trouble);
            None
        })
    }

    fn note(&mut self, trouble: Trouble) {
        if self.troubles.len() < TROUBLES {
            self.troubles.insert(trouble);
        }
    }

    fn time(&mut self, values: &Values<'_>, expression: &Expression) -> Option<Timestamp> {
        let time = self.lenient(values.time(expression));
        self.saw(time);
        time
    }

    fn saw(&mut self, time: Option<Timestamp>) {
        self.latest = span_mapper_sdk::time::latest([self.latest, time]);
    }

    fn holds(&mut self, values: &Values<'_>, condition: &Expression) -> bool {
        self.lenient(values.condition(condition).map(Some))
            .unwrap_or(false)
    }

    fn text(&mut self, values: &Values<'_>, text: &Text) -> Option<String> {
        self.lenient(values.text(text))
    }

    fn attributes(
        &mut self,
        values: &Values<'_>,
        rules: &[(String, Expression)],
    ) -> Vec<(String, AttributeValue<'static>)> {
        let mut attributes = Vec::with_capacity(rules.len());
        for (key, expression) in rules {
            if let Some(value) = self.lenient(values.attribute(expression)) {
                attributes.push((key.clone(), value));
            }
        }
        attributes
    }

    fn diagnostics(self) -> Vec<Diagnostic> {
        let troubles = self.troubles.into_iter();
        let diagnostics = troubles.map(|trouble| Diagnostic {
            pointer: format!("line {}, column {}", trouble.at.line, trouble.at.column),
            message: trouble.message,
        });
        diagnostics.collect()
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::Evaluation(trouble.at.located(trouble.message))
    }
}

/// The spans of an object.
pub fn map(env: &Arc<Env>, kind: &Kind, object: &Object) -> Result<Outcome<'static>, Error> {
    let root = evaluation::root(env, object, &kind.attached)?;
    let mut values = root.within();
    let mut notes = Notes::default();
    for (name, expression) in &kind.values {
        let value = notes.lenient(values.value(expression));
        values.know(name, value);
    }
    let values = values;
    if let Some(skip) = &kind.skip
        && values.condition(skip)?
    {
        return Ok(Outcome::NotOurs);
    }
    for (reason, condition) in &kind.wait {
        if values.condition(condition)? {
            return Ok(Outcome::wait(reason.clone()));
        }
    }
    let may_annotate = match &kind.annotate {
        Some(condition) => notes.holds(&values, condition),
        None => false,
    };
    let Some(runs) = &kind.runs else {
        let mut tree = match tree(kind, object, &values, &mut notes)? {
            Ok(tree) => tree,
            Err(reason) => return Ok(Outcome::wait(reason)),
        };
        tree.may_annotate = may_annotate;
        tree.diagnostics = notes.diagnostics();
        return Ok(Outcome::Spans(vec![tree]));
    };
    let mut trees: Vec<SpanTree<'static>> = Vec::new();
    for element in values.elements(&runs.each.list)? {
        let mut values = values.within();
        values.know_element(&runs.each.name, element);
        let Some(run) = values.text(&runs.key)? else {
            continue;
        };
        // Keys are of one line, and each of another run.
        let run = run.replace('\n', " ");
        if trees.iter().any(|tree| tree.run == run) {
            notes.note(runs.key.trouble(format!("there are two runs '{run}'")));
            continue;
        }
        let mut notes = Notes::default();
        if let Ok(mut tree) = tree(kind, object, &values, &mut notes)? {
            tree.run = run.into();
            tree.may_annotate = may_annotate;
            tree.diagnostics = notes.diagnostics();
            trees.push(tree);
        }
    }
    if let Some(tree) = trees.last_mut() {
        tree.diagnostics.extend(notes.diagnostics());
    }
    Ok(match trees.is_empty() {
        true => Outcome::wait("no-run"),
        false => Outcome::Spans(trees),
    })
}

/// The tree of a run, or why there is none yet.
fn tree(
    kind: &Kind,
    object: &Object,
    values: &Values<'_>,
    notes: &mut Notes,
) -> Result<Result<SpanTree<'static>, &'static str>, Error> {
    let Some(start) = values.time(&kind.span.start)? else {
        return Ok(Err("no-start"));
    };
    notes.saw(Some(start));
    let mut main = span(&kind.span, "", &kind.name, start, values, notes);
    for (key, value) in values.about() {
        main.set(key, value);
    }
    let mut tree = SpanTree::new(kind.service.clone(), main);
    for (key, value) in notes.attributes(values, &kind.resource) {
        tree = tree.with_resource(key, value);
    }
    for candidate in &kind.parents {
        if let Some(parent) = parent(candidate, values, notes) {
            tree = tree.under(parent);
        }
    }
    if tree.parents.is_empty() {
        return Ok(Err("no-parent"));
    }
    children(&kind.span.spans, None, values, &mut tree, notes);
    if object.deleted && tree.main.end.is_none() {
        notes.saw(values.deletion());
        tree.main.end_by_deletion(notes.latest.unwrap_or(start));
    }
    close(&mut tree);
    tree.clamp();
    Ok(Ok(tree))
}

/// A span without those below it.
fn span(
    rule: &SpanRule,
    key: &str,
    fallback: &str,
    start: Timestamp,
    values: &Values<'_>,
    notes: &mut Notes,
) -> Span<'static> {
    let name = notes
        .text(values, &rule.name)
        .filter(|name| !name.is_empty());
    let mut span = Span::new(
        key.to_owned(),
        name.unwrap_or_else(|| fallback.to_owned()),
        start,
    )
    .of_kind(rule.kind);
    span.end = rule.end.as_ref().and_then(|end| notes.time(values, end));
    for (key, value) in notes.attributes(values, &rule.attributes) {
        span.set(key, value);
    }
    if let Some(failure) = &rule.failure
        && notes.holds(values, &failure.when)
    {
        let mut said = |expression: &Option<Expression>| {
            let said = expression.as_ref().map(|it| values.words(it));
            said.and_then(|said| notes.lenient(said))
                .unwrap_or_default()
        };
        let class = said(&failure.class);
        let message = said(&failure.message);
        span.fail(class, message);
    } else if let Some(ok) = &rule.ok
        && notes.holds(values, ok)
    {
        span.status = span_mapper_sdk::SpanStatus::Ok;
    }
    for rule in &rule.events {
        for_each(&rule.each, values, notes, |values, notes| {
            if let Some(event) = event(rule, values, notes) {
                span.record(event);
            }
        });
    }
    span
}

fn event(rule: &EventRule, values: &Values<'_>, notes: &mut Notes) -> Option<SpanEvent<'static>> {
    if let Some(when) = &rule.when
        && !notes.holds(values, when)
    {
        return None;
    }
    let time = notes.time(values, &rule.time)?;
    let name = notes
        .text(values, &rule.name)
        .filter(|name| !name.is_empty())?;
    let mut event = SpanEvent::new(name, time);
    for (key, value) in notes.attributes(values, &rule.attributes) {
        event = event.with(key, value);
    }
    Some(event)
}

fn children(
    rules: &[ChildRule],
    under: Option<u32>,
    values: &Values<'_>,
    tree: &mut SpanTree<'static>,
    notes: &mut Notes,
) {
    for rule in rules {
        for_each(&rule.each, values, notes, |values, notes| {
            if let Some(when) = &rule.when
                && !notes.holds(values, when)
            {
                return;
            }
            let Some(start) = notes.time(values, &rule.span.start) else {
                return;
            };
            let Some(key) = notes.text(values, &rule.key).filter(|key| !key.is_empty()) else {
                notes.note(
                    rule.key
                        .trouble("the span has no key, and is left out".to_owned()),
                );
                return;
            };
            let key = tree.unused_key(key);
            let span = span(&rule.span, &key, &key, start, values, notes);
            let place = tree.add_under(under, span);
            children(&rule.span.spans, Some(place), values, tree, notes);
        });
    }
}

/// Does it once, or for each element.
fn for_each(
    each: &Option<Each>,
    values: &Values<'_>,
    notes: &mut Notes,
    mut work: impl FnMut(&Values<'_>, &mut Notes),
) {
    let Some(each) = each else {
        return work(values, notes);
    };
    let elements = notes.lenient(values.elements(&each.list).map(Some));
    for element in elements.unwrap_or_default() {
        let mut values = values.within();
        values.know_element(&each.name, element);
        work(&values, notes);
    }
}

/// What has no end of its own ended with the span above.
fn close(tree: &mut SpanTree<'static>) {
    let mut ends: Vec<Option<Timestamp>> = Vec::with_capacity(tree.children.len());
    for child in &mut tree.children {
        let above = child.under.and_then(|place| usize::try_from(place).ok());
        let above = above.and_then(|place| ends.get(place).copied());
        let own = child.span.end;
        let open = std::mem::replace(&mut child.span, Span::main("", tree.main.start));
        child.span = open.until_or_parent(own, above.unwrap_or(tree.main.end));
        ends.push(child.span.end);
    }
}

/// A candidate for the parent, if the object tells enough of it.
fn parent(candidate: &Candidate, values: &Values<'_>, notes: &mut Notes) -> Option<Parent> {
    let span = |text: &Option<Text>, notes: &mut Notes| {
        let span = text.as_ref().and_then(|text| notes.text(values, text));
        span.unwrap_or_default()
    };
    match candidate {
        Candidate::Root => Some(Parent::own_root()),
        Candidate::Owner {
            group,
            kind,
            span: key,
        } => Some(Parent::Owner(Owner {
            group: group.clone(),
            kind: kind.clone(),
            span: span(key, notes),
        })),
        Candidate::Remote {
            traceparent,
            tracestate,
        } => {
            let traceparent = notes.lenient(values.words(traceparent));
            let tracestate = tracestate.as_ref().map(|it| values.words(it));
            Some(Parent::Remote(Remote {
                traceparent: traceparent.filter(|it| !it.is_empty())?,
                tracestate: tracestate.and_then(|it| notes.lenient(it)),
            }))
        }
        Candidate::Target {
            group,
            kind,
            namespace,
            name,
            uid,
            span: key,
        } => {
            let name = notes.text(values, name).filter(|name| !name.is_empty())?;
            let namespace = match namespace {
                Some(namespace) => Some(notes.text(values, namespace)?),
                None => None,
            };
            Some(Parent::Target(Target {
                group: group.clone(),
                kind: kind.clone(),
                namespace,
                name,
                uid: uid.as_ref().and_then(|uid| notes.text(values, uid)),
                span: span(key, notes),
            }))
        }
        Candidate::Labelled {
            group,
            kind,
            labels,
            span: key,
        } => {
            let labels = labels.iter().map(|(label, text)| {
                let value = notes.text(values, text).filter(|value| !value.is_empty())?;
                Some((label.clone(), value))
            });
            let labels: Option<Vec<_>> = labels.collect();
            Some(Parent::Labelled(LabelMatch {
                group: group.clone(),
                kind: kind.clone(),
                labels: labels?,
                span: span(key, notes),
            }))
        }
    }
}
