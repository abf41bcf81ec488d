//! The compatibility tags of a wheel in words: `CPython 3.12`, `Linux x86_64, glibc 2.17+`.
//!
//! Reads file names as they are: tags that are not known are shown as they are written.

use std::collections::BTreeSet;

use crate::text;

/// The maximum length of a label of a tag, in characters.
const LABEL: usize = 60;

/// The Pythons and platforms that a wheel can be installed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    /// `CPython 3.12`, `Python 3`.
    pub(crate) pythons: Vec<String>,
    /// `Linux x86_64, glibc 2.17+`, `any platform`; the oldest version of each system.
    platforms: Vec<Platform>,
    /// The Pythons without their implementation, if it is `CPython`; empty for any Python 3.
    brief_pythons: BTreeSet<BriefPython>,
}

/// A platform in words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Platform {
    /// Without the version of the system; `None` for any platform.
    brief: Option<String>,
    version: (u32, u32),
    label: String,
}

/// Sorts by number, so that 3.9 is before 3.12.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BriefPython {
    version: (u32, u32),
    label: String,
}

impl Tags {
    /// Reads the last three parts of the file name of a wheel. Returns `None` for an sdist.
    pub(crate) fn of(filename: &str) -> Option<Self> {
        let stem = filename.strip_suffix(".whl")?;
        let mut parts = stem.rsplitn(4, '-');
        let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
        let mut tags = Self::default();
        for python in pythons.split('.') {
            tags.add_python(python, abis);
        }
        for platform in platforms.split('.') {
            tags.add_platform(platform);
        }
        Some(tags)
    }

    /// Returns whether the wheel fits every Python 3.
    fn is_universal(&self) -> bool {
        let has_python_3 = self.pythons.iter().any(|python| python == "Python 3");
        has_python_3 && self.platforms.iter().all(|each| each.brief.is_none())
    }

    fn add_python(&mut self, tag: &str, abis: &str) {
        let digits = tag.find(|character: char| character.is_ascii_digit());
        let (implementation, version) = tag.split_at(digits.unwrap_or(tag.len()));
        let is_digits = version.bytes().all(|byte| byte.is_ascii_digit());
        let (major, minor) = version.split_at(version.len().min(1));
        let (Ok(major), true) = (major.parse::<u32>(), is_digits) else {
            self.pythons.push(text::line(tag, LABEL));
            return;
        };
        let number: Option<u32> = minor.parse().ok();
        let version = match number {
            Some(minor) => format!("{major}.{minor}"),
            None => major.to_string(),
        };
        let later = if abis.split('.').any(|abi| abi.starts_with("abi3")) {
            "+"
        } else {
            ""
        };
        let threads = if abis
            .split('.')
            .any(|abi| abi.starts_with("cp") && abi.ends_with('t'))
        {
            "t"
        } else {
            ""
        };
        let (name, brief) = match implementation {
            "py" => ("Python", ""),
            "cp" => ("CPython", ""),
            "pp" => ("PyPy", "PyPy "),
            other => (other, other),
        };
        self.pythons
            .push(format!("{name} {version}{threads}{later}"));
        if implementation != "py" || (major, number) != (3, None) {
            self.brief_pythons.insert(BriefPython {
                version: (major, number.unwrap_or(0)),
                label: format!("{brief}{version}{threads}{later}"),
            });
        }
    }

    /// Adds the platform of `tag`. Compressed sets name a system by several versions, of which the oldest counts.
    fn add_platform(&mut self, tag: &str) {
        let added = Platform::of(tag);
        let same = self.platforms.iter_mut();
        match same.into_iter().find(|each| each.brief == added.brief) {
            Some(same) if added.version < same.version => *same = added,
            Some(_) => {}
            None => self.platforms.push(added),
        }
    }

    /// Returns the tags in words: `CPython 3.12 · Linux x86_64, glibc 2.17+`.
    pub(crate) fn words(&self) -> String {
        let platforms = self.platforms.iter();
        let platforms: Vec<&str> = platforms.map(|each| each.label.as_str()).collect();
        format!("{} · {}", self.pythons.join(", "), platforms.join(", "))
    }
}

