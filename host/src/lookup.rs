//! Looks up the owners of objects that no mapper watches.
