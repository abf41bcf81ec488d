//! Which targets a run is for, as users say it.

use super::{Platform, PythonName, Target};

/// Targets by their names, and the cross product of Pythons and platforms; nothing at all stands
/// for the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedTargets {
    /// Whole targets; `None` is the host.
    pub targets: Vec<Option<Target>>,
    /// Pythons; none stands for the host's, if there are platforms.
    pub pythons: Vec<PythonName>,
    /// Platforms; none stands for the host's, if there are Pythons.
    pub platforms: Vec<Platform>,
}

impl RequestedTargets {
    /// Resolves the targets for a machine whose own target is `host`; each appears once.
    #[must_use]
    pub fn targets(&self, host: &Target) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let named = self.targets.iter();
        let named = named.map(|target| target.clone().unwrap_or_else(|| host.clone()));
        for target in named.chain(self.product(host)) {
            let is_same = |known: &Target| known.full_name() == target.full_name();
            if !targets.iter().any(is_same) {
                targets.push(target);
            }
        }
        if targets.is_empty() {
            targets.push(host.clone());
        }
        targets
    }

    fn product(&self, host: &Target) -> Vec<Target> {
        let own_python = host.python_name().into_iter().collect();
        let pythons = if self.pythons.is_empty() && !self.platforms.is_empty() {
            &own_python
        } else {
            &self.pythons
        };
        let mut targets = Vec::new();
        for python in pythons {
            for platform in &self.platforms {
                targets.push(Target::foreign(python, platform));
            }
            if self.platforms.is_empty() {
                targets.extend(host.with_python(python));
            }
        }
        targets
    }
}

impl Target {
    fn python_name(&self) -> Option<PythonName> {
        self.python().parse().ok()
    }

    /// Returns the same platform with another Python; itself, if it has that Python.
    fn with_python(&self, python: &PythonName) -> Option<Self> {
        let own = self.python_name();
        let is_own = own.is_some_and(|own| {
            let same_patch = python.patch.is_none() || python.patch == own.patch;
            let same_unicode =
                python.wide_unicode.is_none() || python.wide_unicode == Some(self.wide_unicode);
            own.to_string() == python.to_string() && same_patch && same_unicode
        });
        if is_own {
            return Some(self.clone());
        }
        Some(Self::foreign(python, &self.platform.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Target {
        Target {
            interpreter: Some("/usr/bin/python3".into()),
            ..Target::foreign(
                &"3.11.7".parse().unwrap(),
                &"manylinux_2_36_x86_64".parse().unwrap(),
            )
        }
    }

    fn names(choice: &RequestedTargets) -> Vec<String> {
        choice.targets(&host()).iter().map(Target::name).collect()
    }

    #[test]
    fn empty_selection_is_host() {
        assert_eq!(RequestedTargets::default().targets(&host()), [host()]);
    }

    #[test]
    fn combines_pythons_and_platforms() {
        let choice = RequestedTargets {
            pythons: vec!["3.9".parse().unwrap(), "3.12".parse().unwrap()],
            platforms: vec!["linux".parse().unwrap(), "windows".parse().unwrap()],
            ..RequestedTargets::default()
        };
        let expected = [
            "cp39-manylinux_2_28_x86_64",
            "cp39-win_amd64",
            "cp312-manylinux_2_28_x86_64",
            "cp312-win_amd64",
        ];
        assert_eq!(names(&choice), expected);
    }

    #[test]
    fn unspecified_parts_are_those_of_host() {
        let platforms = RequestedTargets {
            platforms: vec!["windows".parse().unwrap()],
            ..RequestedTargets::default()
        };
        assert_eq!(names(&platforms), ["cp311-win_amd64"]);
        let pythons = RequestedTargets {
            pythons: vec!["3.11".parse().unwrap(), "3.12".parse().unwrap()],
            ..RequestedTargets::default()
        };
        let targets = pythons.targets(&host());
        assert_eq!(targets[0], host());
        assert_eq!(targets[1].name(), "cp312-manylinux_2_36_x86_64");
    }

    #[test]
    fn removes_duplicate_targets() {
        let choice = RequestedTargets {
            targets: vec![None, Some("3.9-linux".parse().unwrap())],
            pythons: vec!["3.9".parse().unwrap()],
            platforms: vec!["linux".parse().unwrap()],
        };
        assert_eq!(choice.targets(&host()).len(), 2);
    }
}
