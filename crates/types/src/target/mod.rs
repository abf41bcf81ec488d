//! A target: one Python implementation and version on one platform, with its ordered tags.
//!
//! The host target is known by its interpreter; a foreign one by its names alone.

mod platform;
mod python;
mod requested;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uv_pep508::MarkerEnvironment;

use crate::{Error, Kind};

pub use platform::{Platform, System, glibc_of_wheel};
pub use python::{Implementation, PythonName};
pub use requested::RequestedTargets;

/// The Python and platform that wheels are chosen and built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// `platform_python_implementation`-like name in lower case: `cpython`, `pypy`.
    pub implementation: String,
    /// The full version, `3.11.7`.
    pub python_version: String,
    /// The platform tag of the interpreter, `manylinux_2_36_x86_64`.
    pub platform: String,
    /// True if the Python is built without the global interpreter lock (PEP 703).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free_threaded: bool,
    /// True if a Python 2 is built with four bytes for each character (PEP 261), as most are on Linux:
    /// the `u` of `cp27mu`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wide_unicode: bool,
    /// The values of the environment markers (PEP 508).
    pub markers: BTreeMap<String, String>,
    /// The interpreter, for the host target; a foreign target has none.
    #[serde(skip)]
    pub interpreter: Option<PathBuf>,
}

/// The environment markers that tell of the kernel.
pub const KERNEL_MARKERS: [&str; 2] = ["platform_release", "platform_version"];

impl Target {
    /// Creates the target of `python` on `platform` from their names alone.
    #[must_use]
    pub fn foreign(python: &PythonName, platform: &Platform) -> Self {
        let own = python.markers().into_iter();
        let others = platform.markers(python.major).into_iter();
        let others = others.map(|(name, value)| (name, value.to_owned()));
        let markers = own
            .chain(others)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            implementation: match python.implementation {
                Implementation::CPython => "cpython",
                Implementation::PyPy => "pypy",
            }
            .to_owned(),
            python_version: python.full_version(),
            platform: platform.to_string(),
            free_threaded: python.free_threaded,
            wide_unicode: python.has_wide_unicode(platform),
            markers,
            interpreter: None,
        }
    }

    /// Returns whether the newest pip for it is older than 24.1, the first that rejects versions whose metadata
    /// is not what PEP 440 and PEP 508 want.
    #[must_use]
    pub fn pip_is_lenient(&self) -> bool {
        const STRICT: (u64, u64) = (3, 8);
        let mut parts = self.python_version.split('.').map(str::parse);
        matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < STRICT)
    }

    /// Returns the values of the environment markers, or `None` if they are not complete.
    #[must_use]
    pub fn marker_environment(&self) -> Option<MarkerEnvironment> {
        let values = serde_json::to_value(&self.markers).ok()?;
        serde_json::from_value(values).ok()
    }

    /// Returns the target without the release and version of its kernel, which differ between machines that take the same
    /// wheels.
    #[must_use]
    pub fn without_kernel(&self) -> Self {
        let mut target = self.clone();
        for marker in KERNEL_MARKERS {
            if let Some(value) = target.markers.get_mut(marker) {
                value.clear();
            }
        }
        target
    }

    /// Returns a short name that fits into file names: `cp312-manylinux_2_28_x86_64`. Two releases of one
    /// minor version share it.
    #[must_use]
    pub fn name(&self) -> String {
        self.named(&self.python_version.split('.').take(2).collect::<String>())
    }

    /// Returns a name with the full version, for file names that have no more dots: `cp3_12_4-win_amd64`.
    #[must_use]
    pub fn full_name(&self) -> String {
        self.named(&self.python_version.replace('.', "_"))
    }

    /// Names for `targets`, in their order, that tell them apart: the short ones where they do.
    #[must_use]
    pub fn names(targets: &[Self]) -> Vec<String> {
        let short: Vec<String> = targets.iter().map(Self::name).collect();
        let is_shared = |name| short.iter().filter(|other| *other == name).count() > 1;
        let named = short.iter().zip(targets).map(|(name, target)| {
            if is_shared(name) {
                target.full_name()
            } else {
                name.clone()
            }
        });
        named.collect()
    }

    fn named(&self, version: &str) -> String {
        format!("{}-{}", self.python_named(version), self.platform)
    }

    /// Returns the Python with its build, as in names: `cp312`, `cp313t`, `cp27mu`.
    #[must_use]
    pub(super) fn python_named(&self, version: &str) -> String {
        let implementation = match self.implementation.as_str() {
            "cpython" => "cp",
            "pypy" => "pp",
            other => other,
        };
        let is_old = implementation == "cp" && self.python_version.starts_with("2.");
        let build = match (self.free_threaded, is_old) {
            (true, _) => "t",
            (false, true) if self.wide_unicode => "mu",
            (false, true) => "m",
            (false, false) => "",
        };
        format!("{implementation}{version}{build}")
    }

    /// Returns the identity that two targets must share, beside the platform, for wheels built for one to be right for the other,
    /// beside the platform: `cp3.13.0t`.
    #[must_use]
    pub fn python(&self) -> String {
        self.python_named(&self.python_version)
    }

    /// Returns a short name for messages: `CPython 3.11.7 on manylinux_2_36_x86_64`, `CPython 3.13.1t on win_amd64`.
    #[must_use]
    pub fn label(&self) -> String {
        let implementation = match self.implementation.as_str() {
            "cpython" => "CPython",
            "pypy" => "PyPy",
            other => other,
        };
        let build = if self.free_threaded { "t" } else { "" };
        format!(
            "{implementation} {}{build} on {}",
            self.python_version, self.platform
        )
    }
}

