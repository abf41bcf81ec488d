//! Versions whose `Requires-Python` excludes the Python of the target.
//!
//! uv considers only the lower bound of `Requires-Python`; pip, as here, all of it. So a version for other Pythons gets a
//! placeholder with a lower bound that no Python reaches, and messages of uv get the original specifiers again.

use std::sync::Mutex;

use uv_pep440::{Version, VersionSpecifier, VersionSpecifiers};

/// The major version of placeholders.
const UNREACHED: u64 = 9999;

/// The replaced specifiers, by the minor version of the placeholder.
#[derive(Default)]
pub(crate) struct RequiresPythonFilter(Mutex<Vec<VersionSpecifiers>>);

/// The major version for files with the metadata of another distribution.
const INCONSISTENT: u64 = UNREACHED - 1;

/// Returns the placeholder for a version whose file has the metadata of another distribution.
pub(crate) fn inconsistent() -> VersionSpecifiers {
    let bound = Version::new([INCONSISTENT]);
    VersionSpecifiers::from(VersionSpecifier::greater_than_equal_version(bound))
}

impl RequiresPythonFilter {
    /// Returns the placeholder for `requires`.
    pub(crate) fn placeholder_specifier(&self, requires: &VersionSpecifiers) -> VersionSpecifiers {
        let mut replaced = self.0.lock().expect("no panic while locked");
        let known = replaced.iter().position(|known| known == requires);
        let index = known.unwrap_or_else(|| {
            replaced.push(requires.clone());
            replaced.len() - 1
        });
        let bound = Version::new([UNREACHED, index as u64]);
        VersionSpecifiers::from(VersionSpecifier::greater_than_equal_version(bound))
    }

    /// Replaces the placeholders in a message of uv by the original specifiers.
    pub(crate) fn restore_message(&self, text: &str) -> String {
        let replaced = self.0.lock().expect("no panic while locked");
        // From the last to the first, as one may be a prefix of another.
        let each = replaced.iter().enumerate().rev();
        let text = text.replace(
            &format!("Python >={INCONSISTENT}"),
            "metadata that agrees with the name of its file",
        );
        each.fold(text, |text, (index, requires)| {
            let requires = requires.to_string().replace(", ", ",");
            text.replace(&format!(">={UNREACHED}.{index}"), &requires)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_metadata_of_other_distribution() {
        let report = format!("alpha==1.0 requires Python {} and", inconsistent());
        assert_eq!(
            RequiresPythonFilter::default().restore_message(&report),
            "alpha==1.0 requires metadata that agrees with the name of its file and"
        );
    }

    #[test]
    fn restores_specifiers() {
        let filter = RequiresPythonFilter::default();
        let mut text = String::new();
        for minor in 0..12 {
            let requires: VersionSpecifiers = format!("<3.{minor}").parse().unwrap();
            let placeholder = filter.placeholder_specifier(&requires);
            assert!(!placeholder.contains(&"3.14".parse().unwrap()));
            assert_eq!(filter.placeholder_specifier(&requires), placeholder);
            text = format!("{text} Python{placeholder}.");
        }
        let restored = filter.restore_message(&text);
        assert!(
            restored.starts_with(" Python<3.0. Python<3.1."),
            "{restored}"
        );
        assert!(
            restored.ends_with(" Python<3.10. Python<3.11."),
            "{restored}"
        );
    }
}
