//! Makes components of core modules. The build script does so with the built-in mappers, from this very file, and the
//! command line with those of others.

use wit_component::ComponentEncoder;

/// Makes a component of a core module that says what it exports, as bindings for the contract have it say.
///
/// # Errors
/// If it is no such module; says why.
pub fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}
