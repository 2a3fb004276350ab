//! An OTLP receiver in memory, for the demo and for tests.
