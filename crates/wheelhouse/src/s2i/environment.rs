//! The variables of `.s2i/environment`.
//!
//! Responsible for its format. Never sets a variable.

use std::io;
use std::path::Path;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use wheelhouse_fs::input;

/// Reads the variables of the upload `source`: none if it has no such file.
///
/// The S2I tool sets them itself, but not every engine that keeps its contract does.
///
/// # Errors
/// `Input` when the file is there but cannot be read.
pub fn read(source: &Path) -> Result<Vec<(String, String)>> {
    match input::read_to_string(&source.join(".s2i/environment")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => text.map(|text| parse(&text)).context(Kind::Input, || {
            "the variables of the source are lost".to_owned()
        }),
    }
}

/// Parses lines `KEY=VALUE` as the S2I tool does: white space around both is dropped, quotes are not,
/// and a line that begins with `#` or has no `=` means nothing.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn variables_are_read_as_the_tool_reads_them() {
        let text =
            "# comment\nPIP_NO_INDEX=1\n\nURL = https://host/?a=b \nnothing\n=none\nEMPTY=\n";
        let expected = [
            ("PIP_NO_INDEX", "1"),
            ("URL", "https://host/?a=b"),
            ("EMPTY", ""),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn a_source_may_have_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), []);
        fs::create_dir_all(directory.path().join(".s2i/environment")).unwrap();
        assert_eq!(read(directory.path()).unwrap_err().kind(), Kind::Input);
    }
}
