//! Native code made ahead of time, or in another process. `docs/adr/0003-embedded-native-code.md`
//! says why an unsafe line is here, and what keeps it sound.

use lz4_flex::block;
use wasmtime::component::Component;
use wasmtime::{Config, OutOfMemory};

use crate::artifact;
use crate::engine;
use crate::error::{LoadError, PrecompileError};
use crate::limits::Limits;

/// Compiles a component to native code for a target (this machine if there is none), as [`Code::Precompiled`]
/// takes it: compressed, since it is part of an executable. The code runs with engines of the same version and the default [`Limits`] alone.
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
        return Ok(block::compress_prepend_size(&compile_with(
            &compiler, bytes,
        )?));
    }
    let native = compile_with(&compiler(&config)?, bytes)?;
    Ok(block::compress_prepend_size(&native))
}

/// Takes back what [`precompile`] made.
pub fn load_compressed(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    let native = block::decompress_size_prepended(bytes);
    let native = native.map_err(|error| LoadError::OtherCode(error.to_string()))?;
    load(engine, &native)
}

/// Compiles a component to native code for this machine, as [`Code::Compiled`] takes it, on the calling thread alone: where memory
/// is limited there may be none for others. The code runs as that of [`precompile`] does.
///
/// # Errors
/// If the bytes are no component, or there is no memory left.
///
/// [`Code::Compiled`]: crate::Code::Compiled
pub fn compile(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    artifact::check(bytes)?;
    let mut config = engine::configuration(&Limits::default());
    config.parallel_compilation(false);
    compile_with(&compiler(&config)?, bytes)
}

fn compiler(config: &Config) -> Result<wasmtime::Engine, LoadError> {
    let compiler = wasmtime::Engine::new(config);
    compiler.map_err(|error| refusal(&error.context("no compiler")))
}

fn compile_with(compiler: &wasmtime::Engine, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compiled = compiler.precompile_component(bytes);
    compiled.map_err(|error| refusal(&error))
}

fn refusal(error: &wasmtime::Error) -> LoadError {
    if error.is::<OutOfMemory>() {
        LoadError::NoMemory
    } else {
        LoadError::Invalid(format!("{error:#}"))
    }
}

/// Takes native code back.
///
/// The bytes must come from [`precompile`] or [`compile`] and be out of anyone's reach since: they are run as they are. They are
/// those of [`Code::Precompiled`](crate::Code::Precompiled), which is for bytes that the build embedded in the executable, and of
/// [`Code::Compiled`](crate::Code::Compiled), which is for such that this program has made and knows to be unchanged.
pub fn load(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the caller vouches for the bytes, see above. Code for another version, machine or setting is
    // recognised by wasmtime and refused.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine, bytes) };
    component.map_err(|error| LoadError::OtherCode(format!("{error:#}")))
}
