//! The roles of a builder image.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::s2i::Paths;

#[derive(Debug, Args)]
pub(crate) struct S2iArgs {
    #[command(subcommand)]
    pub(crate) command: S2iCommand,

    /// The image's application directory: it has the wheelhouse and the cache
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/opt/app-root"
    )]
    root: PathBuf,

    /// Where the engine puts the source and the artifacts of an earlier build
    #[arg(long, global = true, value_name = "DIR", default_value = "/tmp")]
    uploads: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum S2iCommand {
    /// Move the source into the current directory, and make the wheelhouse of what it requires
    Assemble,
    /// Bring pip, setuptools and wheel up to date, as `assemble` does, when the image is made
    Tools,
    /// Write a tar of what makes the next build fast to the standard output
    SaveArtifacts,
    /// Serve the wheelhouse as a simple index, until a signal comes
    Run {
        /// Listen there
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
        bind: SocketAddr,
    },
    /// Tell what the image is and how to build with it
    Usage,
    /// Give an application the scripts to be built from a wheelhouse, below its .s2i
    Init {
        /// The application's tree
        #[arg(value_name = "DIR", default_value = ".")]
        directory: PathBuf,

        /// Replace files that are there and differ
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
