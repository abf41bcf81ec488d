//! A request: the validated inputs and settings of a run, with absolute paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use uv_normalize::PackageName;

use crate::linked_image::LinkedImage;
use crate::lock::Build;
use crate::redact::redacted;
use crate::retry::RetryNotices;
use crate::sandbox::Protection;
use crate::{Sha256, Target};

/// The requirements to resolve and all settings of the run.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The requirements to resolve.
    pub requirements: Vec<Requirement>,
    /// The local files that these are from, by absolute path, with the digest of what each requires.
    pub files: BTreeMap<PathBuf, Sha256>,
    /// Lines that narrow the versions of packages that are required anyway.
    pub constraints: Vec<Requirement>,
    /// Lines that replace all requirements of a package.
    pub overrides: Vec<Requirement>,
    /// Constraints for build requirements.
    pub build_constraints: Vec<Requirement>,
    /// The exact build closures that a lock prescribes.
    pub builds: Vec<Build>,
    /// The files that a lock of another tool names.
    pub locked_files: Vec<LockedFile>,
    /// A path, a version or a name of a Python; `None` stands for the Python that `python3` runs.
    pub python: Option<String>,
    /// The indexes and other places of distributions.
    pub indexes: Indexes,
    /// The choice between wheels and sources.
    pub formats: Formats,
    /// Network settings.
    pub network: Network,
    /// Settings that decide versions.
    pub resolution: Resolution,
    /// Build settings.
    pub building: Building,
}

impl Request {
    /// Computes a hexadecimal digest that two requests share if and only if they ask for the same: the
    /// same requirements and ways to choose, for the same `target`, where local trees have the
    /// same contents. `trees` gives the digest of a tree by the text of its requirement.
    #[must_use]
    pub fn fingerprint(&self, target: &Target, trees: &BTreeMap<String, Sha256>) -> String {
        let lines = |requirements: &[Requirement]| -> Vec<String> {
            let line = |one: &Requirement| {
                format!(
                    "{} {:?} {:?}",
                    redacted(&one.text),
                    one.hashes,
                    trees.get(&one.text)
                )
            };
            requirements.iter().map(line).collect()
        };
        let indexes: Vec<String> = self
            .indexes
            .urls
            .iter()
            .map(|url| redacted(url.as_str()))
            .collect();
        let images = self.indexes.images.iter();
        let images = images.map(|image| format!("{} {}", image.name, image.digest));
        let locked_files = self.locked_files.iter().map(LockedFile::described);
        let links = self.indexes.find_links.iter().cloned();
        let links = links.chain(images).chain(locked_files);
        let asked = format!(
            "{:?}",
            (
                [
                    &self.requirements,
                    &self.constraints,
                    &self.overrides,
                    &self.build_constraints,
                ]
                .map(|part| lines(part)),
                (
                    &indexes,
                    links.collect::<Vec<_>>(),
                    self.indexes.no_index,
                    self.indexes.strategy
                ),
                &self.formats,
                (
                    &self.resolution.prereleases,
                    self.resolution.no_dependencies,
                    self.resolution.hashes
                ),
                &self.resolution.exclude_newer,
                (
                    &self.building.config_settings,
                    &self.building.package_settings,
                ),
                (target.python(), &target.platform),
            )
        );
        Sha256::of(asked.as_bytes()).to_string()
    }

    /// Returns all lines that decide versions: requirements, constraints and overrides.
    pub fn lines(&self) -> impl Iterator<Item = &Requirement> {
        let lines = [&self.requirements, &self.constraints, &self.overrides];
        lines.into_iter().flatten()
    }
}

/// The origin of what no file says.
pub const COMMAND_LINE: &str = "the command line";

/// One requirement as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// A PEP 508 requirement, a path or a URL, with variables expanded.
    pub text: String,
    /// Digests of which one must match, `algorithm:hex`.
    pub hashes: Vec<String>,
    /// Settings for this package's build backend.
    pub config_settings: Vec<(String, String)>,
    /// The place of the requirement: `requirements.txt:3`, or [`COMMAND_LINE`].
    pub origin: String,
    /// The directory that relative paths start from.
    pub base: PathBuf,
}

/// A file of a package that a lock names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedFile {
    /// The package.
    pub package: PackageName,
    /// The file name.
    pub filename: String,
    /// The place that the lock gives, if any. May carry credentials.
    pub url: Option<Url>,
    /// The index that the lock says it comes from.
    pub index: Option<Url>,
    /// `algorithm:hex`
    pub hashes: Vec<String>,
    /// In bytes.
    pub size: Option<u64>,
}

