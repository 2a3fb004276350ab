//! An allocator that hands out memory in order and takes back only the newest piece. An instance lives for one
//! call, so that freeing would be work for nothing; vectors and texts that grow at the end grow in place.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait: it deals in raw memory.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;
use core::ptr::null_mut;

const PAGE: usize = 64 * 1024;

/// For a mapper whose instances live for one call.
#[derive(Debug)]
pub struct Bump {
    /// First free address; 0 before the first allocation.
    next: Cell<usize>,
    /// First address beyond the memory.
    end: Cell<usize>,
}

// SAFETY: a WebAssembly module without the threads feature has one thread.
unsafe impl Sync for Bump {}

unsafe extern "C" {
    /// Where the linker's data ends.
    static __heap_base: u8;
}

impl Bump {
    /// One that has handed out nothing.
    #[must_use]
    pub const fn untouched() -> Self {
        Self {
            next: Cell::new(0),
            end: Cell::new(0),
        }
    }

    /// Makes the memory reach up to this address.
    #[inline]
    fn reach(&self, address: usize) -> bool {
        address <= self.end.get() || self.grow(address)
    }

    #[cold]
    fn grow(&self, address: usize) -> bool {
        let pages = (address - self.end.get()).div_ceil(PAGE);
        if memory_grow(0, pages) == usize::MAX {
            return false;
        }
        self.end.set(self.end.get() + pages * PAGE);
        true
    }

    #[inline]
    fn take(&self, size: usize, align: usize) -> *mut u8 {
        if self.end.get() == 0 {
            self.next.set((&raw const __heap_base) as usize);
            self.end.set(memory_size(0) * PAGE);
        }
        let Some(start) = self.next.get().checked_next_multiple_of(align) else {
            return null_mut();
        };
        match start.checked_add(size) {
            Some(next) if self.reach(next) => {
                self.next.set(next);
                start as *mut u8
            }
            _ => null_mut(),
        }
    }
}

// SAFETY: each piece lies between the end of the linker's data and the end of memory and overlaps no other, as
// `next` moves back only over the newest one, and only when that is given back or resized.
unsafe impl GlobalAlloc for Bump {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if pointer as usize + layout.size() == self.next.get() {
            self.next.set(pointer as usize);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if pointer as usize + layout.size() == self.next.get() {
            return match (pointer as usize).checked_add(size) {
                Some(next) if self.reach(next) => {
                    self.next.set(next);
                    pointer
                }
                _ => null_mut(),
            };
        }
        if size <= layout.size() {
            return pointer;
        }
        let moved = self.take(size, layout.align());
        if !moved.is_null() {
            // SAFETY: both pieces are at least `layout.size()` long and do not overlap.
            unsafe { core::ptr::copy_nonoverlapping(pointer, moved, layout.size()) };
        }
        moved
    }
}
