//! Memory of mappers that are not built with any bindings.

use lighthouse_telemetry_core::mapping::{Attribute, Outcome};

use super::memory::Memory;
use super::outcome;
use crate::error::Rejection;

/// A memory in which parts are put one after the other.
#[derive(Default)]
struct Guest(Vec<u8>);

impl Guest {
    /// Puts bytes at a multiple of eight and gives their address.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let address = u32::try_from(self.0.len()).unwrap();
        self.0.extend_from_slice(bytes);
        address
    }

    fn text(&mut self, text: &str) -> [u8; 8] {
        let address = self.put(text.as_bytes());
        pair(address, u32::try_from(text.len()).unwrap())
    }

    fn list(&mut self, elements: &[Vec<u8>]) -> [u8; 8] {
        let address = self.put(&elements.concat());
        pair(address, u32::try_from(elements.len()).unwrap())
    }

    /// What the host makes of a result at hand, with so many bytes to hand over.
    fn hand_over(&self, result: &[u8], limit: usize) -> Result<Result<Outcome, Rejection>, String> {
        let mut left = limit;
        let charge = |bytes| match left.checked_sub(bytes) {
            Some(rest) => {
                left = rest;
                Ok(())
            }
            None => wasmtime::bail!("too much"),
        };
        let mut memory = Memory::new(&self.0, charge);
        outcome::result(&mut memory, result).map_err(|error| error.to_string())
    }
}

fn pair(address: u32, length: u32) -> [u8; 8] {
    let mut pair = [0; 8];
    pair[..4].copy_from_slice(&address.to_le_bytes());
    pair[4..].copy_from_slice(&length.to_le_bytes());
    pair
}

/// A record of so many bytes with these parts at these places.
fn record(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut record = vec![0; size];
    for (at, part) in parts {
        record[*at..at + part.len()].copy_from_slice(part);
    }
    record
}

/// `result<outcome, error>` with an outcome of this case.
fn outcome_of(case: u8, payload: [u8; 8]) -> Vec<u8> {
    record(24, &[(4, &[case]), (8, &payload)])
}

fn tree(main: &[u8], attributes: [u8; 8], children: [u8; 8]) -> Vec<u8> {
    record(160, &[(16, &attributes), (32, main), (136, &children)])
}

#[test]
fn a_tree_is_read_with_all_that_is_in_it() {
    let mut guest = Guest::default();
    let (name, key, value) = (
        guest.text("pod"),
        guest.text("k8s.pod.name"),
        guest.text("p"),
    );
    let text = record(24, &[(0, &key), (16, &value)]);
    let number = record(24, &[(0, &key), (8, &[2]), (16, &(-7_i64).to_le_bytes())]);
    let attributes = guest.list(&[text, number]);
    let end = record(24, &[(0, &[1]), (8, &9_u64.to_le_bytes()), (16, &[3])]);
    let main = record(
        104,
        &[(8, &name), (16, &[1]), (40, &end), (76, &attributes)],
    );
    let child = record(112, &[(0, &[1]), (4, &[5]), (8, &main)]);
    let children = guest.list(&[child]);
    let trees = guest.list(&[tree(&main, attributes, children)]);
    let read = guest.hand_over(&outcome_of(2, trees), 10_000);
    let Ok(Ok(Outcome::Spans(trees))) = read else {
        panic!("{read:?}");
    };
    let attributes = [
        Attribute::new("k8s.pod.name", "p"),
        Attribute::new("k8s.pod.name", -7),
    ];
    assert_eq!(trees[0].resource_attributes, attributes);
    assert_eq!(trees[0].main.attributes, attributes);
    assert_eq!(trees[0].children[0].under, Some(5));
    assert_eq!(trees[0].children[0].span, trees[0].main);
    let end = trees[0].main.end.unwrap();
    assert_eq!((end.time.nanoseconds(), end.precision as u8), (9, 3));
    // Equal keys are one text.
    let keys = trees[0].main.attributes.iter();
    let mut places = keys.map(|attribute| attribute.key.as_str().as_ptr());
    assert_eq!(places.next(), places.next());
}

#[test]
fn addresses_and_lengths_are_not_trusted() {
    let guest = Guest(vec![b'x'; 64]);
    let wait = |address, length| guest.hand_over(&outcome_of(1, pair(address, length)), 10_000);
    assert_eq!(wait(60, 4), Ok(Ok(Outcome::Wait("xxxx".to_owned()))));
    for (address, length) in [(60, 5), (65, 0), (u32::MAX, u32::MAX), (0, u32::MAX)] {
        let error = wait(address, length).unwrap_err();
        assert!(error.contains("out of bounds"), "{error}");
    }
    let error = guest.hand_over(&outcome_of(2, pair(0, 1 << 31)), 10_000);
    assert!(error.unwrap_err().contains("out of bounds"));
}

#[test]
fn bytes_that_are_no_text_and_cases_that_are_none_are_errors() {
    let mut guest = Guest::default();
    let address = guest.put(b"ab\xff");
    let error = guest.hand_over(&outcome_of(1, pair(address, 3)), 10_000);
    assert!(error.unwrap_err().contains("utf-8"));
    for result in [outcome_of(3, [0; 8]), record(24, &[(0, &[2])])] {
        let error = guest.hand_over(&result, 10_000).unwrap_err();
        assert!(error.contains("discriminant"), "{error}");
    }
    let key = record(24, &[(0, &pair(address, 3))]);
    let attributes = guest.list(&[key]);
    let trees = guest.list(&[tree(&[0; 104], attributes, [0; 8])]);
    let error = guest.hand_over(&outcome_of(2, trees), 10_000);
    assert!(error.unwrap_err().contains("utf-8"));
}

#[test]
fn lists_that_share_memory_are_charged_each() {
    let mut guest = Guest::default();
    let attributes = guest.list(&vec![record(24, &[]); 1_000]);
    let main = record(104, &[(76, &attributes)]);
    let children = guest.list(&vec![record(112, &[(8, &main)]); 1_000]);
    let trees = guest.list(&[tree(&main, attributes, children)]);
    let read = |limit| guest.hand_over(&outcome_of(2, trees), limit);
    // A memory of 140 KB tells of a million attributes.
    assert!(guest.0.len() < 140_000);
    assert_eq!(read(16 << 20), Err("too much".to_owned()));
    assert!(read(1 << 30).is_ok());
}

#[test]
fn why_a_mapper_cannot_is_read_too() {
    let mut guest = Guest::default();
    let message = guest.text("no such thing");
    let located = record(
        24,
        &[(0, &[1]), (4, &[2]), (8, &message), (16, &[3]), (20, &[7])],
    );
    let read = guest.hand_over(&located, 10_000);
    let Ok(Err(Rejection::Evaluation(located))) = read else {
        panic!("{read:?}");
    };
    assert_eq!(located.message, "no such thing");
    assert_eq!((located.line, located.column), (3, 7));
}
