//! What fuzzing starts from, and what it has found: nothing of it makes a target panic.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used)]

use lighthouse_telemetry_tests::fuzz::{TARGETS, corpus};

/// The name of the input is in the message of a panic.
fn replay(target: &str) {
    let (_, run) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let mut inputs = 0;
    for file in std::fs::read_dir(corpus(target)).expect("a corpus") {
        let path = file.expect("a file").path();
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("an input"));
        inputs += 1;
    }
    assert!(inputs > 0, "an empty corpus");
}

#[test]
fn webhook() {
    replay("webhook");
}

#[test]
fn object() {
    replay("object");
}

#[test]
fn context() {
    replay("context");
}

#[test]
fn journal() {
    replay("journal");
}

#[test]
fn every_corpus_has_a_target() {
    let folders = std::fs::read_dir(corpus("")).expect("the corpora");
    let mut names: Vec<_> = folders
        .map(|folder| folder.expect("a folder").file_name())
        .collect();
    names.sort();
    let mut targets = TARGETS.map(|(name, _)| name);
    targets.sort_unstable();
    assert_eq!(names, targets);
}
