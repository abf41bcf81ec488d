//! The command line, declared with clap.
//!
//! Defines names, help texts and value parsers. The result is converted to
//! [`RawOptions`], which is independent of clap.

#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "help texts are not Markdown"
)]

mod build;
mod cache;
mod download;
mod farm;
mod image;
mod lock;
mod parsers;
mod pip_compatibility;
mod rebuild;
mod report;
mod s2i;
mod sbom;
mod serve;
mod shared;
mod verify;
mod worker;

use std::path::PathBuf;

use clap::builder::Styles;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub(crate) use build::{BuildArgs, ConfigArgs, RunOptions};
pub(crate) use cache::{
    CacheCommand, CacheLsArgs, CachePruneArgs, CachePullArgs, CachePushArgs, SharedCacheArgs,
};
pub(crate) use download::DownloadArgs;
pub(crate) use farm::{FarmOptions, Workers};
pub(crate) use image::{ExtractArgs, ImageArgs, ImageReadArgs, RegistryOptions, WheelhouseArgs};
pub(crate) use lock::LockArgs;
pub(crate) use pip_compatibility::PipCompatibility;
pub(crate) use rebuild::RebuildArgs;
pub(crate) use report::ReportArgs;
pub(crate) use s2i::{S2iArgs, S2iCommand};
pub(crate) use sbom::{SbomArgs, SbomFormat};
pub(crate) use serve::{AccessLogFormat, ListenArgs, ServeArgs, ViewArgs};
pub(crate) use verify::{CheckArgs, VerifyArgs};
use wheelhouse_config::RawOptions;
pub(crate) use worker::WorkerArgs;

const STYLES: Styles = Styles::styled()
    .header(anstyle::AnsiColor::Green.on_default().bold())
    .usage(anstyle::AnsiColor::Green.on_default().bold())
    .literal(anstyle::AnsiColor::Cyan.on_default().bold())
    .placeholder(anstyle::AnsiColor::Cyan.on_default());

/// Turns what a Python application requires into a complete, verified set of wheels.
#[derive(Debug, Parser)]
#[command(name = "wheelhouse", version, styles = STYLES, propagate_version = true)]
#[command(
    arg_required_else_help = true,
    // The last occurrence of an option counts, as for pip.
    args_override_self = true,
    max_term_width = 100
)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) globals: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line, and named as such"
)]
#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Reduce output: once to warnings and errors, twice to errors
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) quiet: u8,

    /// Increase output: once to show each step and build output, twice to add a log
    ///
    /// The log contains requests, cache decisions, retries and build steps; passed three times, it also
    /// contains those of libraries. `WHEELHOUSE_LOG` sets directives such as `uv_client=trace` instead.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Write the log to this file as JSON lines [env: WHEELHOUSE_LOG_FILE]
    ///
    /// The file contains at least what `-vv` shows, at any verbosity. Credentials are masked. An
    /// existing file is overwritten; a new file is readable by its owner only.
    #[arg(long, global = true, visible_alias = "log", value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Control when colors are used
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    pub(crate) color: Option<Color>,

    /// Write JSON to standard output: one document, or one event per line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Disable live progress, even on a terminal
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,

    /// Store fetched and built wheels for later runs in this directory [env: WHEELHOUSE_CACHE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Use a temporary cache that is removed after the run
    #[arg(
        long,
        global = true,
        visible_alias = "no-cache-dir",
        conflicts_with = "cache_dir"
    )]
    pub(crate) no_cache: bool,

    /// Disable network access; use only the cache and local files
    #[arg(long, global = true)]
    pub(crate) offline: bool,

    #[command(flatten)]
    pub(crate) pip_compatibility: PipCompatibility,
}

