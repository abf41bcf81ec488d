//! Poetry's version constraints, such as `^1.2`, `~1.2`, `1.2.*` and `>=1,<2 || >=3`.
//!
//! Converts them to alternatives of PEP 440 specifiers, and those of Python to a marker.

use wheelhouse_types::{Error, Kind, MarkerTree, Result, Version, VersionSpecifiers, marker};

/// Alternatives, each a list of specifiers such as `>=1.2`; an empty list allows everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Constraint(Vec<Vec<String>>);

impl Constraint {
    /// Parses the constraint of a dependency.
    ///
    /// # Errors
    /// The text is not a version constraint.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bare = text.trim();
        let bare = bare
            .strip_prefix('(')
            .and_then(|bare| bare.strip_suffix(')'))
            .unwrap_or(bare);
        let alternatives = bare
            .split('|')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let parsed: Option<Vec<_>> = alternatives.map(parse_alternative).collect();
        let parsed = parsed.filter(|all| {
            all.iter()
                .flatten()
                .all(|one| one.parse::<VersionSpecifiers>().is_ok())
        });
        parsed
            .map(Self)
            .ok_or_else(|| Error::new(Kind::Input, format!("`{text}` is not a version constraint")))
    }

    pub(super) fn allows(&self, version: &Version) -> bool {
        let fits = |specifier: &String| {
            let parsed = specifier.parse::<VersionSpecifiers>();
            parsed.is_ok_and(|specifiers| specifiers.contains(version))
        };
        self.0
            .iter()
            .any(|alternative| alternative.iter().all(fits))
    }

    /// Converts a constraint on Python to a marker.
    pub(super) fn python_marker(&self) -> Result<MarkerTree> {
        let mut any = MarkerTree::FALSE;
        for alternative in &self.0 {
            let mut all = MarkerTree::TRUE;
            for specifier in alternative {
                let length = specifier.find(|character: char| character.is_ascii_digit());
                let (operator, version) = specifier.split_at(length.unwrap_or(specifier.len()));
                all = all.and(marker::parse(&format!(
                    "python_full_version {operator} '{version}'"
                ))?);
            }
            any = any.or(all);
        }
        Ok(any)
    }
}

fn parse_alternative(text: &str) -> Option<Vec<String>> {
    let mut specifiers = Vec::new();
    // A space is a separator like a comma, except after an operator.
    let mut operator = String::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let word = format!("{operator}{word}");
        operator.clear();
        if word.chars().all(|character| "=<>!~^".contains(character)) {
            operator = word;
        } else {
            specifiers.extend(parse_one(&word)?);
        }
    }
    operator.is_empty().then_some(specifiers)
}

fn parse_one(text: &str) -> Option<Vec<String>> {
    if matches!(text, "*" | "==*" | "x") {
        return Some(Vec::new());
    }
    if let Some(version) = text.strip_prefix('^') {
        return Some(vec![
            format!(">={version}"),
            format!("<{}", caret(version)?),
        ]);
    }
    if let Some(version) = text.strip_prefix('~').filter(|rest| !rest.starts_with('=')) {
        return Some(vec![
            format!(">={version}"),
            format!("<{}", tilde(version)?),
        ]);
    }
    let is_bare = text.starts_with(|character: char| character.is_ascii_digit());
    let is_single = text.starts_with('=') && !text.starts_with("==");
    Some(vec![match (is_bare, is_single) {
        (true, _) => format!("=={text}"),
        (_, true) => format!("={text}"),
        _ => text.to_owned(),
    }])
}

/// Returns the first version that a caret excludes: the first nonzero number is incremented.
fn caret(text: &str) -> Option<String> {
    let version: Version = text.parse().ok()?;
    let release = version.release().to_vec();
    let raised = release
        .iter()
        .position(|number| *number > 0)
        .unwrap_or(release.len() - 1);
    Some(raise(&release, raised))
}

/// Returns the first version that a tilde excludes: the second number, if any, is incremented.
fn tilde(text: &str) -> Option<String> {
    let version: Version = text.parse().ok()?;
    let release = version.release().to_vec();
    let raised = usize::from(release.len() > 1);
    Some(raise(&release, raised))
}

fn raise(release: &[u64], position: usize) -> String {
    let numbers = release.iter().take(position + 1).enumerate();
    let numbers: Vec<String> = numbers
        .map(|(index, number)| (number + u64::from(index == position)).to_string())
        .collect();
    numbers.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(constraint: &str, version: &str) -> bool {
        Constraint::parse(constraint)
            .unwrap()
            .allows(&version.parse().unwrap())
    }

    #[test]
    fn constraints_match_like_in_poetry() {
        for (constraint, inside, outside) in [
            ("^1.2.3", "1.9", "2.0"),
            ("^0.2.3", "0.2.9", "0.3.0"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("^0", "0.9", "1.0"),
            ("~1.2.3", "1.2.9", "1.3"),
            ("~1", "1.9", "2"),
            ("~=1.2.3", "1.2.9", "1.3"),
            ("1.2.*", "1.2.9", "1.3"),
            ("1.5", "1.5.0", "1.6"),
            ("=1.5", "1.5", "1.6"),
            (">=1.0 <2.0", "1.5", "2.0"),
            (">= 1.0, != 1.5", "1.4", "1.5"),
            (">=1,<1.5 || >=2", "2.1", "1.7"),
            (">=1,<1.5|>=2", "1.2", "1.7"),
            ("(>=1,<1.5 || >=2)", "1.2", "1.7"),
        ] {
            assert!(allows(constraint, inside), "{constraint} {inside}");
            assert!(!allows(constraint, outside), "{constraint} {outside}");
        }
        assert!(allows("*", "7"));
        assert!(Constraint::parse("what").is_err());
        assert!(Constraint::parse(">=").is_err());
    }

    #[test]
    fn converts_python_constraints_to_markers() {
        let marker = |text: &str| Constraint::parse(text).unwrap().python_marker().unwrap();
        let parsed = |text: &str| marker::parse(text).unwrap();
        assert_eq!(
            marker("^3.9"),
            parsed("python_full_version >= '3.9' and python_full_version < '4'")
        );
        assert_eq!(marker("<3.11"), parsed("python_version < '3.11'"));
        assert_eq!(
            marker("3.10.* || 3.12.*"),
            parsed("python_version == '3.10' or python_version == '3.12'")
        );
        assert!(marker("*").is_true());
    }
}
