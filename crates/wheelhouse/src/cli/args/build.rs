//! The arguments of `build` and `config`, and the groups of options that other commands share with `build`.
//!
//! Defines names, help texts and plain values. The configuration crate interprets them.

use std::path::PathBuf;

use clap::{ArgMatches, Args, ValueEnum};
use wheelhouse_types::PackageName;
use wheelhouse_types::target::Platform;

use super::GlobalOptions;
use super::farm::FarmOptions;
use super::shared::Options;
use crate::pipeline::LockPolicy;
use wheelhouse_config::{RawOptions, RawTargets};
use wheelhouse_store::LinkMode;

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) inputs: InputArgs,

    /// Resolve each requirements file independently, into one wheelhouse
    #[arg(long, help_heading = "Input options", conflicts_with_all = ["lock", "source"])]
    pub(crate) separate: bool,

    /// Also accept wheels for this system, which may be older than the build machine
    ///
    /// Examples are `linux` (glibc 2.28, as in RHEL 8) and `manylinux_2_17_x86_64`. Wheels are still built
    /// on this machine; a built wheel that needs a newer system is an error that names what it needs.
    #[arg(long, help_heading = "Resolver options", value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Build the built wheels again, and compare them, as `wheelhouse rebuild` does
    #[arg(long, help_heading = "Run options", conflicts_with = "dry_run")]
    pub(crate) verify_reproducible: bool,

    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) farm: FarmOptions,
    #[command(flatten)]
    pub(crate) run_options: RunOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Select the command whose configuration is shown, because pip has a section for each
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value_t = ConfigSubject::Build)]
    subject: ConfigSubject,

    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConfigSubject {
    /// The configuration of `pip wheel`
    Build,
    /// The configuration of `pip download`
    Download,
}

impl ConfigArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        RawOptions {
            targets: (self.subject == ConfigSubject::Download).then(RawTargets::default),
            ..self.options.raw(globals, matches)
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input options")]
pub(crate) struct InputArgs {
    /// Requirements (PEP 508), paths of source trees, sdists and wheels, or URLs
    #[arg(value_name = "REQUIREMENT")]
    requirements: Vec<String>,

    /// Build the requirements of a requirements file, pyproject.toml or lock, or of standard input (-)
    #[arg(
        short,
        long = "requirement",
        visible_alias = "requirements",
        value_name = "FILE"
    )]
    requirement_files: Vec<String>,

    /// Constrain versions using this file
    #[arg(
        short,
        long = "constraint",
        visible_alias = "constraints",
        value_name = "FILE"
    )]
    constraint_files: Vec<String>,

    /// Override all requirements on the packages in this file
    #[arg(long = "override", visible_alias = "overrides", value_name = "FILE")]
    override_files: Vec<String>,

    /// Constrain the versions of build dependencies using this file
    #[arg(
        long = "build-constraint",
        visible_alias = "build-constraints",
        value_name = "FILE"
    )]
    build_constraint_files: Vec<String>,

    /// Build a local source tree or Git repository as a regular wheel
    #[arg(short, long = "editable", value_name = "TREE")]
    editables: Vec<String>,

    /// Build exactly the contents of a pylock.toml, uv.lock, poetry.lock or Pipfile.lock
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["requirements", "requirement_files", "editables", "source"]
    )]
    lock: Option<String>,

    /// Build the requirements of the application in a directory or Git repository
    #[arg(long, value_name = "DIR|GIT-URL[@REF]")]
    pub(crate) source: Option<String>,

    /// Include an extra of the project or the lock
    #[arg(long = "extra", value_name = "NAME", value_delimiter = ',')]
    extras: Vec<String>,

    /// Include a dependency group (PEP 735) of the project, of the pyproject.toml at PATH, or of the lock
    #[arg(long = "group", value_name = "[PATH:]NAME")]
    groups: Vec<String>,
}

/// The options that select which versions of an existing lock are replaced.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Resolver options")]
pub(crate) struct UpgradeArgs {
    /// Choose the newest versions, ignoring any existing lock
    #[arg(short = 'U', long)]
    upgrade: bool,

    /// Choose the newest version of this package, ignoring any existing lock
    #[arg(
        short = 'P',
        long = "upgrade-package",
        value_name = "NAME",
        value_delimiter = ','
    )]
    upgrade_packages: Vec<PackageName>,
}

