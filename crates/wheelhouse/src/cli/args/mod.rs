//! The command line as clap sees it.
//!
//! Responsible for names, help texts (options of `build` in `build`) and the form of values
//! (`values`). Never joins an option with anything else: that is done with
//! [`RawOptions`](wheelhouse_config::RawBuild), which knows no clap.

mod build;
mod download;
mod image;
mod lock;
mod parsers;
mod pip_compatibility;
mod s2i;
mod shared;
mod verify;

use std::path::PathBuf;

use clap::builder::Styles;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub(crate) use build::{BuildArgs, ConfigArgs, RunOptions};
pub(crate) use download::DownloadArgs;
pub(crate) use image::{ExtractArgs, ImageArgs, ImageReadArgs, InspectArgs, RegistryOptions};
pub(crate) use lock::LockArgs;
use parsers::size;
pub(crate) use pip_compatibility::PipCompatibility;
pub(crate) use s2i::{S2iArgs, S2iCommand};
pub(crate) use verify::VerifyArgs;
use wheelhouse_config::RawOptions;

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
    // As for pip, the last one counts.
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
#[expect(clippy::doc_markdown, reason = "a help text is no Markdown")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Say less: once leaves warnings and errors, twice errors alone
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) quiet: u8,

    /// Say more: once shows each step and what builds print, twice adds a log
    ///
    /// The log has requests, hooks and decisions; a third time it has everything. `WHEELHOUSE_LOG`
    /// takes directives for it, such as `uv_client=trace`.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    pub(crate) color: Option<Color>,

    /// Write JSON to the standard output: one document, or one event a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Show no live progress, even on a terminal
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,

    /// Where fetched and built wheels are kept for later runs [env: WHEELHOUSE_CACHE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Keep nothing for later runs
    #[arg(
        long,
        global = true,
        visible_alias = "no-cache-dir",
        conflicts_with = "cache_dir"
    )]
    pub(crate) no_cache: bool,

    /// Use no network: the cache and local files must do
    #[arg(long, global = true)]
    pub(crate) offline: bool,

    #[command(flatten)]
    pub(crate) pip_compatibility: PipCompatibility,
}

