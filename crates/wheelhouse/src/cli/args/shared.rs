//! The options of resolution, downloads and builds that most commands share.
//!
//! Defines names, help texts and plain values. The configuration crate interprets them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Args, ValueEnum};
use wheelhouse_types::request::{IndexStrategy, SandboxMode};

use super::GlobalOptions;
use super::parsers::{jobs, seconds};
use wheelhouse_config::{FormatOption, RawOptions, RawSharedCache};

/// The options that decide which versions and files are selected, and how they are fetched and built.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write the output to this directory [default: wheelhouse]
    #[arg(
        short,
        long,
        visible_alias = "wheel-dir",
        visible_short_alias = 'w',
        value_name = "DIR"
    )]
    #[arg(help_heading = "Run options")]
    output: Option<PathBuf>,

    /// Build for this Python: the path of an interpreter, or the version of an installed one
    #[arg(long, value_name = "PATH|VERSION", help_heading = "Resolver options")]
    pub(crate) python: Option<String>,

    #[command(flatten)]
    indexes: IndexArgs,
    #[command(flatten)]
    resolution: ResolutionOptions,
    #[command(flatten)]
    building: BuildingOptions,
    #[command(flatten)]
    shared_cache: SharedCacheOptions,
    #[command(flatten)]
    network: NetworkOptions,
}

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Index options")]
struct IndexArgs {
    /// The main index [default: https://pypi.org/simple]
    ///
    /// With `--index-strategy first-index` it is searched after all extra indexes; by default all
    /// indexes are equal.
    #[arg(short, long, visible_alias = "pypi-url", value_name = "URL")]
    index_url: Option<String>,

    /// An additional index
    ///
    /// By default the best version of a package wins, regardless of the index. A package of a
    /// private index can therefore be replaced by a package with the same name on a public index: pass
    /// the private index here, and `--index-strategy first-index`.
    #[arg(long = "extra-index-url", value_name = "URL")]
    extra_index_urls: Vec<String>,

    /// Disable all indexes; use only --find-links
    #[arg(long)]
    no_index: bool,

    /// Also search this directory, HTML page, archive or image (oci:DIR, docker://HOST/NAME:TAG, ...)
    #[arg(short, long, value_name = "LOCATION")]
    find_links: Vec<String>,

    /// Select the versions that count when several indexes have a package [default: best-match]
    ///
    /// With a private index, `first-index` is recommended: extra indexes are searched in order,
    /// then the main index, and only the first one that has the package counts.
    #[arg(long, value_name = "STRATEGY", value_enum)]
    index_strategy: Option<IndexStrategyArg>,

    /// Treat these HTTP status codes of an index as "not found": 401, 403
    ///
    /// By default an index that rejects a request ends the run. Some indexes respond with 403 for each
    /// package that they do not have.
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = error_code)]
    ignore_error_codes: Vec<u16>,

    /// Allow plain HTTP and untrusted certificates for this host
    #[arg(long = "trusted-host", value_name = "HOST[:PORT]")]
    trusted_hosts: Vec<String>,

    /// Select the source of credentials: `subprocess` runs the `keyring` program
    #[arg(long, value_name = "PROVIDER", value_parser = ["disabled", "subprocess", "auto", "import"])]
    keyring_provider: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IndexStrategyArg {
    /// The best version of all indexes, as pip does
    #[value(alias = "unsafe-best-match")]
    BestMatch,
    /// The versions of the first index that has the package (safe with a private index)
    FirstIndex,
    /// The versions of the first index that has a suitable version
    #[value(alias = "unsafe-first-match")]
    FirstMatch,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line, and named as such"
)]
#[derive(Debug, Args)]
#[command(next_help_heading = "Resolver options")]
struct ResolutionOptions {
    /// Build everything from source, build requirements included
    ///
    /// The same as `--no-binary :all:`. Build requirements are built from their own sources, in the order
    /// in which they need each other.
    #[arg(long)]
    from_source: bool,

