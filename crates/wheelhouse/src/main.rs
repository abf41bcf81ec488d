//! The program `wheelhouse`: parses, dispatches and exits. All of it happens in
//! [`wheelhouse::cli`].

use std::process::ExitCode;

/// Reading index pages takes much memory for short times on several threads, of which the C library
/// keeps half as much again; see `.cargo/config.toml` for how this allocator gives it back.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ExitCode::from(wheelhouse::cli::main(std::env::args_os()))
}
