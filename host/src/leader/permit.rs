//! Whether this process may write: patch an object, or send a span.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Asked before each write. Clones share it.
#[derive(Clone, Debug)]
pub struct Permit {
    /// None where there is no other replica.
    until: Option<Arc<Mutex<Instant>>>,
}

impl Permit {
    /// Of a process that is the only one.
    #[must_use]
    pub const fn always() -> Self {
        Self { until: None }
    }

    /// Until then, unless it is extended.
    #[must_use]
    pub fn until(end: Instant) -> Self {
        Self {
            until: Some(Arc::new(Mutex::new(end))),
        }
    }

    /// Until then, which is later than before.
    pub fn extend(&self, end: Instant) {
        if let Some(until) = &self.until {
            *until.lock().unwrap_or_else(PoisonError::into_inner) = end;
        }
    }

    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until.as_ref().is_none_or(|until| {
            Instant::now() < *until.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// Returns while it holds, and never after: whoever waits ends with the process, which is about to end.
    pub async fn wait(&self) {
        if !self.holds() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn nothing_begins_after_the_end() {
        let permit = Permit::until(Instant::now() + Duration::from_secs(3_600));
        let shared = permit.clone();
        assert!(shared.holds());
        assert!(shared.wait().now_or_never().is_some());
        permit.extend(Instant::now());
        assert!(!shared.holds());
        assert!(shared.wait().now_or_never().is_none());
        assert!(Permit::always().holds());
    }
}
