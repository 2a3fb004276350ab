//! The mappers in use: the built-in ones.
