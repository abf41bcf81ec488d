//! Normalization of the names of distributions, extras and groups (PEP 503, PEP 685, PEP 735). Names may be invalid.

/// Normalizes `name`: lower case, with each run of `-`, `_` and `.` as one hyphen.
#[must_use]
pub(super) fn normalize_name(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    let mut in_run = false;
    for character in name.chars() {
        let separates = matches!(character, '-' | '_' | '.');
        if !separates {
            normalized.extend(character.to_lowercase());
        } else if !in_run {
            normalized.push('-');
        }
        in_run = separates;
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapses_separators_to_one_hyphen() {
        assert_eq!(normalize_name("Foo.__-Bar_1"), "foo-bar-1");
        assert_eq!(normalize_name("plain"), "plain");
    }
}
