//! An allocator that counts, for each thread, how many bytes are held, and how many were at the most.

#![allow(
    unsafe_code,
    clippy::allow_attributes,
    reason = "an allocator cannot be written without; also part of a crate of its own"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Held by this thread; what another one gives back is counted there.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(more: usize, less: usize) {
    // No object has more bytes than an isize counts. A thread that ends has no counters any more.
    let change = more.cast_signed() - less.cast_signed();
    let counted = HELD.try_with(|held| {
        held.set(held.get() + change);
        held.get()
    });
    if let Ok(held) = counted {
        let _ = MOST.try_with(|most| most.set(most.get().max(held)));
    }
}

// Every call is handed on as it came, and the counters are plain numbers that allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Runs something on this thread, and returns how many bytes it held at the most, beyond what was held before.
pub(crate) fn most(of: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    of();
    usize::try_from(MOST.get() - before).unwrap_or(0)
}
