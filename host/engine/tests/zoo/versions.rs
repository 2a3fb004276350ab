//! Mappers that were built for another version of the contract.

use std::sync::LazyLock;

use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_engine::LoadError;

use super::guest::{Guest, World, outcome};
use super::{is_refused, load, subject};

#[test]
fn one_of_a_later_patch_is_spoken_with() {
    static PATCH: LazyLock<World> = LazyLock::new(|| World::of_version("0.1.7"));
    let mut guest = Guest::of(
        &PATCH,
        r#"(import "lighthouse:span-mapper/log@0.1.7" "write" (func $log (param i32 i32 i32)))"#,
    );
    let text = guest.text("fine");
    let result = outcome(1, text);
    let result = guest.put(&result);
    guest.answer(&format!(
        "(call $log (i32.const 1) (i32.const 0) (i32.const 0)) (i32.const {result})"
    ));
    let mapper = load(&guest).unwrap();
    let mapped = mapper.map(&subject("p")).unwrap();
    assert!(
        matches!(&mapped, Outcome::Wait(reason) if reason == "fine"),
        "{mapped:?}"
    );
}

#[test]
fn one_of_a_version_that_is_not_spoken_is_told_which_are() {
    static OTHER: LazyLock<World> = LazyLock::new(|| World::of_version("0.2.0"));
    let error = is_refused(&Guest::of(&OTHER, ""));
    assert!(
        matches!(&error, LoadError::UnknownContract { found, .. } if found == "0.2.0"),
        "{error}"
    );
    assert!(error.to_string().contains("0.1.0"), "{error}");
}
