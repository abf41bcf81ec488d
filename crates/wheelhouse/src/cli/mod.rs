//! The command line: what the user says, and what the user is told.
//!
//! 1. [`main`] parses the arguments (`arguments`) and goes to the file of the verb.
//! 2. A verb brings raw options, pip's configuration and the process (`process`) together, and
//!    calls the other rooms.
//! 3. Events are rendered (`render`), failures become messages (`failure`) and exit codes
//!    ([`exit`]), with hints in the words of a command line or of an S2I build (`dialect`).
//!
//! This room alone prints, reads the process environment and knows exit codes. It never decides
//! what is resolved, fetched or built.

mod again;
mod arguments;
mod build;
mod cache;
mod completions;
mod config;
mod credentials;
mod dialect;
mod download;
mod dry_run;
pub mod exit;
mod extract;
mod failure;
mod human;
mod image;
mod inspect;
mod lock;
mod log;
mod panics;
mod preparation;
mod process;
mod progress;
mod reader;
#[cfg(test)]
mod reference;
mod registry;
mod render;
mod s2i;
mod signals;
mod source;
mod store;
mod streams;
mod style;
mod verify;

use std::ffi::OsString;

use clap::ArgMatches;
use wheelhouse_types::Result;
use wheelhouse_types::secrets::hidden;

use arguments::{CommandLine, Globals, Verb};
use dialect::Dialect;
use wheelhouse_fs::locks;

/// Runs the program with `arguments`, the name of the program first, and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    credentials::remember(&arguments);
    let (command_line, matches) = match arguments::parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            if error.use_stderr() {
                // An argument may be a URL with a password.
                streams::talk(hidden(&error.render().ansi().to_string()).trim_end());
            } else {
                // Help goes to stdout; who closed it does not want it.
                let _ = error.print();
            }
            return u8::try_from(error.exit_code()).unwrap_or(exit::INPUT);
        }
    };
    let CommandLine { globals, verb } = command_line;
    streams::set_color(globals.color);
    Dialect::of(&verb).speak();
    locks::tell_with(|text| {
        streams::talk(&style::labelled(style::WARNING, "warning", text));
    });
    panics::guarded(globals.json, || match dispatch(verb, &globals, &matches) {
        Ok(code) => code,
        Err(error) => {
            failure::report(&error, globals.json);
            exit::code(error.kind())
        }
    })
}

/// Goes to the file of the verb, and returns the exit code.
fn dispatch(verb: Verb, globals: &Globals, matches: &ArgMatches) -> Result<u8> {
    log::start(globals.verbose);
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    match verb {
        Verb::Build(build) => build::run(*build, globals, matches)?,
        Verb::Download(download) => download::run(*download, globals, matches)?,
        Verb::Lock(lock) => lock::run(*lock, globals, matches)?,
        Verb::Verify(verify) => return verify::run(&verify, globals),
        Verb::S2i(s2i) => s2i::run(&s2i, globals)?,
        Verb::Image(image) => image::run(*image, globals, matches)?,
        Verb::Extract(extract) => extract::run(&extract, globals)?,
        Verb::Inspect(inspect) => inspect::run(&inspect, globals)?,
        Verb::Cache(action) => return cache::run(&action, globals),
        Verb::Config(config) => config::run(&config, globals, matches)?,
        Verb::Completions { shell } => completions::print(shell),
        Verb::Man { directory } => completions::man(directory.as_deref())?,
    }
    Ok(exit::SUCCESS)
}
