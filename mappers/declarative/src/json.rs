//! Objects as CEL sees them. Copies share their content, and members come in the order of their keys, so that the same object
//! gives the same values in the same order.

use std::borrow::Cow;
use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Adder, Container, Indexer, Iterable, Iterator as Elements, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, LIST_TYPE, MAP_TYPE, Type,
};
use cel::common::value::Val;
use serde_json::Value;

/// Says which operations of CEL a value has.
macro_rules! operations {
    ($($method:ident: $operation:path),+ $(,)?) => {$(
        fn $method(&self) -> Option<&dyn $operation> {
            Some(self)
        }
    )+};
}
pub(crate) use operations;

/// A list.
#[derive(Clone, Debug)]
pub struct List(Arc<Vec<Box<dyn Val>>>);

/// An object, its members by their keys.
#[derive(Clone, Debug)]
pub struct Map(Arc<Vec<(CelString, Box<dyn Val>)>>);

/// A value as CEL sees it.
pub fn value(json: Value) -> Box<dyn Val> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(boolean) => Box::new(CelBool::from(boolean)),
        Value::String(text) => Box::new(CelString::from(text)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Box::new(CelInt::from(integer)),
            (None, Some(integer)) => Box::new(CelUInt::from(integer)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or_default())),
        },
        Value::Array(elements) => Box::new(List::new(elements.into_iter().map(value).collect())),
        Value::Object(members) => {
            // What is null is missing, as everywhere in Kubernetes.
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Box::new(Map::new(
                members.map(|(key, json)| (key, value(json))).collect(),
            ))
        }
    }
}

/// A value that somebody is given.
pub fn owned(value: impl Val) -> Cow<'static, dyn Val> {
    Cow::<dyn Val>::Owned(Box::new(value))
}

impl List {
    /// Of these elements.
    pub fn new(elements: Vec<Box<dyn Val>>) -> Self {
        Self(Arc::new(elements))
    }

    /// Its elements.
    pub fn elements(&self) -> &[Box<dyn Val>] {
        &self.0
    }

    fn at(&self, index: &dyn Val) -> Result<&dyn Val, ExecutionError> {
        let signed = index
            .downcast_ref::<CelInt>()
            .map(|it| usize::try_from(*it.inner()));
        let unsigned = || {
            index
                .downcast_ref::<CelUInt>()
                .map(|it| usize::try_from(*it.inner()))
        };
        let place = signed
            .or_else(unsigned)
            .ok_or(ExecutionError::NoSuchOverload)?;
        let element = place.ok().and_then(|place| self.0.get(place));
        element
            .map(AsRef::as_ref)
            .ok_or_else(|| ExecutionError::IndexOutOfBounds(cel::Value::Null))
    }
}

impl Val for List {
    fn get_type(&self) -> &Type {
        &LIST_TYPE
    }

    operations! {
        as_adder: Adder,
        as_container: Container,
        as_indexer: Indexer,
        as_iterable: Iterable,
        as_sizer: Sizer,
    }

    fn into_indexer(self: Box<Self>) -> Option<Box<dyn Indexer>> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let Some(iterable) = other
            .as_iterable()
            .filter(|_| other.get_type() == &LIST_TYPE)
        else {
            return false;
        };
        let mut others = iterable.iter();
        let mut own = self.0.iter();
        own.all(|own| others.next().is_some_and(|other| own.equals(other)))
            && others.next().is_none()
    }

    fn clone_as_boxed(&self) -> Box<dyn Val> {
        Box::new(self.clone())
    }
}

impl Adder for List {
    fn add<'a>(&'a self, other: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        let iterable = other.as_iterable().ok_or(ExecutionError::NoSuchOverload)?;
        let own = self.0.iter().map(|element| element.clone_as_boxed());
        let mut elements: Vec<Box<dyn Val>> = own.collect();
        let mut others = iterable.iter();
        while let Some(element) = others.next() {
            elements.push(element.clone_as_boxed());
        }
        Ok(owned(CelList::from(elements)))
    }
}

impl Container for List {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|element| element.equals(value)))
    }
}

impl Indexer for List {
    fn get<'a>(&'a self, index: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        self.at(index).map(Cow::Borrowed)
    }

    fn steal(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val>, ExecutionError> {
        self.at(index).map(Val::clone_as_boxed)
    }
}

impl Iterable for List {
    fn iter<'a>(&'a self) -> Box<dyn Elements<'a> + 'a> {
        Box::new(Each(self.0.iter().map(AsRef::as_ref)))
    }
}

impl Sizer for List {
    fn size(&self) -> CelInt {
        size(self.0.len())
    }
}

impl Map {
    /// Of these members.
    pub fn new(mut members: Vec<(String, Box<dyn Val>)>) -> Self {
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        let members = members.into_iter();
        Self(Arc::new(
            members.map(|(key, value)| (key.into(), value)).collect(),
        ))
    }

    /// Its members, by key.
    pub fn members(&self) -> &[(CelString, Box<dyn Val>)] {
        &self.0
    }

    /// The value of a key.
    pub fn member(&self, key: &str) -> Option<&dyn Val> {
        let place = self
            .0
            .binary_search_by(|(known, _)| known.inner().cmp(key))
            .ok()?;
        self.0.get(place).map(|(_, value)| value.as_ref())
    }

    fn at(&self, key: &dyn Val) -> Result<&dyn Val, ExecutionError> {
        let key = key
            .downcast_ref::<CelString>()
            .ok_or(ExecutionError::NoSuchOverload)?;
        self.member(key.inner())
            .ok_or_else(|| ExecutionError::no_such_key(key.inner()))
    }
}

impl Val for Map {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    operations! {
        as_container: Container,
        as_indexer: Indexer,
        as_iterable: Iterable,
        as_sizer: Sizer,
    }

    fn into_indexer(self: Box<Self>) -> Option<Box<dyn Indexer>> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let Some(other) = other.downcast_ref::<Self>() else {
            return false;
        };
        let mut pairs = self.0.iter().zip(other.0.iter());
        self.0.len() == other.0.len()
            && pairs.all(|((key, own), (other, its))| key == other && own.equals(its.as_ref()))
    }

    fn clone_as_boxed(&self) -> Box<dyn Val> {
        Box::new(self.clone())
    }
}

impl Container for Map {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.at(key).is_ok())
    }
}

impl Indexer for Map {
    fn get<'a>(&'a self, key: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
        self.at(key).map(Cow::Borrowed)
    }

    fn steal(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val>, ExecutionError> {
        self.at(key).map(Val::clone_as_boxed)
    }
}

impl Iterable for Map {
    fn iter<'a>(&'a self) -> Box<dyn Elements<'a> + 'a> {
        Box::new(Each(self.0.iter().map(|(key, _)| key as &dyn Val)))
    }
}

impl Sizer for Map {
    fn size(&self) -> CelInt {
        size(self.0.len())
    }
}

/// One value after the other.
struct Each<I>(I);

impl<'a, I: Iterator<Item = &'a dyn Val>> Elements<'a> for Each<I> {
    fn next(&mut self) -> Option<&'a dyn Val> {
        self.0.next()
    }
}

fn size(number: usize) -> CelInt {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
