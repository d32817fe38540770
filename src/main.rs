//! The `stoker` binary: hands over to [`stoker::cli`].

/// Sending a record takes some hundred small allocations on several threads, where the system's allocator spends a tenth
/// of the time waiting for its own locks (`tests/bench/sink.sh`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    stoker::cli::run()
}
