//! The documents in a wheel that describe it: its core metadata, and the bills of materials in `.dist-info/sboms/` (PEP 770).
//!
//! Does not interpret them.

use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::str::FromStr as _;

use fs_err::File;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, WheelFilename, limits};

use crate::wheel::WheelReader;
use crate::zip_reader;

/// The documents in a wheel.
#[derive(Debug)]
pub struct WheelDocuments {
    /// The bytes of `METADATA`.
    pub metadata: Vec<u8>,
    /// The bills of materials, sorted by path.
    pub sboms: Vec<SbomFile>,
}

/// A file of the directory `sboms` of a wheel.
#[derive(Debug)]
pub struct SbomFile {
    /// The path in the wheel, `example-1.0.dist-info/sboms/example.cdx.json`.
    pub path: String,
    /// The content, or the reason why it was not read.
    pub content: Result<Vec<u8>>,
}

/// Reads the documents in the wheel at `path`, whose published file name is `filename`. A bill of materials that is damaged or
/// exceeds a limit has an error as its content.
///
/// # Errors
/// [`Kind::Fetch`] if the file is not a wheel, or its zip directory or its metadata is invalid.
pub fn documents(path: &Path, filename: &str) -> Result<WheelDocuments> {
    let invalid = || format!("{filename} is not a valid wheel");
    let parsed = WheelFilename::from_str(filename).context(Kind::Fetch, invalid)?;
    let file = File::open(path).context(Kind::Fetch, || format!("failed to read {filename}"))?;
    let mut wheel =
        WheelReader::new(BufReader::new(file), &parsed).context(Kind::Fetch, invalid)?;
    let metadata = wheel.text("METADATA", limits::METADATA);
    Ok(WheelDocuments {
        metadata: metadata.context(Kind::Fetch, invalid)?.into_bytes(),
        sboms: sboms(wheel),
    })
}

fn sboms<R: Read + Seek>(mut wheel: WheelReader<R>) -> Vec<SbomFile> {
    let directory = wheel.dist_info_path("sboms/");
    let mut entries: Vec<_> = wheel
        .entries
        .iter()
        .filter(|entry| !entry.directory && entry.path.starts_with(&directory))
        .cloned()
        .collect();
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut remaining = limits::SBOMS_BYTES;
    let files = entries.into_iter().enumerate().map(|(position, entry)| {
        let content = if position < limits::SBOMS {
            let content = zip_reader::read(&mut wheel.archive, &entry, remaining);
            remaining -= content.as_ref().map_or(0, |bytes| bytes.len() as u64);
            content
        } else {
            let message = format!("the wheel has more than {} such files", limits::SBOMS);
            Err(Error::new(Kind::Fetch, message))
        };
        SbomFile {
            path: entry.path,
            content,
        }
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{METADATA, WHEEL_NAME, WheelSample};

    fn read_sample(sample: &WheelSample) -> Vec<SbomFile> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(WHEEL_NAME);
        std::fs::write(&path, sample.bytes()).unwrap();
        let documents = documents(&path, WHEEL_NAME).unwrap();
        assert_eq!(documents.metadata, METADATA.as_bytes());
        documents.sboms
    }

    #[test]
    fn returns_files_of_the_directory() {
        let mut sample = WheelSample::new();
        assert!(read_sample(&sample).is_empty());
        sample.set("example-1.0.dist-info/sboms/b.spdx.json", "{}");
        sample.set("example-1.0.dist-info/sboms/a/c.cdx.json", "[]");
        sample.set("sboms/other.json", "{}");
        let files = read_sample(&sample);
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "example-1.0.dist-info/sboms/a/c.cdx.json",
                "example-1.0.dist-info/sboms/b.spdx.json"
            ]
        );
        assert_eq!(files[0].content.as_deref().unwrap(), b"[]");
    }

    #[test]
    fn skips_contents_beyond_the_limits() {
        let mut sample = WheelSample::new();
        let large = vec![b' '; usize::try_from(limits::SBOMS_BYTES).unwrap()];
        sample.set("example-1.0.dist-info/sboms/a.json", "{}");
        sample.set("example-1.0.dist-info/sboms/b.json", large);
        sample.set("example-1.0.dist-info/sboms/c.json", "{}");
        let read: Vec<bool> = read_sample(&sample)
            .iter()
            .map(|file| file.content.is_ok())
            .collect();
        assert_eq!(read, [true, false, true]);
        for number in 0..=limits::SBOMS {
            sample.set(&format!("example-1.0.dist-info/sboms/d{number}"), "");
        }
        let files = read_sample(&sample);
        assert_eq!(files.len(), limits::SBOMS + 4);
        assert!(files.last().unwrap().content.is_err());
    }
}
