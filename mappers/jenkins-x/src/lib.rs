//! Watches nothing yet.

use span_mapper_sdk::contract::exports::lighthouse::span_mapper::mapper::{
    Configuration, Description, Error, Guest, Outcome, Subject,
};

struct Mapper;

impl Guest for Mapper {
    fn configure(_: Configuration) -> Result<Description, Error> {
        Ok(Description {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            watches: Vec::new(),
            features: Vec::new(),
            keeps_state: false,
        })
    }

    fn map_subject(_: Subject) -> Result<Outcome, Error> {
        Ok(Outcome::NotOurs)
    }
}

#[allow(unsafe_code)]
mod export {
    span_mapper_sdk::contract::export!(Mapper with_types_in span_mapper_sdk::contract);
    use super::Mapper;
}
