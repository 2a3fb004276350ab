//! A trace as people see it: a tree with bars, and the canonical text for snapshots.
