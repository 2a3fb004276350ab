//! Waits for what nobody tells of: asks again and again.

use std::time::Duration;

use anyhow::{Context, Result};

/// From an answer to the next question.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and gives it; none if there is none in time.
///
/// # Errors
/// If a question fails.
pub async fn answer_within<T>(
    patience: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let asking = async {
        let mut turns = tokio::time::interval(PAUSE);
        loop {
            turns.tick().await;
            if let Some(answer) = ask().await? {
                return anyhow::Ok(answer);
            }
            // However long it took.
            turns.reset();
        }
    };
    match tokio::time::timeout(patience, asking).await {
        Ok(answer) => answer.map(Some),
        Err(_) => Ok(None),
    }
}

/// Asks until there is an answer, and gives it.
///
/// # Errors
/// If a question fails, or there is no answer in time.
pub async fn answer<T>(
    patience: Duration,
    ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let answer = answer_within(patience, ask).await?;
    answer.with_context(|| format!("not so after {patience:?}"))
}

/// Asks until it is so.
///
/// # Errors
/// If a question fails, or it is not so in time.
pub async fn until(patience: Duration, mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    answer(patience, async || Ok(ask().await?.then_some(()))).await
}
