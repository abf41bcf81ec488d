//! pip's options that select formats and pre-releases by package.
//!
//! Implements `--no-binary`, `--only-binary`, `--all-releases` and
//! `--only-final`: comma-separated names, `:all:` and `:none:`, applied in order, where a name on one
//! side is removed from the other. Sources are merged by applying them one after the other.

use std::collections::BTreeSet;
use std::fmt;

use crate::names::normalize_name;

const ALL: &str = ":all:";
const NONE: &str = ":none:";

/// An error for a value that is an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value is required, not the option `{value}`")]
pub struct ControlValueError {
    /// The value.
    pub value: String,
}

/// The packages whose wheels or source distributions are excluded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatControl {
    no_binary: BTreeSet<String>,
    only_binary: BTreeSet<String>,
}

/// The formats that are allowed for a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedFormats {
    /// True if wheels of an index may be used.
    pub wheels: bool,
    /// True if source distributions may be built.
    pub sources: bool,
}

impl FormatControl {
    /// Applies a value of `--no-binary`.
    ///
    /// # Errors
    /// Fails if the value is an option.
    pub fn apply_no_binary(&mut self, value: &str) -> Result<(), ControlValueError> {
        apply(value, &mut self.no_binary, &mut self.only_binary)
    }

    /// Applies a value of `--only-binary`.
    ///
    /// # Errors
    /// Fails if the value is an option.
    pub fn apply_only_binary(&mut self, value: &str) -> Result<(), ControlValueError> {
        apply(value, &mut self.only_binary, &mut self.no_binary)
    }

    /// Returns the formats that are allowed for the package `name`.
    #[must_use]
    pub fn allowed_formats(&self, name: &str) -> AllowedFormats {
        match side(name, &self.only_binary, &self.no_binary) {
            Some(true) => AllowedFormats {
                wheels: true,
                sources: false,
            },
            Some(false) => AllowedFormats {
                wheels: false,
                sources: true,
            },
            None => AllowedFormats {
                wheels: true,
                sources: true,
            },
        }
    }

    /// Returns the normalized names, and possibly `:all:`, of packages that must not be wheels.
    #[must_use]
    pub fn no_binary(&self) -> &BTreeSet<String> {
        &self.no_binary
    }

    /// Returns the normalized names, and possibly `:all:`, of packages that must be wheels.
    #[must_use]
    pub fn only_binary(&self) -> &BTreeSet<String> {
        &self.only_binary
    }
}

impl fmt::Display for FormatControl {
    /// Writes options that result in this value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [
            ("--no-binary", &self.no_binary),
            ("--only-binary", &self.only_binary),
        ];
        write_options(formatter, sides)
    }
}

/// The packages that may, or must not, be pre-releases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseControl {
    all_releases: BTreeSet<String>,
    only_final: BTreeSet<String>,
}

impl ReleaseControl {
    /// Applies a value of `--all-releases`.
    ///
    /// # Errors
    /// Fails if the value is an option.
    pub fn apply_all_releases(&mut self, value: &str) -> Result<(), ControlValueError> {
        apply(value, &mut self.all_releases, &mut self.only_final)
    }

    /// Applies a value of `--only-final`.
    ///
    /// # Errors
    /// Fails if the value is an option.
    pub fn apply_only_final(&mut self, value: &str) -> Result<(), ControlValueError> {
        apply(value, &mut self.only_final, &mut self.all_releases)
    }

    /// Applies `--pre`, which adds `:all:` and removes nothing.
    pub fn apply_pre(&mut self) {
        self.all_releases.insert(ALL.to_owned());
    }

    /// Returns whether pre-releases of `name` are allowed; `None` if neither side mentions it.
    #[must_use]
    pub fn allows_prereleases(&self, name: &str) -> Option<bool> {
        side(name, &self.all_releases, &self.only_final)
    }

    /// Returns the normalized names, and possibly `:all:`, of packages that may be pre-releases.
    #[must_use]
    pub fn all_releases(&self) -> &BTreeSet<String> {
        &self.all_releases
    }

    /// Returns the normalized names, and possibly `:all:`, of packages that must be final.
    #[must_use]
    pub fn only_final(&self) -> &BTreeSet<String> {
        &self.only_final
    }
}

impl fmt::Display for ReleaseControl {
    /// Writes options that result in this value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [
            ("--all-releases", &self.all_releases),
            ("--only-final", &self.only_final),
        ];
        write_options(formatter, sides)
    }
}

fn apply(
    value: &str,
    target: &mut BTreeSet<String>,
    other: &mut BTreeSet<String>,
) -> Result<(), ControlValueError> {
    if value.starts_with('-') {
        let value = value.to_owned();
        return Err(ControlValueError { value });
    }
    let mut names: Vec<&str> = value.split(',').collect();
    while let Some(position) = names.iter().position(|name| *name == ALL) {
        other.clear();
        target.clear();
        target.insert(ALL.to_owned());
        names.drain(..=position);
        // Without a later `:none:`, `:all:` covers all other names.
        if !names.contains(&NONE) {
            return Ok(());
        }
    }
    for name in names {
        if name == NONE {
            target.clear();
            continue;
        }
        let name = normalize_name(name);
        other.remove(&name);
        target.insert(name);
    }
    Ok(())
}

