//! The arguments of `download`: those of `build`, and the targets.

use clap::{ArgMatches, Args, ValueEnum};
use wheelhouse_types::target::{Platform, PythonName, RequestedTargets};
use wheelhouse_types::{Error, Kind, Result, Target};

use super::GlobalOptions;
use super::build::{InputArgs, RunOptions};
use super::farm::FarmOptions;
use super::shared::Options;
use crate::pipeline::download::SdistSelection;
use wheelhouse_config::{RawOptions, RawTargets};

#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    pub(crate) targets: TargetArgs,

    /// Select one version of each package for all targets, or fail
    #[arg(long, help_heading = "Target options")]
    pub(crate) same_versions: bool,

    /// Leave out the newest pip, setuptools and wheel, which are included by default
    #[arg(long, help_heading = "Run options", overrides_with = "bootstrap")]
    pub(crate) no_bootstrap: bool,

    /// Include the newest pip, setuptools and wheel for each target (the default)
    #[arg(long, help_heading = "Run options", hide = true)]
    bootstrap: bool,

    /// Select which source distributions are fetched
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = SdistsArg::Needed, help_heading = "Run options")]
    sources: SdistsArg,

    /// Build the sdists that were fetched: one wheelhouse for each target, in a directory with its name
    ///
    /// Sdists for this machine are built here, or on the farm of --workers. Those for other targets are built on
    /// the farm, with the image that its configuration names for the target.
    #[arg(long, help_heading = "Build options")]
    pub(crate) build: bool,

    #[command(flatten)]
    pub(crate) farm: FarmOptions,
    #[command(flatten)]
    pub(crate) run_options: RunOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SdistsArg {
    /// The sdists of packages without a suitable wheel, and their build dependencies
    Needed,
    /// The sdists of all packages, and their build dependencies
    All,
}

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Target options")]
pub(crate) struct TargetArgs {
    /// A target, such as 3.12-linux, cp311-win_amd64, 3.13t-macosx_11_0_arm64, or host
    #[arg(long = "target", value_name = "PYTHON-PLATFORM", value_delimiter = ',')]
    named: Vec<String>,

    /// A Python version, such as 3.12, 3.12.4, cp313t or pp310; combined with each platform
    #[arg(long = "python-version", value_name = "VERSION", value_delimiter = ',')]
    python_versions: Vec<String>,

    /// A platform, such as win_amd64, linux-arm64, alpine or macos; combined with each Python
    ///
    /// Names of wheel tags such as manylinux_2_28_x86_64 are accepted too.
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<String>,

    /// The Python implementation: cp or pp
    #[arg(long, value_name = "IMPLEMENTATION")]
    implementation: Option<String>,

    /// The Python ABI, such as cp313t (free-threaded) or cp27m (narrow Unicode)
    #[arg(long = "abi", value_name = "ABI", value_delimiter = ',')]
    abis: Vec<String>,
}

impl DownloadArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        RawOptions {
            targets: Some(self.targets.raw()),
            ..self.inputs.raw(self.options.raw(globals, matches))
        }
    }

    pub(crate) fn sources(&self) -> SdistSelection {
        match self.sources {
            SdistsArg::Needed => SdistSelection::Needed,
            SdistsArg::All => SdistSelection::All,
        }
    }
}

impl TargetArgs {
    pub(super) fn raw(&self) -> RawTargets {
        RawTargets {
            pythons: self.python_versions.clone(),
            platforms: self.platforms.clone(),
            implementation: self.implementation.clone(),
            abis: self.abis.clone(),
        }
    }

    /// Returns the targets of the command line, or those that are `configured` if it has none.
    pub(super) fn raw_or(&self, configured: &RawTargets) -> RawTargets {
        let mut raw = self.raw();
        if self.named.is_empty() && raw.pythons.is_empty() && raw.platforms.is_empty() {
            raw.pythons.clone_from(&configured.pythons);
            raw.platforms.clone_from(&configured.platforms);
        }
        raw
    }

    /// Combines the named targets with `settled`, which includes pip's configuration.
    ///
    /// # Errors
    /// `Input` if a name is not a valid target, or if an ABI fits none of the Pythons.
    pub(crate) fn choice(&self, settled: &RawTargets) -> Result<RequestedTargets> {
        let target = |text: &String| match text.as_str() {
            "host" => Ok(None),
            text => text.parse::<Target>().map(Some),
        };
        Ok(RequestedTargets {
            targets: self.named.iter().map(target).collect::<Result<_>>()?,
            pythons: pythons(settled)?,
            platforms: settled
                .platforms
                .iter()
                .map(|text| text.parse::<Platform>())
                .collect::<Result<_>>()?,
        })
    }
}

