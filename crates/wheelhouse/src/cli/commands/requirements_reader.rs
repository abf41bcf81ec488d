//! Reads requirements files from paths, URLs and standard input (`-`).

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;
use wheelhouse_engine::{RemoteFileKind, RemoteFiles};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::Network;
use wheelhouse_types::retry::RetryNotices;
use wheelhouse_types::{Kind, Result};

use wheelhouse_config::{FileSource, LocalReader, ReadSource, Settings};

/// Reads files. Standard input must be read beforehand, because it may block.
#[derive(Default)]
pub(crate) struct SourceReader {
    /// The path that represents standard input, and its contents.
    standard_input: Option<(PathBuf, Vec<u8>)>,
    /// The client for files at URLs, if the network is used.
    documents: Option<RemoteFiles>,
}

impl SourceReader {
    /// Reads standard input to its end. `directory` is the base of relative paths.
    pub(crate) fn read_standard_input(&mut self, directory: &Path) -> Result<()> {
        let mut content = Vec::new();
        let read = io::stdin().read_to_end(&mut content);
        read.context(Kind::Input, || {
            "the standard input cannot be read".to_owned()
        })?;
        self.standard_input = Some((directory.join("-"), content));
        Ok(())
    }

    /// Enables the network as in `settings`. Afterwards [`ReadSource::read`] may block on a
    /// server: call it on a thread of a runtime where that is allowed.
    pub(crate) fn use_network(&mut self, settings: &Settings, notices: RetryNotices) {
        let network = Network {
            notices,
            ..settings.network(&settings.file_options)
        };
        let kind = RemoteFileKind::Requirements;
        self.documents = Some(RemoteFiles::new(kind, network, settings.index_urls()));
    }
}

impl ReadSource for SourceReader {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        match (source, &self.standard_input, &self.documents) {
            (FileSource::File(named), Some((path, content)), _) if path == named => {
                Ok(content.clone())
            }
            (FileSource::Url(url), _, Some(documents)) if url.scheme() != "file" => {
                Handle::current()
                    .block_on(documents.read(url))
                    .map_err(io::Error::other)
            }
            _ => LocalReader.read(source),
        }
    }
}
