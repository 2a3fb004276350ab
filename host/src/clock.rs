//! Where the host gets the time from.
//!
//! All waiting that depends on the time of objects (settle window, deadlines) goes through a [`Clock`], so
//! that a recorded run can be replayed faster than it happened, step by step, and a test can step through it. Time-outs of
//! input and output do not belong here: they are about this process and use tokio's own time.

use std::time::Duration;

use jiff::Timestamp;
use lighthouse_telemetry_core::time::Time;
use tokio::sync::watch;

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
            // A millisecond is what the timer resolves; less would spin.
            let pause = left.clamp(Duration::from_millis(1), LONGEST_SLEEP);
            tokio::time::sleep(pause).await;
        }
    }
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
    async fn the_system_clock_shows_a_time_of_this_century() {
        let clock = Clock::system();
        assert!(Some(clock.now()) > Time::parse("2026-01-01T00:00:00Z"));
        clock.sleep_until(clock.now()).await;
        clock.step_to(Time::FAR_FUTURE);
        assert!(clock.now() < Time::FAR_FUTURE);
    }
}