fn pythons(targets: &RawTargets) -> Result<Vec<PythonName>> {
    let prefix = match targets.implementation.as_deref() {
        None | Some("cp" | "cpython") => "",
        Some("pp" | "pypy") => "pp",
        Some(other) => {
            let message = format!("--implementation `{other}` is not supported");
            return Err(Error::new(Kind::Input, message).with_hint("Use cp or pp."));
        }
    };
    let named = targets.pythons.iter().map(|version| {
        let named = version.starts_with(|first: char| first.is_ascii_alphabetic());
        let prefix = if named { "" } else { prefix };
        format!("{prefix}{version}").parse::<PythonName>()
    });
    let mut pythons = named.collect::<Result<Vec<_>>>()?;
    if targets.implementation.is_some() && pythons.is_empty() {
        let message = "--implementation requires --python-version";
        return Err(Error::new(Kind::Input, message));
    }
    if !targets.abis.is_empty() {
        pythons = with_abis(&targets.abis, &pythons)?;
    }
    Ok(pythons)
}

/// Returns the Pythons with the given ABIs. pip accepts any list; here an ABI selects a build of a Python.
fn with_abis(abis: &[String], pythons: &[PythonName]) -> Result<Vec<PythonName>> {
    let mut chosen = Vec::new();
    for abi in abis {
        if matches!(abi.as_str(), "abi3" | "none") {
            chosen.extend(pythons.iter().cloned());
            continue;
        }
        let read: Option<PythonName> = abi.parse().ok();
        let fits = read.and_then(|read| {
            let is_of = |one: &&PythonName| {
                (one.implementation, one.major, one.minor)
                    == (read.implementation, read.major, read.minor)
            };
            let patch = match pythons.iter().find(is_of) {
                Some(python) => python.patch,
                None if pythons.is_empty() => None,
                None => return None,
            };
            Some(PythonName { patch, ..read })
        });
        chosen.push(fits.ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!("--abi `{abi}` fits none of the Pythons"),
            )
            .with_hint("Use the ABI of a --python-version, such as cp312 or cp313t.")
        })?);
    }
    chosen.dedup();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;

    fn choice(arguments: &[&str]) -> Result<RequestedTargets> {
        let arguments = ["wheelhouse", "download", "x"].iter().chain(arguments);
        let (command_line, _) = parse(arguments.map(Into::into)).unwrap();
        let Command::Download(download) = command_line.command else {
            panic!("not the command");
        };
        download.targets.choice(&download.targets.raw())
    }

    #[test]
    fn pips_names_make_targets() {
        let given = ["--python-version", "3.9,312", "--platform", "win_amd64"];
        let choice = choice(&given).unwrap();
        assert_eq!(choice.pythons.len(), 2);
        assert_eq!(choice.platforms, ["windows".parse().unwrap()]);
    }

    #[test]
    fn implementation_and_abi_say_which_python() {
        let pypy = choice(&["--python-version", "3.10", "--implementation", "pp"]).unwrap();
        assert_eq!(pypy.pythons, ["pp310".parse().unwrap()]);
        let free = choice(&["--python-version", "3.13", "--abi", "cp313t"]).unwrap();
        assert_eq!(free.pythons, ["3.13t".parse().unwrap()]);
        let exact = ["--python-version", "3.8.10", "--abi", "cp38,abi3,none"];
        assert_eq!(choice(&exact).unwrap().pythons, ["3.8.10".parse().unwrap()]);
        let pypy = ["--python-version", "3.10", "--implementation", "pp"];
        let pypy = choice(&[&pypy[..], &["--abi", "pypy310_pp73"]].concat()).unwrap();
        assert_eq!(pypy.pythons, ["pp310".parse().unwrap()]);
        assert!(choice(&["--python-version", "3.13", "--abi", "cp312"]).is_err());
        assert!(choice(&["--python-version", "3.13", "--implementation", "jy"]).is_err());
    }

    #[test]
    fn whole_targets_are_named_at_once() {
        let choice = choice(&["--target", "host,3.12-linux-arm64"]).unwrap();
        assert_eq!(choice.targets[0], None);
        assert_eq!(
            choice.targets[1].as_ref().unwrap().name(),
            "cp312-manylinux_2_28_aarch64"
        );
    }
}
