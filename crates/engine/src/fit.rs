//! Whether a wheel fits a target, by the tags of both.
//!
//! Never looks into the wheel.

use uv_platform_tags::{Arch, BinaryFormat, Os, Platform, PlatformTag, Tags, TagsOptions};
use wheelhouse_model::{Target, WheelFilename};

/// Whether an installer for `target` takes `wheel`; `None` when nothing is known of such targets.
///
/// A target does not say whether its Python has a global lock: a wheel for either fits.
#[must_use]
pub fn fits(wheel: &WheelFilename, target: &Target) -> Option<bool> {
    let tags = [false, true].map(|gil_disabled| tags(target, gil_disabled));
    if tags.iter().all(Option::is_none) {
        return None;
    }
    Some(tags.iter().flatten().any(|tags| wheel.is_compatible(tags)))
}

/// Whether a Python of `target` takes what was made for `other`: the same implementation and minor
/// version, on a platform that has what the other has.
#[must_use]
pub fn stands_for(target: &Target, other: &Target) -> bool {
    let same_python = target.implementation == other.implementation
        && version(&target.python_version) == version(&other.python_version);
    let accepts = || {
        let wheel = format!("x-1-py3-none-{}.whl", other.platform);
        fits(&wheel.parse().ok()?, target)
    };
    same_python && (target.platform == other.platform || accepts() == Some(true))
}

fn tags(target: &Target, gil_disabled: bool) -> Option<Tags> {
    let python_version = version(&target.python_version)?;
    let implementation_version = target.markers.get("implementation_version");
    let options = TagsOptions {
        manylinux_compatible: true,
        gil_disabled,
        ..TagsOptions::default()
    };
    Tags::from_env(
        platform(&target.platform)?,
        python_version,
        &target.implementation,
        implementation_version.map_or(Some(python_version), |text| version(text))?,
        options,
    )
    .ok()
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u8, u8)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn platform(tag: &str) -> Option<Platform> {
    let (os, arch) = match tag.parse().ok()? {
        PlatformTag::Manylinux { major, minor, arch } => (Os::Manylinux { major, minor }, arch),
        PlatformTag::Musllinux { major, minor, arch } => (Os::Musllinux { major, minor }, arch),
        PlatformTag::Manylinux2014 { arch } => (manylinux(17), arch),
        PlatformTag::Manylinux2010 { arch } => (manylinux(12), arch),
        PlatformTag::Manylinux1 { arch } | PlatformTag::Linux { arch } => (manylinux(5), arch),
        PlatformTag::Macos {
            major,
            minor,
            binary_format,
        } => (Os::Macos { major, minor }, macos_arch(binary_format)?),
        PlatformTag::Win32 => (Os::Windows, Arch::X86),
        PlatformTag::WinAmd64 => (Os::Windows, Arch::X86_64),
        PlatformTag::WinArm64 => (Os::Windows, Arch::Aarch64),
        _ => return None,
    };
    Some(Platform::new(os, arch))
}

fn manylinux(minor: u16) -> Os {
    Os::Manylinux { major: 2, minor }
}

fn macos_arch(format: BinaryFormat) -> Option<Arch> {
    match format {
        BinaryFormat::Arm64 => Some(Arch::Aarch64),
        BinaryFormat::X86_64 => Some(Arch::X86_64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(implementation: &str, python: &str, platform: &str) -> Target {
        Target {
            implementation: implementation.to_owned(),
            python_version: python.to_owned(),
            platform: platform.to_owned(),
            markers: [("implementation_version".to_owned(), "7.3.12".to_owned())]
                .into_iter()
                .filter(|_| implementation == "pypy")
                .collect(),
            interpreter: None,
        }
    }

    #[test]
    fn tags_decide() {
        let linux = target("cpython", "3.11.7", "manylinux_2_31_x86_64");
        let fit = |tags: &str, target: &Target| {
            fits(&format!("x-1-{tags}.whl").parse().unwrap(), target).unwrap()
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
        let pypy = target("pypy", "3.9.17", "manylinux_2_31_x86_64");
        assert!(fit("pp39-pypy39_pp73-manylinux1_x86_64", &pypy));
        let mac = target("cpython", "3.11.7", "macosx_13_0_arm64");
        assert!(fit("cp311-cp311-macosx_11_0_universal2", &mac));
        let plan9 = target("cpython", "3.11.7", "plan9");
        assert_eq!(fits(&"x-1-py3-none-any.whl".parse().unwrap(), &plan9), None);
    }

    #[test]
    fn a_newer_system_stands_for_an_older_one() {
        let newer = target("cpython", "3.11.7", "manylinux_2_36_x86_64");
        let older = target("cpython", "3.11.2", "manylinux_2_31_x86_64");
        assert!(stands_for(&newer, &older) && !stands_for(&older, &newer));
        assert!(!stands_for(
            &newer,
            &target("cpython", "3.12.1", "manylinux_2_31_x86_64")
        ));
        assert!(!stands_for(
            &newer,
            &target("pypy", "3.11.7", "manylinux_2_31_x86_64")
        ));
        let unknown = target("cpython", "3.11.7", "plan9");
        assert!(stands_for(&unknown, &unknown));
    }
}
