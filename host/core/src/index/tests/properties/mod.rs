//! Properties of the index over random stories and schedules, with two mappers of plain Rust.
//!
//! A [`pipeline`] says in words what happens, a [`story`] turns it into objects and webhooks, a [`schedule`] tells the index of
//! them in some order. [`confluence`] compares what comes of it, [`identity`] and [`form`] judge it. [`soak`] does so for as long as
//! one likes.

mod confluence;
mod form;
mod identity;
mod mapper;
mod pipeline;
mod schedule;
mod soak;
mod story;
mod stray;
mod tape;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use confluence::Case;

/// Schedules of each story in the tests that always run.
const SCHEDULES: usize = 16;

/// Longest tape: two numbers for each choice of a big story.
const TAPE: usize = 1_200;

fn tape() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..TAPE)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_of_a_story_exports_the_same_bytes(
        pipeline in pipeline::pipeline(),
        tapes in prop::collection::vec(tape(), SCHEDULES),
    ) {
        let case = Case::of(&pipeline).map_err(TestCaseError::fail)?;
        for tape in &tapes {
            case.play(tape).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn a_shutdown_exports_nothing_but_what_would_have_been_exported(
        pipeline in pipeline::pipeline(),
        tapes in prop::collection::vec(tape(), 4),
    ) {
        let case = Case::of(&pipeline).map_err(TestCaseError::fail)?;
        for tape in &tapes {
            case.drain(tape).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn events_are_neither_merged_nor_split_and_traces_are_well_formed(
        pipeline in pipeline::pipeline(),
    ) {
        let case = Case::of(&pipeline).map_err(TestCaseError::fail)?;
        case.check().map_err(TestCaseError::fail)?;
    }
}
