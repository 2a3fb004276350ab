//! The contract as `wit-bindgen` reads it from `wit/`. Use it through [`crate::contract`].
#![allow(missing_docs, unsafe_code)] // Generated: the canonical ABI passes raw memory.
#![allow(clippy::all, clippy::pedantic, clippy::indexing_slicing)]

wit_bindgen::generate!({
    path: "../../wit/v0.1.0",
    world: "span-mapper",
    additional_derives: [PartialEq],
});
