//! Native code made ahead of time, so that a start compiles nothing. `docs/adr/0003-embedded-native-code.md`
//! says why an unsafe line is here, and what keeps it sound.

use wasmtime::component::Component;

use crate::artifact;
use crate::engine;
use crate::error::{LoadError, PrecompileError};
use crate::limits::Limits;

/// Compiles a component to native code for a target (this machine if there is none), as [`Code::Precompiled`]
/// takes it. The code runs with engines of the same version and the default [`Limits`] alone.
///
/// # Errors
/// If the bytes are no component of a contract this host speaks, or there is no compiler for the target.
///
/// [`Code::Precompiled`]: crate::Code::Precompiled
pub fn precompile(bytes: &[u8], target: Option<&str>) -> Result<Vec<u8>, PrecompileError> {
    artifact::check(bytes)?;
    let mut config = engine::configuration(&Limits::default());
    if let Some(target) = target {
        let unknown = |error: wasmtime::Error| PrecompileError::Target {
            target: target.to_owned(),
            reason: error.to_string(),
        };
        config.target(target).map_err(unknown)?;
        let compiler = wasmtime::Engine::new(&config).map_err(unknown)?;
        return compile(&compiler, bytes);
    }
    let compiler = wasmtime::Engine::new(&config)
        .map_err(|error| LoadError::Invalid(format!("no compiler: {error}")))?;
    compile(&compiler, bytes)
}

fn compile(compiler: &wasmtime::Engine, bytes: &[u8]) -> Result<Vec<u8>, PrecompileError> {
    let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
    Ok(compiler.precompile_component(bytes).map_err(invalid)?)
}

/// Takes native code back.
///
/// The bytes must come from [`precompile`] and be out of anyone's reach since: they are run as they are. The
/// only caller hands on [`Code::Precompiled`](crate::Code::Precompiled), which is for bytes that the build
/// embedded in the executable.
pub fn load(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the caller vouches for the bytes, see above. Code for another version, machine or setting is
    // recognised by wasmtime and refused.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine, bytes) };
    component.map_err(|error| LoadError::Invalid(format!("{error:#}")))
}
