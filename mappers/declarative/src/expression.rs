//! Expressions, and texts with expressions in them.

use cel::parser::PrattParser;
use cel::{IdedExpr, ParseErrors};

use crate::place::{Place, Wrong};
use crate::yaml::Scalar;

/// Longer expressions are refused: to parse one takes a stack that grows with it.
const LENGTH: usize = 4096;

/// Deeper ones too: they are parsed and evaluated by functions that call themselves.
const DEPTH: u16 = 32;

/// An expression.
pub struct Expression {
    tree: IdedExpr,
    source: String,
    /// The text that it is in, and how many characters are before it.
    within: Scalar,
    before: usize,
}

/// A text with expressions in it: `build ${object.metadata.name}`.
#[derive(Debug)]
pub struct Text(Vec<Part>);

/// A part of a text.
#[derive(Debug)]
pub enum Part {
    /// As it stands.
    Constant(String),
    /// What an expression gives.
    Value(Expression),
}

impl Expression {
    /// Parses an expression that begins so many characters into a text.
    pub fn parse(within: &Scalar, before: usize, source: &str) -> Result<Self, Wrong> {
        if source.trim().is_empty() {
            return Err(within.place(before).wrong("an expression is missing here"));
        }
        if source.len() > LENGTH {
            return Err(within.place(before).wrong(format!(
                "the expression is longer than {LENGTH} characters: name parts of it with 'let'"
            )));
        }
        let parser = PrattParser::new()
            .max_recursion_depth(DEPTH)
            .enable_optional_syntax(true);
        match parser.parse(source) {
            Ok(tree) => Ok(Self {
                tree,
                source: source.to_owned(),
                within: within.clone(),
                before,
            }),
            Err(errors) => Err(no_expression(within, before, source, &errors)),
        }
    }

    /// What it was parsed to.
    pub fn tree(&self) -> &IdedExpr {
        &self.tree
    }

    /// As it stands in the text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.within.place(self.before)
    }

    /// Whether a name stands in it.
    pub fn names(&self, name: &str) -> bool {
        self.tree.references().has_variable(name)
    }

    /// That something is wrong with a name in it.
    pub fn wrong_at(&self, name: &str, message: String) -> Wrong {
        let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let mut found = self.source.match_indices(name).filter(|(place, _)| {
            let before = self.source.get(..*place).unwrap_or_default();
            let after = self.source.get(place + name.len()..).unwrap_or_default();
            !before.ends_with(is_part) && !after.starts_with(is_part)
        });
        let before = found.next().map_or(0, |(place, _)| {
            let before = self.source.get(..place).unwrap_or_default();
            before.chars().count()
        });
        self.within.place(self.before + before).wrong(message)
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.source)
    }
}

/// What is wrong with an expression, at its first error.
fn no_expression(within: &Scalar, before: usize, source: &str, errors: &ParseErrors) -> Wrong {
    let first = errors.errors.first();
    let at = first.map_or(0, |error| characters_before(source, error.pos));
    let message = first.map_or("it cannot be parsed", |error| error.msg.as_str());
    let message = message.lines().next().unwrap_or_default();
    within
        .place(before + at)
        .wrong(format!("this is no CEL expression: {message}"))
}

/// How many characters are before a line and column, both from 1.
fn characters_before(source: &str, (line, column): (isize, isize)) -> usize {
    let number = |number: isize| usize::try_from(number.saturating_sub(1)).unwrap_or(0);
    let lines = source.split_inclusive('\n').take(number(line));
    let lines: usize = lines.map(|line| line.chars().count()).sum();
    (lines + number(column)).min(source.chars().count())
}

impl Text {
    /// Reads a text.
    pub fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let characters: Vec<char> = scalar.text.chars().collect();
        let mut parts = Vec::new();
        let mut constant = String::new();
        let mut at = 0;
        while let Some(character) = characters.get(at) {
            if *character != '$' || characters.get(at + 1) != Some(&'{') {
                constant.push(*character);
                at += 1;
                continue;
            }
            let start = at + 2;
            let end = end(&characters, start).ok_or_else(|| {
                let opened = scalar.place(at);
                opened.wrong("the '}' is missing that ends this '${'")
            })?;
            if !constant.is_empty() {
                parts.push(Part::Constant(std::mem::take(&mut constant)));
            }
            let source: String = characters
                .get(start..end)
                .unwrap_or_default()
                .iter()
                .collect();
            parts.push(Part::Value(Expression::parse(scalar, start, &source)?));
            at = end + 1;
        }
        if !constant.is_empty() {
            parts.push(Part::Constant(constant));
        }
        Ok(Self(parts))
    }

    /// Its parts.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The expressions in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.0.iter().filter_map(|part| match part {
            Part::Constant(_) => None,
            Part::Value(expression) => Some(expression),
        })
    }
}

/// Where the `}` is that ends an expression which begins here.
fn end(characters: &[char], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut is_escaped = false;
    for (place, character) in characters.iter().enumerate().skip(start) {
        match (quote, character) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), close) if open == *close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(*character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(place),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}
