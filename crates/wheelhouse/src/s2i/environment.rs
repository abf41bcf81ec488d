//! Parses the variables in `.s2i/environment`.

use std::io;
use std::path::Path;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use wheelhouse_fs::input;

/// Reads the variables of the upload `source`, if it has any.
///
/// The S2I tool sets them itself, but other builders that implement its contract may not.
///
/// # Errors
/// `Input` if the file exists but cannot be read.
pub fn read(source: &Path) -> Result<Vec<(String, String)>> {
    match input::read_to_string(&source.join(".s2i/environment")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => text.map(|text| parse(&text)).context(Kind::Input, || {
            "failed to read the variables of the source".to_owned()
        }),
    }
}

/// Parses lines `KEY=VALUE` like the S2I tool: white space around both is removed, quotes are kept,
/// and lines that begin with `#` or have no `=` are ignored.
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
