//! What is kept of texts until an object is exported: it must be all there, but need not be at hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use lz4_flex::block;

use crate::object::WatchId;

/// A text, compressed as the difference to one that it resembles.
#[derive(Clone, Debug)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Packs a text. `like`: what it resembles, which is needed again to unpack it; may be empty.
    pub(super) fn new(text: &str, like: &str) -> Self {
        let packed = block::compress_prepend_size_with_dict(text.as_bytes(), like.as_bytes());
        Self(packed.into())
    }

    /// The text.
    pub(super) fn text(&self, like: &str) -> Arc<str> {
        // Nobody else writes what is packed here: unpacking it cannot fail.
        let text = block::decompress_size_prepended_with_dict(&self.0, like.as_bytes());
        let text = String::from_utf8(text.unwrap_or_default());
        text.unwrap_or_default().into()
    }
}

/// A text for each watch and each attachment of one: the first that came, which all others resemble. They are never
/// replaced, since what was packed against them needs them; those of watches that nothing is packed for any more go.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(WatchId, Option<u32>), Box<str>>);

impl Samples {
    /// What texts of a watch resemble, or of one of its attachments. Nothing before the first one came.
    pub(super) fn of(&self, watch: WatchId, attachment: Option<u32>) -> &str {
        self.0.get(&(watch, attachment)).map_or("", |text| text)
    }

    /// Forgets the texts of watches that are of no use any more.
    pub(super) fn retain(&mut self, is_used: impl Fn(WatchId) -> bool) {
        self.0.retain(|(watch, _), _| is_used(*watch));
    }

    /// Takes this text for a sample if it is the first.
    pub(super) fn see(&mut self, watch: WatchId, attachment: Option<u32>, text: &str) {
        self.0
            .entry((watch, attachment))
            .or_insert_with(|| text.into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_comes_back_whatever_it_was_packed_against(text in ".{0,400}", like in ".{0,400}") {
            prop_assert_eq!(&*Packed::new(&text, &like).text(&like), text.as_str());
            prop_assert_eq!(&*Packed::new(&text, &text).text(&text), text.as_str());
        }
    }

    #[test]
    fn what_is_alike_takes_little() {
        let text: String = (0..100)
            .map(|number| format!("{{\"number\":{number}}},"))
            .collect();
        let other = text.replacen("50", "fifty", 1);
        assert!(Packed::new(&other, &text).0.len() < text.len() / 10);
    }
}
