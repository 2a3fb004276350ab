//! Evaluates expressions on an object, and takes from their values what spans are made of.

use std::sync::Arc;

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelOptional, CelString, CelUInt};
use cel::common::value::Val;
use cel::{Context, Env, ExecutionError, Value};
use span_mapper_sdk::{AttributeValue, Diagnostic, Error, Object, Timestamp};

use crate::expression::{Expression, Part, Text};
use crate::json::{self, List, Map};
use crate::moment::{Length, Moment};
use crate::place::Place;

/// Longer messages are cut, in bytes.
const MESSAGE: usize = 300;

/// So much of an expression is shown, in bytes.
const SHOWN: usize = 120;

/// An expression that cannot be evaluated on this object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// Where it stands.
    pub at: Place,
    /// Which one, and why.
    pub message: String,
}

/// What names stand for.
pub struct Values<'a> {
    context: Context<'a>,
    about: Arc<About>,
    /// Names without a value.
    empty: Vec<String>,
}

/// What every object tells.
struct About {
    attributes: Vec<(&'static str, String)>,
    deletion: Option<Timestamp>,
}

type Evaluated<T> = Result<T, Trouble>;

/// An element of a list and its place, or a value of an object and its key.
pub struct Element {
    /// Place or key.
    pub key: Box<dyn Val>,
    /// The element.
    pub value: Box<dyn Val>,
}

impl Expression {
    /// That it cannot be evaluated.
    fn trouble(&self, message: impl std::fmt::Display) -> Trouble {
        let source = self.source();
        let shown = source.floor_char_boundary(SHOWN);
        let more = if shown < source.len() { "…" } else { "" };
        let shown = source.get(..shown).unwrap_or_default();
        trouble(
            self.place(),
            format!("expression '{shown}{more}': {message}"),
        )
    }
}

impl Text {
    /// That something is wrong with what it says.
    pub fn trouble(&self, message: String) -> Trouble {
        let first = self.expressions().next();
        let nowhere = Place { line: 0, column: 0 };
        trouble(first.map_or(nowhere, Expression::place), message)
    }
}

fn trouble(at: Place, mut message: String) -> Trouble {
    message.truncate(message.floor_char_boundary(MESSAGE));
    Trouble { at, message }
}

/// An object and what comes along, in names that expressions know.
pub fn root(
    env: &Arc<Env>,
    object: &Object,
    attached: &[String],
) -> Result<Values<'static>, Error> {
    let subject = read(&object.json)?;
    let mut lists: Vec<Vec<Box<dyn Val>>> = attached.iter().map(|_| Vec::new()).collect();
    for other in &object.attached {
        let list = usize::try_from(other.attachment).ok();
        if let Some(list) = list.and_then(|place| lists.get_mut(place)) {
            list.push(read(&other.json)?);
        }
    }
    let named = attached.iter().cloned().zip(lists);
    let attached = named.map(|(name, list)| {
        let list: Box<dyn Val> = Box::new(List::new(list));
        (name, list)
    });
    let mut context = Context::with_env(Arc::clone(env));
    let about = About::of(subject.as_ref());
    context.add_variable_as_val("object", subject);
    context.add_variable_as_val("attached", Box::new(Map::new(attached.collect())));
    context.add_variable_as_val("deleted", Box::new(CelBool::from(object.deleted)));
    context.add_variable_as_val("omitted", Box::new(CelInt::from(i64::from(object.omitted))));
    Ok(Values {
        context,
        about: Arc::new(about),
        empty: Vec::new(),
    })
}

fn read(json: &str) -> Result<Box<dyn Val>, Error> {
    let value = serde_json::from_str(json).map_err(|error| {
        Error::Subject(Diagnostic {
            pointer: String::new(),
            message: format!("no JSON: {error}"),
        })
    });
    value.map(json::value)
}

impl About {
    fn of(subject: &dyn Val) -> Self {
        let members = |of: &dyn Val, key: &str| {
            let map = of.downcast_ref::<Map>()?;
            map.member(key).map(Val::clone_as_boxed)
        };
        let metadata = members(subject, "metadata");
        let of_metadata = |key| metadata.as_deref().and_then(|it| members(it, key));
        let words = |value: Option<Box<dyn Val>>| value.and_then(|it| said(it.as_ref()));
        let told = [
            ("k8s.object.kind", words(members(subject, "kind"))),
            ("k8s.object.name", words(of_metadata("name"))),
            ("k8s.object.uid", words(of_metadata("uid"))),
            ("k8s.namespace.name", words(of_metadata("namespace"))),
        ];
        let told = told
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let deletion = words(of_metadata("deletionTimestamp"));
        Self {
            attributes: told.collect(),
            deletion: deletion.and_then(|time| Timestamp::parse(&time)),
        }
    }
}