/// A foreign target as users name it, `PYTHON-PLATFORM`: `3.12-linux`, `cp312-win_amd64`.
impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((python, platform)) = text.split_once('-') else {
            let message = format!("`{text}` is not a target");
            return Err(Error::new(Kind::Input, message).with_hint(
                "Name a Python and a platform: 3.12-linux, cp311-win_amd64, 3.13t-macosx_11_0_arm64.",
            ));
        };
        Ok(Self::foreign(&python.parse()?, &platform.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_pip_accepts_legacy_metadata() {
        for (target, lenient) in [
            ("2.7-linux", true),
            ("3.7-linux", true),
            ("3.8-linux", false),
            ("3.13-linux", false),
        ] {
            let target: Target = target.parse().unwrap();
            assert_eq!(target.pip_is_lenient(), lenient);
        }
    }

    #[test]
    fn target_name_has_python_and_platform() {
        for (text, name) in [
            ("3.12-linux", "cp312-manylinux_2_28_x86_64"),
            ("cp313t-linux-arm64", "cp313t-manylinux_2_28_aarch64"),
            ("pypy3.10-win_amd64", "pp310-win_amd64"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().name(), name);
        }
        assert!("linux".parse::<Target>().is_err());
    }

    #[test]
    fn distinguishes_targets_with_same_short_name() {
        let targets = ["3.12.1-linux", "3.12.4-linux", "3.12.4-windows"];
        let targets = targets.map(|text| text.parse::<Target>().unwrap());
        let expected = [
            "cp3_12_1-manylinux_2_28_x86_64",
            "cp3_12_4-manylinux_2_28_x86_64",
            "cp312-win_amd64",
        ];
        assert_eq!(Target::names(&targets), expected);
    }

    #[test]
    fn kernel_may_be_omitted() {
        let target: Target = "3.12-linux".parse().unwrap();
        let mut other = target.clone();
        for marker in KERNEL_MARKERS {
            other.markers.insert(marker.to_owned(), "6.1".to_owned());
        }
        assert_eq!(other.without_kernel(), target);
    }

    #[test]
    fn markers_describe_target() {
        let target: Target = "3.9.7-windows".parse().unwrap();
        let marker = |name: &str| target.markers[name].as_str();
        assert_eq!(marker("sys_platform"), "win32");
        assert_eq!(marker("platform_machine"), "AMD64");
        assert_eq!(marker("python_full_version"), "3.9.7");
        assert_eq!(marker("python_version"), "3.9");
        assert_eq!(target.markers.len(), 11);
    }

    #[test]
    fn python_2_has_usual_abi_of_platform() {
        let target = |text: &str| text.parse::<Target>().unwrap();
        for (text, name, system) in [
            ("2.7-linux", "cp27mu-manylinux_2_28_x86_64", "linux2"),
            ("cp27m-linux", "cp27m-manylinux_2_28_x86_64", "linux2"),
            ("2.7-win_amd64", "cp27m-win_amd64", "win32"),
            ("3.5-linux", "cp35-manylinux_2_28_x86_64", "linux"),
        ] {
            assert_eq!(target(text).name(), name);
            assert_eq!(target(text).markers["sys_platform"], system, "{text}");
        }
    }
}
