//! Where the host gets the time from.
//!
//! All waiting that depends on the time of objects (settle window, deadlines) goes through a [`Clock`], so
//! that a recorded run can be replayed faster than it happened and a test can step through it. Time-outs of
//! input and output do not belong here: they are about this process and use tokio's own time.

use std::time::Duration;

use jiff::Timestamp;
use lighthouse_telemetry_core::time::Time;
use tokio::sync::watch;
use tokio::time::Instant;

/// The system's clock may be set while somebody sleeps: nobody sleeps longer than this without looking again.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A source of time. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Replay {
        origin: Time,
        started: Instant,
        speed: f64,
    },
    Stepped(watch::Sender<Time>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    /// A clock that shows `origin` now and runs `speed` times as fast as the system's monotonic clock. A
    /// speed that is not a positive finite number counts as 1.
    #[must_use]
    pub fn replay(origin: Time, speed: f64) -> Self {
        let usable = speed.is_finite() && speed > 0.0;
        Self {
            source: Source::Replay {
                origin,
                started: Instant::now(),
                speed: if usable { speed } else { 1.0 },
            },
        }
    }

    /// A clock that stands still at `origin` until it is stepped on.
    #[must_use]
    pub fn stepped(origin: Time) -> Self {
        Self {
            source: Source::Stepped(watch::Sender::new(origin)),
        }
    }

    /// Steps a stepped clock on to this time and wakes who waits for it. Does nothing where that would be
    /// backwards, nor to any other clock.
    pub fn step_to(&self, time: Time) {
        if let Source::Stepped(sender) = &self.source {
            sender.send_if_modified(|current| {
                let later = time > *current;
                if later {
                    *current = time;
                }
                later
            });
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        match &self.source {
            Source::System => {
                let nanoseconds = Timestamp::now().as_nanosecond();
                Time::from_nanoseconds(u64::try_from(nanoseconds).unwrap_or_default())
            }
            Source::Replay {
                origin,
                started,
                speed,
            } => origin.plus(replayed(started.elapsed(), *speed)),
            Source::Stepped(sender) => *sender.borrow(),
        }
    }

    /// Waits until the clock shows this time or a later one.
    pub async fn sleep_until(&self, time: Time) {
        if let Source::Stepped(sender) = &self.source {
            // Cannot fail: the sender is alive, since we hold it.
            let _ = sender
                .subscribe()
                .wait_for(|current| *current >= time)
                .await;
            return;
        }
        loop {
            let left = time.since(self.now());
            if left.is_zero() {
                return;
            }
            let left = match self.source {
                Source::Replay { speed, .. } => {
                    Duration::try_from_secs_f64(left.as_secs_f64() / speed).unwrap_or(LONGEST_SLEEP)
                }
                Source::System | Source::Stepped(_) => left,
            };
            // A millisecond is what the timer resolves; less would spin.
            let pause = left.clamp(Duration::from_millis(1), LONGEST_SLEEP);
            tokio::time::sleep(pause).await;
        }
    }
}

/// How much a replay shows of so much time; what is too long for a duration is later than any recorded time.
fn replayed(elapsed: Duration, speed: f64) -> Duration {
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * speed).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Time {
        Time::from_nanoseconds(seconds * 1_000_000_000)
    }

    #[tokio::test]
    async fn a_stepped_clock_moves_forwards_only_and_wakes_who_waits() {
        let clock = Clock::stepped(second(10));
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(second(20)).await;
                clock.now()
            }
        });
        clock.step_to(second(5));
        assert_eq!(clock.now(), second(10));
        clock.step_to(second(15));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.step_to(second(20));
        assert_eq!(waiting.await.expect("the waiting task"), second(20));
        clock.sleep_until(second(1)).await;
    }

    #[tokio::test]
    async fn a_replay_runs_as_many_times_as_fast() {
        assert_eq!(
            replayed(Duration::from_secs(2), 60.0),
            Duration::from_secs(120)
        );
        assert_eq!(replayed(Duration::MAX, 2.0), Duration::MAX);
        let (origin, start) = (second(1_000), Instant::now());
        let clock = Clock::replay(origin, 100_000.0);
        clock.sleep_until(second(2_000)).await;
        assert!(clock.now() >= second(2_000));
        // A thousand seconds pass in ten milliseconds, and not in less.
        assert!(start.elapsed() >= Duration::from_millis(9));
    }

    #[tokio::test]
    async fn a_speed_that_is_none_counts_as_real_time() {
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            match Clock::replay(second(0), speed).source {
                Source::Replay { speed, .. } => assert!((speed - 1.0).abs() < f64::EPSILON),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn the_system_clock_shows_a_time_of_this_century() {
        let clock = Clock::system();
        assert!(Some(clock.now()) > Time::parse("2026-01-01T00:00:00Z"));
        clock.sleep_until(clock.now()).await;
        clock.step_to(Time::FAR_FUTURE);
        assert!(clock.now() < Time::FAR_FUTURE);
    }
}