impl GlobalOptions {
    /// Returns whether live progress may be shown.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.no_progress && !self.pip_compatibility.hides_progress()
    }

    /// Returns the options as plain values.
    pub(crate) fn raw(&self) -> RawOptions {
        RawOptions {
            offline: self.offline,
            cache_dir: self.cache_dir.clone(),
            no_cache: self.no_cache,
            quiet: self.quiet.into(),
            verbose: self.verbose.into(),
            no_color: self.color == Some(Color::Never) || self.pip_compatibility.no_color,
            no_progress: !self.shows_progress(),
            ..RawOptions::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    Always,
    Never,
}

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a wheelhouse with everything that the requirements need
    ///
    /// Without requirements, files or a source, the current directory is the source: the files named by
    /// REQUIREMENTS_FILE, or its pylock.toml (as `wheelhouse lock` writes it), its requirements.txt, its
    /// lock of another tool (uv.lock, poetry.lock, Pipfile.lock), or the dependencies of its
    /// pyproject.toml. The run reports which one is used and which others are not.
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Box<BuildArgs>),
    /// Verify that a wheelhouse is intact, complete and installable offline
    ///
    /// Compares every file with the manifest, checks with a resolver that the requirements are
    /// satisfied, and installs the wheels with pip without a network. Reports all errors, changes
    /// nothing, and exits with code 6 if there is any. A directory without a manifest, such as that of
    /// `pip wheel`, is verified as far as possible.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Fetch everything that the requirements need, as published, for one or more targets
    ///
    /// Fetches wheels where a target has one, otherwise sdists and their build dependencies: the result
    /// can be built and installed without a network.
    #[command(after_help = DOWNLOAD_EXAMPLES)]
    #[command(mut_arg("output", |output| output
        .visible_alias("dest")
        .visible_short_alias('d')
        .help("Write the files to this directory [default: packages]")))]
    Download(Box<DownloadArgs>),
    /// Write a wheelhouse to a container image, without docker
    ///
    /// The image contains only the wheelhouse, at /opt/app-root/wheelhouse, to be copied from. The same
    /// wheelhouse always produces the same image, bit for bit; only missing layers are uploaded to a
    /// registry. Prints the digest.
    #[command(after_help = IMAGE_EXAMPLES)]
    #[command(override_usage = "wheelhouse image [OPTIONS] [WHEELHOUSE]... DESTINATION...")]
    Image(Box<ImageArgs>),
    /// Extract the wheelhouse from a container image
    ///
    /// Accepts any image that contains a wheelhouse. Every digest is checked; links, devices and names
    /// that lead outside the directory are rejected.
    #[command(after_help = EXTRACT_EXAMPLES)]
    Extract(ExtractArgs),
    /// Build the built wheels of a wheelhouse again, and compare them bit by bit
    ///
    /// Uses the recorded source, build dependencies and settings, on another path and with another locale,
    /// umask, number of processors and order of directories. Shows what differs, and exits with code 6 if
    /// anything does. The wheelhouse may be that of another machine with the same Python.
    #[command(after_help = REBUILD_EXAMPLES)]
    #[command(mut_arg("output", |output| output
        .help("Write rebuilt wheels that differ to this directory [default: rebuilt]")))]
    Rebuild(Box<RebuildArgs>),
    /// Show the packages, versions, sizes and sources of a wheelhouse or an image
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(WheelhouseArgs),
    /// Write an HTML page that describes a wheelhouse or an image, as one file
    ///
    /// The page has the packages with their licenses, sizes, origins and digests, what requires what,
    /// and the largest packages as a picture. It loads nothing and works without a server, so it can be
    /// attached to a ticket.
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Write a bill of materials (SBOM) of a wheelhouse or an image
    ///
    /// Lists each wheel and sdist with its digest, licenses, origin and dependencies, what a wheel was
    /// built from, and the components that the wheels themselves declare (PEP 770). The same wheelhouse
    /// always gives the same bytes; `SOURCE_DATE_EPOCH` sets the time that the document states.
    #[command(after_help = SBOM_EXAMPLES)]
    Sbom(SbomArgs),
    /// Resolve all versions, including build dependencies, and write a pylock.toml (PEP 751)
    ///
    /// A lock that satisfies the same request is kept; if the request has changed, versions that still
    /// fit are kept. pip and uv can install from the lock; `build` and `download` use exactly its
    /// contents, including the pinned build dependencies.
    #[command(after_help = LOCK_EXAMPLES)]
    #[command(mut_arg("output", |output| output
        .value_name("FILE|DIR")
        .help("Write the lock to this file or directory [default: pylock.toml]")))]
    Lock(Box<LockArgs>),
    /// Serve wheelhouses as a package index, with pages for people
    ///
    /// Installers use http://HOST:8080/simple/ as their index (PEP 503, 691), or http://HOST:8080/ with
    /// `--find-links`. A wheelhouse that is built again meanwhile is visible at once, and never half of it.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Run a script of a Source-to-Image (S2I) builder image
    ///
    /// The image is described in docs/how-to/s2i.md; its scripts call these commands.
    #[command(name = "s2i", arg_required_else_help = true)]
    S2i(S2iArgs),
    /// Carry out one build step of a farm
    ///
    /// Reads the step and its files from the shared cache of --cache-to, builds the wheel, and writes it and the
    /// record of its build back. The Jobs of `--workers kubernetes` run this command.
    #[command(hide = true)]
    Worker(Box<WorkerArgs>),
    /// Show or clean the cache, and share it
    #[command(subcommand, arg_required_else_help = true)]
    Cache(CacheCommand),
    /// Show the effective value of every option and its origin
    ///
    /// Takes the options of `build`, so that their effect can be seen, and lists the indexes that are
    /// used. Requirements files, whose options take precedence, are not read.
    Config(Box<ConfigArgs>),
    /// Write the completion script of a shell to standard output
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions { shell: clap_complete::Shell },
    /// Write the man pages to a directory, or the main page to standard output
    #[command(after_help = MAN_EXAMPLES)]
    Man { directory: Option<PathBuf> },
}

