//! Texts that many objects have in common, each kept once: a pipeline's labels stand on all its objects, and a child has
//! its owner's name and uid.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arcstr::ArcStr;

use crate::object::{GroupKind, Object};

/// Fewer texts are not worth looking through. More would be worth forgetting: each that is left behind keeps a page.
const FEW: usize = 64;

/// Between key and value; neither labels nor annotation keys hold it.
const BETWEEN: char = '\0';

/// Keys and values, by key. Each pair is one text: objects that have a label in common mostly have its value in common too. An
/// object has twenty of them: they are kept as pointers that take no more than one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs(Box<[ArcStr]>);

impl Pairs {
    /// All keys and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|pair| pair.split_once(BETWEEN))
    }

    /// The value of a key.
    pub(super) fn get(&self, wanted: &str) -> Option<&str> {
        let (_, value) = self.iter().find(|(key, _)| *key == wanted)?;
        Some(value)
    }
}

/// Texts that are in use.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashSet<Arc<str>>,
    pairs: HashSet<ArcStr>,
    /// How many there may be before those that nobody uses any more are looked for.
    limit: usize,
    /// Of how many objects they were, at most, since then.
    most: usize,
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

    fn pairs(&mut self, texts: &BTreeMap<Arc<str>, Arc<str>>) -> Pairs {
        let pairs = texts.iter().map(|(key, value)| {
            let pair = format!("{key}{BETWEEN}{value}");
            match self.pairs.get(pair.as_str()) {
                Some(known) => ArcStr::clone(known),
                None => {
                    let pair = ArcStr::from(pair);
                    self.pairs.insert(ArcStr::clone(&pair));
                    pair
                }
            }
        });
        Pairs(pairs.collect())
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
        (self.pairs(&object.labels), self.pairs(&object.annotations))
    }

    /// Forgets what nobody uses any more, once there is a quarter more than the last time, or half as many objects.
    pub(super) fn sweep(&mut self, objects: usize) {
        self.most = self.most.max(objects);
        let count = self.known.len() + self.pairs.len();
        if count < FEW || (count < self.limit && objects >= self.most / 2) {
            return;
        }
        self.known.retain(|text| Arc::strong_count(text) > 1);
        self.pairs
            .retain(|pair| ArcStr::strong_count(pair) != Some(1));
        let quarter_more = |count| count + count / 4;
        self.limit = quarter_more(self.known.len() + self.pairs.len());
        self.most = objects;
        self.known.shrink_to(quarter_more(self.known.len()));
        self.pairs.shrink_to(quarter_more(self.pairs.len()));
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
        texts.sweep(1);
        assert_eq!(texts.known.len(), 1);
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        let mut texts = Texts::default();
        let both = [("b", "2"), ("a", "1")].map(|(key, value)| (key.into(), value.into()));
        let pairs = texts.pairs(&both.into());
        assert_eq!(pairs.get("a"), Some("1"));
        assert_eq!(pairs.get("c"), None);
        assert!(pairs.iter().eq([("a", "1"), ("b", "2")]));
    }
}
