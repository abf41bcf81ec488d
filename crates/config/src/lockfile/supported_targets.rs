//! The targets that a lock supports.
//!
//! Tools omit packages that the Pythons and environments of a lock do not need, so it cannot be used for others.

use wheelhouse_types::{Error, Kind, MarkerTree, Result, Target, VersionSpecifiers, marker};

/// The conditions that a target must meet.
#[derive(Clone, Debug, Default)]
pub struct SupportedTargets {
    /// The name of the lock in messages.
    lock: String,
    /// The conditions of the lock, as text and as a marker.
    conditions: Vec<(String, MarkerTree)>,
}

impl SupportedTargets {
    pub(super) fn require(&mut self, said: String, marker: MarkerTree) {
        self.conditions.push((said, marker));
    }

    /// Adds the condition of `requires-python`.
    pub(super) fn require_python(&mut self, text: &str) -> Result<()> {
        self.require(format!("requires-python is `{text}`"), python_marker(text)?);
        Ok(())
    }

    /// Adds the condition of `requires-python` of the package `name`, which is selected by `marker`.
    pub(super) fn require_python_of(&mut self, name: &str, text: &str, marker: MarkerTree) {
        // Old releases have specifiers that no current tool can parse; their files are checked later.
        if let Ok(python) = python_marker(text) {
            let said = format!("package `{name}` has the requires-python `{text}`");
            self.require(said, python.or(marker.negate()));
        }
    }

    /// Adds alternatives; an empty list allows all environments.
    pub(super) fn require_any(&mut self, key: &str, texts: &[&str]) -> Result<()> {
        if texts.is_empty() {
            return Ok(());
        }
        let any = texts.iter().try_fold(MarkerTree::FALSE, |any, text| {
            Ok::<_, Error>(any.or(marker::parse(text)?))
        })?;
        self.require(format!("{key} is `{}`", texts.join("`, `")), any);
        Ok(())
    }

    pub(super) fn of(mut self, lock: &str) -> Self {
        lock.clone_into(&mut self.lock);
        self
    }

    /// Returns whether the lock supports every target.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Checks that the lock supports `target`.
    ///
    /// # Errors
    /// `Input` if it does not.
    pub fn check(&self, target: &Target) -> Result<()> {
        let Some(environment) = target.marker_environment() else {
            return Ok(());
        };
        let unmet = self
            .conditions
            .iter()
            .find(|(_, marker)| !marker.evaluate(&environment, &[]));
        let Some((said, _)) = unmet else {
            return Ok(());
        };
        let message = format!(
            "the lock `{}` does not support {}: its {said}",
            self.lock,
            target.label()
        );
        Err(Error::new(Kind::Input, message)
            .with_hint("Choose another Python with --python, or update the lock for this one."))
    }
}

/// Converts version specifiers to a marker over Python's version.
///
/// # Errors
/// The specifiers are not valid.
pub(super) fn python_marker(text: &str) -> Result<MarkerTree> {
    let specifiers: VersionSpecifiers = text.parse().map_err(|error| {
        let message = format!("requires-python `{text}` is invalid");
        Error::new(Kind::Input, message).caused_by(error)
    })?;
    specifiers
        .iter()
        .try_fold(MarkerTree::TRUE, |all, specifier| {
            let written = specifier.to_string();
            // The version keeps its `.*`.
            let version = written.trim_start_matches(['=', '<', '>', '!', '~', ' ']);
            let clause = format!("python_full_version {} '{version}'", specifier.operator());
            Ok(all.and(marker::parse(&clause)?))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        "3.11.7-linux".parse().unwrap()
    }

    fn check(python: &str, environments: &[&str]) -> std::result::Result<(), String> {
        let mut scope = SupportedTargets::default().of("uv.lock");
        scope.require_python(python).unwrap();
        scope.require_any("environments", environments).unwrap();
        scope.check(&target()).map_err(|error| error.to_string())
    }

    #[test]
    fn rejects_unsupported_target() {
        assert_eq!(check(">=3.9,<4", &[]), Ok(()));
        assert_eq!(
            check("==3.11.*", &["os_name == 'nt'", "os_name == 'posix'"]),
            Ok(())
        );
        let refused = |said: &str| {
            let label = target().label();
            Err(format!(
                "the lock `uv.lock` does not support {label}: its {said}"
            ))
        };
        assert_eq!(check(">=3.12", &[]), refused("requires-python is `>=3.12`"));
        assert_eq!(
            check(">=3", &["os_name == 'nt'"]),
            refused("environments is `os_name == 'nt'`")
        );
    }
}
