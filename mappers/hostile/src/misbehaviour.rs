//! What the mapper can do.

use core::hint::black_box;
use std::sync::Mutex;

use span_mapper_sdk::{
    Attribute, AttributeValue, Outcome, Parent, Precision, Span, SpanTree, Timestamp, log,
};

/// Texts that were remembered, each with a full stop.
static REMEMBERED: Mutex<String> = Mutex::new(String::new());

/// Never returns.
pub fn spin() {
    let mut turns = 0_u64;
    while black_box(turns) < u64::MAX {
        turns = turns.wrapping_add(1);
        if turns == u64::MAX {
            turns = 0;
        }
    }
}

/// Takes most of the time that there is, and returns.
pub fn dawdle() {
    let mut turns = 0_u64;
    while black_box(turns) < 20_000_000 {
        turns += 1;
    }
}

/// Calls itself for ever.
pub fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    let below = if black_box(depth) < u64::MAX {
        recurse(depth + 1)
    } else {
        0
    };
    frame.iter().sum::<u64>().wrapping_add(below)
}

/// Allocates for ever.
pub fn devour() {
    let mut pieces = Vec::new();
    while black_box(pieces.len()) < usize::MAX {
        pieces.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Gives up.
pub fn trap() {
    std::process::abort();
}

/// Writes to the log for ever.
pub fn chatter() {
    let line = "never mind\n".repeat(100);
    while !black_box(&line).is_empty() {
        log::warn(&line);
    }
}

/// Remembers a text.
pub fn remember(text: &str) {
    if let Ok(mut remembered) = REMEMBERED.lock() {
        remembered.push_str(text);
        remembered.push('.');
    }
}

/// What was remembered, and remembers that it was asked.
pub fn recall() -> String {
    let recalled = REMEMBERED.lock().map(|remembered| remembered.clone());
    remember("asked");
    recalled.unwrap_or_default()
}

fn time() -> Timestamp {
    Timestamp {
        nanoseconds: 1,
        precision: Precision::Second,
    }
}

fn tree() -> SpanTree<'static> {
    SpanTree::new("Hostile", Span::main("hostile", time())).under(Parent::own_root())
}

/// More spans than any limit.
pub fn many_spans(count: u32) -> Outcome<'static> {
    let mut tree = tree();
    for place in 0..count {
        tree.add(Span::new(place.to_string(), "one of many", time()));
    }
    Outcome::Spans(vec![tree])
}

/// A number that is none.
pub fn not_finite() -> Outcome<'static> {
    let mut tree = tree();
    tree.main.attributes.push(Attribute {
        key: "ratio".into(),
        value: AttributeValue::Number(black_box(0.0_f64) / 0.0),
    });
    Outcome::Spans(vec![tree])
}

/// A span below itself.
pub fn circle() -> Outcome<'static> {
    let mut tree = tree();
    tree.add_under(Some(0), Span::new("a", "below itself", time()));
    Outcome::Spans(vec![tree])
}

/// A tree that hangs nowhere.
pub fn no_parent() -> Outcome<'static> {
    let mut tree = tree();
    tree.parents.clear();
    Outcome::Spans(vec![tree])
}
