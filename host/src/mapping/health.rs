//! How well a mapper does its work, and how long it rests if it does not. `docs/adr/0051-mappers-that-rest.md` says why.

use std::time::{Duration, Instant};

/// What a call that fails adds; one that does not takes one off.
const FAILURE: u8 = 3;
/// From here on calls that fail are followed by a rest: three failures in a row.
const ILL: u8 = 9;
/// No more than this, so that it is made up for some time.
const MOST: u8 = 15;
/// A rest is so many times as long as the call before it: of a thread's time a mapper that fails has a twentieth.
pub const REST: u32 = 19;
/// But nothing waits longer than this for its turn: less than an orphan waits for its parent.
const PATIENCE: Duration = Duration::from_secs(300);
/// Calls that take longer than this keep others waiting. Such of the built-in mappers take 50 µs.
const SLOW: Duration = Duration::from_millis(10);
/// Weight of the calls before the last one, in their mean.
const MEMORY: u32 = 7;

/// How well a mapper does its work.
#[derive(Debug, Default)]
pub struct Health {
    points: u8,
    rests: bool,
    rests_until: Option<Instant>,
    mean: Duration,
}

/// How long a mapper that keeps others waiting waits after a call, while so many wait for it.
pub fn rest(took: Duration, waiting: usize) -> Duration {
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    let turn = PATIENCE / waiting.saturating_add(1);
    (took * REST).min(turn)
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It fails again and again, and rests after each failure.
    Rests,
    /// It works again.
    Recovered,
}

impl Health {
    /// A call has ended at `now`; so many others wait.
    pub fn called(
        &mut self,
        now: Instant,
        took: Duration,
        failed: bool,
        waiting: usize,
    ) -> Option<News> {
        self.mean = (self.mean * MEMORY + took) / (MEMORY + 1);
        if !failed {
            self.points = self.points.saturating_sub(1);
            let recovered = self.rests && self.points == 0;
            self.rests &= !recovered;
            return recovered.then_some(News::Recovered);
        }
        self.points = self.points.saturating_add(FAILURE).min(MOST);
        if self.points < ILL && !self.rests {
            return None;
        }
        self.rests_until = Some(now + rest(took, waiting));
        let news = !self.rests;
        self.rests = true;
        news.then_some(News::Rests)
    }

    /// Until when it is not called, if that is not over.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }

    /// Whether it fails again and again.
    pub fn rests(&self) -> bool {
        self.rests
    }

    /// Whether it keeps others waiting, because it fails or is slow.
    pub fn is_ill(&self) -> bool {
        self.rests || self.mean > SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_millis(300);

    /// A mapper that is called as often as it may be, in virtual time.
    struct Patient {
        health: Health,
        now: Instant,
        waiting: usize,
        news: Vec<News>,
    }

    impl Patient {
        fn new() -> Self {
            Self {
                health: Health::default(),
                now: Instant::now(),
                waiting: 0,
                news: Vec::new(),
            }
        }

        fn call(&mut self, took: Duration, failed: bool) {
            if let Some(until) = self.health.rests_until(self.now) {
                self.now = until;
            }
            self.now += took;
            let news = self.health.called(self.now, took, failed, self.waiting);
            self.news.extend(news);
        }
    }

    #[test]
    fn one_that_fails_again_and_again_has_a_twentieth_of_a_thread() {
        let mut patient = Patient::new();
        let start = patient.now;
        for _ in 0..100 {
            patient.call(CALL, true);
        }
        let calls = CALL * 100;
        let passed = patient.now - start;
        assert!(passed > calls * 19 && passed < calls * 20, "{passed:?}");
        assert_eq!(patient.news, [News::Rests]);
        for _ in 0..40 {
            patient.call(CALL, false);
        }
        assert_eq!(patient.news, [News::Rests, News::Recovered]);
        assert_eq!(patient.health.rests_until(patient.now), None);
    }

    #[test]
    fn one_that_fails_now_and_then_does_not_rest() {
        let mut patient = Patient::new();
        for call in 0..1_000 {
            patient.call(CALL, call % 4 == 0);
        }
        assert_eq!(patient.news, []);
        assert!(patient.health.is_ill(), "it is slow");
        // Of one that fails every other time the calls that do not fail are followed by no rest.
        for call in 0..100 {
            patient.call(CALL, call % 2 == 0);
        }
        assert_eq!(patient.news, [News::Rests]);
    }

    #[test]
    fn nothing_waits_longer_for_its_turn_than_an_orphan_for_its_parent() {
        let mut patient = Patient::new();
        patient.waiting = 511;
        let start = patient.now;
        for _ in 0..512 {
            patient.call(CALL, true);
        }
        assert!(patient.now - start < Duration::from_secs(600));
    }

    #[test]
    fn one_that_is_quick_is_not_called_slow_for_a_single_call() {
        let mut patient = Patient::new();
        for _ in 0..100 {
            patient.call(Duration::from_micros(50), false);
        }
        patient.call(SLOW * 4, false);
        assert!(!patient.health.is_ill());
        patient.call(CALL, false);
        assert!(patient.health.is_ill());
    }
}
