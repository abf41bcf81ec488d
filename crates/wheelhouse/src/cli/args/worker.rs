//! The arguments of `worker`.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use wheelhouse_types::Sha256;

use super::GlobalOptions;
use super::shared::Options;
use wheelhouse_config::RawOptions;

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The SHA-256 of the build step
    #[arg(value_name = "STEP")]
    pub(crate) step: Sha256,

    #[command(flatten)]
    options: Options,

    /// Sign the record of the build with this private key
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
}

impl WorkerArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        self.options.raw(globals, matches)
    }
}
