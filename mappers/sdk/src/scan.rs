//! Looks for bytes in texts, many at a time: in WebAssembly each turn of a loop is paid for by the host's limits on time.

/// So many bytes of a text are looked at together.
#[cfg(target_feature = "simd128")]
const BLOCK: usize = 16;
#[cfg(not(target_feature = "simd128"))]
const BLOCK: usize = 8;

/// Where the first of two bytes is, from this place on; the length of the text if there is none.
#[inline]
pub(crate) fn find(text: &[u8], start: usize, wanted: [u8; 2]) -> usize {
    let mut at = start;
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        if let Some(place) = first(block, wanted) {
            return at + place;
        }
        at += BLOCK;
    }
    // What is left is shorter than a block: it is looked at together with what comes before it and holds neither of them.
    if let Some(place) = text
        .len()
        .checked_sub(BLOCK)
        .filter(|place| *place >= start)
        && let Some(block) = text.get(place..).and_then(<[u8]>::first_chunk::<BLOCK>)
    {
        return first(block, wanted).map_or(text.len(), |found| place + found);
    }
    while text.get(at).is_some_and(|byte| !wanted.contains(byte)) {
        at += 1;
    }
    at.min(text.len())
}

/// Whether a byte is in a text.
pub(crate) fn has(text: &[u8], byte: u8) -> bool {
    find(text, 0, [byte; 2]) < text.len()
}

/// Whether two texts are the same.
#[inline]
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    let mut words = words.iter().zip(other_words);
    words.all(|(word, other)| u64::from_le_bytes(*word) == u64::from_le_bytes(*other))
        && rest == other_rest
}

/// The first of two bytes in a block.
#[cfg(target_feature = "simd128")]
#[inline]
fn first(block: &[u8; BLOCK], [one, other]: [u8; 2]) -> Option<usize> {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2, v128_or};
    let [low, high] = *block.as_chunks::<8>().0 else {
        return None;
    };
    let bytes = u64x2(u64::from_le_bytes(low), u64::from_le_bytes(high));
    let marks = v128_or(
        u8x16_eq(bytes, u8x16_splat(one)),
        u8x16_eq(bytes, u8x16_splat(other)),
    );
    let found = u8x16_bitmask(marks);
    (found != 0).then(|| found.trailing_zeros() as usize)
}

/// The first of two bytes in a block.
#[cfg(not(target_feature = "simd128"))]
#[inline]
fn first(block: &[u8; BLOCK], [one, other]: [u8; 2]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest high bit that is set belongs to the first of these bytes.
    let word = u64::from_le_bytes(*block);
    let zero = |byte: u8| {
        let bytes = word ^ (ONES * u64::from(byte));
        bytes.wrapping_sub(ONES) & !bytes
    };
    let found = (zero(one) | zero(other)) & HIGH;
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_found(text in r#"[ab"\\é]{0,3}[a-dé]{0,40}[ab"\\]{0,3}"#, start in 0_usize..50) {
            let text = text.as_bytes();
            let rest = text.iter().enumerate().skip(start);
            let first = rest.into_iter().find(|(_, byte)| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(find(text, start, [b'"', b'\\']), first.map_or(text.len(), |(place, _)| place));
            prop_assert_eq!(has(text, b'"'), text.contains(&b'"'));
        }

        #[test]
        fn same_is_equal(one in "[ab]{0,20}", other in "[ab]{0,20}", more in "[ab]{0,2}") {
            prop_assert_eq!(same(one.as_bytes(), other.as_bytes()), one == other);
            let longer = [one.as_str(), &more].concat();
            prop_assert_eq!(same(one.as_bytes(), longer.as_bytes()), more.is_empty());
        }
    }
}
