//! Looks at what a mapper returned: rules that are broken make the whole result worthless, what is merely too
//! much is cut in order of appearance, counted, and said on the main span.

use std::collections::HashSet;

use lighthouse_telemetry_core::mapping::{
    Attribute, AttributeValue, MappedSpan, Outcome, SpanStatus, SpanTree, Text,
};

use crate::error::BadOutput;
use crate::limits::OutputLimits;

/// The outcome within the limits.
pub fn accept(outcome: Outcome, limits: &OutputLimits) -> Result<Outcome, BadOutput> {
    match outcome {
        Outcome::NotOurs => Ok(Outcome::NotOurs),
        Outcome::Wait(mut reason) => {
            Budget::new(limits).string(&mut reason);
            Ok(Outcome::Wait(reason))
        }
        Outcome::Spans(mut trees) => {
            let mut runs = HashSet::new();
            for tree in &trees {
                check(tree)?;
                if trees.len() > 1 && !runs.insert(tree.run.as_str()) {
                    return Err(BadOutput::RunTwice(tree.run.clone()));
                }
            }
            let mut budget = Budget::new(limits);
            trees.truncate(usize_of(limits.spans));
            for tree in &mut trees {
                budget.tree(tree);
            }
            Ok(Outcome::Spans(trees))
        }
    }
}

fn check(tree: &SpanTree) -> Result<(), BadOutput> {
    one_line(&tree.run)?;
    if tree.parents.is_empty() {
        return Err(BadOutput::NoParent(tree.run.clone()));
    }
    if tree.service.is_empty() {
        return Err(BadOutput::NoService(tree.run.clone()));
    }
    if !tree.main.key.is_empty() {
        return Err(BadOutput::MainKey(tree.main.key.to_string()));
    }
    check_attributes(&tree.main.key, &tree.resource_attributes)?;
    check_span(&tree.main)?;
    let mut keys = HashSet::with_capacity(tree.children.len());
    for (place, child) in tree.children.iter().enumerate() {
        let key = child.span.key.as_str();
        if key.is_empty() {
            return Err(BadOutput::NoKey(place));
        }
        one_line(key)?;
        if !keys.insert(key) {
            return Err(BadOutput::KeyTwice(key.to_owned()));
        }
        if let Some(under) = child.under
            && usize_of(under) >= place
        {
            return Err(BadOutput::Under {
                child: place,
                under,
            });
        }
        check_span(&child.span)?;
    }
    Ok(())
}

/// Ids derive from run and key joined by newlines.
fn one_line(text: &str) -> Result<(), BadOutput> {
    if text.contains('\n') {
        return Err(BadOutput::Newline(text.to_owned()));
    }
    Ok(())
}

fn check_span(span: &MappedSpan) -> Result<(), BadOutput> {
    if span.name.is_empty() || span.events.iter().any(|event| event.name.is_empty()) {
        return Err(BadOutput::NoName(span.key.to_string()));
    }
    check_attributes(&span.key, &span.attributes)?;
    for event in &span.events {
        check_attributes(&span.key, &event.attributes)?;
    }
    for link in &span.links {
        check_attributes(&span.key, &link.attributes)?;
    }
    Ok(())
}

fn check_attributes(span: &str, attributes: &[Attribute]) -> Result<(), BadOutput> {
    for attribute in attributes {
        if attribute.key.is_empty() {
            return Err(BadOutput::NoAttributeKey(span.to_owned()));
        }
        let finite = match &attribute.value {
            AttributeValue::Number(number) => number.is_finite(),
            AttributeValue::Numbers(numbers) => numbers.iter().all(|number| number.is_finite()),
            _ => true,
        };
        if !finite {
            return Err(BadOutput::NotFinite(attribute.key.to_string()));
        }
    }
    Ok(())
}

/// What is left of the limits, and what was cut so far of the tree at hand.
struct Budget<'a> {
    limits: &'a OutputLimits,
    spans: usize,
    bytes: usize,
    cut: Cut,
}

/// How much of a tree was cut.
#[derive(Default)]
struct Cut {
    spans: usize,
    attributes: usize,
    events: usize,
    links: usize,
    texts: usize,
}

impl<'a> Budget<'a> {
    fn new(limits: &'a OutputLimits) -> Self {
        Self {
            limits,
            spans: usize_of(limits.spans),
            bytes: usize_of(limits.output_bytes),
            cut: Cut::default(),
        }
    }

