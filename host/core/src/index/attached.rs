//! What came along with an object: of a pipeline there are ten times as many Events as objects, so that they decide how
//! much memory it takes.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::packed::{Packed, Samples};
use crate::object::WatchId;
use crate::time::Time;

/// Order and identity of an attached object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttachedKey {
    pub(super) watch: WatchId,
    pub(super) attachment: u32,
    pub(super) created: Option<Time>,
    pub(super) uid: SmallUid,
}

/// An attached object, as it arrives.
#[derive(Clone, Debug)]
pub(super) struct AttachedObject {
    pub(super) version: Version,
    pub(super) json: Arc<str>,
}

/// Attached objects in their order.
#[derive(Debug, Default)]
pub(super) struct AttachedObjects {
    /// The first one that came: the others resemble it more than any other object's.
    first: Option<First>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct First {
    watch: WatchId,
    attachment: u32,
    json: Packed,
}

#[derive(Debug)]
struct Entry {
    key: AttachedKey,
    version: Version,
    json: Packed,
}

impl AttachedObjects {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The keys and texts of those that come along for a watch.
    pub(super) fn of(
        &self,
        watch: WatchId,
        samples: &Samples,
    ) -> impl Iterator<Item = (&AttachedKey, Arc<str>)> {
        let like = self.like(samples);
        self.entries
            .iter()
            .filter(move |entry| entry.key.watch == watch)
            .map(move |entry| (&entry.key, entry.json.text(&like)))
    }

    fn like(&self, samples: &Samples) -> Arc<str> {
        self.first.as_ref().map_or_else(Default::default, |first| {
            first
                .json
                .text(samples.of(first.watch, Some(first.attachment)))
        })
    }

    /// The version and text of one.
    pub(super) fn get(&self, key: &AttachedKey, samples: &Samples) -> Option<AttachedObject> {
        let entry = self.entries.get(self.place(key).ok()?)?;
        Some(AttachedObject {
            version: entry.version,
            json: entry.json.text(&self.like(samples)),
        })
    }

    /// The keys of all.
    pub(super) fn keys(&self) -> impl Iterator<Item = &AttachedKey> {
        self.entries.iter().map(|entry| &entry.key)
    }

    /// The watches that they came along for, and the one whose first all resemble.
    pub(super) fn watches(&self) -> impl Iterator<Item = WatchId> {
        let first = self.first.as_ref().map(|first| first.watch);
        self.keys().map(|key| key.watch).chain(first)
    }

    /// When the newest was created.
    pub(super) fn latest(&self) -> Option<Time> {
        let created = self.entries.iter().filter_map(|entry| entry.key.created);
        created.max()
    }

    /// Takes over a newer version of one that is there, and says whether it is another text. None if it is not there.
    pub(super) fn update(
        &mut self,
        key: &AttachedKey,
        object: &AttachedObject,
        samples: &Samples,
    ) -> Option<bool> {
        let place = self.place(key).ok()?;
        let like = self.like(samples);
        let entry = self.entries.get_mut(place)?;
        if object.version.is_older_than(entry.version) {
            return Some(false);
        }
        entry.version = object.version;
        if entry.json.text(&like) == object.json {
            return Some(false);
        }
        entry.json = Packed::new(&object.json, &like);
        Some(true)
    }

    /// Adds one that is not there.
    pub(super) fn insert(&mut self, key: AttachedKey, object: AttachedObject, samples: &Samples) {
        let Err(place) = self.place(&key) else { return };
        let like = if self.first.is_some() {
            self.like(samples)
        } else {
            let sample = samples.of(key.watch, Some(key.attachment));
            self.first = Some(First {
                watch: key.watch,
                attachment: key.attachment,
                json: Packed::new(&object.json, sample),
            });
            Arc::clone(&object.json)
        };
        if self.entries.len() == self.entries.capacity() {
            // By less than to the double: what is not used is paid for all the same.
            self.entries.reserve_exact(self.entries.len() / 8 + 1);
        }
        let entry = Entry {
            key,
            version: object.version,
            json: Packed::new(&object.json, &like),
        };
        self.entries.insert(place, entry);
    }

