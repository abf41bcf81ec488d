//! uv's hints, in terms of our options.
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
