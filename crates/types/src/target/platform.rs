//! Platforms by name: pip's platform tags, and shorter names for what most people mean.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Kind};

/// The platform of a foreign target: the newest platform tag that it accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// The operating system.
    pub system: System,
    /// The machine as in platform tags: `x86_64`, `aarch64`; `arm64` on macOS and Windows, `amd64` on Windows.
    pub machine: String,
}

/// An operating system with the version that platform tags speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// Linux with glibc of this version (PEP 600).
    Manylinux {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// Linux with musl of this version (PEP 656).
    Musllinux {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// macOS of this version or newer.
    Macos {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// Windows.
    Windows,
}

/// The glibc that `linux` stands for: that of RHEL 8, which the manylinux images are made of.
const LINUX: &str = "manylinux_2_28";
const ALPINE: &str = "musllinux_1_2";
const MACOS: &str = "macosx_13_0";

/// Aliases of platform tags.
const ALIASES: [(&str, &str, &str); 14] = [
    ("linux", LINUX, "x86_64"),
    ("linux-x86_64", LINUX, "x86_64"),
    ("linux-arm64", LINUX, "aarch64"),
    ("linux-aarch64", LINUX, "aarch64"),
    ("alpine", ALPINE, "x86_64"),
    ("alpine-x86_64", ALPINE, "x86_64"),
    ("alpine-arm64", ALPINE, "aarch64"),
    ("alpine-aarch64", ALPINE, "aarch64"),
    ("macos", MACOS, "arm64"),
    ("macos-arm64", MACOS, "arm64"),
    ("macos-x86_64", MACOS, "x86_64"),
    ("windows", "win", "amd64"),
    ("windows-x86_64", "win", "amd64"),
    ("windows-arm64", "win", "arm64"),
];

const LINUX_MACHINES: [&str; 7] = [
    "x86_64", "aarch64", "i686", "ppc64le", "s390x", "armv7l", "riscv64",
];

impl FromStr for Platform {
    type Err = Error;

    /// Reads pip's platform tags (`manylinux_2_28_x86_64`, `manylinux2014_aarch64`,
    /// `musllinux_1_2_x86_64`, `linux_s390x`, `macosx_11_0_arm64`, `win_amd64`) and friendly names.
    fn from_str(text: &str) -> Result<Self, Error> {
        let alias = ALIASES.iter().find(|(alias, ..)| *alias == text);
        let tag = match alias {
            Some((_, system, machine)) => format!("{system}_{machine}"),
            None => text.replace(['-', '.'], "_"),
        };
        read(&tag).ok_or_else(|| unknown(text))
    }
}

fn read(tag: &str) -> Option<Platform> {
    if let Some(machine) = tag.strip_prefix("win_") {
        let known = matches!(machine, "amd64" | "arm64");
        return known.then(|| Platform::new(System::Windows, machine));
    }
    if tag == "win32" {
        return Some(Platform::new(System::Windows, "x86"));
    }
    if let Some(rest) = tag.strip_prefix("macosx_") {
        let (major, minor, machine) = version(rest)?;
        let known = matches!(machine, "arm64" | "x86_64");
        return known.then(|| Platform::new(System::Macos { major, minor }, machine));
    }
    let (system, machine) = linux(tag)?;
    LINUX_MACHINES
        .contains(&machine)
        .then(|| Platform::new(system, machine))
}

fn linux(tag: &str) -> Option<(System, &str)> {
    if let Some(rest) = tag.strip_prefix("manylinux_") {
        let (major, minor, machine) = version(rest)?;
        return Some((System::Manylinux { major, minor }, machine));
    }
    if let Some(rest) = tag.strip_prefix("musllinux_") {
        let (major, minor, machine) = version(rest)?;
        return Some((System::Musllinux { major, minor }, machine));
    }
    // The names before PEP 600; and plain Linux, which says nothing of glibc.
    let older = [
        ("manylinux1_", 5),
        ("manylinux2010_", 12),
        ("manylinux2014_", 17),
        ("linux_", 28),
    ];
    older.iter().find_map(|(prefix, minor)| {
        let machine = tag.strip_prefix(prefix)?;
        let (major, minor) = (2, *minor);
        Some((System::Manylinux { major, minor }, machine))
    })
}

/// Splits `2_28_x86_64` into major, minor and machine.
fn version(text: &str) -> Option<(u16, u16, &str)> {
    let mut parts = text.splitn(3, '_');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor, parts.next()?))
}

fn unknown(text: &str) -> Error {
    let hint = if let Some(system) = text.strip_suffix("_universal2") {
        format!(
            "No machine is one; its wheels serve {system}_arm64 and {system}_x86_64: name these."
        )
    } else {
        let names: Vec<&str> = ALIASES.iter().map(|(alias, ..)| *alias).collect();
        format!(
            "Name a platform tag, such as manylinux_2_28_x86_64, musllinux_1_2_aarch64, macosx_11_0_arm64 or win_amd64; or one of {}.",
            names.join(", ")
        )
    };
    Error::new(Kind::Input, format!("`{text}` is not a known platform")).with_hint(hint)
}

