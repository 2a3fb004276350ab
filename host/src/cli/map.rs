//! `map`: what the mappers make of objects in files.