impl GlobalOptions {
    /// Whether live progress may be shown.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.no_progress && !self.pip_compatibility.hides_progress()
    }

    /// Takes the options as plain values.
    fn raw(&self) -> RawOptions {
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

#[expect(clippy::doc_markdown, reason = "a help text is no Markdown")]
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a wheelhouse of everything that the requirements need
    ///
    /// Without requirements, files or a source the current directory is the source: the
    /// files that REQUIREMENTS_FILE names, else its pylock.toml (as `wheelhouse lock` writes it), its
    /// requirements.txt, its lock of another tool (uv.lock, poetry.lock, Pipfile.lock), or the
    /// dependencies of its pyproject.toml. The run says which, and what lies beside it unused.
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Box<BuildArgs>),
    /// Tell whether a directory of wheels is whole and complete, and installs without a network
    ///
    /// Compares every file with the manifest, has a resolver prove that the requirements are
    /// satisfied by what is there, and has pip install it where there is no network. Lists all that
    /// is wrong, changes nothing, and ends with code 6 if anything is. A directory without a
    /// manifest, as `pip wheel` leaves it, is verified as far as that goes.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Fetch everything that the requirements need, as it was published, for one target or many
    ///
    /// Wheels where a target has one, sdists where it has not, with all that building them needs:
    /// what comes out builds and installs where there is no network.
    #[command(after_help = DOWNLOAD_EXAMPLES)]
    #[command(mut_arg("output", |output| output
        .visible_alias("dest")
        .visible_short_alias('d')
        .help("Put the files there [default: packages]")))]
    Download(Box<DownloadArgs>),
    /// Make an image of a wheelhouse, without docker, and put it where it is wanted
    ///
    /// The image has nothing but the wheelhouse, at /opt/app-root/wheelhouse: it is there to be
    /// copied from. The same wheelhouse gives the same image, to the bit; a registry gets only what
    /// it lacks. The digest is printed.
    #[command(after_help = IMAGE_EXAMPLES)]
    #[command(override_usage = "wheelhouse image [OPTIONS] [WHEELHOUSE]... DESTINATION...")]
    Image(Box<ImageArgs>),
    /// Take the wheelhouse out of an image
    ///
    /// Any image that has one will do. Every digest is checked, and links, devices and names that
    /// lead elsewhere are refused.
    #[command(after_help = EXTRACT_EXAMPLES)]
    Extract(ExtractArgs),
    /// Show what a wheelhouse or an image holds: packages, versions, sizes, and where they came from
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Settle every version, with what builds need, and write it down as a pylock.toml (PEP 751)
    ///
    /// A lock that answers the same request is kept; when the request has changed, its versions are
    /// kept where they fit. pip and uv install from it; `build` and `download` use exactly what it
    /// has, the pinned requirements of builds included.
    #[command(after_help = LOCK_EXAMPLES)]
    #[command(mut_arg("output", |output| output
        .value_name("FILE|DIR")
        .help("Write the lock there [default: pylock.toml]")))]
    Lock(Box<LockArgs>),
    /// Do what the scripts of a Source-to-Image (S2I) builder image do
    ///
    /// The image is the one that docs/how-to/s2i.md describes; its scripts call these verbs.
    #[command(name = "s2i", arg_required_else_help = true)]
    S2i(S2iArgs),
    /// Show or tidy the cache
    #[command(subcommand, arg_required_else_help = true)]
    Cache(CacheCommand),
    /// Show every effective value and where it came from
    ///
    /// Takes the options of `build`, so that their effect can be seen, and shows the indexes that are
    /// asked. Requirements files, whose options come on top, are not read.
    Config(Box<ConfigArgs>),
    /// Write the completions of a shell to the standard output
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions { shell: clap_complete::Shell },
    /// Write the man pages into a directory, or that of the program to the standard output
    #[command(after_help = MAN_EXAMPLES)]
    Man { directory: Option<PathBuf> },
}

const BUILD_EXAMPLES: &str = "\
Examples:
  wheelhouse build                              the application in the current directory
  wheelhouse build -r requirements.txt -o DIR   as pip wheel -r requirements.txt -w DIR
  wheelhouse build 'django>=5.2' ./libs/acme    requirements, paths and URLs
  wheelhouse build --lock uv.lock --group dev   exactly what a lock has, and its group dev
  wheelhouse build -r requirements.txt --dry-run
                                                what would be fetched and built
  wheelhouse build --frozen                     exactly the lock that is there, no index asked

  pip install --no-index --find-links wheelhouse -r requirements.txt
                                                install from the wheelhouse

pip's environment variables (PIP_INDEX_URL, ...) and configuration files are obeyed, and
[tool.wheelhouse] of the project's pyproject.toml; `wheelhouse config` shows them.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  wheelhouse verify                           the directory `wheelhouse`, against its manifest
  wheelhouse verify DIR -r requirements.txt   whether DIR has all that the file requires
  wheelhouse verify DIR --import              import what was installed, too
  wheelhouse verify docker://registry.example/acme/wheels:1.0
                                              the wheelhouse of an image
  wheelhouse verify DIR --no-install --json   run nothing of it, and tell a program";

const DOWNLOAD_EXAMPLES: &str = "\
Examples:
  wheelhouse download -r requirements.txt       as pip download -r requirements.txt -d packages,
                                                with what sdists need to be built
  wheelhouse download -r requirements.txt --python-version 3.11,3.12 --platform linux,windows
                                                four targets in one go
  wheelhouse download django --target 3.13t-macosx_11_0_arm64 --target host
                                                targets by name

  wheelhouse build --no-index --find-links packages -r requirements.txt
  pip wheel --no-index --find-links packages -r requirements.txt
                                                on the other side, where there is no network";

