//! A small Kubernetes API over HTTP, in memory: list, watch, get and merge patch.