    /// Build everything from source but these packages, whose published wheels are used: names separated by commas
    #[arg(long, value_name = "NAMES")]
    from_source_except: Vec<String>,

    /// Build these packages from source: names separated by commas, :all: or :none:
    #[arg(long, value_name = "LIST")]
    no_binary: Vec<String>,

    /// Never build these packages from source: names separated by commas, :all: or :none:
    #[arg(long, value_name = "LIST")]
    only_binary: Vec<String>,

    /// Prefer an older wheel to a newer sdist
    #[arg(long)]
    prefer_binary: bool,

    /// Allow pre-releases
    #[arg(long)]
    pre: bool,

    /// Allow pre-releases of these packages: names separated by commas, :all: or :none:
    #[arg(long, value_name = "LIST")]
    all_releases: Vec<String>,

    /// Never select pre-releases of these packages: names separated by commas, :all: or :none:
    #[arg(long, value_name = "LIST")]
    only_final: Vec<String>,

    /// Ignore dependencies
    #[arg(long, visible_alias = "no-dependencies")]
    no_deps: bool,

    /// Require a version and a hash for every requirement
    #[arg(long)]
    require_hashes: bool,

    /// Do not require hashes for all requirements if one has a hash
    #[arg(long, conflicts_with = "require_hashes")]
    no_require_hashes: bool,

    /// Ignore files that were uploaded after this date, time or duration
    #[arg(long, visible_alias = "uploaded-prior-to", value_name = "DATE")]
    exclude_newer: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Build options")]
struct BuildingOptions {
    /// Limit the number of concurrent builds [default: the number of processors]
    #[arg(short, long, value_name = "NUMBER", value_parser = jobs())]
    jobs: Option<usize>,

    /// Build in the environment of the Python instead of isolated environments
    #[arg(long)]
    no_build_isolation: bool,

    /// Pass settings to the build backends, or to the build backend of one package
    #[arg(
        short = 'C',
        long,
        visible_alias = "config-setting",
        value_name = "[PACKAGE:]KEY=VALUE"
    )]
    config_settings: Vec<String>,

    /// Limit the time of each call of a build backend [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    build_timeout: Option<Duration>,

    /// Select the sandbox of builds [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    sandbox: Option<SandboxArg>,

    /// Give the builds of these packages network access: names separated by commas
    #[arg(long, value_name = "PACKAGES", value_delimiter = ',')]
    allow_network: Vec<String>,

    /// Let the builds of a package write this path
    #[arg(long, value_name = "PACKAGE:PATH")]
    allow_write: Vec<String>,

    /// Let builds read this path, besides the system, the Python and what build variables name
    #[arg(long, value_name = "PATH")]
    allow_read: Vec<String>,

    /// Let builds inherit this environment variable: a name, or a value for it
    ///
    /// Builds inherit PATH and the variables of compilers, such as CC and CFLAGS.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_env: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SandboxArg {
    /// Everything that this machine permits; what it does not is warned of
    Auto,
    /// Everything, or the build fails
    Require,
    /// None: builds can do what the user can, and inherit all variables
    Off,
}

impl From<SandboxArg> for SandboxMode {
    fn from(mode: SandboxArg) -> Self {
        match mode {
            SandboxArg::Auto => Self::Auto,
            SandboxArg::Require => Self::Require,
            SandboxArg::Off => Self::Off,
        }
    }
}

#[expect(clippy::struct_field_names, reason = "each is named as its option")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Shared cache options")]
struct SharedCacheOptions {
    /// Take built wheels from this shared cache: docker://, s3://, gs://, az://, https:// or file://
    ///
    /// A wheel that no location has is built. A location that does not work is not asked again, with a warning.
    #[arg(long, value_name = "LOCATION")]
    cache_from: Vec<String>,

