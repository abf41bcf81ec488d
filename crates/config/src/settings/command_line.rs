//! The options of the command line as plain values, independent of the parser.

use std::path::PathBuf;
use std::time::Duration;

use wheelhouse_types::request::{IndexStrategy, SandboxMode};

/// The options of a command, as given.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line, and named as such"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawOptions {
    /// PEP 508 requirements, paths and URLs.
    pub requirements: Vec<String>,
    /// The values of `--editable`.
    pub editables: Vec<String>,
    /// Paths and URLs; `-` is standard input.
    pub requirement_files: Vec<String>,
    /// The values of `--constraint`.
    pub constraint_files: Vec<String>,
    /// The values of `--override`.
    pub override_files: Vec<String>,
    /// The values of `--build-constraint`.
    pub build_constraint_files: Vec<String>,
    /// The path or URL of a lock.
    pub lock: Option<String>,
    /// True if locks in the application's directory are ignored.
    pub passes_over_locks: bool,
    /// The directory of an application.
    pub source: Option<PathBuf>,
    /// The values of `--extra`.
    pub extras: Vec<String>,
    /// `GROUP`, or `PATH:GROUP` with the path of a `pyproject.toml`.
    pub groups: Vec<String>,
    /// The value of `--output`.
    pub output: Option<PathBuf>,
    /// The targets of `download`; `None` for other commands.
    pub targets: Option<RawTargets>,

    /// The value of `--index-url`.
    pub index_url: Option<String>,
    /// The values of `--extra-index-url`.
    pub extra_index_urls: Vec<String>,
    /// True with `--no-index`.
    pub no_index: bool,
    /// The values of `--find-links`.
    pub find_links: Vec<String>,
    /// The value of `--index-strategy`.
    pub index_strategy: Option<IndexStrategy>,
    /// The values of `--ignore-error-codes`.
    pub ignored_error_codes: Vec<u16>,
    /// The values of `--trusted-host`.
    pub trusted_hosts: Vec<String>,
    /// The value of `--keyring-provider`.
    pub keyring_provider: Option<String>,

    /// The options that name packages, in the order of the command line.
    pub controls: Vec<FormatOption>,
    /// True with `--prefer-binary`.
    pub prefer_binary: bool,
    /// True with `--no-deps`.
    pub no_deps: bool,
    /// True with `--require-hashes`.
    pub require_hashes: bool,
    /// True with `--no-require-hashes`.
    pub no_require_hashes: bool,
    /// The value of `--exclude-newer`.
    pub exclude_newer: Option<String>,

    /// True with `--no-build-isolation`.
    pub no_build_isolation: bool,
    /// `KEY=VALUE` or `PACKAGE:KEY=VALUE`.
    pub config_settings: Vec<String>,
    /// The value of `--build-timeout`.
    pub build_timeout: Option<Duration>,
    /// The value of `--sandbox`.
    pub sandbox: Option<SandboxMode>,
    /// The values of `--allow-network`.
    pub allow_network: Vec<String>,
    /// The values of `--allow-write`: `PACKAGE:PATH`.
    pub allow_write: Vec<String>,
    /// The values of `--allow-read`.
    pub allow_read: Vec<String>,
    /// The values of `--build-env`: names of variables.
    pub build_env: Vec<String>,
    /// The value of `--jobs`.
    pub jobs: Option<usize>,
    /// The value of `--python`.
    pub python: Option<String>,

    /// The value of `--timeout`.
    pub timeout: Option<Duration>,
    /// The value of `--retries`.
    pub retries: Option<u32>,
    /// The value of `--cert`.
    pub certificate: Option<PathBuf>,
    /// The value of `--client-cert`.
    pub client_certificate: Option<PathBuf>,
    /// The value of `--proxy`.
    pub proxy: Option<String>,
    /// True with `--no-proxy-env`.
    pub no_proxy_env: bool,
    /// True with `--offline`.
    pub offline: bool,

    /// The value of `--cache-dir`.
    pub cache_dir: Option<PathBuf>,
    /// True with `--no-cache`.
    pub no_cache: bool,
    /// The options of shared caches.
    pub shared_cache: RawSharedCache,

    /// The numbers of `-q` and `-v`.
    pub quiet: u32,
    /// The number of `-v` options.
    pub verbose: u32,
    /// True with `--no-color`.
    pub no_color: bool,
    /// True with `--no-progress`.
    pub no_progress: bool,
}

/// The options of shared caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawSharedCache {
    /// The values of `--cache-from`.
    pub from: Vec<String>,
    /// The value of `--cache-to`.
    pub to: Option<String>,
    /// True with `--cache-fetched`.
    pub fetched: bool,
    /// True with `--cache-key-closure`.
    pub key_closure: bool,
    /// The value of `--cache-verify-key`.
    pub verify_key: Option<PathBuf>,
    /// The value of `--cache-timeout`.
    pub timeout: Option<Duration>,
}

/// The options of `pip download` that select targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawTargets {
    /// The values of `--python-version`.
    pub pythons: Vec<String>,
    /// The values of `--platform`.
    pub platforms: Vec<String>,
    /// The value of `--implementation`.
    pub implementation: Option<String>,
    /// The values of `--abi`.
    pub abis: Vec<String>,
}

/// An option that names packages, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatOption {
    /// The value of `--no-binary`.
    NoBinary(String),
    /// The value of `--only-binary`.
    OnlyBinary(String),
    /// The value of `--all-releases`.
    AllReleases(String),
    /// The value of `--only-final`.
    OnlyFinal(String),
    /// `--pre`.
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
