//! Sandboxes that are kept for another call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::Store;

use crate::contract::Parked;
use crate::store::State;

/// After so many calls a sandbox is given up: what a mapper hands over it never takes back.
const CALLS: u32 = 256;
/// One that has grown beyond this is given up, in bytes.
const MEMORY: usize = 8 << 20;

/// A sandbox of a mapper that is configured.
pub struct Sandbox {
    pub store: Store<State>,
    pub parked: Parked,
    calls: u32,
}

/// All sandboxes that are kept, the one that was used last at the end.
pub struct Sandboxes {
    most: usize,
    kept: Mutex<VecDeque<(Key, Sandbox)>>,
    keys: AtomicU64,
}

/// Whose sandbox it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Sandbox {
    /// One that has mapped nothing yet.
    pub fn new(store: Store<State>, parked: Parked) -> Self {
        Self {
            store,
            parked,
            calls: 0,
        }
    }
}

impl Sandboxes {
    /// Keeps so many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            kept: Mutex::default(),
            keys: AtomicU64::default(),
        }
    }

    /// A key that no other mapper has.
    pub fn key(&self) -> Key {
        Key(self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a mapper's sandbox.
    pub fn take(&self, of: Key) -> Option<Sandbox> {
        let mut kept = self.kept();
        let place = kept.iter().position(|(key, _)| *key == of)?;
        kept.remove(place).map(|(_, sandbox)| sandbox)
    }

    /// Keeps a mapper's sandbox after a call, if it is still good for another, in place of the one that was used least lately.
    pub fn put(&self, of: Key, mut sandbox: Sandbox) {
        sandbox.calls += 1;
        if sandbox.calls >= CALLS || sandbox.store.data().memory_bytes() > MEMORY {
            return;
        }
        let mut kept = self.kept();
        kept.push_back((of, sandbox));
        let oldest = (kept.len() > self.most).then(|| kept.pop_front());
        // What takes its time is not done while others wait.
        drop(kept);
        drop(oldest);
    }

    /// Gives up a mapper's sandboxes.
    pub fn forget(&self, of: Key) {
        self.kept().retain(|(key, _)| *key != of);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Key, Sandbox)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
