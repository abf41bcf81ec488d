//! Helpers for the tests of all formats.

use std::path::Path;

use wheelhouse_types::Result;

use super::{LockFile, LockFormat, LockedInputs, Selection, read};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Reads `text`, in which `SHA_A` and similar names stand for hashes, from the directory `/app`.
/// `extras` and `groups` are separated by white space.
pub(super) fn read_as(
    format: LockFormat,
    text: &str,
    project: Option<&str>,
    extras: &str,
    groups: &str,
) -> Result<LockedInputs> {
    let text = [("SHA_A", "a1"), ("SHA_B", "b2"), ("SHA_C", "c3")]
        .iter()
        .fold(text.to_owned(), |text, (word, digits)| {
            text.replace(word, &digits.repeat(32))
        });
    let name = match format {
        LockFormat::Pylock => "pylock.toml",
        LockFormat::Uv => "uv.lock",
        LockFormat::Poetry => "poetry.lock",
        LockFormat::Pipfile => "Pipfile.lock",
    };
    let file = LockFile {
        name,
        text: &text,
        base: Path::new("/app"),
        project,
    };
    read(
        format,
        &file,
        &Selection::parse(&words(extras), &words(groups))?,
    )
}

pub(super) fn lines_of(
    format: LockFormat,
    text: &str,
    project: Option<&str>,
    extras: &str,
    groups: &str,
) -> Vec<String> {
    let locked = read_as(format, text, project, extras, groups).unwrap();
    locked
        .requirements
        .into_iter()
        .map(|requirement| requirement.text)
        .collect()
}

pub(super) fn error_of(
    format: LockFormat,
    text: &str,
    project: Option<&str>,
    extras: &str,
) -> String {
    read_as(format, text, project, extras, "")
        .unwrap_err()
        .display_chain()
}
