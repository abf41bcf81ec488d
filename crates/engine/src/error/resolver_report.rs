//! uv's explanations of failed resolutions, with the names of our options, the origins of requirements, and hints where uv
//! has none.

use std::collections::BTreeSet;

use wheelhouse_types::Version;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{COMMAND_LINE, Requirement};
use wheelhouse_types::requirement::{Named, named};

/// Phrases of uv and their replacements; the longer ones first.
const OPTIONS: [(&str, &str); 9] = [
    (
        "Consider using `exclude-newer-package` to override the cutoff for this package.",
        "Name a later date; files of which the index does not say when they came are left out, too.",
    ),
    ("`exclude-newer`", "`--exclude-newer`"),
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

/// Returns the hint without colors, with the options of this program.
pub(crate) fn rename_options(hint: &str) -> String {
    let mut text = plain(hint);
    for (theirs, ours) in OPTIONS {
        text = text.replace(theirs, ours);
    }
    // The rest of uv's option for one package.
    text.replace("=allow`", "`")
}

/// The maximum number of requirements that are named.
const ORIGINS: usize = 8;

/// Returns a sentence with the origins of the `lines` about the packages `names`, unless all of them are on the command line.
pub(crate) fn requirement_origins<'a>(
    lines: impl IntoIterator<Item = &'a Requirement>,
    names: &[&str],
) -> Option<String> {
    let about = lines.into_iter().filter(|line| match named(&line.text) {
        Named::Package(name, _) | Named::Direct(name, _) => names.contains(&name.as_ref()),
        Named::Nameless => false,
    });
    let mut seen = BTreeSet::new();
    let about: Vec<_> = about
        .filter(|line| seen.insert((&line.origin, &line.text)))
        .collect();
    if about.iter().all(|line| line.origin == COMMAND_LINE) {
        return None;
    }
    let left_out = about.len().saturating_sub(ORIGINS);
    let place = |line: &&Requirement| format!("`{}` in {}", redacted(&line.text), line.origin);
    let mut requirement_origins: Vec<_> = about.iter().take(ORIGINS).map(place).collect();
    if left_out > 0 {
        requirement_origins.push(format!("and {left_out} more"));
    }
    Some(format!("You require {}.", requirement_origins.join(", ")))
}

/// Phrases in a report of uv, each with a hint.
const HINTS: [(&str, &str); 4] = [
    (
        "requires Python",
        "Name a Python that it is for with --python, or allow other versions.",
    ),
    (
        "was not found in the provided package locations",
        "Put it where --find-links looks, or allow an index.",
    ),
    (
        NOT_FOUND,
        "Check the spelling; if another index has it, name that with --extra-index-url.",
    ),
    (
        NO_VERSION,
        "Require an existing version; if another index has this one, name that with --extra-index-url.",
    ),
];

const COMPROMISE: &str =
    "Loosen one of these requirements, or replace what a package requires with --override.";

/// Returns the hint for a failed resolution with this `report`.
pub(crate) fn hint_for(report: &str) -> &'static str {
    let step = HINTS.iter().find(|(said, _)| report.contains(said));
    step.map_or(COMPROMISE, |(_, step)| step)
}

/// The phrase of uv before a package and a version, which it joins without an operator.
const NO_VERSION: &str = "there is no version of ";

/// The phrase of uv about a package that no index has.
pub(crate) const NOT_FOUND: &str = "was not found in the package registry";

/// Returns whether `report` states that the required version of the package `name` does not exist.
pub(crate) fn lacks_version(report: &str, name: &str) -> bool {
    let mut missing = report.split(NO_VERSION).skip(1);
    missing.any(|missing| {
        let rest = missing.strip_prefix(name);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next == '-' || next.is_alphabetic()))
    })
}

/// Returns whether `report` states that the package `name` has no required version, or none at all.
pub(crate) fn lacks_files(report: &str, name: &str) -> bool {
    lacks_version(report, name)
        || report.contains(&format!("there are no versions of {name} "))
        || report.contains(&format!("{name} was not found"))
}

/// Returns the phrase of `report` that describes the versions of an extra of the package `name` as if others existed: for a
/// package that no index has, uv derives the versions of its extras from what is required.
pub(crate) fn versions_of_unknown_extra<'a>(report: &'a str, name: &str) -> Option<&'a str> {
    let start = report.find(&format!("only {name}["))?;
    let end = " is available";
    let length = report[start..].find(end)? + end.len();
    Some(&report[start..start + length])
}

/// The maximum number of versions that are named.
const VERSIONS: usize = 6;

/// Returns a sentence with the `versions` of the package `name`, the newest first, if there are any.
pub(crate) fn available_versions(name: &str, versions: &BTreeSet<Version>) -> Option<String> {
    let newest = versions.iter().rev().take(VERSIONS);
    let newest: Vec<String> = newest.map(ToString::to_string).collect();
    let more = match versions.len().saturating_sub(VERSIONS) {
        0 => String::new(),
        older => format!(" and {older} older ones"),
    };
    match newest.len() {
        0 => None,
        1 if more.is_empty() => Some(format!("The only version of {name} is {}.", newest[0])),
        _ => Some(format!(
            "The versions of {name} are {}{more}.",
            newest.join(", ")
        )),
    }
}

