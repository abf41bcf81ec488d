//! The arguments of `report`.

use std::path::PathBuf;

use clap::Args;

use super::WheelhouseArgs;

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Write the report to this file, or to standard output with -
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) output: PathBuf,

    /// Show the differences from this wheelhouse, or from its manifest
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) previous: Option<PathBuf>,

    /// Show this result of a verification, which `wheelhouse verify --json` printed
    #[arg(long, value_name = "FILE")]
    pub(crate) verification: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) wheelhouse: WheelhouseArgs,
}
