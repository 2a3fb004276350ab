//! Liveness and readiness, and why not.
