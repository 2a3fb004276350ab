//! The contract of a release never changes.

use sha2::{Digest, Sha256};

/// SHA-256 of the contract.
const FROZEN: &str = "b2e243b5db67b086771909762a5f2db1f7351156c499fdc31c29631031535491";

#[test]
fn the_contract_is_as_it_was_released() {
    let contract = include_str!("../../../wit/v0.1.0/mapper.wit");
    let digest = Sha256::digest(contract.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        digest, FROZEN,
        "mappers that are built for 0.1.0 are out there: what is to be another goes into a new version, see docs/adr/0056"
    );
}
