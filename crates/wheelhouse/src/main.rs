//! The `wheelhouse` program, implemented in [`wheelhouse::cli`].

use std::process::ExitCode;

/// Parsing index pages allocates much memory briefly on several threads, of which the C library
/// keeps half; `.cargo/config.toml` configures this allocator to return it.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments
        .next_if(|first| first == wheelhouse_sandbox::COMMAND)
        .is_some()
    {
        return wheelhouse_sandbox::launch(arguments);
    }
    ExitCode::from(wheelhouse::cli::main(std::env::args_os()))
}
