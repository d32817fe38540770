//! The `stoker` binary: hands over to [`stoker::cli`].

use libmimalloc_sys::{_mi_option_last, mi_option_set, mi_option_t};

/// Sending a record takes some hundred small allocations on several threads, where the system's allocator spends a tenth
/// of the time waiting for its own locks (`tests/bench/sink.sh`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_disallow_arena_alloc`, which the bindings do not name: a body of 50 MB goes back to the system when it is
/// let go, and is not kept beside the next one (`tests/bench/memory.sh`).
const NO_ARENAS: mi_option_t = 27;
const _: () = assert!(_mi_option_last == 38, "the options are numbered anew");

#[expect(unsafe_code, reason = "it sets a number, before anything else runs")]
fn main() -> std::process::ExitCode {
    // SAFETY: it stores the value in a table, and no other thread is there yet.
    unsafe { mi_option_set(NO_ARENAS, 1) };
    stoker::cli::run()
}