    fn tree(&mut self, tree: &mut SpanTree) {
        self.spans = self.spans.saturating_sub(1);
        self.attributes(&mut tree.resource_attributes);
        self.span(&mut tree.main);
        let mut kept = 0;
        for child in &mut tree.children {
            // A text that is cut to nothing would be a span without a name.
            if self.spans == 0 || self.bytes < child.span.name.len() + child.span.key.len() {
                break;
            }
            self.spans -= 1;
            kept += 1;
            self.bytes -= child.span.key.len();
            self.span(&mut child.span);
        }
        // What hangs below one that is cut comes after it, and is cut too.
        self.cut.spans += tree.children.len() - kept;
        tree.children.truncate(kept);
        for diagnostic in &mut tree.diagnostics {
            self.string(&mut diagnostic.message);
        }
        std::mem::take(&mut self.cut).say(&mut tree.main);
    }

    fn span(&mut self, span: &mut MappedSpan) {
        self.text(&mut span.name);
        if let SpanStatus::Error(description) = &mut span.status {
            self.string(description);
        }
        self.attributes(&mut span.attributes);
        self.cut.events += cut(&mut span.events, usize_of(self.limits.events_per_span));
        let whole = span.events.len();
        let mut kept = 0;
        for event in &mut span.events {
            if self.bytes < event.name.len() {
                break;
            }
            kept += 1;
            self.text(&mut event.name);
            self.attributes(&mut event.attributes);
        }
        span.events.truncate(kept);
        self.cut.events += whole - kept;
        self.cut.links += cut(&mut span.links, usize_of(self.limits.links_per_span));
        for link in &mut span.links {
            self.attributes(&mut link.attributes);
        }
    }

    fn attributes(&mut self, attributes: &mut Vec<Attribute>) {
        let whole = attributes.len();
        cut(attributes, usize_of(self.limits.attributes_per_span));
        only_first_of_each_key(attributes);
        let mut kept = 0;
        for attribute in attributes.iter_mut() {
            let Some(left) = self.bytes.checked_sub(attribute.key.len()) else {
                break;
            };
            self.bytes = left;
            kept += 1;
            match &mut attribute.value {
                AttributeValue::Text(text) => self.text(text),
                AttributeValue::Texts(texts) => {
                    for text in texts {
                        self.text(text);
                    }
                }
                AttributeValue::Boolean(_)
                | AttributeValue::Integer(_)
                | AttributeValue::Number(_)
                | AttributeValue::Booleans(_)
                | AttributeValue::Integers(_)
                | AttributeValue::Numbers(_) => {}
            }
        }
        attributes.truncate(kept);
        self.cut.attributes += whole - kept;
    }

    fn text(&mut self, text: &mut Text) {
        if let Some(kept) = self.take(text) {
            *text = kept.into();
        }
    }

    fn string(&mut self, text: &mut String) {
        if let Some(kept) = self.take(text) {
            *text = kept.to_owned();
        }
    }

    /// Takes a text from what is left; gives what is kept of it, if it is not kept whole.
    fn take<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let limit = usize_of(self.limits.text_bytes).min(self.bytes);
        if text.len() <= limit {
            self.bytes -= text.len();
            return None;
        }
        let kept = text.get(..text.floor_char_boundary(limit));
        let kept = kept.unwrap_or_default();
        self.cut.texts += 1;
        self.bytes -= kept.len();
        Some(kept)
    }
}

impl Cut {
    /// Says on the main span what was cut.
    fn say(self, main: &mut MappedSpan) {
        let counts = [
            ("span_mapper.cut.spans", self.spans),
            ("span_mapper.cut.attributes", self.attributes),
            ("span_mapper.cut.events", self.events),
            ("span_mapper.cut.links", self.links),
            ("span_mapper.cut.texts", self.texts),
        ];
        for (key, count) in counts {
            if count > 0 {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                main.attributes.push(Attribute::new(key, count));
            }
        }
    }
}

/// Cuts a list; gives how much of it.
fn cut<T>(list: &mut Vec<T>, limit: usize) -> usize {
    let too_many = list.len().saturating_sub(limit);
    list.truncate(limit);
    too_many
}

/// OpenTelemetry wants each key once; the first stays.
fn only_first_of_each_key(attributes: &mut Vec<Attribute>) {
    /// Up to so many a comparison of pairs is faster than hashing.
    const FEW: usize = 24;
    // Which marks keys have had: most that differ have different ones, and are not compared.
    let mut marks = 0_u64;
    let mut twice = |(place, attribute): (usize, &Attribute)| {
        let key = attribute.key.as_bytes();
        let end = key.last().copied().unwrap_or_default();
        let mark = 1 << ((key.len() * 7 + usize::from(end)) % 64);
        let is_new = marks & mark == 0;
        marks |= mark;
        let mut before = attributes.iter().take(place);
        !is_new && before.any(|other| other.key == attribute.key)
    };
    if attributes.len() <= FEW && !attributes.iter().enumerate().any(&mut twice) {
        return;
    }
    let mut seen = HashSet::new();
    attributes.retain(|attribute| seen.insert(attribute.key.clone()));
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
