//! Versions that are not for the target's Python.
//!
//! uv looks at the lower bound of `Requires-Python` alone; pip, as here, takes all of it. So a version
//! that is not for a Python gets a lower bound that no Python reaches, and what uv says of it is put
//! right again.

use std::sync::Mutex;

use uv_pep440::{Version, VersionSpecifier, VersionSpecifiers};

/// The major version of the bound.
const UNREACHED: u64 = 9999;

/// What was replaced, by the minor version of the bound.
#[derive(Default)]
pub(crate) struct RequiresPythonFilter(Mutex<Vec<VersionSpecifiers>>);

/// The bound of a version whose file has the metadata of something else.
const INCONSISTENT: u64 = UNREACHED - 1;

/// What stands for the Pythons of a version that cannot be used, as its file has the metadata of something else.
pub(crate) fn inconsistent() -> VersionSpecifiers {
    let bound = Version::new([INCONSISTENT]);
    VersionSpecifiers::from(VersionSpecifier::greater_than_equal_version(bound))
}

impl RequiresPythonFilter {
    /// What stands for `requires` where uv looks.
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

    /// `text` of uv's with what was replaced.
    pub(crate) fn restore_message(&self, text: &str) -> String {
        let replaced = self.0.lock().expect("no panic while locked");
        // From the last to the first, so that none is taken for the beginning of another.
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
    fn metadata_of_something_else_is_called_that() {
        let report = format!("alpha==1.0 requires Python {} and", inconsistent());
        assert_eq!(
            RequiresPythonFilter::default().restore_message(&report),
            "alpha==1.0 requires metadata that agrees with the name of its file and"
        );
    }

    #[test]
    fn what_was_replaced_is_put_back() {
        let unfit = RequiresPythonFilter::default();
        let mut text = String::new();
        for minor in 0..12 {
            let requires: VersionSpecifiers = format!("<3.{minor}").parse().unwrap();
            let stand_in = unfit.placeholder_specifier(&requires);
            assert!(!stand_in.contains(&"3.14".parse().unwrap()));
            assert_eq!(unfit.placeholder_specifier(&requires), stand_in);
            text = format!("{text} Python{stand_in}.");
        }
        let restored = unfit.restore_message(&text);
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