    /// Take built wheels from this shared cache, and write what is built
    #[arg(long, value_name = "LOCATION")]
    cache_to: Option<String>,

    /// Share the files that are downloaded, too
    #[arg(long)]
    cache_fetched: bool,

    /// Share only builds whose build requirements are pinned by a lock
    ///
    /// Their versions are then part of the key. For packages that link against a build requirement, such as
    /// extensions of torch.
    #[arg(long)]
    cache_key_closure: bool,

    /// Accept only what the private key of this public key has signed (--sign)
    #[arg(long, value_name = "KEY")]
    cache_verify_key: Option<PathBuf>,

    /// Limit the time that a shared cache may take to respond [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    cache_timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network options")]
pub(super) struct NetworkOptions {
    /// Limit the time that a server may take to respond [default: 30]
    ///
    /// A server that sends fewer than 100 bytes per second over this time, and over 15 seconds, is
    /// also given up.
    #[arg(long, visible_alias = "default-timeout", value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// Retry a failed request this many times [default: 5]
    #[arg(long, value_name = "NUMBER")]
    retries: Option<u32>,

    /// Trust the certificates in this PEM file instead of those of the system
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// Use this client certificate, a PEM file that includes the key
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,

    /// Use this proxy
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// Ignore proxies of environment variables
    #[arg(long)]
    no_proxy_env: bool,
}

impl Options {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        let (indexes, resolution) = (&self.indexes, &self.resolution);
        let building = &self.building;
        RawOptions {
            output: self.output.clone(),
            python: self.python.clone(),
            index_url: indexes.index_url.clone(),
            extra_index_urls: indexes.extra_index_urls.clone(),
            no_index: indexes.no_index,
            find_links: indexes.find_links.clone(),
            index_strategy: indexes.index_strategy.map(IndexStrategy::from),
            ignored_error_codes: indexes.ignore_error_codes.clone(),
            trusted_hosts: indexes.trusted_hosts.clone(),
            keyring_provider: indexes.keyring_provider.clone(),
            controls: resolution.controls(matches),
            prefer_binary: resolution.prefer_binary,
            no_deps: resolution.no_deps,
            require_hashes: resolution.require_hashes,
            no_require_hashes: resolution.no_require_hashes,
            exclude_newer: resolution.exclude_newer.clone(),
            no_build_isolation: building.no_build_isolation,
            config_settings: building.config_settings.clone(),
            build_timeout: building.build_timeout,
            sandbox: building.sandbox.map(SandboxMode::from),
            allow_network: building.allow_network.clone(),
            allow_write: building.allow_write.clone(),
            allow_read: building.allow_read.clone(),
            build_env: building.build_env.clone(),
            jobs: building.jobs,
            shared_cache: self.shared_cache.raw(),
            ..self.network.raw(globals.raw())
        }
    }
}

impl SharedCacheOptions {
    fn raw(&self) -> RawSharedCache {
        RawSharedCache {
            from: self.cache_from.clone(),
            to: self.cache_to.clone(),
            fetched: self.cache_fetched,
            key_closure: self.cache_key_closure,
            verify_key: self.cache_verify_key.clone(),
            timeout: self.cache_timeout,
        }
    }
}

impl NetworkOptions {
    /// Adds the network options to those in `raw`.
    pub(super) fn raw(&self, raw: RawOptions) -> RawOptions {
        RawOptions {
            timeout: self.timeout,
            retries: self.retries,
            certificate: self.cert.clone(),
            client_certificate: self.client_cert.clone(),
            proxy: self.proxy.clone(),
            no_proxy_env: self.no_proxy_env,
            ..raw
        }
    }
}

