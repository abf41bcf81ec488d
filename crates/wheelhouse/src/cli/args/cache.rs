//! The options of `cache`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use wheelhouse_store::BuildKey;
use wheelhouse_types::CacheLocation;

use super::RegistryOptions;
use super::parsers::{age, size};

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Print the path of the cache
    Dir,
    /// Print the contents and size of the cache
    Info,
    /// List the built wheels of a shared cache
    ///
    /// Each line has the package, the Python and the platform of the wheel, its size, the age of the record, and whether the
    /// record is signed.
    #[command(after_help = LS_EXAMPLES)]
    Ls(CacheLsArgs),
    /// Copy the built wheels of the cache to a shared cache
    ///
    /// Wheels that the shared cache has already are left out.
    #[command(after_help = PUSH_EXAMPLES)]
    Push(CachePushArgs),
    /// Copy the built wheels of a shared cache that this machine can use into the cache
    ///
    /// Wheels of other platforms, C libraries and compilers are left out.
    #[command(after_help = PULL_EXAMPLES)]
    Pull(CachePullArgs),
    /// Remove unfinished files and, optionally, files that are not used
    ///
    /// With a LOCATION, remove old entries of that shared cache instead.
    #[command(after_help = PRUNE_EXAMPLES)]
    Prune(CachePruneArgs),
    /// Check the digest of every file in the cache and remove corrupt files
    ///
    /// Lists the corrupt files and exits with code 6 if there are any. Removed files are downloaded or
    /// built again when needed. The index pages and archives of the resolver are not checked.
    #[command(after_help = CACHE_VERIFY_EXAMPLES)]
    Verify {
        /// List corrupt files without removing them
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the contents of the cache
    Clean,
}

/// A shared cache, and the access to its registry.
#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
pub(crate) struct SharedCacheArgs {
    /// The shared cache, such as docker://HOST/NAME or s3://BUCKET/PREFIX
    #[arg(index = 1)]
    pub(crate) location: CacheLocation,

    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct CacheLsArgs {
    /// Show which records this public key has signed
    #[arg(long, value_name = "KEY")]
    pub(crate) cache_verify_key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) shared_cache: SharedCacheArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CachePushArgs {
    /// Copy wheels and sdists that were downloaded as well
    #[arg(long)]
    pub(crate) fetched: bool,

    /// Sign the records with this private key
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) shared_cache: SharedCacheArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CachePullArgs {
    /// Copy only the builds with these keys, which `cache ls --json` prints
    #[arg(index = 2, value_name = "BUILD")]
    pub(crate) keys: Vec<BuildKey>,

    /// Copy only wheels whose record this public key has signed
    #[arg(long, value_name = "KEY")]
    pub(crate) cache_verify_key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) shared_cache: SharedCacheArgs,
}

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
pub(crate) struct CachePruneArgs {
    /// The shared cache, such as docker://HOST/NAME or s3://BUCKET/PREFIX [default: the local cache]
    pub(crate) location: Option<CacheLocation>,

    /// Remove files that have not been used for this number of days
    #[arg(
        long,
        value_name = "DAYS",
        visible_alias = "days",
        conflicts_with = "location"
    )]
    pub(crate) unused_for: Option<u32>,

    /// Remove entries of a shared cache that were written longer ago, such as 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = age, requires = "location")]
    pub(crate) older_than: Option<Duration>,

    /// Remove the least recently used wheels and sdists until the rest has this size, such as 500M or 2G
    ///
    /// For a shared cache, the oldest entries.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,

    /// Remove the files of a shared cache that belong to no build, downloads among them
    #[arg(long, requires = "location")]
    pub(crate) unreferenced: bool,

    /// List what would be removed from a shared cache, and remove nothing
    #[arg(long, requires = "location")]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

const LS_EXAMPLES: &str = "\
Examples:
  wheelhouse cache ls docker://registry.example/acme/cache   the built wheels in a repository
  wheelhouse cache ls s3://acme/cache --json                 with keys, digests and times";

const PUSH_EXAMPLES: &str = "\
Examples:
  wheelhouse cache push s3://acme/cache                   what this machine has built
  wheelhouse cache push s3://acme/cache --sign cache.key  with signed records
  wheelhouse cache push s3://acme/cache --fetched         also what it has downloaded";

const PULL_EXAMPLES: &str = "\
Examples:
  wheelhouse cache pull s3://acme/cache                                all that this machine can use
  wheelhouse cache pull s3://acme/cache --cache-verify-key cache.pub   what this key has signed";

const PRUNE_EXAMPLES: &str = "\
Examples:
  wheelhouse cache prune                    unfinished files
  wheelhouse cache prune --unused-for 30    also files that have not been used for 30 days
  wheelhouse cache prune --max-size 2G      also the least recently used files
  wheelhouse cache prune s3://acme/cache --older-than 90d --dry-run
                                            old entries of a shared cache";

const CACHE_VERIFY_EXAMPLES: &str = "\
Examples:
  wheelhouse cache verify             remove what is corrupt
  wheelhouse cache verify --dry-run   only list it";