    /// Forgets all that do not stay; gives their keys.
    pub(super) fn retain(
        &mut self,
        stays: impl Fn(&AttachedKey) -> bool,
        samples: &Samples,
    ) -> Vec<AttachedKey> {
        if self.keys().all(&stays) {
            return Vec::new();
        }
        // What all others resemble may be among them.
        let like = self.like(samples);
        let mut dropped = Vec::new();
        for entry in std::mem::take(self).entries {
            let object = AttachedObject {
                version: entry.version,
                json: entry.json.text(&like),
            };
            if stays(&entry.key) {
                self.insert(entry.key, object, samples);
            } else {
                dropped.push(entry.key);
            }
        }
        dropped
    }

    /// Takes out the last of a watch that has more than so many.
    pub(super) fn one_too_many(&mut self, watch: WatchId, limit: usize) -> Option<AttachedKey> {
        // All of a watch stand together.
        let start = self
            .entries
            .partition_point(|entry| entry.key.watch < watch);
        let end = self
            .entries
            .partition_point(|entry| entry.key.watch <= watch);
        let last = end.checked_sub(1).filter(|_| end - start > limit)?;
        Some(self.entries.remove(last).key)
    }

    fn place(&self, key: &AttachedKey) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key))
    }
}

/// A uid that is kept many times: as 16 bytes, if it is written as Kubernetes writes them. The order is that of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SmallUid {
    Uuid([u8; 16]),
    Text(Box<str>),
}

impl SmallUid {
    pub(super) fn new(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Text(text.into()), Self::Uuid)
    }
}

/// Reads a UUID of lower-case digits, and no other way to write one.
fn uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut digits = 0;
    let mut number: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = match (place, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
        digits += 1;
    }
    (digits == 32).then(|| number.to_be_bytes())
}

impl fmt::Display for SmallUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bytes) => {
                for (place, byte) in bytes.iter().enumerate() {
                    if matches!(place, 4 | 6 | 8 | 10) {
                        formatter.write_str("-")?;
                    }
                    write!(formatter, "{byte:02x}")?;
                }
                Ok(())
            }
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

impl Ord for SmallUid {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Uuid(left), Self::Uuid(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

impl PartialOrd for SmallUid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A resource version, where it is a number. They are in every API server there is, and comparable by rule since Kubernetes
/// 1.35; others are taken as they come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Version(Option<NonZeroU64>);

impl Version {
    pub(super) fn new(text: &str) -> Self {
        Self(text.parse().ok())
    }

    pub(super) fn from_number(number: Option<u64>) -> Self {
        Self(number.and_then(NonZeroU64::new))
    }

    pub(super) fn number(self) -> Option<u64> {
        self.0.map(NonZeroU64::get)
    }

    /// Whether it can be told that this version came before another.
    pub(super) fn is_older_than(self, other: Self) -> bool {
        self.0
            .zip(other.0)
            .is_some_and(|(version, other)| version < other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_small_uid_is_ordered_and_written_like_its_text(
            left in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-fA-F-]{36}|[a-z0-9-]{0,9}",
            right in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-fA-F-]{36}|[a-z0-9-]{0,9}",
        ) {
            let (small_left, small_right) = (SmallUid::new(&left), SmallUid::new(&right));
            prop_assert_eq!(small_left.cmp(&small_right), left.cmp(&right));
            prop_assert_eq!(small_left == small_right, left == right);
            prop_assert_eq!(small_left.to_string(), left);
        }
    }

    #[test]
    fn only_numbers_are_older() {
        let older = |left, right| Version::new(left).is_older_than(Version::new(right));
        assert!(older("9", "10"));
        assert!(!older("10", "10") && !older("10", "9"));
        assert!(!older("", "1") && !older("a", "b"));
    }
}
