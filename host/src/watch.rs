//! Watches the kinds that the mappers declare.