impl Platform {
    fn of(tag: &str) -> Self {
        if tag == "any" {
            return Self {
                brief: None,
                version: (0, 0),
                label: "any platform".to_owned(),
            };
        }
        let old = [
            ("manylinux1_", (2, 5)),
            ("manylinux2010_", (2, 12)),
            ("manylinux2014_", (2, 17)),
        ];
        for (prefix, version) in old {
            if let Some(machine) = tag.strip_prefix(prefix) {
                return Self::versioned(&format!("Linux {machine}"), "glibc ", version);
            }
        }
        let current = [
            ("manylinux_", "Linux", "", "glibc "),
            ("musllinux_", "Linux", " musl", ""),
            ("macosx_", "macOS", "", ""),
        ];
        for (prefix, system, suffix, library) in current {
            let mut parts = tag.strip_prefix(prefix).unwrap_or_default().splitn(3, '_');
            let mut number = || parts.next().and_then(|part| part.parse().ok());
            if let (Some(major), Some(minor)) = (number(), number())
                && let Some(machine) = parts.next()
            {
                let brief = format!("{system} {machine}{suffix}");
                return Self::versioned(&brief, library, (major, minor));
            }
        }
        let label = match tag {
            "win32" => "Windows x86".to_owned(),
            "win_amd64" => "Windows x86_64".to_owned(),
            "win_arm64" => "Windows arm64".to_owned(),
            _ => match tag.strip_prefix("linux_") {
                Some(machine) => format!("Linux {machine}"),
                None => tag.to_owned(),
            },
        };
        let label = text::line(&label, LABEL);
        Self {
            brief: Some(label.clone()),
            version: (0, 0),
            label,
        }
    }

    fn versioned(brief: &str, library: &str, version: (u32, u32)) -> Self {
        let (major, minor) = version;
        let label = format!("{brief}, {library}{major}.{minor}+");
        Self {
            brief: Some(text::line(brief, LABEL)),
            version,
            label: text::line(&label, LABEL),
        }
    }
}

/// Returns the targets of several files in a few words: `any`, `3.11–3.13 · Linux x86_64`.
pub(crate) fn summary<'a>(files: impl Iterator<Item = Option<&'a Tags>>) -> String {
    let mut pythons: BTreeSet<&BriefPython> = BTreeSet::new();
    let mut platforms: BTreeSet<&str> = BTreeSet::new();
    let (mut has_wheel, mut has_sdist) = (false, false);
    for tags in files {
        let Some(tags) = tags else {
            has_sdist = true;
            continue;
        };
        if tags.is_universal() {
            return "any".to_owned();
        }
        has_wheel = true;
        pythons.extend(&tags.brief_pythons);
        platforms.extend(
            tags.platforms
                .iter()
                .filter_map(|each| each.brief.as_deref()),
        );
    }
    if !has_wheel {
        return if has_sdist { "source" } else { "" }.to_owned();
    }
    let labels: Vec<&str> = pythons.iter().map(|python| python.label.as_str()).collect();
    let python = match labels.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one}, {other}"),
        [first, .., last] => format!("{first}–{last}"),
    };
    let platforms: Vec<&str> = platforms.into_iter().collect();
    let platform = match platforms.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one}, {other}"),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    };
    let parts = [python, platform].into_iter();
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(filenames: &[&str]) -> String {
        let tags: Vec<_> = filenames
            .iter()
            .map(|filename| Tags::of(filename))
            .collect();
        summary(tags.iter().map(Option::as_ref))
    }

    #[test]
    fn tags_are_words() {
        for (filename, words) in [
            ("a-1-py3-none-any.whl", "Python 3 · any platform"),
            (
                "a-1-py2.py3-none-any.whl",
                "Python 2, Python 3 · any platform",
            ),
            (
                "a-1-cp312-cp312-manylinux_2_28_x86_64.manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                "CPython 3.12 · Linux x86_64, glibc 2.17+",
            ),
            (
                "a-1-1-cp38-abi3-musllinux_1_2_aarch64.whl",
                "CPython 3.8+ · Linux aarch64 musl, 1.2+",
            ),
            (
                "a-1-cp313-cp313t-macosx_11_0_arm64.whl",
                "CPython 3.13t · macOS arm64, 11.0+",
            ),
            (
                "a-1-pp310-pypy310_pp73-win_amd64.whl",
                "PyPy 3.10 · Windows x86_64",
            ),
            ("a-1-xyz-none-strange.whl", "xyz · strange"),
        ] {
            assert_eq!(Tags::of(filename).unwrap().words(), words);
        }
        assert_eq!(Tags::of("a-1.tar.gz"), None);
    }

    #[test]
    fn targets_of_files_are_summarized() {
        assert_eq!(summary_of(&["a-1-py2.py3-none-any.whl"]), "any");
        assert_eq!(summary_of(&["a-1.tar.gz"]), "source");
        assert_eq!(
            summary_of(&[
                "a-1-cp39-cp39-win_amd64.whl",
                "a-1-cp312-cp312-win_amd64.whl",
                "a-1-cp311-cp311-win_amd64.whl",
            ]),
            "3.9–3.12 · Windows x86_64"
        );
        assert_eq!(
            summary_of(&["a-1-py3-none-manylinux_2_17_x86_64.whl"]),
            "Linux x86_64"
        );
        let both = ["a-1-cp312-cp312-win32.whl", "a-1-py3-none-any.whl"];
        assert_eq!(summary_of(&both), "any");
    }
}
