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
    #[cfg(target_os = "linux")]
    register_barriers();
    ExitCode::from(wheelhouse::cli::main(std::env::args_os()))
}

/// Registers for the memory barriers of uv's concurrent maps, membarrier(2), as they do themselves. The kernel does this at
/// once for a process with one thread; for others it waits for all processors, some 10 ms.
#[cfg(target_os = "linux")]
fn register_barriers() {
    use rustix::thread::{MembarrierCommand, membarrier};
    // Maps use other barriers on a kernel that refuses.
    let _ = membarrier(MembarrierCommand::RegisterPrivateExpedited);
}