const IMAGE_EXAMPLES: &str = "\
Examples:
  wheelhouse image docker://registry.example/acme/wheels:1.0
                                        push the directory `wheelhouse`
  wheelhouse image DIR oci:layout:1.0 oci-archive:wheels.tar
                                        write DIR to an image layout and to an archive
  wheelhouse image -r requirements.txt docker-daemon:wheels:1.0
                                        build, and load into docker or podman
  wheelhouse image DIR --dry-run        what the digest would be

  COPY --from=registry.example/acme/wheels:1.0 /opt/app-root/wheelhouse /tmp/wheelhouse
                                        in a Dockerfile

Credentials are those of `docker login` and `podman login`.";

const EXTRACT_EXAMPLES: &str = "\
Examples:
  wheelhouse extract docker://registry.example/acme/wheels:1.0
                                            into the directory `wheelhouse`
  wheelhouse extract oci-archive:wheels.tar DIR
  wheelhouse extract docker-daemon:acme/builder:1.0 DIR --path /wheels";

const INSPECT_EXAMPLES: &str = "\
Examples:
  wheelhouse inspect                                             the directory `wheelhouse`
  wheelhouse inspect docker://registry.example/acme/wheels:1.0   an image, without all of it
  wheelhouse inspect oci:layout --json                           everything, for a program";

const LOCK_EXAMPLES: &str = "\
Examples:
  wheelhouse lock -r requirements.in            pylock.toml for this Python and platform
  wheelhouse lock --python-version 3.11,3.12 --platform linux,windows -o locks
                                                four locks, locks/pylock.cp311-win_amd64.toml, ...
  wheelhouse lock --universal --platform linux,macos,windows
                                                one lock for three platforms
  wheelhouse lock --upgrade-package django      a newer Django, and what it takes
  wheelhouse lock --check                       fail if the lock is out of date

  wheelhouse build --lock pylock.toml --require-hashes
                                                exactly that, with the pinned requirements of builds
  pip install -r pylock.toml                    install from it";

const MAN_EXAMPLES: &str = "\
Examples:
  wheelhouse man ~/.local/share/man/man1   for `man wheelhouse`, `man wheelhouse-build` and the others
  wheelhouse man | man -l -                that of the program, at once";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  wheelhouse completions bash > ~/.local/share/bash-completion/completions/wheelhouse
  wheelhouse completions zsh > \"${fpath[1]}/_wheelhouse\"
  wheelhouse completions fish > ~/.config/fish/completions/wheelhouse.fish";

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Print the directory of the cache
    Dir,
    /// Print what the cache holds
    Info,
    /// Remove what was left unfinished, and what has not been used for long
    #[command(after_help = PRUNE_EXAMPLES)]
    Prune {
        /// Remove what nobody has used for so many days
        #[arg(long, value_name = "DAYS", visible_alias = "days")]
        unused_for: Option<u32>,

        /// Remove wheels and sdists that were used least recently, until the others have this size: 500M, 2G
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
    },
    /// Digest every file of the cache, and remove those that are corrupt
    ///
    /// Lists them, and ends with code 6 if there are any. What is removed is downloaded or built again when it is
    /// needed. The pages and archives that the resolver keeps are not looked at.
    #[command(after_help = CACHE_VERIFY_EXAMPLES)]
    Verify {
        /// List what is corrupt, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove everything that the cache holds
    Clean,
}

const PRUNE_EXAMPLES: &str = "\
Examples:
  wheelhouse cache prune                    what was left unfinished
  wheelhouse cache prune --unused-for 30    what nobody has used for 30 days, too
  wheelhouse cache prune --max-size 2G      what was used least recently, too";

const CACHE_VERIFY_EXAMPLES: &str = "\
Examples:
  wheelhouse cache verify             remove what is corrupt
  wheelhouse cache verify --dry-run   list it only";

/// Parses the arguments of a process, the program's name first.
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
