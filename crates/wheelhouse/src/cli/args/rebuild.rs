//! The arguments of `rebuild`.

use std::path::PathBuf;

use clap::{ArgMatches, Args};

use super::GlobalOptions;
use super::farm::FarmOptions;
use super::shared::Options;
use wheelhouse_config::RawOptions;

/// The default directory for rebuilt wheels that differ.
const OUTPUT: &str = "rebuilt";

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// A wheelhouse, or built wheels in one [default: wheelhouse]
    #[arg(value_name = "WHEELHOUSE|WHEEL")]
    places: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) farm: FarmOptions,
}

impl RebuildArgs {
    /// Returns the wheelhouses and wheels.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        match &self.places[..] {
            [] => vec!["wheelhouse".into()],
            places => places.to_owned(),
        }
    }

    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        let mut raw = self.options.raw(globals, matches);
        raw.output.get_or_insert_with(|| OUTPUT.into());
        raw
    }
}
