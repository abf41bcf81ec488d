//! Targets in uv's terms: the tags and markers that a resolution uses.

pub(crate) mod compatibility;
mod wide_unicode;

use std::sync::{Arc, Mutex};

use uv_distribution_filename::WheelFilename;
use uv_distribution_types::RequiresPython;
use uv_pep440::Version;
use uv_pep508::MarkerEnvironment;
use uv_platform_tags::{Arch, Os, TagCompatibility, Tags, TagsOptions};
use uv_pypi_types::ResolverMarkerEnvironment;
use uv_python::Interpreter;
use uv_resolver::{PythonRequirement, ResolverEnvironment};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::target::{Platform, System};
use wheelhouse_types::{Error, Kind, Result, Target};

/// The tags and markers of a target.
#[derive(Clone, Debug)]
pub(crate) struct TargetEnvironment {
    pub(crate) target: Target,
    pub(crate) markers: ResolverMarkerEnvironment,
    pub(crate) tags: Tags,
    pub(crate) python: PythonRequirement,
    pub(crate) requires_python: RequiresPython,
}

/// The environments of the targets of a run, each computed once.
pub(crate) struct TargetCache {
    host: Arc<TargetEnvironment>,
    foreign: Mutex<Vec<Arc<TargetEnvironment>>>,
}

impl TargetCache {
    pub(crate) fn new(host: TargetEnvironment) -> Self {
        Self {
            host: Arc::new(host),
            foreign: Mutex::default(),
        }
    }

    /// Returns the environment of the Python that builds.
    pub(crate) fn host(&self) -> &TargetEnvironment {
        &self.host
    }

    /// Returns the environment of `target`.
    ///
    /// # Errors
    /// `Input` if `target` is foreign and its tags are not known.
    pub(crate) fn get(&self, target: &Target) -> Result<Arc<TargetEnvironment>> {
        if *target == self.host.target {
            return Ok(Arc::clone(&self.host));
        }
        let mut foreign = self.foreign.lock().expect("no panic while locked");
        if let Some(target_env) = foreign
            .iter()
            .find(|target_env| target_env.target == *target)
        {
            return Ok(Arc::clone(target_env));
        }
        let target_env = Arc::new(TargetEnvironment::of_foreign(target)?);
        foreign.push(Arc::clone(&target_env));
        Ok(target_env)
    }
}

impl TargetEnvironment {
    /// Returns the version of the Python, without a pre-release segment.
    pub(crate) fn python_version(&self) -> Version {
        let version = &self.markers.markers().python_full_version().version;
        version.only_release()
    }

    /// Returns the environment of the host target.
    pub(crate) fn of_interpreter(interpreter: &Interpreter, target: Target) -> Result<Self> {
        let tags = interpreter
            .tags()
            .context(Kind::Input, || "the Python has no known tags".to_owned())?;
        Ok(Self {
            target,
            markers: interpreter.to_resolver_marker_environment(),
            tags: tags.clone(),
            python: PythonRequirement::from_interpreter(interpreter),
            requires_python: RequiresPython::greater_than_equal_version(
                &interpreter.python_full_version().version,
            ),
        })
    }

    /// Returns the environment of a target without an interpreter.
    pub(crate) fn of_foreign(target: &Target) -> Result<Self> {
        let failed = || format!("no wheels can be chosen for {}", target.label());
        let markers = target
            .marker_environment()
            .ok_or_else(|| Error::new(Kind::Input, failed()))?;
        let python = markers.python_full_version().version.clone();
        let requires_python = RequiresPython::greater_than_equal_version(&python);
        Ok(Self {
            tags: tags(target, &markers).context(Kind::Input, failed)?,
            python: PythonRequirement::from_marker_environment(&markers, requires_python.clone()),
            markers: ResolverMarkerEnvironment::from(markers),
            target: target.clone(),
            requires_python,
        })
    }

    /// Returns the compatibility of `wheel` with the target.
    pub(crate) fn compatibility(&self, wheel: &WheelFilename) -> TagCompatibility {
        if self.target.wide_unicode {
            wide_unicode::compatibility(wheel, &self.tags)
        } else {
            wheel.compatibility(&self.tags)
        }
    }

    pub(crate) fn environment(&self) -> ResolverEnvironment {
        ResolverEnvironment::specific(self.markers.clone())
    }
}

