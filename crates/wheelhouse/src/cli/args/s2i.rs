//! The arguments of `s2i`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ListenArgs;
use crate::s2i::Paths;

#[derive(Debug, Args)]
pub(crate) struct S2iArgs {
    #[command(subcommand)]
    pub(crate) command: S2iCommand,

    /// The application directory of the image, which contains the wheelhouse and the cache
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/opt/app-root"
    )]
    root: PathBuf,

    /// The directory of the uploaded source and of the artifacts of the previous build
    #[arg(long, global = true, value_name = "DIR", default_value = "/tmp")]
    uploads: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum S2iCommand {
    /// Move the source into the current directory and build the wheelhouse of its requirements
    Assemble,
    /// Update pip, setuptools and wheel, as `assemble` does, when the image is built
    Tools,
    /// Write the artifacts for the next build as a tar archive to standard output
    SaveArtifacts,
    /// Serve the wheelhouse until a signal arrives, as `wheelhouse serve` does
    Run {
        #[command(flatten)]
        listening: ListenArgs,
    },
    /// Describe the image and how to build with it
    Usage,
    /// Add scripts to an application so that it is built from a wheelhouse
    ///
    /// The scripts are written to the application's .s2i directory.
    Init {
        /// The directory of the application
        #[arg(value_name = "DIR", default_value = ".")]
        directory: PathBuf,

        /// Replace existing files that differ
        #[arg(long)]
        force: bool,
    },
}

impl S2iArgs {
    pub(crate) fn paths(&self) -> Paths {
        Paths {
            root: self.root.clone(),
            uploads: self.uploads.clone(),
        }
    }
}
