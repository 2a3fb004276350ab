//! As many schedules as one likes: `make soak`.
//!
//! A schedule is named by a number, its seed; sixteen that follow each other share a story. A failing one is
//! played again, and made smaller, by `SOAK_SEED=<its seed> SOAK_SCHEDULES=1 make soak`.

use std::time::Instant;

use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::pipeline::Pipeline;
use super::*;

/// Schedules where nobody says how many.
const A_FEW: u64 = 2 * SCHEDULES as u64;

/// How often to say how far it is.
const REPORT: Duration = Duration::from_secs(5);

fn runner(kind: u8, seed: u64) -> TestRunner {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, random)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn story(seed: u64) -> impl ValueTree<Value = Pipeline> {
    let mut runner = runner(1, seed / SCHEDULES as u64);
    pipeline::pipeline().new_tree(&mut runner).unwrap()
}

fn schedule(seed: u64) -> impl ValueTree<Value = Vec<u16>> {
    tape().new_tree(&mut runner(2, seed)).unwrap()
}

/// The smallest pipeline and tape that still fail, and how.
fn smallest(seed: u64) -> String {
    let both = (pipeline::pipeline(), tape());
    let trees = (story(seed), schedule(seed));
    drop(both);
    let failure = runner(0, seed).run_one(Pair(trees.0, trees.1, true), |(pipeline, tape)| {
        let case = Case::of(&pipeline).map_err(TestCaseError::fail)?;
        case.check().map_err(TestCaseError::fail)?;
        case.play(&tape).map_err(TestCaseError::fail)
    });
    match failure {
        Ok(_) => "it does not fail again".to_owned(),
        Err(TestError::Abort(why)) => why.to_string(),
        Err(TestError::Fail(why, (pipeline, tape))) => format!("{pipeline:#?}\n{tape:?}\n{why}"),
    }
}

/// Two values that shrink one after the other.
struct Pair<A, B>(A, B, bool);

impl<A: ValueTree, B: ValueTree> ValueTree for Pair<A, B> {
    type Value = (A::Value, B::Value);

    fn current(&self) -> Self::Value {
        (self.0.current(), self.1.current())
    }

    fn simplify(&mut self) -> bool {
        if self.2 && self.0.simplify() {
            return true;
        }
        self.2 = false;
        self.1.simplify()
    }

    fn complicate(&mut self) -> bool {
        if self.2 {
            self.0.complicate()
        } else {
            self.1.complicate()
        }
    }
}

#[test]
fn soak() {
    let count = number("SOAK_SCHEDULES").unwrap_or(A_FEW);
    let first = number("SOAK_SEED").unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A new seed each second, and so far apart that soaks of a day's length do not overlap.
        since.unwrap().as_secs() << 30
    });
    eprintln!("{count} schedules from seed {first}");
    let started = Instant::now();
    let mut reported = started;
    let mut failed = Vec::new();
    let mut case: Option<(u64, Result<Case, String>)> = None;
    for seed in first..first + count {
        let group = seed / SCHEDULES as u64;
        if case.as_ref().is_none_or(|(known, _)| *known != group) {
            let made = Case::of(&story(seed).current());
            case = Some((group, made.and_then(|case| case.check().map(|()| case))));
        }
        let result = match &case {
            Some((_, Ok(case))) => case.play(&schedule(seed).current()),
            Some((_, Err(why))) => Err(why.clone()),
            None => unreachable!("there is always a case"),
        };
        if let Err(why) = result {
            eprintln!("FAILED: SOAK_SEED={seed} SOAK_SCHEDULES=1 make soak\n{why}");
            failed.push(seed);
        }
        let done = seed - first + 1;
        if reported.elapsed() >= REPORT || done == count {
            reported = Instant::now();
            let rate = done as f64 / started.elapsed().as_secs_f64();
            eprintln!(
                "{done} schedules, {rate:.0} a second, {} failed",
                failed.len()
            );
        }
    }
    if let (1, [seed]) = (count, failed.as_slice()) {
        eprintln!("The smallest that fails like it:\n{}", smallest(*seed));
    }
    assert!(
        failed.is_empty(),
        "{} schedules failed: {failed:?}",
        failed.len()
    );
}
