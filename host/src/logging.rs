//! Logs of the host itself: to standard error, for people or as JSON.
//!
//! No room logs the body of a webhook, a signature, a key or the value of a header.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Reads a log level as `tracing` writes it, and as the first lighthouse-telemetry did (`warning`, `fatal`,
/// `panic`).
///
/// # Errors
/// If it is none.
pub fn level(text: &str) -> Result<String, String> {
    let known = match text.trim().to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "fatal" | "panic" => "error".to_owned(),
        other => other.to_owned(),
    };
    let wrong = || "write error, warn, info, debug or trace, or by module like info,kube=debug";
    // A lone word that is no level would be taken for the name of a module.
    let word = !known.contains(['=', ',']);
    let level = known.parse::<tracing::level_filters::LevelFilter>().is_ok();
    if known.is_empty() || (word && !level) {
        return Err(wrong().to_owned());
    }
    EnvFilter::try_new(&known)
        .map(|_| known)
        .map_err(|_| wrong().to_owned())
}

/// What kube logs of its own accord is also an answer to us, which is told once and with what to do. Whoever wants
/// it nevertheless names these modules.
const TOLD_ELSEWHERE: &str = "kube_runtime::watcher=off,kube_client::client=off";

/// Starts logging for the rest of the process.
///
/// # Errors
/// If logging has been started before, or the level is none that [`level`] gives.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(format!("{TOLD_ELSEWHERE},{level}"))?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.finish().try_init()?,
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .finish()
            .try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_both_write_them() {
        for (text, level_read) in [
            ("info", "info"),
            ("WARNING", "warn"),
            ("fatal", "error"),
            ("off", "off"),
            ("info,kube=debug", "info,kube=debug"),
        ] {
            assert_eq!(level(text).as_deref(), Ok(level_read), "{text}");
        }
        for text in ["", "loud", "info,kube=loud"] {
            assert!(level(text).is_err(), "{text}");
        }
    }
}