impl Values<'_> {
    /// A place where more names may get a meaning.
    pub fn within(&self) -> Values<'_> {
        Values {
            context: self.context.new_inner_scope(),
            about: Arc::clone(&self.about),
            empty: self.empty.clone(),
        }
    }

    /// Gives a name a meaning.
    pub fn know(&mut self, name: &str, value: Option<Box<dyn Val>>) {
        let value = value.unwrap_or_else(|| {
            self.empty.push(name.to_owned());
            Box::new(CelNull)
        });
        self.context.add_variable_as_val(name, value);
    }

    /// Gives an element and its key their names.
    pub fn know_element(&mut self, name: &str, element: Element) {
        self.context.add_variable_as_val(name, element.value);
        self.context.add_variable_as_val("key", element.key);
    }

    /// Attributes that tell which object it is.
    pub fn about(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.about.attributes.iter().cloned()
    }

    /// When it was to be deleted.
    pub fn deletion(&self) -> Option<Timestamp> {
        self.about.deletion
    }

    /// A value. What reads a field that is not there has none, nor has what does not go without a name that has none.
    pub fn value(&self, expression: &Expression) -> Evaluated<Option<Box<dyn Val>>> {
        match Value::resolve_val(expression.tree(), &self.context) {
            Ok(value) => Ok(present(value.into_owned())),
            Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_)) => Ok(None),
            Err(_) if self.empty.iter().any(|name| expression.names(name)) => Ok(None),
            Err(error) => Err(expression.trouble(explain(&error))),
        }
    }

    /// Whether a condition holds. One that reads a field that is not there does not.
    pub fn condition(&self, expression: &Expression) -> Evaluated<bool> {
        match self.value(expression)? {
            None => Ok(false),
            Some(value) => match value.downcast_ref::<CelBool>() {
                Some(value) => Ok(*value.inner()),
                None => Err(expression.trouble(is_no(value.as_ref(), "true or false"))),
            },
        }
    }

    /// A time: a text in RFC 3339, or what was reckoned. The zero time of Go is none.
    pub fn time(&self, expression: &Expression) -> Evaluated<Option<Timestamp>> {
        let Some(value) = self.value(expression)? else {
            return Ok(None);
        };
        if let Some(Moment(time)) = value.downcast_ref::<Moment>() {
            return Ok(Some(*time));
        }
        let text = value.downcast_ref::<CelString>().map(CelString::inner);
        let text = text.ok_or_else(|| expression.trouble(is_no(value.as_ref(), "a time")))?;
        if text.is_empty() || text.starts_with("0001-01-01T00:00:00") {
            return Ok(None);
        }
        let time = Timestamp::parse(text);
        let no_time = || expression.trouble("the text is no time from 1970 on, in RFC 3339");
        time.ok_or_else(no_time).map(Some)
    }

    /// A value in words.
    pub fn words(&self, expression: &Expression) -> Evaluated<Option<String>> {
        let Some(value) = self.value(expression)? else {
            return Ok(None);
        };
        let no_text = || expression.trouble(is_no(value.as_ref(), "a text"));
        said(value.as_ref()).ok_or_else(no_text).map(Some)
    }

    /// A text with the values of its expressions; none if one of them has none.
    pub fn text(&self, text: &Text) -> Evaluated<Option<String>> {
        let mut whole = String::new();
        for part in text.parts() {
            match part {
                Part::Constant(constant) => whole.push_str(constant),
                Part::Value(expression) => match self.words(expression)? {
                    Some(words) => whole.push_str(&words),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(whole))
    }

    /// A value as that of an attribute. Durations are in seconds.
    pub fn attribute(&self, expression: &Expression) -> Evaluated<Option<AttributeValue<'static>>> {
        let Some(value) = self.value(expression)? else {
            return Ok(None);
        };
        let Some(elements) = elements(value.as_ref()) else {
            let attribute = attribute(value.as_ref());
            let no_attribute = || {
                expression.trouble(is_no(
                    value.as_ref(),
                    "a text, a number, true or false, or a list of such",
                ))
            };
            return attribute.ok_or_else(no_attribute).map(not_empty);
        };
        let elements = elements
            .into_iter()
            .map(|element| attribute(element.value.as_ref()));
        let elements: Option<Vec<AttributeValue<'static>>> = elements.collect();
        let no_list =
            || expression.trouble("it is no list of texts, of numbers, or of true and false");
        let elements = elements.ok_or_else(no_list)?;
        if elements.is_empty() {
            return Ok(None);
        }
        list(elements).ok_or_else(no_list).map(Some)
    }

    /// The elements of a list with their places, or the values of an object with their keys.
    pub fn elements(&self, expression: &Expression) -> Evaluated<Vec<Element>> {
        let Some(value) = self.value(expression)? else {
            return Ok(Vec::new());
        };
        if let Some(map) = value.downcast_ref::<Map>() {
            let members = map.members().iter();
            let members = members.map(|(key, value)| Element {
                key: key.clone_as_boxed(),
                value: value.clone_as_boxed(),
            });
            return Ok(members.collect());
        }
        let no_list = || expression.trouble(is_no(value.as_ref(), "a list"));
        elements(value.as_ref()).ok_or_else(no_list)
    }
}

