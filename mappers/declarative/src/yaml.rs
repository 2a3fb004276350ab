//! YAML as a tree in which each value knows its place in the text.

use std::borrow::Cow;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, options};

use crate::place::{Place, Wrong};

/// Deeper than this no mapper is.
const DEPTH: usize = 24;

/// A value.
#[derive(Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Debug)]
pub enum Value {
    /// A text; numbers and the like are not told apart from it.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in their order.
    Map(Vec<(Key, Node)>),
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Where it begins.
    pub at: Place,
    /// The key.
    pub text: String,
}

/// A text, and where its characters stand.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text, without quotes and indentation.
    pub text: String,
    /// Where its first character stands.
    first: Place,
    /// Whether its lines are not those of the file.
    is_folded: bool,
}

impl Scalar {
    /// Whether there is nothing; the parser gives a tilde for it.
    pub fn is_empty(&self) -> bool {
        matches!(self.text.trim(), "" | "~" | "null")
    }

    /// Where a character of the text stands, by its number. In a text that was folded, that is where the text begins.
    pub fn place(&self, character: usize) -> Place {
        if self.is_folded {
            return self.first;
        }
        let before = self.text.chars().take(character);
        let (mut line, mut column) = (0, 0);
        for character in before {
            if character == '\n' {
                (line, column) = (line + 1, 0);
            } else {
                column += 1;
            }
        }
        Place {
            line: self.first.line.saturating_add(line),
            column: self.first.column.saturating_add(column),
        }
    }
}

/// Reads all documents of a text, leaving empty ones out.
pub fn read(text: &str) -> Result<Vec<Node>, Wrong> {
    let mut options = options! {
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        if matches!(
            event,
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd
        ) {
            continue;
        }
        let node = reader.node(event, span)?;
        if !matches!(&node.value, Value::Scalar(scalar) if scalar.is_empty()) {
            documents.push(node);
        }
    }
    Ok(documents)
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Wrong> {
        self.events
            .next()
            .transpose()
            .map_err(|error| no_yaml(&error))
    }

    /// What comes within a list or an object, which has an end.
    fn within(&mut self, outer: Place) -> Result<(Event<'t>, Span), Wrong> {
        self.next()?.ok_or_else(|| outer.wrong("it has no end"))
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Wrong> {
        let at = place(&span.start);
        let value = match event {
            Event::Scalar(text, style, ..) => Value::Scalar(Self::scalar(text, style, span)),
            Event::SequenceStart(..) => {
                let mut elements = Vec::new();
                loop {
                    match self.within(at)? {
                        (Event::SequenceEnd, _) => break Value::List(elements),
                        (event, span) => elements.push(self.node(event, span)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut members: Vec<(Key, Node)> = Vec::new();
                loop {
                    let key = match self.within(at)? {
                        (Event::MappingEnd, _) => break Value::Map(members),
                        (event, span) => Self::key(event, &span)?,
                    };
                    if members.iter().any(|(known, _)| known.text == key.text) {
                        return Err(key
                            .at
                            .wrong(format!("the key '{}' is there twice", key.text)));
                    }
                    let (event, span) = self.within(at)?;
                    members.push((key, self.node(event, span)?));
                }
            }
            Event::Alias(_) => {
                return Err(at.wrong("references (*name) are not known here: write it out"));
            }
            _ => return Err(at.wrong("a text, a list or an object is missing here")),
        };
        Ok(Node { at, value })
    }

    fn key(event: Event<'t>, span: &Span) -> Result<Key, Wrong> {
        let at = place(&span.start);
        match event {
            Event::Scalar(text, ..) => Ok(Key {
                at,
                text: text.into_owned(),
            }),
            _ => Err(at.wrong("a key is a text")),
        }
    }

    fn scalar(text: Cow<'t, str>, style: ScalarStyle, span: Span) -> Scalar {
        let start = place(&span.start);
        let is_of_one_line = span.start.line() == span.end.line();
        let first = match style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Place {
                column: start.column.saturating_add(1),
                ..start
            },
            // That of a block begins with its content.
            _ => start,
        };
        Scalar {
            text: text.into_owned(),
            first,
            is_folded: match style {
                ScalarStyle::Literal => false,
                ScalarStyle::Folded => true,
                _ => !is_of_one_line,
            },
        }
    }
}

fn place(marker: &Marker) -> Place {
    Place::from_zero(marker.line().saturating_sub(1), marker.col())
}

fn no_yaml(error: &ScanError) -> Wrong {
    place(error.marker()).wrong(format!("this is no YAML: {}", error.info()))
}