impl LockedFile {
    fn described(&self) -> String {
        let url = self.url.as_ref().map(|url| redacted(url.as_str()));
        let Self {
            filename,
            hashes,
            size,
            ..
        } = self;
        format!("{filename} {url:?} {hashes:?} {size:?}")
    }
}

/// The places that distributions are looked up in.
#[derive(Clone, Debug, Default)]
pub struct Indexes {
    /// The main index first; empty stands for `PyPI`. URLs may carry credentials.
    pub urls: Vec<Url>,
    /// Directories, pages and archives named by `--find-links`; paths are absolute.
    pub find_links: Vec<String>,
    /// Images that are such places, too.
    pub images: Arc<[LinkedImage]>,
    /// True if no index may be queried.
    pub no_index: bool,
    /// The treatment of several indexes.
    pub strategy: IndexStrategy,
    /// HTTP statuses with which an index says that it does not have a package, besides 404: 401 and
    /// 403 otherwise end a resolution.
    pub ignored_error_codes: Vec<u16>,
}

/// Which versions count when several indexes have a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexStrategy {
    /// The best version over all indexes, as pip does.
    #[default]
    BestMatch,
    /// Only versions of the first index that has the package at all.
    FirstIndex,
    /// The first index that has a version that fits.
    FirstMatch,
}

/// Which packages may come as wheels and which may be built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    /// The packages that must be built from source.
    pub no_binary: Packages,
    /// The packages that must not be built.
    pub only_binary: Packages,
    /// Take an older wheel rather than a newer sdist.
    pub prefer_binary: bool,
}

/// All packages, or those named. As for pip, a package named in one list of [`Formats`] is exempt
/// from `:all:` in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packages {
    /// All packages.
    All,
    /// The named packages.
    Only(Vec<PackageName>),
}

impl Default for Packages {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// Network settings.
#[derive(Clone, Debug)]
pub struct Network {
    /// True if no request may be sent at all.
    pub offline: bool,
    /// The time that a server may stay silent.
    pub timeout: Duration,
    /// The number of retries after a transient failure.
    pub retries: u32,
    /// The receiver of notices about retries.
    pub notices: RetryNotices,
    /// A file of trusted certificates (PEM) instead of the system's.
    pub certificate: Option<PathBuf>,
    /// A client certificate with its key (PEM).
    pub client_certificate: Option<PathBuf>,
    /// The URL of a proxy for all requests; may carry credentials.
    pub proxy: Option<String>,
    /// `host` or `host:port` whose certificate is not checked.
    pub trusted_hosts: Vec<String>,
    /// True if the command line program `keyring` is queried for credentials.
    pub keyring: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            offline: false,
            timeout: Duration::from_secs(30),
            retries: 5,
            notices: RetryNotices::default(),
            certificate: None,
            client_certificate: None,
            proxy: None,
            trusted_hosts: Vec::new(),
            keyring: false,
        }
    }
}

/// Settings that decide versions.
#[derive(Clone, Debug, Default)]
pub struct Resolution {
    /// The treatment of pre-releases.
    pub prereleases: Prereleases,
    /// True if dependencies are left out.
    pub no_dependencies: bool,
    /// The requirements that must have a hash.
    pub hashes: HashPolicy,
    /// Files that an index took in at this time or later do not exist; RFC 3339 or a date.
    pub exclude_newer: Option<String>,
    /// True if cached answers of indexes are revalidated.
    pub refresh: bool,
}

/// The requirements that must have a hash; a hash that is given is always checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashPolicy {
    /// If one requirement has a hash, each must be pinned and hashed.
    #[default]
    AllOrNone,
    /// Each requirement must be pinned and hashed, those of builds too.
    All,
    /// No requirement needs a hash.
    Optional,
}

/// The treatment of pre-releases: like releases (`true`), never (`false`), or only where no release fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prereleases {
    /// For those packages that `packages` has not; `None` is the third case.
    pub others: Option<bool>,
    /// The packages.
    pub packages: BTreeMap<PackageName, bool>,
}

/// Variables of the user's environment that change what a build gives.
const BUILD_VARIABLES: [&str; 28] = [
    "AR",
    "ARCHFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CC",
    "CFLAGS",
    "CMAKE_ARGS",
    "CMAKE_GENERATOR",
    "CMAKE_PREFIX_PATH",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "FC",
    "FFLAGS",
    "LD",
    "LDFLAGS",
    "LD_LIBRARY_PATH",
    "LD_RUN_PATH",
    "LIBRARY_PATH",
    "PBR_VERSION",
    "PKG_CONFIG_PATH",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "SETUPTOOLS_SCM_PRETEND_VERSION",
    SOURCE_DATE_EPOCH,
];

