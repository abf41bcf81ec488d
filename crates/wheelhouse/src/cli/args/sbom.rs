//! The arguments of `sbom`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wheelhouse_sbom::WHEELHOUSE_NAME;

use super::WheelhouseArgs;

#[derive(Debug, Args)]
pub(crate) struct SbomArgs {
    /// The format of the bill of materials
    #[arg(short, long, value_enum, default_value_t = SbomFormat::Cyclonedx)]
    pub(crate) format: SbomFormat,

    /// Write the bill of materials to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// The name of the wheelhouse in the bill of materials
    #[arg(long, default_value = WHEELHOUSE_NAME)]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) wheelhouse: WheelhouseArgs,
}

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SbomFormat {
    /// CycloneDX 1.6
    Cyclonedx,
    /// SPDX 2.3
    Spdx,
}