fn tags(target: &Target, markers: &MarkerEnvironment) -> Result<Tags> {
    let options = TagsOptions {
        manylinux_compatible: true,
        gil_disabled: target.free_threaded,
        debug_enabled: false,
        is_cross: true,
    };
    let failed = || format!("{} has no known tags", target.label());
    Tags::from_env(
        platform(&target.platform.parse()?)?,
        version_pair(&markers.python_full_version().version),
        &target.implementation,
        version_pair(&markers.implementation_version().version),
        options,
    )
    .context(Kind::Input, failed)
}

/// Returns `3.11` of `3.11.7`.
pub(crate) fn minor_version(version: &str) -> String {
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

fn version_pair(version: &Version) -> (u8, u8) {
    let part = |position: usize| {
        let number = version.release().get(position).copied();
        number.and_then(|number| u8::try_from(number).ok())
    };
    (part(0).unwrap_or(3), part(1).unwrap_or(0))
}

fn platform(platform: &Platform) -> Result<uv_platform_tags::Platform> {
    let os = match platform.system {
        System::Manylinux { major, minor } => Os::Manylinux { major, minor },
        System::Musllinux { major, minor } => Os::Musllinux { major, minor },
        System::Macos { major, minor } => Os::Macos { major, minor },
        System::Windows => Os::Windows,
    };
    let machine = match platform.machine.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "x86" => "i686",
        machine => machine,
    };
    let machine: Arch = machine
        .parse()
        .map_err(|_| Error::new(Kind::Input, format!("`{machine}` is not a known machine")))?;
    Ok(uv_platform_tags::Platform::new(os, machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(target: &str, tag: (&str, &str, &str)) -> bool {
        let target_env = TargetEnvironment::of_foreign(&target.parse().unwrap()).unwrap();
        let wheel = format!("x-1-{}-{}-{}.whl", tag.0, tag.1, tag.2);
        target_env
            .compatibility(&wheel.parse().unwrap())
            .is_compatible()
    }

    #[test]
    fn foreign_target_accepts_wheels_of_native_one() {
        assert!(accepts(
            "3.12-linux",
            ("cp312", "cp312", "manylinux_2_17_x86_64")
        ));
        assert!(accepts(
            "3.12-linux",
            ("cp38", "abi3", "manylinux2014_x86_64")
        ));
        assert!(accepts("3.12-linux", ("py3", "none", "any")));
        assert!(!accepts(
            "3.12-linux",
            ("cp312", "cp312", "manylinux_2_34_x86_64")
        ));
        assert!(!accepts(
            "3.12-linux",
            ("cp312", "cp312", "musllinux_1_2_x86_64")
        ));
        assert!(accepts(
            "3.12-alpine",
            ("cp312", "cp312", "musllinux_1_1_x86_64")
        ));
        assert!(accepts(
            "3.12-macos",
            ("cp312", "cp312", "macosx_11_0_arm64")
        ));
        assert!(accepts(
            "3.12-macos",
            ("cp312", "cp312", "macosx_10_9_universal2")
        ));
        assert!(!accepts(
            "3.12-macos",
            ("cp312", "cp312", "macosx_10_9_x86_64")
        ));
        assert!(accepts("3.12-windows", ("cp312", "cp312", "win_amd64")));
        assert!(accepts(
            "3.13t-linux",
            ("cp313", "cp313t", "manylinux_2_17_x86_64")
        ));
        assert!(!accepts(
            "3.13t-linux",
            ("cp313", "cp313", "manylinux_2_17_x86_64")
        ));
        assert!(accepts(
            "pypy3.10-linux",
            ("pp310", "pypy310_pp73", "manylinux_2_17_x86_64")
        ));
        for (target, abi, taken) in [
            ("2.7-linux", "cp27mu", true),
            ("2.7-linux", "cp27m", false),
            ("2.7-linux", "none", true),
            ("cp27m-linux", "cp27m", true),
            ("cp27m-linux", "cp27mu", false),
            ("2.7-macos-x86_64", "cp27m", true),
        ] {
            let platform = if target.contains("macos") {
                "macosx_10_9_x86_64"
            } else {
                "manylinux1_x86_64"
            };
            assert_eq!(
                accepts(target, ("cp27", abi, platform)),
                taken,
                "{target} {abi}"
            );
        }
        assert!(accepts(
            "3.9-linux_s390x",
            ("cp39", "cp39", "manylinux_2_17_s390x")
        ));
    }
}
