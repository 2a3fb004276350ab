//! Times and the time between them, as expressions reckon with them. CEL's own `timestamp` and `duration`, with how exactly a
//! time is known, and without calendars.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::json::{operations, owned};
use cel::common::traits::{Adder, Comparer, Subtractor};
use cel::common::types::{CelString, DURATION_TYPE, STRING_TYPE, TIMESTAMP_TYPE, Type};
use cel::common::value::Val;
use cel::{Env, ExecutionError};
use span_mapper_sdk::Timestamp;
use span_mapper_sdk::time::parse_go_duration;

/// A time.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub Timestamp);

/// The time between two, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub i64);

/// What CEL knows, and `timestamp` and `duration`.
pub fn environment() -> Env {
    let mut env = Env::stdlib();
    // They fail only for what is there twice.
    let _ = env.add_overload(
        "timestamp",
        "string_to_timestamp",
        vec![STRING_TYPE],
        |arguments| {
            let text = text(&arguments, "timestamp")?;
            let time = Timestamp::parse(text);
            let time = time.ok_or_else(|| {
                let message = format!("'{}' is no time from 1970 on, in RFC 3339", cut(text));
                ExecutionError::function_error("timestamp", message)
            })?;
            Ok(owned(Moment(time)))
        },
    );
    let _ = env.add_overload(
        "timestamp",
        "timestamp_to_timestamp",
        vec![TIMESTAMP_TYPE],
        first,
    );
    let _ = env.add_overload(
        "duration",
        "string_to_duration",
        vec![STRING_TYPE],
        |arguments| {
            let text = text(&arguments, "duration")?;
            let (digits, sign) = text
                .strip_prefix('-')
                .map_or((text, 1), |digits| (digits, -1));
            let length = parse_go_duration(digits).and_then(|length| i64::try_from(length).ok());
            let length = length.ok_or_else(|| {
                let message = format!("'{}' is no duration, such as '1m2.5s'", cut(text));
                ExecutionError::function_error("duration", message)
            })?;
            Ok(owned(Length(length * sign)))
        },
    );
    let _ = env.add_overload(
        "duration",
        "duration_to_duration",
        vec![DURATION_TYPE],
        first,
    );
    env
}

fn first(arguments: Vec<Cow<'_, dyn Val>>) -> Result<Cow<'_, dyn Val>, ExecutionError> {
    let mut arguments = arguments.into_iter();
    arguments
        .next()
        .ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn text<'a>(arguments: &'a [Cow<'_, dyn Val>], function: &str) -> Result<&'a str, ExecutionError> {
    let first = arguments
        .first()
        .and_then(|it| it.downcast_ref::<CelString>());
    first
        .map(CelString::inner)
        .ok_or_else(|| ExecutionError::function_error(function, "it takes a text"))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(40)).unwrap_or_default()
}

impl Val for Moment {
    fn get_type(&self) -> &Type {
        &TIMESTAMP_TYPE
    }

    operations! {
        as_adder: Adder,
        as_comparer: Comparer,
        as_subtractor: Subtractor,
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let other = other.downcast_ref::<Self>();
        other.is_some_and(|other| other.0.nanoseconds == self.0.nanoseconds)
    }

    fn clone_as_boxed(&self) -> Box<dyn Val> {
        Box::new(*self)
    }
}

impl Moment {
    fn moved(self, length: i64) -> Result<Cow<'static, dyn Val>, ExecutionError> {
        let nanoseconds = self.0.nanoseconds.checked_add_signed(length);
        let nanoseconds = nanoseconds.ok_or_else(|| {
            ExecutionError::function_error("timestamp", "the time is before 1970 or after 2554")
        })?;
        Ok(owned(Self(Timestamp {
            nanoseconds,
            ..self.0
        })))
    }
}

impl Adder for Moment {
    fn add<'a>(&'a self, other: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        match other.downcast_ref::<Length>() {
            Some(length) => self.moved(length.0),
            None => Err(ExecutionError::NoSuchOverload),
        }
    }
}

impl Subtractor for Moment {
    fn sub<'a>(&'a self, other: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        if let Some(length) = other.downcast_ref::<Length>() {
            return self.moved(length.0.saturating_neg());
        }
        let other = other
            .downcast_ref::<Self>()
            .ok_or(ExecutionError::NoSuchOverload)?;
        let length = i128::from(self.0.nanoseconds) - i128::from(other.0.nanoseconds);
        // Two times of 64 bits lie further apart than a length may be only if one is centuries off.
        let length = i64::try_from(length).map_err(|_| ExecutionError::NoSuchOverload)?;
        Ok(owned(Length(length)))
    }
}

impl Comparer for Moment {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        let other = other
            .downcast_ref::<Self>()
            .ok_or(ExecutionError::NoSuchOverload)?;
        Ok(self.0.nanoseconds.cmp(&other.0.nanoseconds))
    }
}

impl Val for Length {
    fn get_type(&self) -> &Type {
        &DURATION_TYPE
    }

    operations! {
        as_adder: Adder,
        as_comparer: Comparer,
        as_subtractor: Subtractor,
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed(&self) -> Box<dyn Val> {
        Box::new(*self)
    }
}

impl Adder for Length {
    fn add<'a>(&'a self, other: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        if let Some(moment) = other.downcast_ref::<Moment>() {
            return moment.moved(self.0);
        }
        let other = other
            .downcast_ref::<Self>()
            .ok_or(ExecutionError::NoSuchOverload)?;
        Ok(owned(Self(self.0.saturating_add(other.0))))
    }
}

impl Subtractor for Length {
    fn sub<'a>(&'a self, other: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        let other = other
            .downcast_ref::<Self>()
            .ok_or(ExecutionError::NoSuchOverload)?;
        Ok(owned(Self(self.0.saturating_sub(other.0))))
    }
}

impl Comparer for Length {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        let other = other
            .downcast_ref::<Self>()
            .ok_or(ExecutionError::NoSuchOverload)?;
        Ok(self.0.cmp(&other.0))
    }
}