/// Returns `report` with `==` between each of the packages `names` and a missing version, and without the markers behind
/// packages, which all apply to the target.
pub(crate) fn insert_operators(report: &str, names: &[&str]) -> String {
    let report = without_markers(report);
    let mut parts = report.split(NO_VERSION);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let ends = names.iter().filter_map(|name| version_start(part, name));
        let (package, version) = part.split_at(ends.max().unwrap_or_default());
        let operator = if package.is_empty() { "" } else { "==" };
        format!("{text}{NO_VERSION}{package}{operator}{version}")
    })
}

/// Returns `six` for `six{sys_platform == 'linux'}`.
fn without_markers(report: &str) -> String {
    let mut parts = report.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once('}') {
        Some((_, rest)) if text.ends_with(|character: char| !character.is_whitespace()) => {
            text + rest
        }
        _ => text + "{" + part,
    })
}

/// Returns the position of the version in `part`, which begins with the package `name` and any extra.
fn version_start(part: &str, name: &str) -> Option<usize> {
    let rest = part.strip_prefix(name)?;
    let rest = match rest.strip_prefix('[') {
        Some(extra) => extra.split_once(']')?.1,
        None => rest,
    };
    let is_version = rest.starts_with(|character: char| character.is_ascii_digit());
    is_version.then_some(part.len() - rest.len())
}

/// Returns `text` without color escape sequences.
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
    fn inserts_operator_before_missing_version() {
        let report =
            "Because there is no version of h1199.1 and there is no version of six[a]2, no.";
        let expected =
            "Because there is no version of h11==99.1 and there is no version of six[a]==2, no.";
        assert_eq!(insert_operators(report, &["six", "h11"]), expected);
        let marked = "Because a{sys_platform == 'linux'}<2 and b[c]{extra == 'x'} {that}";
        assert_eq!(insert_operators(marked, &[]), "Because a<2 and b[c] {that}");
        let other = "there is no version of other1, there are no versions of six";
        assert_eq!(insert_operators(other, &["six"]), other);
    }

    #[test]
    fn names_origins_of_requirements() {
        let line = |text: &str, origin: &str| Requirement {
            text: text.to_owned(),
            origin: origin.to_owned(),
            ..Requirement::default()
        };
        let lines = [
            line("six==1", "r.txt:1"),
            line("other", "r.txt:2"),
            line("Six[x]<1", COMMAND_LINE),
            line("./six", "r.txt:3"),
            line("six @ https://user:secret@host/six.whl", "c.txt:1"),
        ];
        assert_eq!(
            requirement_origins(&lines, &["six"]).unwrap(),
            "You require `six==1` in r.txt:1, `Six[x]<1` in the command line, \
             `six @ https://****@host/six.whl` in c.txt:1."
        );
        assert_eq!(requirement_origins(&lines[2..3], &["six"]), None);
        let many: Vec<_> = (0..10)
            .map(|number| line("six", &format!("r.txt:{number}")))
            .collect();
        assert!(
            requirement_origins(&many, &["six"])
                .unwrap()
                .ends_with("`six` in r.txt:7, and 2 more.")
        );
    }

    #[test]
    fn lists_newest_versions_first() {
        let versions = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(available_versions("six", &versions(&[])), None);
        let only = available_versions("six", &versions(&["1.0"])).unwrap();
        assert_eq!(only, "The only version of six is 1.0.");
        let all = versions(&["1.9", "1.10", "1.8", "1.7", "1.6", "1.5", "1.4", "1.3rc1"]);
        let expected = "The versions of six are 1.10, 1.9, 1.8, 1.7, 1.6, 1.5 and 2 older ones.";
        assert_eq!(available_versions("six", &all).unwrap(), expected);
        let report =
            "Because there is no version of six-more==2 and there is no version of h11[a]==2";
        assert!(lacks_version(report, "h11") && !lacks_version(report, "six"));
    }

    #[test]
    fn finds_versions_of_unknown_extra() {
        let report =
            "Because only six[all]<2 is available and you require six[all]>=2, nothing fits.";
        let phrase = versions_of_unknown_extra(report, "six");
        assert_eq!(phrase, Some("only six[all]<2 is available"));
        assert_eq!(versions_of_unknown_extra(report, "seven"), None);
        assert_eq!(
            versions_of_unknown_extra("only six<2 is available", "six"),
            None
        );
    }

    #[test]
    fn every_report_has_hint() {
        for (report, word) in [
            ("six was not found in the package registry", "spelling"),
            (
                "six==9 requires Python >=3.99 and you require six==9",
                "--python",
            ),
            ("there is no version of six==99", "version"),
            (
                "you require six<1 and six>=2, which are incompatible",
                "Loosen",
            ),
        ] {
            assert!(hint_for(report).contains(word), "{report}");
        }
    }

    #[test]
    fn renames_options_and_removes_colors() {
        let hint = "not for `\u{1b}[36mbeta\u{1b}[39m` (try: `\u{1b}[32m--prerelease-package beta=allow\u{1b}[39m`)";
        let expected = "not for `beta` (try: `--all-releases beta`)";
        assert_eq!(rename_options(hint), expected);
        assert_eq!(
            rename_options("use `--prerelease=allow` or `--no-build`"),
            "use `--all-releases :all:` or `--only-binary :all:`"
        );
        let newer = "`six` was filtered by `exclude-newer` to only include packages uploaded before \
            2020. Consider using `exclude-newer-package` to override the cutoff for this package.";
        let renamed = rename_options(newer);
        assert!(renamed.contains("`--exclude-newer`"), "{renamed}");
        assert!(renamed.ends_with("are left out, too."), "{renamed}");
        assert_eq!(rename_options("nothing to say"), "nothing to say");
    }
}
