//! A sandbox: what one call may use, and what went wrong in it.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Store, Trap};

use crate::error::MapError;
use crate::limits::Limits;
use crate::log::Log;
use crate::wasi::Ended;

/// What the host keeps of a sandbox.
pub struct State {
    pub log: Arc<Log>,
    memory: Memory,
    /// Where the random numbers of this sandbox are; it starts at what follows from what is mapped.
    seed: u64,
}

impl State {
    /// The next random number, by SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
    pub fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Counts the bytes of all memories together.
struct Memory {
    limit: usize,
    used: usize,
    exceeded: bool,
    table_elements: usize,
    tables_exceeded: bool,
}

/// Core instances, tables and memories of one component: a mapper made by `wit-component` has three or four,
/// one with a composed adapter twice as many.
const PARTS: usize = 16;

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        let allowed = used <= self.limit;
        if allowed {
            self.used = used;
        } else {
            self.exceeded = true;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.table_elements;
        self.tables_exceeded |= !allowed;
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

impl State {
    /// Bytes of all memories together.
    pub fn memory_bytes(&self) -> usize {
        self.memory.used
    }
}

/// How often a second the epoch advances.
pub const TICKS_A_SECOND: u32 = 4;

/// A fresh sandbox, whose random numbers follow from the seed.
pub fn new(
    engine: &wasmtime::Engine,
    limits: &Limits,
    log: Arc<Log>,
    seed: u64,
) -> Result<Store<State>, MapError> {
    let memory = Memory {
        limit: limits.memory_bytes,
        used: 0,
        exceeded: false,
        table_elements: limits.table_elements,
        tables_exceeded: false,
    };
    let mut store = Store::new(engine, State { log, memory, seed });
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.transfer_bytes);
    refill(&mut store, limits)?;
    Ok(store)
}

/// Gives a sandbox its whole time again.
pub fn refill(store: &mut Store<State>, limits: &Limits) -> Result<(), MapError> {
    let ticks = limits.deadline.as_secs_f64() * f64::from(TICKS_A_SECOND);
    store.set_epoch_deadline(ticks.ceil() as u64 + 1);
    store
        .set_fuel(limits.fuel)
        .map_err(|error| MapError::Sandbox(error.to_string()))
}

/// What an error of a call means.
pub fn explain(error: &wasmtime::Error, store: &Store<State>, limits: &Limits) -> MapError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => MapError::OutOfFuel { fuel: limits.fuel },
        Some(Trap::Interrupt) => MapError::Deadline(limits.deadline),
        Some(Trap::StackOverflow) => MapError::StackOverflow,
        _ if store.data().memory.exceeded => MapError::OutOfMemory {
            limit: limits.memory_bytes,
        },
        _ if store.data().memory.tables_exceeded => MapError::TableTooLarge {
            limit: limits.table_elements,
        },
        Some(trap) => MapError::Trap(trap.to_string()),
        None if error.is::<Ended>() => MapError::Trap(error.root_cause().to_string()),
        // The error's type is private to wasmtime.
        None if error
            .root_cause()
            .to_string()
            .contains("fuel allocated for hostcalls") =>
        {
            MapError::TooMuchOutput {
                limit: limits.transfer_bytes,
            }
        }
        None => MapError::Unreadable(error.root_cause().to_string()),
    }
}