impl Command {
    /// Returns whether the command runs until it is stopped.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            Self::S2i(s2i) => matches!(s2i.command, S2iCommand::Run { .. }),
            _ => false,
        }
    }
}

const BUILD_EXAMPLES: &str = "\
Examples:
  wheelhouse build                              the application in the current directory
  wheelhouse build -r requirements.txt -o DIR   as pip wheel -r requirements.txt -w DIR
  wheelhouse build 'django>=5.2' ./libs/acme    requirements, paths and URLs
  wheelhouse build --lock uv.lock --group dev   exactly the contents of a lock, and its group dev
  wheelhouse build -r requirements.txt --dry-run
                                                show what would be fetched and built
  wheelhouse build --frozen                     exactly the existing lock, without an index

  pip install --no-index --find-links wheelhouse -r requirements.txt
                                                install from the wheelhouse

The environment variables (PIP_INDEX_URL, ...) and configuration files of pip apply, as does
[tool.wheelhouse] of the project's pyproject.toml; `wheelhouse config` shows them.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  wheelhouse verify                           the directory `wheelhouse`, against its manifest
  wheelhouse verify DIR -r requirements.txt   check that DIR satisfies the file
  wheelhouse verify DIR --import              also import the installed modules
  wheelhouse verify docker://registry.example/acme/wheels:1.0
                                              the wheelhouse of an image
  wheelhouse verify DIR --no-install --json   do not run anything, for scripts";

const DOWNLOAD_EXAMPLES: &str = "\
Examples:
  wheelhouse download -r requirements.txt       as pip download -r requirements.txt -d packages,
                                                with the build dependencies of sdists
  wheelhouse download -r requirements.txt --python-version 3.11,3.12 --platform linux,windows
                                                four targets at once
  wheelhouse download django --target 3.13t-macosx_11_0_arm64 --target host
                                                targets by name

  wheelhouse build --no-index --find-links packages -r requirements.txt
  pip wheel --no-index --find-links packages -r requirements.txt
                                                in the environment without a network";

const IMAGE_EXAMPLES: &str = "\
Examples:
  wheelhouse image docker://registry.example/acme/wheels:1.0
                                        push the directory `wheelhouse`
  wheelhouse image DIR oci:layout:1.0 oci-archive:wheels.tar
                                        write DIR to an image layout and to an archive
  wheelhouse image -r requirements.txt docker-daemon:wheels:1.0
                                        build, and load into docker or podman
  wheelhouse image DIR --dry-run        print the digest only

  COPY --from=registry.example/acme/wheels:1.0 /opt/app-root/wheelhouse /tmp/wheelhouse
                                        in a Dockerfile

Credentials are those of `docker login` and `podman login`.";

