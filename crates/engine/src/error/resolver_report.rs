//! uv's hints and explanations, in target_env of our options and legible.
//!
//! Responsible for the names of options, for plain text, for where requirements are written, and for
//! what to do where uv has no hint.

use std::collections::BTreeSet;

use wheelhouse_types::Version;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{COMMAND_LINE, Requirement};
use wheelhouse_types::requirement::{Named, named};

/// uv's options and ours, which mean the same; the longer ones first.
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

/// The hint without colours, naming options that there are.
pub(crate) fn translated(hint: &str) -> String {
    let mut text = plain(hint);
    for (theirs, ours) in OPTIONS {
        text = text.replace(theirs, ours);
    }
    // What is left of a package's mode.
    text.replace("=allow`", "`")
}

/// How many lines are named at most.
const PLACES: usize = 8;

/// Where those of `lines` are written that are about one of the packages `names`; nothing where the
/// user can see them all on the command line.
pub(crate) fn places<'a>(
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
    let left_out = about.len().saturating_sub(PLACES);
    let place = |line: &&Requirement| format!("`{}` in {}", redacted(&line.text), line.origin);
    let mut places: Vec<_> = about.iter().take(PLACES).map(place).collect();
    if left_out > 0 {
        places.push(format!("and {left_out} more"));
    }
    Some(format!("You require {}.", places.join(", ")))
}

/// What to do about a `report` of uv's, by what it says.
const NEXT_STEPS: [(&str, &str); 4] = [
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
        "Check how it is spelt; if another index has it, name that with --extra-index-url.",
    ),
    (
        NO_VERSION,
        "Ask for a version that there is; if another index has this one, name that with --extra-index-url.",
    ),
];

const COMPROMISE: &str =
    "Loosen one of these requirements, or replace what a package requires with --override.";

/// What to do about a resolution that failed as `report` says.
pub(crate) fn next_step(report: &str) -> &'static str {
    let step = NEXT_STEPS.iter().find(|(said, _)| report.contains(said));
    step.map_or(COMPROMISE, |(_, step)| step)
}

/// What uv says before a package and a version, with nothing between the two.
const NO_VERSION: &str = "there is no version of ";

/// The words of uv about a package that no index has.
pub(crate) const NOT_FOUND: &str = "was not found in the package registry";

/// Returns whether `report` says that there is not the version of the package `name` that is wanted.
pub(crate) fn lacks_version(report: &str, name: &str) -> bool {
    let mut missing = report.split(NO_VERSION).skip(1);
    missing.any(|missing| {
        let rest = missing.strip_prefix(name);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next == '-' || next.is_alphabetic()))
    })
}

/// Returns whether `report` says that the package `name` has no version that is wanted, or none at all.
pub(crate) fn lacks_files(report: &str, name: &str) -> bool {
    lacks_version(report, name)
        || report.contains(&format!("there are no versions of {name} "))
        || report.contains(&format!("{name} was not found"))
}

/// The largest number of versions that are listed.
const VERSIONS: usize = 6;

/// The `versions` that there are of the package `name`, the newest first; nothing where there is none.
pub(crate) fn listed(name: &str, versions: &BTreeSet<Version>) -> Option<String> {
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

/// `report` with `==` between each of the packages `names` and the one version that it has not, and
/// without the markers behind packages, which are true of the target.
pub(crate) fn legible(report: &str, names: &[&str]) -> String {
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

/// `six` for `six{sys_platform == 'linux'}`.
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
        let marked = "Because a{sys_platform == 'linux'}<2 and b[c]{extra == 'x'} {that}";
        assert_eq!(legible(marked, &[]), "Because a<2 and b[c] {that}");
        let other = "there is no version of other1, there are no versions of six";
        assert_eq!(legible(other, &["six"]), other);
    }

    #[test]
    fn lines_are_told_with_their_places() {
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
            places(&lines, &["six"]).unwrap(),
            "You require `six==1` in r.txt:1, `Six[x]<1` in the command line, \
             `six @ https://****@host/six.whl` in c.txt:1."
        );
        assert_eq!(places(&lines[2..3], &["six"]), None);
        let many: Vec<_> = (0..10)
            .map(|number| line("six", &format!("r.txt:{number}")))
            .collect();
        assert!(
            places(&many, &["six"])
                .unwrap()
                .ends_with("`six` in r.txt:7, and 2 more.")
        );
    }

    #[test]
    fn versions_are_listed_from_the_newest_on() {
        let versions = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(listed("six", &versions(&[])), None);
        let only = listed("six", &versions(&["1.0"])).unwrap();
        assert_eq!(only, "The only version of six is 1.0.");
        let all = versions(&["1.9", "1.10", "1.8", "1.7", "1.6", "1.5", "1.4", "1.3rc1"]);
        let expected = "The versions of six are 1.10, 1.9, 1.8, 1.7, 1.6, 1.5 and 2 older ones.";
        assert_eq!(listed("six", &all).unwrap(), expected);
        let report =
            "Because there is no version of six-more==2 and there is no version of h11[a]==2";
        assert!(lacks_version(report, "h11") && !lacks_version(report, "six"));
    }

    #[test]
    fn there_is_always_something_to_do() {
        for (report, word) in [
            ("six was not found in the package registry", "spelt"),
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
            assert!(next_step(report).contains(word), "{report}");
        }
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
        let newer = "`six` was filtered by `exclude-newer` to only include packages uploaded before \
            2020. Consider using `exclude-newer-package` to override the cutoff for this package.";
        let told = translated(newer);
        assert!(told.contains("`--exclude-newer`"), "{told}");
        assert!(told.ends_with("are left out, too."), "{told}");
        assert_eq!(translated("nothing to say"), "nothing to say");
    }
}
