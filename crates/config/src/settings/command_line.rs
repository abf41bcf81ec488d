//! The options of the command line as plain values, independent of the parser.

use std::path::PathBuf;
use std::time::Duration;

use wheelhouse_types::request::IndexStrategy;

/// The options of a command, as given.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line, and named as such"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawOptions {
    /// PEP 508 requirements, paths and URLs.
    pub requirements: Vec<String>,
    pub editables: Vec<String>,
    /// Paths and URLs; `-` is standard input.
    pub requirement_files: Vec<String>,
    pub constraint_files: Vec<String>,
    pub override_files: Vec<String>,
    pub build_constraint_files: Vec<String>,
    /// The path or URL of a lock.
    pub lock: Option<String>,
    /// Whether locks in the application's directory are ignored.
    pub passes_over_locks: bool,
    /// The directory of an application.
    pub source: Option<PathBuf>,
    pub extras: Vec<String>,
    /// `GROUP`, or `PATH:GROUP` with the path of a `pyproject.toml`.
    pub groups: Vec<String>,
    pub output: Option<PathBuf>,
    /// The targets of `download`; `None` for other commands.
    pub targets: Option<RawTargets>,

    pub index_url: Option<String>,
    pub extra_index_urls: Vec<String>,
    pub no_index: bool,
    pub find_links: Vec<String>,
    pub index_strategy: Option<IndexStrategy>,
    pub ignored_error_codes: Vec<u16>,
    pub trusted_hosts: Vec<String>,
    pub keyring_provider: Option<String>,

    /// The options that name packages, in the order of the command line.
    pub controls: Vec<FormatOption>,
    pub prefer_binary: bool,
    pub no_deps: bool,
    pub require_hashes: bool,
    pub no_require_hashes: bool,
    pub exclude_newer: Option<String>,

    pub no_build_isolation: bool,
    /// `KEY=VALUE` or `PACKAGE:KEY=VALUE`.
    pub config_settings: Vec<String>,
    pub build_timeout: Option<Duration>,
    pub jobs: Option<usize>,
    pub python: Option<String>,

    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub proxy: Option<String>,
    pub no_proxy_env: bool,
    pub offline: bool,

    pub cache_dir: Option<PathBuf>,
    pub no_cache: bool,

    /// The numbers of `-q` and `-v`.
    pub quiet: u32,
    pub verbose: u32,
    pub no_color: bool,
    pub no_progress: bool,
}

/// The options of `pip download` that select targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawTargets {
    pub pythons: Vec<String>,
    pub platforms: Vec<String>,
    pub implementation: Option<String>,
    pub abis: Vec<String>,
}

/// An option that names packages, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatOption {
    NoBinary(String),
    OnlyBinary(String),
    AllReleases(String),
    OnlyFinal(String),
    Pre,
}

impl FormatOption {
    /// Returns the name of the option, without hyphens.
    #[must_use]
    pub fn option(&self) -> &'static str {
        match self {
            Self::NoBinary(_) => "no-binary",
            Self::OnlyBinary(_) => "only-binary",
            Self::AllReleases(_) => "all-releases",
            Self::OnlyFinal(_) => "only-final",
            Self::Pre => "pre",
        }
    }
}
