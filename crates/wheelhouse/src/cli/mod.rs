//! The command line interface.
//!
//! 1. [`main`] parses the arguments (`args`) and dispatches to the command (`commands`).
//! 2. A command merges its options, pip's configuration and the environment of the process
//!    (`process_env`), and calls the other modules.
//! 3. Events are rendered (`render`), and errors become messages (`error_report`) and exit codes
//!    ([`exit_code`]), with hints that fit the command line or an S2I build (`hints`).
//!
//! Only this module prints, reads the environment of the process and knows exit codes. It does not
//! decide what is resolved, fetched or built.

mod access_log;
mod args;
mod commands;
mod credentials;
mod error_report;
pub mod exit_code;
mod format;
mod hints;
mod logging;
mod output;
mod panics;
mod process_env;
mod reexec;
#[cfg(test)]
mod reference_docs;
mod render;
mod signals;
mod style;

use std::ffi::OsString;

use clap::ArgMatches;
use wheelhouse_types::Result;
use wheelhouse_types::secrets::mask;

use args::{Command, CommandLine, GlobalOptions};
use hints::HintStyle;
use wheelhouse_fs::locks;

/// Runs the program with `arguments`, the name of the program first, and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    credentials::remember(&arguments);
    let (command_line, matches) = match args::parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            if error.use_stderr() {
                // A rejected argument may be a URL with a password.
                output::status(mask(&error.render().ansi().to_string()).trim_end());
            } else {
                // A closed pipe is not an error for help.
                let _ = error.print();
            }
            return u8::try_from(error.exit_code()).unwrap_or(exit_code::INPUT);
        }
    };
    let CommandLine { globals, command } = command_line;
    output::set_color(globals.color);
    HintStyle::of(&command).set_current();
    locks::set_notice(|text| {
        output::status(&style::labeled(style::WARNING, "warning", text));
    });
    panics::guarded(globals.json, || {
        match dispatch(command, &globals, &matches) {
            Ok(code) => code,
            Err(error) => {
                error_report::report(&error, globals.json);
                exit_code::code(error.kind())
            }
        }
    })
}

/// Runs the command, and returns the exit code.
fn dispatch(command: Command, globals: &GlobalOptions, matches: &ArgMatches) -> Result<u8> {
    logging::start(globals, command.is_server())?;
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    match command {
        Command::Build(build) => commands::build::run(*build, globals, matches)?,
        Command::Download(download) => commands::download::run(*download, globals, matches)?,
        Command::Lock(lock) => commands::lock::run(*lock, globals, matches)?,
        Command::Rebuild(rebuild) => return commands::rebuild::run(&rebuild, globals, matches),
        Command::Verify(verify) => return commands::verify::run(&verify, globals),
        Command::Serve(serve) => commands::serve::run(*serve, globals)?,
        Command::S2i(s2i) => commands::s2i::run(&s2i, globals)?,
        Command::Image(image) => commands::image::run(*image, globals, matches)?,
        Command::Extract(extract) => commands::extract::run(&extract, globals)?,
        Command::Inspect(inspect) => commands::inspect::run(&inspect, globals)?,
        Command::Report(report) => commands::report::run(&report, globals)?,
        Command::Sbom(sbom) => commands::sbom::run(&sbom, globals)?,
        Command::Worker(worker) => commands::worker::run(&worker, globals, matches)?,
        Command::Cache(action) => return commands::cache::run(&action, globals),
        Command::Config(config) => commands::config::run(&config, globals, matches)?,
        Command::Completions { shell } => commands::completions::print(shell),
        Command::Man { directory } => commands::completions::man(directory.as_deref())?,
    }
    Ok(exit_code::SUCCESS)
}