/// What is there: not null, and not an optional value without content.
fn present(value: Box<dyn Val>) -> Option<Box<dyn Val>> {
    if value.downcast_ref::<CelNull>().is_some() {
        return None;
    }
    match value.downcast_ref::<CelOptional>() {
        None => Some(value),
        Some(optional) => optional.option().map(Val::clone_as_boxed).and_then(present),
    }
}

/// The elements of a list and their places; none if it is none.
fn elements(value: &dyn Val) -> Option<Vec<Element>> {
    if let Some(list) = value.downcast_ref::<List>() {
        return Some(numbered(list.elements()));
    }
    let list = value.downcast_ref::<cel::common::types::CelList>()?;
    Some(numbered(list.inner()))
}

fn numbered(elements: &[Box<dyn Val>]) -> Vec<Element> {
    let numbered = (0_i64..).zip(elements);
    let elements = numbered.map(|(number, element)| Element {
        key: Box::new(CelInt::from(number)),
        value: element.clone_as_boxed(),
    });
    elements.collect()
}

/// A value in words; none for lists and the like.
fn said(value: &dyn Val) -> Option<String> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return Some(text.inner().to_owned());
    }
    Some(match attribute(value)? {
        AttributeValue::Boolean(boolean) => boolean.to_string(),
        AttributeValue::Integer(integer) => integer.to_string(),
        AttributeValue::Number(number) => number.to_string(),
        _ => return None,
    })
}

fn attribute(value: &dyn Val) -> Option<AttributeValue<'static>> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return Some(AttributeValue::Text(text.inner().to_owned().into()));
    }
    if let Some(boolean) = value.downcast_ref::<CelBool>() {
        return Some(AttributeValue::Boolean(*boolean.inner()));
    }
    if let Some(integer) = value.downcast_ref::<CelInt>() {
        return Some(AttributeValue::Integer(*integer.inner()));
    }
    if let Some(integer) = value.downcast_ref::<CelUInt>() {
        return i64::try_from(*integer.inner())
            .ok()
            .map(AttributeValue::Integer);
    }
    if let Some(Length(nanoseconds)) = value.downcast_ref::<Length>() {
        // Above 104 days a nanosecond is lost.
        return Some(AttributeValue::Number(*nanoseconds as f64 / 1e9));
    }
    let number = value.downcast_ref::<CelDouble>().map(|it| *it.inner());
    number
        .filter(|it| it.is_finite())
        .map(AttributeValue::Number)
}

/// Empty texts say nothing.
fn not_empty(value: AttributeValue<'static>) -> Option<AttributeValue<'static>> {
    Some(value).filter(|value| !matches!(value, AttributeValue::Text(text) if text.is_empty()))
}

/// A list of values of one type.
fn list(elements: Vec<AttributeValue<'static>>) -> Option<AttributeValue<'static>> {
    macro_rules! all {
        ($one:ident, $many:ident) => {{
            let elements = elements.into_iter().map(|element| match element {
                AttributeValue::$one(value) => Some(value),
                _ => None,
            });
            elements
                .collect::<Option<Vec<_>>>()
                .map(AttributeValue::$many)
        }};
    }
    match elements.first()? {
        AttributeValue::Text(_) => all!(Text, Texts),
        AttributeValue::Boolean(_) => all!(Boolean, Booleans),
        AttributeValue::Integer(_) => all!(Integer, Integers),
        AttributeValue::Number(_) => all!(Number, Numbers),
        _ => None,
    }
}

fn is_no(value: &dyn Val, wanted: &str) -> String {
    format!(
        "it gives a value of type {}, not {wanted}",
        value.get_type().name()
    )
}

/// An error without the values that it is about: they may be long, and are nobody's business.
fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchOverload => {
            "an operation or a field does not go with the type of its values".to_owned()
        }
        ExecutionError::UndeclaredReference(name) => {
            format!("'{name}' does not go with the types of its arguments")
        }
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("the operation '{operator}' does not go with the types of its operands")
        }
        ExecutionError::ValuesNotComparable(..) => "values of these types have no order".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the number is too large".to_owned(),
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        ExecutionError::UnexpectedType { got, want } => format!("it has a {got}, and wants {want}"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments, not {actual}")
        }
        _ => "it cannot be evaluated".to_owned(),
    }
}
