//! Recorded facts: webhooks and objects as they came, one entry a line.
