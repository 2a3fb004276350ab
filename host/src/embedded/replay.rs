//! Plays a recording into a server, at the pace of a clock.

use http::StatusCode;
use thiserror::Error;

use super::{Failure, Lighthouse, Server};
use crate::clock::Clock;
use crate::recording::{Entry, Happening, Recording};

/// Why a replay stopped.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The server cannot take an object.
    #[error("an object of the recording is refused: {0}")]
    Object(#[from] Failure),
    /// The plugin cannot be reached.
    #[error("a webhook cannot be delivered: {0}")]
    Delivery(#[from] reqwest::Error),
    /// The plugin does not want the webhook.
    #[error("a webhook was answered with {0}")]
    Webhook(StatusCode),
}

/// Lets everything in a recording happen when the clock shows its time, and says so after each entry.
///
/// # Errors
/// If an object or a webhook is refused.
pub async fn replay(
    recording: &Recording,
    server: &Server,
    lighthouse: &Lighthouse,
    clock: &Clock,
    mut happened: impl FnMut(&Entry),
) -> Result<(), ReplayError> {
    for entry in recording.entries() {
        clock.sleep_until(entry.at).await;
        match &entry.happening {
            Happening::Webhook(webhook) => {
                let status = lighthouse.forward(&webhook.kind, &webhook.body).await?;
                if !status.is_success() {
                    return Err(ReplayError::Webhook(status));
                }
            }
            Happening::Applied(object) => {
                server.apply(object.clone())?;
            }
            Happening::Deleted(object) => {
                server.delete(object)?;
            }
        }
        happened(entry);
    }
    Ok(())
}
