//! The binary; everything is in the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Why not the system's: `docs/adr/0009-allocator.md`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    lighthouse_telemetry::cli::main()
}
