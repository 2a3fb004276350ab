//! The engine: what all mappers share.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy,
};

use crate::artifact;
use crate::contract::Imports;
use crate::error::{EngineError, LoadError};
use crate::interpreter::Interpreter;
use crate::kept::Sandboxes;
use crate::limits::Limits;
use crate::mapper::{Built, Mapper, Reuse};
use crate::precompiled;
use crate::slots::Slots;
use crate::store::TICKS_A_SECOND;

/// Runs mappers. Cheap to clone; all clones share the sandboxes.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

/// What the mappers of an engine share.
pub(crate) struct Shared {
    pub engine: wasmtime::Engine,
    pub imports: Imports,
    pub limits: Limits,
    pub slots: Slots,
    pub kept: Sandboxes,
    pooled: bool,
    _ticker: SyncSender<()>,
}

/// The code of a mapper.
#[derive(Clone, Copy)]
pub enum Code<'a> {
    /// A WebAssembly component, from anywhere.
    Component(&'a [u8]),
    /// What [`precompile`](crate::precompile) made of one. This is native code, and runs as it is: only for
    /// bytes that the build embedded in the executable, never for a file.
    Precompiled(&'a [u8]),
    /// A component, and what [`compile`](crate::compile) made of it. This is native code, too: only for bytes that come from this
    /// program and that nobody else can have changed. `docs/adr/0055-compiling-big-mappers.md` says how that is known.
    Compiled {
        /// The component.
        component: &'a [u8],
        /// Its native code.
        native: &'a [u8],
    },
}

impl Engine {
    /// An engine with limits for each of its mappers.
    ///
    /// # Errors
    /// If this machine cannot run one.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        let setup = |error: wasmtime::Error| EngineError::Setup(format!("{error:#}"));
        let mut config = configuration(&limits);
        // A mapper that is replaced is compiled while others map: it leaves the other processors to them.
        config
            .parallel_compilation(false)
            .allocation_strategy(pool(&limits));
        let (engine, pooled) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, true),
            // A pool reserves address space for all sandboxes at once, which a machine may not grant.
            Err(error) => {
                tracing::warn!(
                    "no pool of sandboxes, mapping will be slower: {error:#}; check for a limit on virtual \
                     memory (ulimit -v)"
                );
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                (wasmtime::Engine::new(&config).map_err(setup)?, false)
            }
        };
        let imports = Imports::new(&engine)?;
        Ok(Self(Arc::new(Shared {
            imports,
            slots: Slots::new(limits.concurrent_calls),
            kept: Sandboxes::new(limits.kept_sandboxes),
            _ticker: tick(&engine)?,
            engine,
            limits,
            pooled,
        })))
    }

    /// Whether sandboxes come from a pool, as they should; without one each call sets its own up.
    #[must_use]
    pub fn pooled(&self) -> bool {
        self.0.pooled
    }

    /// What native code must have been made for to run here: wasmtime's version, the processor and all settings that concern code. Equal
    /// numbers are a hint where to look for such; whether it fits is seen when it is loaded.
    #[must_use]
    pub fn compatibility(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0
            .engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        hasher.finish()
    }

    /// Refuses what can be seen to be no mapper before it is compiled.
    ///
    /// # Errors
    /// If the bytes are no whole component, or want more to begin with than there is.
    pub fn check(&self, component: &[u8]) -> Result<(), LoadError> {
        artifact::check(component)?;
        artifact::check_size(component, &self.0.limits)
    }

    /// Makes a mapper of code: compiles it if need be, checks its types, configures it with the operator's
    /// text in two instances, which must agree, and maps an object that has nothing but a name.
    ///
    /// # Errors
    /// If the code is no mapper of a contract that the host speaks, or cannot be configured.
    pub fn load(&self, name: &str, code: Code<'_>, text: &str) -> Result<Mapper, LoadError> {
        let built = self.build(code)?;
        Mapper::new(Arc::clone(&self.0), name, built, text, Reuse::Never)
    }

    /// Makes of code what is many mappers: each by a text of its own. Instances of it are used for one call after the other,
    /// which no call may notice. So this is for code of ours alone.
    ///
    /// # Errors
    /// If the code is no mapper of a contract that the host speaks.
    pub fn interpreter(&self, code: Code<'_>) -> Result<Interpreter, LoadError> {
        Ok(Interpreter::new(Arc::clone(&self.0), self.build(code)?))
    }

    fn build(&self, code: Code<'_>) -> Result<Built, LoadError> {
        let engine = &self.0.engine;
        let (component, bytes) = match code {
            Code::Component(bytes) => {
                self.check(bytes)?;
                let component = Component::from_binary(engine, bytes)
                    .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
                (component, bytes)
            }
            Code::Precompiled(bytes) => (precompiled::load_compressed(engine, bytes)?, bytes),
            Code::Compiled { component, native } => {
                self.check(component)?;
                (precompiled::load(engine, native)?, component)
            }
        };
        Built::new(&self.0, &component, digest(&[bytes]))
    }
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digits = hash.finalize();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Settings that decide what native code looks like, and so must be the same ahead of time and at run time;
/// see `docs/adr/0002-sandbox-limits.md`.
pub(crate) fn configuration(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(limits.stack_bytes)
        // Neither is needed by the contract, and both cost with every call.
        .concurrency_support(false)
        .gc_support(false)
        // The same input gives the same output on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Traps are told by name; guests are stripped, so that a backtrace says nothing.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    config
}

/// A pool of sandboxes that are reset instead of set up anew.
fn pool(limits: &Limits) -> InstanceAllocationStrategy {
    /// Core instances, tables and memories of one component. `wit-component` makes three instances, two
    /// tables and one memory.
    const INSTANCES: u32 = 8;
    const TABLES: u32 = 4;
    const MEMORIES: u32 = 2;
    /// What a sandbox has touched is reset by copying up to here, and given back beyond.
    const KEEP_RESIDENT: usize = 256 << 10;

    let sandboxes = limits
        .concurrent_calls
        .max(1)
        .saturating_add(limits.kept_sandboxes);
    let sandboxes = u32::try_from(sandboxes).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes.saturating_mul(INSTANCES))
        .total_memories(sandboxes.saturating_mul(MEMORIES))
        .total_tables(sandboxes.saturating_mul(TABLES))
        .max_core_instances_per_component(INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        .max_unused_warm_slots(sandboxes)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Lets the epoch advance for as long as the sender lives.
fn tick(engine: &wasmtime::Engine) -> Result<SyncSender<()>, EngineError> {
    let (sender, receiver) = mpsc::sync_channel(0);
    let engine = engine.weak();
    let interval = Duration::from_secs(1) / TICKS_A_SECOND;
    std::thread::Builder::new()
        .name("mapper-deadline".to_owned())
        .spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = receiver.recv_timeout(interval) {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map_err(EngineError::Ticker)?;
    Ok(sender)
}