const EXTRACT_EXAMPLES: &str = "\
Examples:
  wheelhouse extract docker://registry.example/acme/wheels:1.0
                                            into the directory `wheelhouse`
  wheelhouse extract oci-archive:wheels.tar DIR
  wheelhouse extract docker-daemon:acme/builder:1.0 DIR --path /wheels";

const REBUILD_EXAMPLES: &str = "\
Examples:
  wheelhouse rebuild                            all built wheels of the directory `wheelhouse`
  wheelhouse rebuild DIR/acme-1.0-*.whl         one wheel
  wheelhouse rebuild DIR -o differing --json    for scripts";

const INSPECT_EXAMPLES: &str = "\
Examples:
  wheelhouse inspect                                             the directory `wheelhouse`
  wheelhouse inspect docker://registry.example/acme/wheels:1.0   an image, without downloading all of it
  wheelhouse inspect oci:layout --json                           everything, for scripts";

const SERVE_EXAMPLES: &str = "\
Examples:
  wheelhouse serve                              the directory `wheelhouse`, on port 8080
  wheelhouse serve wheels/* --bind 127.0.0.1:0  several, on a free port of this machine
  wheelhouse serve docker://registry.example/acme/wheels:1.0
                                                the wheelhouse of an image
  wheelhouse serve --tls-cert cert.pem --tls-key key.pem --auth-file users.htpasswd
                                                encrypted, for the users of a file
  wheelhouse serve --exclude-newer 2026-01-31   also at /before/2026-01-31/simple/: the state of that day

  pip install --index-url http://HOST:8080/simple/ --trusted-host HOST PACKAGE
  uv pip install --default-index http://HOST:8080/simple/ PACKAGE
                                                install from it";

const REPORT_EXAMPLES: &str = "\
Examples:
  wheelhouse report                             the directory `wheelhouse`, to report.html
  wheelhouse report docker://registry.example/acme/wheels:1.0 -o wheels.html
                                                an image
  wheelhouse report new --previous old          with the differences from another wheelhouse
  wheelhouse verify --json > verify.json && wheelhouse report --verification verify.json
                                                with the result of a verification";

const SBOM_EXAMPLES: &str = "\
Examples:
  wheelhouse sbom                               the directory `wheelhouse`, in CycloneDX
  wheelhouse sbom -f spdx -o wheels.spdx.json   in SPDX, to a file
  wheelhouse sbom docker://registry.example/acme/wheels:1.0
                                                an image";

const LOCK_EXAMPLES: &str = "\
Examples:
  wheelhouse lock -r requirements.in            pylock.toml for this Python and platform
  wheelhouse lock --python-version 3.11,3.12 --platform linux,windows -o locks
                                                four locks, locks/pylock.cp311-win_amd64.toml, ...
  wheelhouse lock --universal --platform linux,macos,windows
                                                one lock for three platforms
  wheelhouse lock --upgrade-package django      a newer Django, and its dependencies
  wheelhouse lock --check                       fail if the lock is out of date

  wheelhouse build --lock pylock.toml --require-hashes
                                                exactly that lock, with pinned build dependencies
  pip install -r pylock.toml                    install from it";

const MAN_EXAMPLES: &str = "\
Examples:
  wheelhouse man ~/.local/share/man/man1   for `man wheelhouse`, `man wheelhouse-build` and the others
  wheelhouse man | man -l -                show the main page";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  wheelhouse completions bash > ~/.local/share/bash-completion/completions/wheelhouse
  wheelhouse completions zsh > \"${fpath[1]}/_wheelhouse\"
  wheelhouse completions fish > ~/.config/fish/completions/wheelhouse.fish";

/// Parses the arguments of a process, including the name of the program.
pub(crate) fn parse<Arguments>(
    arguments: Arguments,
) -> Result<(CommandLine, ArgMatches), clap::Error>
where
    Arguments: IntoIterator<Item = std::ffi::OsString>,
{
    let command = <CommandLine as clap::CommandFactory>::command();
    let matches = command
        .try_get_matches_from(arguments)
        .map_err(pip_compatibility::explained)?;
    let command_line = CommandLine::from_arg_matches(&matches)?;
    Ok((command_line, matches))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_tree_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
