//! A mapper's memory, as the canonical ABI of the component model lays values out in it: numbers in little-endian
//! order, texts and lists as pointer and length.
//!
//! Nothing in it is trusted: each pointer, length and number of a case is checked, and what is taken is charged to what
//! one call may hand over, so that lists that share memory end somewhere too.

use std::cell::Cell;
use std::ops::Deref;

use lighthouse_telemetry_core::mapping::{Key, Text};
use wasmtime::{Result, bail};

/// The memory of an instance, for as long as its result is read.
pub struct Memory<'m, C> {
    bytes: &'m [u8],
    /// Takes so many bytes from what the call may hand over; an error if there is not that much left.
    charge: C,
    known: Known,
}

thread_local! {
    /// Between two calls, whatever mapper they are of: texts are all that is in it.
    static KNOWN: Cell<Option<Known>> = const { Cell::new(None) };
}

/// Texts that were read before.
#[derive(Default)]
struct Known {
    keys: Table<Key>,
    values: Table<Text>,
}

impl Known {
    fn none() -> Self {
        Self {
            keys: Table(vec![None; PLACES]),
            values: Table(vec![None; PLACES]),
        }
    }
}

/// Texts, each at a place that follows from its bytes. There are few, and they return in each attribute: one that is found
/// costs neither an allocation nor a copy.
struct Table<T>(Vec<Option<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

const PLACES: usize = 128;

/// What is longer is not kept between calls.
const LONG: usize = 256;

impl<T: Clone + Deref<Target = str> + for<'t> From<&'t str>> Table<T> {
    fn get(&mut self, text: &[u8]) -> Result<T> {
        let number = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let ends = number(text.first_chunk()) ^ number(text.last_chunk()).rotate_left(16);
        let hash = (ends ^ text.len() as u32).wrapping_mul(0x9e37_79b1) >> 25;
        match self.0.get_mut(hash as usize) {
            Some(Some(known)) if known.as_bytes() == text => Ok(known.clone()),
            Some(place) if text.len() <= LONG => {
                Ok(place.insert(str::from_utf8(text)?.into()).clone())
            }
            _ => Ok(str::from_utf8(text)?.into()),
        }
    }
}

impl<'m, C: FnMut(usize) -> Result<()>> Memory<'m, C> {
    /// All of an instance's memory.
    pub fn new(bytes: &'m [u8], charge: C) -> Self {
        Self {
            bytes,
            charge,
            known: KNOWN.take().unwrap_or_else(Known::none),
        }
    }

    /// What a pointer and a length at a place of a record stand for: so many elements of this size.
    fn slice(&mut self, record: &[u8], at: usize, size: usize) -> Result<&'m [u8]> {
        let pointer = word(record, at) as usize;
        let length = (word(record, at + 4) as usize).checked_mul(size);
        let end = length.and_then(|length| pointer.checked_add(length));
        let Some(slice) = end.and_then(|end| self.bytes.get(pointer..end)) else {
            bail!("pointer/length out of bounds of memory");
        };
        Ok(slice)
    }

    /// The bytes of a text.
    fn bytes(&mut self, record: &[u8], at: usize) -> Result<&'m [u8]> {
        let text = self.slice(record, at, 1)?;
        (self.charge)(text.len())?;
        Ok(text)
    }

    /// A text of which there are few.
    pub fn string(&mut self, record: &[u8], at: usize) -> Result<String> {
        Ok(str::from_utf8(self.bytes(record, at)?)?.to_owned())
    }

    /// A text that differs from all others.
    pub fn text(&mut self, record: &[u8], at: usize) -> Result<Text> {
        Ok(str::from_utf8(self.bytes(record, at)?)?.into())
    }

    /// A text that may return.
    pub fn value(&mut self, record: &[u8], at: usize) -> Result<Text> {
        let text = self.bytes(record, at)?;
        if text.len() > Text::INLINE_CAP {
            return self.known.values.get(text);
        }
        Ok(str::from_utf8(text)?.into())
    }

    /// A key of an attribute.
    pub fn key(&mut self, record: &[u8], at: usize) -> Result<Key> {
        let text = self.bytes(record, at)?;
        self.known.keys.get(text)
    }

    /// A list of elements of which each takes `SIZE` bytes in the mapper's memory.
    pub fn list<const SIZE: usize, T>(
        &mut self,
        record: &[u8],
        at: usize,
        read: impl Fn(&mut Self, &[u8; SIZE]) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (elements, _) = self.slice(record, at, SIZE)?.as_chunks::<SIZE>();
        (self.charge)(elements.len().saturating_mul(size_of::<T>()))?;
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            list.push(read(self, element)?);
        }
        Ok(list)
    }

    /// A text that may be missing.
    pub fn optional_string(&mut self, record: &[u8], at: usize) -> Result<Option<String>> {
        match byte(record, at) {
            0 => Ok(None),
            1 => Ok(Some(self.string(record, at + 4)?)),
            other => no_case(other),
        }
    }
}

impl<C> Drop for Memory<'_, C> {
    fn drop(&mut self) {
        KNOWN.set(Some(std::mem::take(&mut self.known)));
    }
}

// All of these are called with constant places in arrays of constant length: what is beyond, there is none.

/// A byte of a record.
#[inline]
pub fn byte(record: &[u8], at: usize) -> u8 {
    record.get(at).copied().unwrap_or_default()
}

/// A number of 32 bits in a record.
#[inline]
pub fn word(record: &[u8], at: usize) -> u32 {
    let bytes = record.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// A number of 64 bits in a record.
#[inline]
pub fn long(record: &[u8], at: usize) -> u64 {
    let bytes = record.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What a record holds from a place on.
#[inline]
pub fn from(record: &[u8], at: usize) -> &[u8] {
    record.get(at..).unwrap_or_default()
}

/// The error of a number that stands for no case of a variant.
#[cold]
pub fn no_case<T>(number: u8) -> Result<T> {
    bail!("unexpected discriminant: {number}")
}
