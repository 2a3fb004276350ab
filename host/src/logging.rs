//! Logs of the host itself.
