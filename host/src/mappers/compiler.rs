//! Makes mappers of components: a small one is compiled here, a big one in a process of its own, whose memory and time are
//! limited, and its native code is kept for the next start. `docs/adr/0055-compiling-big-mappers.md` says why.

mod cache;
mod child;
mod frame;
mod process;

use std::path::Path;
use std::time::{Duration, Instant};

use lighthouse_telemetry_engine::{Code, Engine, LoadError, Mapper};
use thiserror::Error;

use self::cache::{Cache, Name};
pub use self::child::{CompileLimits, run as compile};
pub use self::process::{ProcessError, Program};
use super::directory::Module;

/// A component of more bytes is compiled in a process of its own. What a ConfigMap holds is never larger.
pub const SMALL_BYTES: usize = 1 << 20;
/// Native code of more bytes is refused: it is held in memory twice while it is loaded.
pub const NATIVE_BYTES: u64 = 128 << 20;
/// What compiling may take by default, in bytes of address space.
pub const MEMORY: u64 = 1 << 30;
/// The processor's time that compiling may take. One of 12 MB takes 76 s of it where the compiler itself was not optimised.
const PROCESSOR: Duration = Duration::from_secs(300);
/// So long it may take by the clock, which says nothing about the component: other processes go first.
const PATIENCE: Duration = Duration::from_secs(900);

/// Makes mappers of components.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: Program,
    limits: CompileLimits,
    patience: Duration,
    /// A component of more bytes is compiled in a process of its own.
    small_bytes: usize,
    cache: Option<Cache>,
}

/// A component does not become a mapper.
#[derive(Debug, Error)]
pub enum CompileError {
    /// It is none.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The process that compiles it fails.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl Default for Compiler {
    fn default() -> Self {
        Self::with_memory(MEMORY)
    }
}

impl Compiler {
    /// One whose processes may take so much memory, in bytes of address space, and which keeps nothing.
    #[must_use]
    pub fn with_memory(memory_bytes: u64) -> Self {
        Self {
            program: Program::own(),
            limits: CompileLimits {
                memory: memory_bytes,
                seconds: PROCESSOR.as_secs(),
            },
            patience: PATIENCE,
            small_bytes: SMALL_BYTES,
            cache: None,
        }
    }

    /// Keeps what it compiles in a state directory.
    #[must_use]
    pub fn keeping_in(mut self, state_directory: &Path) -> Self {
        self.cache = Some(Cache::new(state_directory));
        self
    }

    /// Compiles with another program, which takes the same arguments, and waits for it so long at most.
    #[must_use]
    pub fn by(mut self, program: Program, patience: Duration) -> Self {
        self.program = program;
        self.patience = patience;
        self
    }

    /// One that starts no process. The program of a test is no compiler.
    #[cfg(test)]
    pub fn here() -> Self {
        Self {
            small_bytes: usize::MAX,
            ..Self::default()
        }
    }

    /// Makes a mapper of a component. May take as long as compiling may.
    ///
    /// # Errors
    /// If the component is no mapper, or cannot be compiled within the limits.
    pub(super) fn load(&self, engine: &Engine, module: &Module) -> Result<Mapper, CompileError> {
        let component = &module.bytes;
        if component.len() <= self.small_bytes {
            return Ok(engine.load(&module.name, Code::Component(component), "")?);
        }
        // What needs no compiler to be refused starts no process.
        engine.check(component)?;
        let name = Name::of(&module.digest, engine.compatibility());
        if let Some(native) = self.kept(&name, &module.path) {
            match engine.load(&module.name, compiled(component, &native), "") {
                Err(LoadError::OtherCode(reason)) => tracing::warn!(
                    file = %module.path.display(),
                    "a mapper is compiled anew, as its code in the cache cannot be used: {reason}"
                ),
                loaded => return Ok(loaded?),
            }
        }
        let native = self.compile(module)?;
        let mapper = engine.load(&module.name, compiled(component, &native), "")?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.keep(&name, &native)
        {
            tracing::warn!(
                file = %module.path.display(),
                "the code of a mapper is not kept, so that it is compiled anew at the next start: {error}"
            );
        }
        Ok(mapper)
    }

    fn kept(&self, name: &Name, path: &Path) -> Option<Vec<u8>> {
        let found = self.cache.as_ref()?.find(name);
        found.unwrap_or_else(|error| {
            tracing::warn!(
                file = %path.display(),
                "a mapper is compiled anew, as its code in the cache is not used: {error}"
            );
            None
        })
    }

    fn compile(&self, module: &Module) -> Result<Vec<u8>, ProcessError> {
        let file = module.path.display();
        tracing::info!(
            %file,
            bytes = module.bytes.len(),
            "a big mapper is compiled in a process of its own"
        );
        let begin = Instant::now();
        let native = process::compile(&self.program, self.limits, self.patience, &module.bytes)?;
        let seconds = begin.elapsed().as_secs_f64();
        tracing::info!(%file, bytes = native.len(), seconds, "a big mapper is compiled");
        Ok(native)
    }
}

const fn compiled<'a>(component: &'a [u8], native: &'a [u8]) -> Code<'a> {
    Code::Compiled { component, native }
}
