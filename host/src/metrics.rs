//! Metrics of the host itself, for Prometheus.
