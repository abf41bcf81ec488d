//! uv's hints and explanations, in terms of our options and legible.
//!
//! Responsible for the names of options and for plain text. Never makes a hint.

/// uv's options and ours, which mean the same; the longer ones first.
const OPTIONS: [(&str, &str); 7] = [
    ("--prerelease-package ", "--all-releases "),
    ("--prerelease=allow", "--all-releases :all:"),
    ("--no-build-package ", "--only-binary "),
    ("--no-binary-package ", "--no-binary "),
    ("`--no-build`", "`--only-binary :all:`"),
    (
        "--index-strategy unsafe-best-match",
        "--index-strategy best-match",
    ),
    ("`--python-version`", "`--python`"),
];

/// The hint without colours, naming options that there are.
pub(crate) fn translated(hint: &str) -> String {
    let mut text = plain(hint);
    for (theirs, ours) in OPTIONS {
        text = text.replace(theirs, ours);
    }
    // What is left of a package's mode.
    text.replace("=allow`", "`")
}

/// What uv says before a package and a version, with nothing between the two.
const NO_VERSION: &str = "there is no version of ";

/// `report` with `==` between each of the packages `names` and the one version that it has not.
pub(crate) fn legible(report: &str, names: &[&str]) -> String {
    let mut parts = report.split(NO_VERSION);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let ends = names.iter().filter_map(|name| version_start(part, name));
        let (package, version) = part.split_at(ends.max().unwrap_or_default());
        let operator = if package.is_empty() { "" } else { "==" };
        format!("{text}{NO_VERSION}{package}{operator}{version}")
    })
}

/// Where the version begins in `part`, if it begins with the package `name` and any extra.
fn version_start(part: &str, name: &str) -> Option<usize> {
    let rest = part.strip_prefix(name)?;
    let rest = match rest.strip_prefix('[') {
        Some(extra) => extra.split_once(']')?.1,
        None => rest,
    };
    let is_version = rest.starts_with(|character: char| character.is_ascii_digit());
    is_version.then_some(part.len() - rest.len())
}

/// `text` without the escape sequences that colour it.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_there_is_told_from_its_package() {
        let report =
            "Because there is no version of h1199.1 and there is no version of six[a]2, no.";
        let expected =
            "Because there is no version of h11==99.1 and there is no version of six[a]==2, no.";
        assert_eq!(legible(report, &["six", "h11"]), expected);
        let other = "there is no version of other1, there are no versions of six";
        assert_eq!(legible(other, &["six"]), other);
    }

    #[test]
    fn hints_name_our_options_without_colours() {
        let hint = "not for `\u{1b}[36mbeta\u{1b}[39m` (try: `\u{1b}[32m--prerelease-package beta=allow\u{1b}[39m`)";
        let expected = "not for `beta` (try: `--all-releases beta`)";
        assert_eq!(translated(hint), expected);
        assert_eq!(
            translated("use `--prerelease=allow` or `--no-build`"),
            "use `--all-releases :all:` or `--only-binary :all:`"
        );
        assert_eq!(translated("nothing to say"), "nothing to say");
    }
}
