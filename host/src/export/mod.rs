//! Spans to OpenTelemetry backends.
