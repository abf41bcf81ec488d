//! The verbs `build` and `config`: what to build, and what to do, beside the options that other verbs
//! have, too.
//!
//! Responsible for their names and help texts, and for handing them on as plain values. Never
//! decides what they mean.

use clap::{ArgMatches, Args, ValueEnum};
use wheelhouse_types::PackageName;
use wheelhouse_types::target::Platform;

use super::GlobalOptions;
use super::shared::Options;
use crate::pipeline::LockPolicy;
use wheelhouse_config::{RawOptions, RawTargets};
use wheelhouse_store::LinkMode;

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) inputs: InputArgs,

    /// Resolve each requirements file by itself, and put the wheels of all into one wheelhouse
    #[arg(long, help_heading = "What to build", conflicts_with_all = ["lock", "source"])]
    pub(crate) separate: bool,

    /// Take wheels that fit this system, too, which may be older than this one
    ///
    /// Such as `linux`, which is one with glibc 2.28 as RHEL 8 has it, or `manylinux_2_17_x86_64`.
    /// Wheels are built on this system nevertheless; one that needs more than the other has is an
    /// error that says what it needs.
    #[arg(long, help_heading = "What to choose", value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) run_options: RunOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The verb whose configuration to show: pip has a section for each
    #[arg(long = "for", value_name = "VERB", value_enum, default_value_t = ConfigSubject::Build)]
    subject: ConfigSubject,

    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConfigSubject {
    /// That of `pip wheel`
    Build,
    /// That of `pip download`
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
#[command(next_help_heading = "What to build")]
pub(crate) struct InputArgs {
    /// Requirements (PEP 508), paths of trees, sdists and wheels, URLs
    #[arg(value_name = "REQUIREMENT")]
    requirements: Vec<String>,

    /// Build what this file requires: a requirements file, a pyproject.toml, a lock, or - for the standard input
    #[arg(
        short,
        long = "requirement",
        visible_alias = "requirements",
        value_name = "FILE"
    )]
    requirement_files: Vec<String>,

    /// Narrow versions as this file says
    #[arg(
        short,
        long = "constraint",
        visible_alias = "constraints",
        value_name = "FILE"
    )]
    constraint_files: Vec<String>,

    /// Replace every requirement on the packages of this file, whoever has it
    #[arg(long = "override", visible_alias = "overrides", value_name = "FILE")]
    override_files: Vec<String>,

    /// Narrow the versions of what builds need as this file says
    #[arg(
        long = "build-constraint",
        visible_alias = "build-constraints",
        value_name = "FILE"
    )]
    build_constraint_files: Vec<String>,

    /// Build a local tree or Git repository, as an ordinary wheel
    #[arg(short, long = "editable", value_name = "TREE")]
    editables: Vec<String>,

    /// Build exactly what this lock has: a pylock.toml, uv.lock, poetry.lock or Pipfile.lock
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["requirements", "requirement_files", "editables", "source"]
    )]
    lock: Option<String>,

    /// Build what the application in this tree or Git repository requires
    #[arg(long, value_name = "DIR|GIT-URL[@REF]")]
    pub(crate) source: Option<String>,

    /// Add an extra of the project or the lock
    #[arg(long = "extra", value_name = "NAME", value_delimiter = ',')]
    extras: Vec<String>,

    /// Add a dependency group (PEP 735) of the project, of the pyproject.toml at PATH, or of the lock
    #[arg(long = "group", value_name = "[PATH:]NAME")]
    groups: Vec<String>,
}

/// What is not taken from the lock that is there.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to choose")]
pub(crate) struct UpgradeArgs {
    /// Choose the newest versions, whatever lock is there
    #[arg(short = 'U', long)]
    upgrade: bool,

    /// Choose the newest version of this package, whatever lock is there
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
#[command(next_help_heading = "What to do")]
pub(crate) struct RunOptions {
    #[command(flatten)]
    upgrades: UpgradeArgs,

    /// The system that `build` is for, which other verbs do not have.
    #[arg(skip)]
    pub(crate) platform: Option<Platform>,

    /// Use the lock that the output has of an earlier build, and ask no index
    #[arg(long, conflicts_with_all = ["upgrade", "upgrade_packages"])]
    frozen: bool,

    /// Show what would be fetched and built, and do nothing of it
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Verify the wheelhouse when it is made, as `wheelhouse verify` does
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) verify: bool,

    /// Go on when a wheel cannot be had, and list all failures at the end
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// How wheels get from the cache into the wheelhouse
    #[arg(long, value_name = "MODE", value_enum, default_value_t = LinkModeArg::Auto)]
    link_mode: LinkModeArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LinkModeArg {
    /// The first that works of the others
    #[default]
    Auto,
    /// A copy that shares its blocks with the original
    Clone,
    /// A second name for the same file
    Hardlink,
    Copy,
}

impl BuildArgs {
    /// Takes the options as plain values. `matches` are those of the verb, and know the order in
    /// which options were given.
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        self.inputs.raw(self.options.raw(globals, matches))
    }
}

impl InputArgs {
    /// Adds what is to be built to the options in `raw`.
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

    /// Leaves out empty arguments, as pip does: `"$EXTRA"` in a script. If nothing else is to be built, one stays, so
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