impl ResolutionOptions {
    /// Returns the options that name packages in the order of the command line, where a later option takes names from an
    /// earlier one.
    fn controls(&self, matches: &ArgMatches) -> Vec<FormatOption> {
        type Make = fn(String) -> FormatOption;
        let lists: [(&str, &Vec<String>, Make); 4] = [
            ("no_binary", &self.no_binary, FormatOption::NoBinary),
            ("only_binary", &self.only_binary, FormatOption::OnlyBinary),
            (
                "all_releases",
                &self.all_releases,
                FormatOption::AllReleases,
            ),
            ("only_final", &self.only_final, FormatOption::OnlyFinal),
        ];
        let mut controls: Vec<(usize, FormatOption)> = Vec::new();
        for (id, values, make) in lists {
            let positions = matches.indices_of(id).into_iter().flatten();
            let made = values.iter().map(|value| make(value.clone()));
            controls.extend(positions.zip(made));
        }
        controls.sort_by_key(|(position, _)| *position);
        let pre = self.pre.then_some(FormatOption::Pre);
        let is_from_source = self.from_source || !self.from_source_except.is_empty();
        let from_source = is_from_source.then(|| FormatOption::NoBinary(":all:".to_owned()));
        let wheels = self.from_source_except.iter().cloned();
        from_source
            .into_iter()
            .chain(wheels.map(FormatOption::OnlyBinary))
            .chain(controls.into_iter().map(|(_, control)| control))
            .chain(pre)
            .collect()
    }
}

/// Parses a status code that an index rejects requests with.
fn error_code(text: &str) -> Result<u16, &'static str> {
    match text {
        "401" => Ok(401),
        "403" => Ok(403),
        _ => Err("only 401 and 403 can be ignored"),
    }
}

impl From<IndexStrategyArg> for IndexStrategy {
    fn from(strategy: IndexStrategyArg) -> Self {
        match strategy {
            IndexStrategyArg::BestMatch => Self::BestMatch,
            IndexStrategyArg::FirstIndex => Self::FirstIndex,
            IndexStrategyArg::FirstMatch => Self::FirstMatch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;

    fn controls(arguments: &[&str]) -> Vec<FormatOption> {
        let arguments = ["wheelhouse", "build"].iter().chain(arguments);
        let (command_line, matches) = parse(arguments.map(Into::into)).unwrap();
        let Command::Build(build) = command_line.command else {
            panic!("not the command");
        };
        let matches = matches.subcommand_matches("build").unwrap();
        build.raw(&command_line.globals, matches).controls
    }

    #[test]
    fn what_projects_configure_are_options() {
        let root = <super::super::CommandLine as clap::CommandFactory>::command();
        let is_option = |name: &str| {
            ["build", "download"].iter().any(|command| {
                let command = root.find_subcommand(command).unwrap();
                command.get_arguments().any(|argument| {
                    let names = argument.get_long_and_visible_aliases();
                    names.is_some_and(|names| names.contains(&name))
                })
            })
        };
        for name in wheelhouse_config::key_names() {
            assert!(is_option(name), "`{name}` is not an option");
        }
    }

    #[test]
    fn controls_keep_their_order() {
        let given = [
            "--no-binary",
            "a",
            "--only-binary=:all:",
            "--no-binary",
            "b,c",
            "--pre",
        ];
        let expected = [
            FormatOption::NoBinary("a".into()),
            FormatOption::OnlyBinary(":all:".into()),
            FormatOption::NoBinary("b,c".into()),
            FormatOption::Pre,
        ];
        assert_eq!(controls(&given), expected);
        assert_eq!(controls(&[]), []);
    }

    #[test]
    fn exceptions_follow_from_source() {
        let all = FormatOption::NoBinary(":all:".to_owned());
        let cmake = FormatOption::OnlyBinary("cmake".to_owned());
        assert_eq!(
            controls(&["--from-source-except", "cmake"]),
            [all.clone(), cmake]
        );
        let later = FormatOption::OnlyBinary("ninja".to_owned());
        assert_eq!(
            controls(&["--only-binary", "ninja", "--from-source"]),
            [all, later]
        );
    }
}