/// Returns the oldest glibc that the wheel `filename` is for, by its platform tags (PEP 600).
#[must_use]
pub fn glibc_of_wheel(filename: &str) -> Option<(u16, u16)> {
    let tags = filename.strip_suffix(".whl")?.rsplit('-').next()?;
    let tags = tags.split('.').filter(|tag| tag.starts_with("manylinux"));
    let versions = tags.filter_map(|tag| match read(tag)?.system {
        System::Manylinux { major, minor } => Some((major, minor)),
        _ => None,
    });
    versions.min()
}

impl fmt::Display for Platform {
    /// Formats the platform tag, `manylinux_2_28_x86_64`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        match self.system {
            System::Manylinux { major, minor } => {
                write!(formatter, "manylinux_{major}_{minor}_{machine}")
            }
            System::Musllinux { major, minor } => {
                write!(formatter, "musllinux_{major}_{minor}_{machine}")
            }
            System::Macos { major, minor } => {
                write!(formatter, "macosx_{major}_{minor}_{machine}")
            }
            System::Windows if machine == "x86" => formatter.write_str("win32"),
            System::Windows => write!(formatter, "win_{machine}"),
        }
    }
}

impl Platform {
    /// Returns the version of glibc that systems of this platform have at least; `None` for systems without glibc.
    #[must_use]
    pub fn glibc(&self) -> Option<(u16, u16)> {
        match self.system {
            System::Manylinux { major, minor } => Some((major, minor)),
            _ => None,
        }
    }

    fn new(system: System, machine: &str) -> Self {
        Self {
            system,
            machine: machine.to_owned(),
        }
    }

    /// Returns whether systems like `other` accept wheels for this one: the same kind of system, not older.
    #[must_use]
    pub fn is_older(&self, other: &Self) -> bool {
        let same_kind =
            std::mem::discriminant(&self.system) == std::mem::discriminant(&other.system);
        self.machine == other.machine && same_kind && self.system <= other.system
    }

    /// Returns the environment markers (PEP 508) that the platform decides for a Python of the version `major`.
    pub(super) fn markers(&self, major: u8) -> [(&'static str, &str); 6] {
        let (os_name, system, sys_platform) = match self.system {
            System::Manylinux { .. } | System::Musllinux { .. } if major == 2 => {
                ("posix", "Linux", "linux2")
            }
            System::Manylinux { .. } | System::Musllinux { .. } => ("posix", "Linux", "linux"),
            System::Macos { .. } => ("posix", "Darwin", "darwin"),
            System::Windows => ("nt", "Windows", "win32"),
        };
        let machine = match (self.system, self.machine.as_str()) {
            (System::Windows, "amd64") => "AMD64",
            (System::Windows, "arm64") => "ARM64",
            (_, machine) => machine,
        };
        [
            ("os_name", os_name),
            ("platform_machine", machine),
            ("platform_release", ""),
            ("platform_system", system),
            ("platform_version", ""),
            ("sys_platform", sys_platform),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_tags_and_short_names() {
        let cases = [
            ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64"),
            ("manylinux2014_aarch64", "manylinux_2_17_aarch64"),
            ("musllinux_1_2_x86_64", "musllinux_1_2_x86_64"),
            ("win_amd64", "win_amd64"),
            ("win_arm64", "win_arm64"),
            ("win32", "win32"),
            ("macosx_11_0_arm64", "macosx_11_0_arm64"),
            ("linux_s390x", "manylinux_2_28_s390x"),
            ("linux_ppc64le", "manylinux_2_28_ppc64le"),
            ("linux", "manylinux_2_28_x86_64"),
            ("linux-arm64", "manylinux_2_28_aarch64"),
            ("alpine", "musllinux_1_2_x86_64"),
            ("macos", "macosx_13_0_arm64"),
            ("windows", "win_amd64"),
        ];
        for (text, tag) in cases {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), tag, "{text}");
        }
    }

    #[test]
    fn every_platform_round_trips() {
        for (alias, ..) in ALIASES {
            let platform: Platform = alias.parse().unwrap();
            assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }

    #[test]
    fn reads_glibc_version_of_wheel_tags() {
        for (tags, needed) in [
            (
                "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
                Some((2, 17)),
            ),
            ("cp311-cp311-manylinux_2_34_x86_64", Some((2, 34))),
            ("cp311-cp311-linux_x86_64", None),
            ("py3-none-any", None),
        ] {
            assert_eq!(glibc_of_wheel(&format!("x-1-{tags}.whl")), needed);
        }
    }

    #[test]
    fn newer_systems_accept_wheels_for_older_ones() {
        let is_older = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Platform>().unwrap());
            one.is_older(&other)
        };
        assert!(is_older("linux", "manylinux_2_36_x86_64"));
        assert!(is_older("macosx_11_0_arm64", "macos"));
        assert!(!is_older("manylinux_2_36_x86_64", "linux"));
        assert!(!is_older("linux-arm64", "manylinux_2_36_x86_64"));
        assert!(!is_older("alpine", "manylinux_2_36_x86_64"));
        assert!(!is_older("windows", "linux"));
    }

    #[test]
    fn rejects_invalid_platforms() {
        for text in [
            "",
            "linux_z80",
            "manylinux_2_x86_64",
            "macosx_11_0_universal2",
            "beos",
        ] {
            let error = text.parse::<Platform>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
