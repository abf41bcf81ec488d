//! The compatibility of wheels with a target, judged by tags.

use wheelhouse_types::{Target, WheelFilename};

use crate::target::TargetEnvironment;

/// The wheels that installers for one target accept.
pub struct WheelCompatibility(Option<TargetEnvironment>);

impl WheelCompatibility {
    /// Returns the compatibility with `target`.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self(TargetEnvironment::of_foreign(target).ok())
    }

    /// Returns whether `wheel` is accepted, or `None` if the tags of the target are not known.
    #[must_use]
    pub fn accepts(&self, wheel: &WheelFilename) -> Option<bool> {
        let target_env = self.0.as_ref()?;
        Some(target_env.compatibility(wheel).is_compatible())
    }
}

/// Returns whether a Python of `target` accepts all wheels for `other`: it has the same implementation and minor version, on
/// a compatible platform.
#[must_use]
pub fn can_substitute(target: &Target, other: &Target) -> bool {
    let same_python = target.implementation == other.implementation
        && version(&target.python_version) == version(&other.python_version);
    let accepts = || {
        let wheel = format!("x-1-py3-none-{}.whl", other.platform);
        WheelCompatibility::new(target).accepts(&wheel.parse().ok()?)
    };
    same_python && (target.platform == other.platform || accepts() == Some(true))
}

/// Returns the first two numbers of a version.
fn version(text: &str) -> Option<(u8, u8)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn accepts_wheels_by_tags() {
        let linux = target("3.11.7-manylinux_2_31_x86_64");
        let fit = |tags: &str, target: &Target| {
            WheelCompatibility::new(target)
                .accepts(&format!("x-1-{tags}.whl").parse().unwrap())
                .unwrap()
        };
        for tags in [
            "py3-none-any",
            "py2.py3-none-any",
            "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
            "cp311-cp311-linux_x86_64",
            "cp38-abi3-manylinux1_x86_64",
        ] {
            assert!(fit(tags, &linux), "{tags}");
        }
        for tags in [
            "cp310-cp310-manylinux1_x86_64",
            "cp312-abi3-manylinux1_x86_64",
            "cp311-cp311-manylinux_2_34_x86_64",
            "cp311-cp311-manylinux_2_17_aarch64",
            "cp311-cp311-musllinux_1_2_x86_64",
            "cp311-cp311-win_amd64",
            "py2-none-any",
        ] {
            assert!(!fit(tags, &linux), "{tags}");
        }
        let pypy = target("pp39-manylinux_2_31_x86_64");
        assert!(fit("pp39-pypy39_pp73-manylinux1_x86_64", &pypy));
        let mac = target("3.11.7-macosx_13_0_arm64");
        assert!(fit("cp311-cp311-macosx_11_0_universal2", &mac));
        let plan9 = Target {
            platform: "plan9".to_owned(),
            ..mac
        };
        let anything = "x-1-py3-none-any.whl".parse().unwrap();
        assert_eq!(WheelCompatibility::new(&plan9).accepts(&anything), None);
    }

    #[test]
    fn newer_system_substitutes_older_one() {
        let newer = target("3.11.7-manylinux_2_36_x86_64");
        let older = target("3.11.2-manylinux_2_31_x86_64");
        assert!(can_substitute(&newer, &older) && !can_substitute(&older, &newer));
        assert!(!can_substitute(
            &newer,
            &target("3.12.1-manylinux_2_31_x86_64")
        ));
        assert!(!can_substitute(
            &newer,
            &target("pypy3.11.7-manylinux_2_31_x86_64")
        ));
        let unknown = Target {
            platform: "plan9".to_owned(),
            ..newer
        };
        assert!(can_substitute(&unknown, &unknown));
    }
}
