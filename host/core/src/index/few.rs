//! Sets that mostly have one member: a node of a B-tree has room for eleven, which is most of what many small sets would cost.

use std::collections::BTreeSet;

/// A sorted set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Few<T> {
    #[default]
    None,
    One(T),
    Many(BTreeSet<T>),
}

impl<T: Ord> Few<T> {
    pub(super) fn insert(&mut self, member: T) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(member),
            Self::One(only) if only == member => Self::One(only),
            Self::One(only) => Self::Many(BTreeSet::from([only, member])),
            Self::Many(mut members) => {
                members.insert(member);
                Self::Many(members)
            }
        };
    }

    pub(super) fn remove(&mut self, member: &T) {
        match self {
            Self::One(only) if only == member => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(members) => {
                members.remove(member);
                if members.len() < 2 {
                    *self = members.pop_first().map_or(Self::None, Self::One);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The members, the least first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(only) => (Some(only), None),
            Self::Many(members) => (None, Some(members)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_set(steps in prop::collection::vec((any::<bool>(), 0..4), 0..12)) {
            let (mut few, mut set) = (Few::default(), BTreeSet::new());
            for (insert, member) in steps {
                if insert {
                    few.insert(member);
                    set.insert(member);
                } else {
                    few.remove(&member);
                    set.remove(&member);
                }
                prop_assert!(few.iter().eq(&set));
                prop_assert_eq!(few.is_empty(), set.is_empty());
                prop_assert_eq!(matches!(few, Few::Many(_)), set.len() > 1);
            }
        }
    }
}
