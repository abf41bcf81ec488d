//! The program `wheelhouse`: parses, dispatches and exits. All of it happens in
//! [`wheelhouse::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(wheelhouse::cli::main(std::env::args_os()))
}