/// The prefix of such variables for one package.
const OF_PACKAGE: &str = "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_";

/// Returns whether the environment variable `name` of the user changes the result of a build. Variables that are set
/// belong in [`Building::environment`].
#[must_use]
pub fn is_build_variable(name: &str) -> bool {
    BUILD_VARIABLES.contains(&name) || name.starts_with(OF_PACKAGE)
}

/// The variable with the time that build backends write into files, in seconds since 1970-01-01 UTC.
///
/// See <https://reproducible-builds.org/specs/source-date-epoch/>.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The value of [`SOURCE_DATE_EPOCH`] for sources whose files have no usable times: 2020-02-02, as in hatchling.
pub const DEFAULT_EPOCH: i64 = 1_580_601_600;

/// Build settings.
#[derive(Clone, Debug)]
pub struct Building {
    /// True if each build gets an environment of its own (PEP 517).
    pub isolated: bool,
    /// The number of concurrent builds.
    pub jobs: usize,
    /// The time limit of one hook of a build backend.
    pub timeout: Duration,
    /// Settings for every build backend (PEP 517 `config_settings`).
    pub config_settings: Vec<(String, String)>,
    /// Settings for the build backend of one package.
    pub package_settings: BTreeMap<PackageName, Vec<(String, String)>>,
    /// Variables set for hooks: `PATH`, [those](is_build_variable) that the user has set, and those that the user names.
    pub environment: BTreeMap<String, String>,
    /// The sandbox of hooks.
    pub sandbox: SandboxOptions,
    /// The user's configuration of cargo.
    pub cargo: CargoEnvironment,
    /// True if builds have another locale, umask, number of processors and order of directories than otherwise, to find out
    /// whether their result depends on these.
    pub is_varied: bool,
}

/// The user's configuration of cargo, which states where crates come from.
#[derive(Clone, Default)]
pub struct CargoEnvironment {
    /// The directory of its configuration files, `CARGO_HOME`.
    pub home: Option<PathBuf>,
    /// The variables `CARGO_…`, some of which are credentials.
    pub variables: BTreeMap<String, String>,
}

impl fmt::Debug for CargoEnvironment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CargoEnvironment")
            .field("home", &self.home)
            .field("variables", &self.variables.keys())
            .finish()
    }
}

/// A mode of the sandbox of hooks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SandboxMode {
    /// Everything that the machine permits.
    Auto,
    /// Everything; a build fails if the machine does not permit it.
    Require,
    /// No sandbox: hooks can do what the user can, and inherit all variables.
    #[default]
    Off,
}

/// The sandbox of hooks, which are code of packages.
#[derive(Clone, Debug, Default)]
pub struct SandboxOptions {
    /// The mode.
    pub mode: SandboxMode,
    /// The program that starts hooks, which is this program.
    pub launcher: PathBuf,
    /// The packages whose builds have network access.
    pub network: BTreeSet<PackageName>,
    /// Variables that hooks inherit although they do not change the result.
    pub environment: BTreeMap<String, String>,
    /// The variables of builds with network access: proxies and certificates.
    pub network_environment: BTreeMap<String, String>,
    /// Paths that the builds of packages may write.
    pub writable: BTreeMap<PackageName, Vec<PathBuf>>,
    /// Paths that all builds may read, besides those of the system and of the interpreter.
    pub readable: Vec<PathBuf>,
    /// Paths that no build may read unless it is a path below them: the home directory, the cache, the output.
    pub hidden: Vec<PathBuf>,
}

impl Building {
    /// Returns what the sandbox must have enforced when a wheel of `package` was built.
    #[must_use]
    pub fn required_protections(&self, package: &PackageName) -> Vec<Protection> {
        if self.sandbox.mode != SandboxMode::Require {
            return Vec::new();
        }
        let has_network = self.sandbox.network.contains(package);
        let all = Protection::ALL.into_iter();
        all.filter(|one| !has_network || *one != Protection::Network)
            .collect()
    }
}

impl Default for Building {
    fn default() -> Self {
        Self {
            isolated: true,
            jobs: 1,
            timeout: Duration::from_hours(1),
            config_settings: Vec::new(),
            package_settings: BTreeMap::new(),
            environment: BTreeMap::new(),
            sandbox: SandboxOptions::default(),
            cargo: CargoEnvironment::default(),
            is_varied: false,
        }
    }
}