impl UpgradeArgs {
    pub(crate) fn lock_policy(&self) -> LockPolicy {
        if self.upgrade {
            LockPolicy::Upgrade
        } else if self.upgrade_packages.is_empty() {
            LockPolicy::Prefer
        } else {
            LockPolicy::UpgradeOnly(self.upgrade_packages.clone())
        }
    }
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Run options")]
pub(crate) struct RunOptions {
    #[command(flatten)]
    upgrades: UpgradeArgs,

    /// The target system of `build`; other commands leave it unset.
    #[arg(skip)]
    pub(crate) platform: Option<Platform>,

    /// Set by `build` to rebuild what it has built.
    #[arg(skip)]
    pub(crate) verify_reproducible: bool,

    /// The farm of `build`; other commands have options of their own.
    #[arg(skip)]
    pub(crate) farm: FarmOptions,

    /// Use the existing lock of the output directory without contacting an index
    #[arg(long, conflicts_with_all = ["upgrade", "upgrade_packages"])]
    frozen: bool,

    /// Show what would be fetched and built, without doing it
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Verify the wheelhouse afterwards, as `wheelhouse verify` does
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) verify: bool,

    /// Sign the manifest and the provenance of built wheels with this private key
    ///
    /// The key is Ed25519 or ECDSA (P-256), in PEM or in the encrypted format of cosign, whose password is
    /// `COSIGN_PASSWORD`. `wheelhouse verify --key` checks the signatures.
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    pub(crate) sign: Option<PathBuf>,

    /// Also fetch the attestations that the index offers for files (PEP 740)
    ///
    /// They are written beside the files, as `FILE.provenance`. `wheelhouse verify --attestations` checks them.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) attestations: bool,

    /// Continue when a wheel cannot be fetched or built, and report all failures at the end
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Select how wheels are transferred from the cache to the wheelhouse
    #[arg(long, value_name = "MODE", value_enum, default_value_t = LinkModeArg::Auto)]
    link_mode: LinkModeArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LinkModeArg {
    /// The first of the following modes that works
    #[default]
    Auto,
    /// A copy-on-write clone
    Clone,
    /// A hard link
    Hardlink,
    Copy,
}

impl BuildArgs {
    /// Returns the options as plain values. `matches` are those of the subcommand, which record the
    /// order of the options.
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        self.inputs.raw(self.options.raw(globals, matches))
    }
}

impl InputArgs {
    /// Adds the inputs to the options in `raw`.
    pub(super) fn raw(&self, raw: RawOptions) -> RawOptions {
        RawOptions {
            requirements: self.written_requirements(),
            editables: self.editables.clone(),
            requirement_files: self.requirement_files.clone(),
            lock: self.lock.clone(),
            constraint_files: self.constraint_files.clone(),
            override_files: self.override_files.clone(),
            build_constraint_files: self.build_constraint_files.clone(),
            extras: self.extras.clone(),
            groups: self.groups.clone(),
            ..raw
        }
    }

    /// Leaves out empty arguments, as pip does: `"$EXTRA"` in a script. If there is no other input, one is kept, so
    /// that the application in the current directory is not built by mistake.
    fn written_requirements(&self) -> Vec<String> {
        let written = self
            .requirements
            .iter()
            .filter(|text| !text.trim().is_empty());
        let written: Vec<String> = written.cloned().collect();
        let has_others = !self.requirement_files.is_empty()
            || !self.editables.is_empty()
            || !self.groups.is_empty()
            || self.lock.is_some();
        if written.is_empty() && !has_others {
            return self.requirements.first().cloned().into_iter().collect();
        }
        written
    }
}

impl RunOptions {
    pub(crate) fn lock_policy(&self) -> LockPolicy {
        if self.frozen {
            LockPolicy::Frozen
        } else {
            self.upgrades.lock_policy()
        }
    }

    pub(crate) fn link_mode(&self) -> LinkMode {
        self.link_mode.into()
    }
}

impl From<LinkModeArg> for LinkMode {
    fn from(link: LinkModeArg) -> Self {
        match link {
            LinkModeArg::Auto => Self::Auto,
            LinkModeArg::Clone => Self::Clone,
            LinkModeArg::Hardlink => Self::Hardlink,
            LinkModeArg::Copy => Self::Copy,
        }
    }
}
