//! Texts that many objects have in common, each kept once: a pipeline's labels stand on all its objects, and a child has
//! its owner's name and uid.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::object::{GroupKind, Object};

/// Fewer texts are not worth looking through.
const FEW: usize = 1024;

/// Pairs of texts in the order of the first ones.
pub(super) type Pairs = Box<[(Arc<str>, Arc<str>)]>;

/// The second of the pair that has this text first.
pub(super) fn get<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a Arc<str>> {
    let place = pairs
        .binary_search_by(|(known, _)| (**known).cmp(key))
        .ok()?;
    pairs.get(place).map(|(_, value)| value)
}

/// Texts that are in use.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashSet<Arc<str>>,
    /// How many there may be before those that nobody uses any more are looked for.
    limit: usize,
}

impl Texts {
    fn share(&mut self, text: &mut Arc<str>) {
        match self.known.get(&**text) {
            Some(known) => *text = Arc::clone(known),
            None => {
                self.known.insert(Arc::clone(text));
            }
        }
    }

    fn share_kind(&mut self, kind: &mut GroupKind) {
        self.share(&mut kind.group);
        self.share(&mut kind.kind);
    }

    fn pairs(&mut self, texts: BTreeMap<Arc<str>, Arc<str>>) -> Pairs {
        let pairs = texts.into_iter().map(|(mut key, mut value)| {
            self.share(&mut key);
            self.share(&mut value);
            (key, value)
        });
        pairs.collect()
    }

    /// Lets an object use the texts that are known; gives its labels and annotations.
    pub(super) fn share_object(&mut self, object: &mut Object) -> (Pairs, Pairs) {
        let reference = &mut object.reference;
        self.share_kind(&mut reference.kind);
        self.share(&mut reference.version);
        if let Some(namespace) = &mut reference.namespace {
            self.share(namespace);
        }
        self.share(&mut reference.name);
        self.share(&mut reference.uid);
        for owner in &mut object.owners {
            self.share_kind(&mut owner.kind);
            self.share(&mut owner.version);
            self.share(&mut owner.name);
            self.share(&mut owner.uid);
        }
        let labels = self.pairs(std::mem::take(&mut object.labels));
        let annotations = self.pairs(std::mem::take(&mut object.annotations));
        (labels, annotations)
    }

    /// Forgets what nobody uses any more, once there is twice as much as the last time.
    pub(super) fn sweep(&mut self) {
        if self.known.len() < self.limit.max(FEW) {
            return;
        }
        self.known.retain(|text| Arc::strong_count(text) > 1);
        self.limit = 2 * self.known.len();
        self.known.shrink_to(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_only_while_it_is_used() {
        let mut texts = Texts::default();
        let mut first: Arc<str> = "text".into();
        let mut second: Arc<str> = "text".into();
        texts.share(&mut first);
        texts.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        for number in 0..FEW {
            texts.share(&mut number.to_string().into());
        }
        texts.sweep();
        assert_eq!(texts.known.len(), 1);
    }

    #[test]
    fn pairs_are_found_by_their_first() {
        let mut texts = Texts::default();
        let both = [("b", "2"), ("a", "1")].map(|(key, value)| (key.into(), value.into()));
        let pairs = texts.pairs(both.into());
        assert_eq!(get(&pairs, "a").map(|value| &**value), Some("1"));
        assert_eq!(get(&pairs, "c"), None);
    }
}
