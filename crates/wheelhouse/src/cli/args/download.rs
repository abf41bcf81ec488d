//! The options of `download`: those of `build`, and for which targets.
//!
//! Responsible for their names and help texts, and for handing them on as plain values.

use clap::{ArgMatches, Args, ValueEnum};
use wheelhouse_types::target::{Platform, PythonName, RequestedTargets};
use wheelhouse_types::{Error, Kind, Result, Target};

use super::GlobalOptions;
use super::build::{InputArgs, RunOptions};
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

    /// Take one version of each package for all targets, or say why that cannot be
    #[arg(long, help_heading = "For which targets")]
    pub(crate) same_versions: bool,

    /// Leave out the newest pip, setuptools and wheel, which come along otherwise
    #[arg(long, help_heading = "What to do", overrides_with = "bootstrap")]
    pub(crate) no_bootstrap: bool,

    /// Add the newest pip, setuptools and wheel for each target, as is the default
    #[arg(long, help_heading = "What to do", hide = true)]
    bootstrap: bool,

    /// Which source distributions to fetch
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = SdistsArg::Needed, help_heading = "What to do")]
    sources: SdistsArg,

    #[command(flatten)]
    pub(crate) run_options: RunOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SdistsArg {
    /// Where there is no wheel, with all that building them needs
    Needed,
    /// Those of everything, with all that building them needs
    All,
}

#[expect(clippy::doc_markdown, reason = "a help text is no Markdown")]
#[derive(Debug, Args)]
#[command(next_help_heading = "For which targets")]
pub(crate) struct TargetArgs {
    /// A target, such as 3.12-linux, cp311-win_amd64, 3.13t-macosx_11_0_arm64, or host
    #[arg(long = "target", value_name = "PYTHON-PLATFORM", value_delimiter = ',')]
    named: Vec<String>,

    /// A Python, such as 3.12, 3.12.4, cp313t or pp310: one target for each platform
    #[arg(long = "python-version", value_name = "VERSION", value_delimiter = ',')]
    python_versions: Vec<String>,

    /// A platform, such as manylinux_2_28_x86_64, win_amd64, linux-arm64, alpine, macos or windows:
    /// one target for each Python
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<String>,

    /// The implementation of the Pythons: cp or pp
    #[arg(long, value_name = "IMPLEMENTATION")]
    implementation: Option<String>,

    /// The ABI of the Pythons, as in cp313t for a free-threaded one, or cp27m for narrow Unicode
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

    /// What is named here; without any target, what is `configured`.
    pub(super) fn raw_or(&self, configured: &RawTargets) -> RawTargets {
        let mut raw = self.raw();
        if self.named.is_empty() && raw.pythons.is_empty() && raw.platforms.is_empty() {
            raw.pythons.clone_from(&configured.pythons);
            raw.platforms.clone_from(&configured.platforms);
        }
        raw
    }

    /// The targets that are named here, and those that `settled` adds up to with pip's configuration.
    ///
    /// # Errors
    /// A name that means nothing, or an ABI that none of the Pythons has.
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
            return Err(Error::new(Kind::Input, message).with_hint("Name cp or pp."));
        }
    };
    let named = targets.pythons.iter().map(|version| {
        let named = version.starts_with(|first: char| first.is_ascii_alphabetic());
        let prefix = if named { "" } else { prefix };
        format!("{prefix}{version}").parse::<PythonName>()
    });
    let mut pythons = named.collect::<Result<Vec<_>>>()?;
    if targets.implementation.is_some() && pythons.is_empty() {
        let message = "--implementation needs --python-version";
        return Err(Error::new(Kind::Input, message));
    }
    if !targets.abis.is_empty() {
        pythons = with_abis(&targets.abis, &pythons)?;
    }
    Ok(pythons)
}

/// The Pythons that `--abi` means: pip takes any list, here it says which build of a Python.
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
                format!("--abi `{abi}` is that of none of the Pythons"),
            )
            .with_hint("Name that of a --python-version: cp312, or cp313t.")
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
            panic!("not the verb");
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