/// Returns whether a package is on the first side. Its own name takes precedence over `:all:`, the first side over the second.
fn side(name: &str, first: &BTreeSet<String>, second: &BTreeSet<String>) -> Option<bool> {
    let name = normalize_name(name);
    [name.as_str(), ALL].into_iter().find_map(|name| {
        if first.contains(name) {
            Some(true)
        } else {
            second.contains(name).then_some(false)
        }
    })
}

fn write_options(
    formatter: &mut fmt::Formatter<'_>,
    mut sides: [(&str, &BTreeSet<String>); 2],
) -> fmt::Result {
    // `:all:` empties the other side, so it must be written first.
    sides.sort_by_key(|(_, names)| !names.contains(ALL));
    let mut separator = "";
    for (option, names) in sides {
        // Names after `:all:` in the same value would be ignored, so each has its own option.
        let mut names: Vec<_> = names.iter().collect();
        names.sort_by_key(|name| *name != ALL);
        for name in names {
            write!(formatter, "{separator}{option}={name}")?;
            separator = " ";
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn control(options: &[(char, &str)]) -> FormatControl {
        let mut control = FormatControl::default();
        for (kind, value) in options {
            match kind {
                'n' => control.apply_no_binary(value).unwrap(),
                _ => control.apply_only_binary(value).unwrap(),
            }
        }
        control
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn assert_sides(options: &[(char, &str)], no_binary: &[&str], only_binary: &[&str]) {
        let control = control(options);
        assert_eq!(control.no_binary, names(no_binary), "{options:?}");
        assert_eq!(control.only_binary, names(only_binary), "{options:?}");
    }

    #[test]
    fn later_option_overrides_earlier_one_by_name() {
        assert_sides(&[('o', ":all:"), ('n', "fred")], &["fred"], &[":all:"]);
        assert_sides(&[('n', ":all:"), ('o', "fred")], &[":all:"], &["fred"]);
        assert_sides(&[('n', "fred"), ('o', ":all:")], &[], &[":all:"]);
        assert_sides(&[('n', "Fred_X"), ('o', "fred-x")], &[], &["fred-x"]);
    }

    #[test]
    fn none_clears_only_its_own_option() {
        assert_sides(&[('n', ":all:"), ('n', ":none:")], &[], &[]);
        assert_sides(
            &[('n', ":all:"), ('o', "fred"), ('n', ":none:")],
            &[],
            &["fred"],
        );
        assert_sides(&[('n', "a,:none:,b")], &["b"], &[]);
        assert_sides(&[('n', "a,:all:,b,:none:,c")], &["c"], &[]);
        assert_sides(&[('n', "a,:all:,b")], &[":all:"], &[]);
    }

    #[test]
    fn commas_separate_names() {
        assert_sides(&[('n', "1,2,3")], &["1", "2", "3"], &[]);
    }

    #[test]
    fn name_takes_precedence_over_all() {
        let wheels = AllowedFormats {
            wheels: true,
            sources: false,
        };
        let sources = AllowedFormats {
            wheels: false,
            sources: true,
        };
        let both = AllowedFormats {
            wheels: true,
            sources: true,
        };
        assert_eq!(control(&[('n', "fred")]).allowed_formats("Fred"), sources);
        assert_eq!(
            control(&[('o', ":all:"), ('n', "fred")]).allowed_formats("fred"),
            sources
        );
        assert_eq!(control(&[('o', "fred")]).allowed_formats("fred"), wheels);
        assert_eq!(
            control(&[('n', ":all:"), ('o', "fred")]).allowed_formats("fred"),
            wheels
        );
        assert_eq!(control(&[('n', ":all:")]).allowed_formats("fred"), sources);
        assert_eq!(control(&[]).allowed_formats("fred"), both);
    }

    #[test]
    fn rejects_option_as_value() {
        let error = FormatControl::default()
            .apply_no_binary("--pre")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "a value is required, not the option `--pre`"
        );
    }

    #[test]
    fn pre_does_not_remove_names() {
        let mut control = ReleaseControl::default();
        control.apply_only_final("a").unwrap();
        control.apply_pre();
        assert_eq!(control.allows_prereleases("A"), Some(false));
        assert_eq!(control.allows_prereleases("b"), Some(true));
        assert_eq!(ReleaseControl::default().allows_prereleases("b"), None);
    }

    proptest! {
        #[test]
        fn written_options_round_trip(
            options in prop::collection::vec(
                (prop::bool::ANY, "(:all:|:none:|[a-c]{1,2})(,(:all:|:none:|[a-c]{1,2})){0,3}"),
                0..6,
            )
        ) {
            let options: Vec<_> = options
                .iter()
                .map(|(no_binary, value)| (if *no_binary { 'n' } else { 'o' }, value.as_str()))
                .collect();
            let value = control(&options);
            let written = value.to_string();
            let mut read = FormatControl::default();
            for option in written.split_whitespace() {
                match option.split_once('=').unwrap() {
                    ("--no-binary", name) => read.apply_no_binary(name).unwrap(),
                    (_, name) => read.apply_only_binary(name).unwrap(),
                }
            }
            prop_assert_eq!(read, value);
        }
    }
}
