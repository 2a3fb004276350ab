//! How often patches are sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket as the generic cell rate algorithm: an even rate, and a second's worth of it at once after
/// a pause.
#[derive(Debug)]
pub struct Rate {
    interval: Duration,
    /// When the next turn is due at an even rate.
    next: Mutex<Instant>,
}

impl Rate {
    /// So many turns a second, at least one.
    pub fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a turn.
    pub async fn turn(&self) {
        let due = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next).max(Instant::now()) + self.interval;
            // A second's worth may be taken in advance.
            next.checked_sub(Duration::from_secs(1))
        };
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_second_in_advance_the_rate_holds() {
        let rate = Rate::new(1_000);
        let start = Instant::now();
        for _ in 0..1_050 {
            rate.turn().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(49));
    }
}
