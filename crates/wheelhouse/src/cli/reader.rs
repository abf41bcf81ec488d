//! Reads requirements files: local ones, and `-` for the standard input.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result};

use crate::config::{LocalReader, ReadSource, Source};

/// Reads files; the standard input must be read beforehand, for it may never end.
#[derive(Default)]
pub(crate) struct Reader {
    /// The path that stands for the standard input, and what was read from it.
    standard_input: Option<(PathBuf, Vec<u8>)>,
}

impl Reader {
    /// Reads the standard input to its end. `directory` is where paths begin.
    pub(crate) fn read_standard_input(&mut self, directory: &Path) -> Result<()> {
        let mut content = Vec::new();
        let read = io::stdin().read_to_end(&mut content);
        read.context(Kind::Input, || {
            "the standard input cannot be read".to_owned()
        })?;
        self.standard_input = Some((directory.join("-"), content));
        Ok(())
    }
}

impl ReadSource for Reader {
    fn read(&self, source: &Source) -> io::Result<Vec<u8>> {
        match (&self.standard_input, source) {
            (Some((path, content)), Source::File(named)) if path == named => Ok(content.clone()),
            _ => LocalReader.read(source),
        }
    }
}
