//! Reads each wheel of a directory once: its digest, its metadata, and its inconsistencies.
//!
//! A wheel is not compared with other files here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::{Result, Sha256, WheelFilename};

use super::inventory::DirectoryInventory;
use wheelhouse_archive::{Limits, WheelIrregularity};
use wheelhouse_fs::digest::{Algorithm, digest_with};
use wheelhouse_fs::threads::in_parallel;

/// The contents of a wheel.
#[derive(Clone, Debug, Default)]
pub(super) struct WheelContents {
    /// The parsed name of the file; `None` if it is not a valid wheel name.
    pub(super) filename: Option<WheelFilename>,
    /// The digest and the size; `None` for a file that cannot be read.
    pub(super) bytes: Option<(Sha256, u64)>,
    /// Its `METADATA`, if it is a valid wheel.
    pub(super) metadata: Option<Vec<u8>>,
    /// Faults that installers must reject.
    pub(super) faults: Vec<String>,
    /// Irregularities that installers ignore.
    pub(super) irregularities: Vec<String>,
}

impl WheelContents {
    pub(super) fn sha256(&self) -> Option<Sha256> {
        self.bytes.map(|(sha256, _)| sha256)
    }

    /// Returns the values of a metadata field.
    pub(super) fn values(&self, field: &str) -> Vec<String> {
        let metadata = self.metadata.as_deref().unwrap_or_default();
        wheelhouse_archive::metadata::values(&String::from_utf8_lossy(metadata), field)
    }
}

/// Reads all wheels of `inventory`, several at a time.
pub(super) fn read_all(inventory: &DirectoryInventory) -> BTreeMap<String, WheelContents> {
    let names: Vec<&String> = inventory.wheels.iter().collect();
    let contents = in_parallel(&names, |name| {
        let found = read(&inventory.directory.join(name), name);
        ((*name).clone(), found)
    });
    contents.into_iter().collect()
}

fn read(path: &Path, name: &str) -> WheelContents {
    let mut contents = WheelContents {
        filename: name.parse().ok(),
        ..WheelContents::default()
    };
    match digest(path) {
        Ok(bytes) => contents.bytes = Some(bytes),
        Err(error) => {
            contents.faults.push(format!("cannot be read: {error}"));
            return contents;
        }
    }
    if let Err(error) = inspect(path, name, &mut contents) {
        let sentence = error.display_chain();
        let start = format!("{name} ");
        let fault = sentence.strip_prefix(&start).unwrap_or(&sentence);
        contents.faults.push(fault.to_owned());
    }
    contents
}

fn inspect(path: &Path, name: &str, contents: &mut WheelContents) -> Result<()> {
    let inspection = wheelhouse_archive::inspect(path, name)?;
    contents.metadata = Some(inspection.metadata);
    let differences = wheelhouse_archive::verify_contents(path, name, &Limits::default())?;
    // The inspection reports inconsistencies of `RECORD` less exactly than the differences.
    let others = inspection.irregularities.into_iter();
    let others = others.filter(|irregularity| !irregularity.is_record_difference());
    for irregularity in differences
        .into_iter()
        .map(WheelIrregularity::Record)
        .chain(others)
    {
        if matches!(&irregularity, WheelIrregularity::Record(difference) if difference.is_corruption())
        {
            contents.faults.push(format!("is damaged: {irregularity}"));
        } else {
            let irregularity = format!("is irregular: {irregularity}");
            contents.irregularities.push(irregularity);
        }
    }
    Ok(())
}

/// Returns whether the wheel `filename` may fit the target of `compatibility`, also if that is unknown.
pub(super) fn is_candidate(filename: &WheelFilename, compatibility: &WheelCompatibility) -> bool {
    compatibility.accepts(filename) != Some(false)
}

/// Computes the digest and the size of the file at `path`.
pub(super) fn digest(path: &Path) -> io::Result<(Sha256, u64)> {
    wheelhouse_fs::digest::sha256(&mut open(path)?)
}

/// Computes the digests of the file at `path` by each of `algorithms`; `None` for unsupported ones.
pub(super) fn digests<'a>(
    path: &Path,
    algorithms: impl IntoIterator<Item = &'a str>,
) -> io::Result<BTreeMap<&'a str, Option<String>>> {
    let names: BTreeMap<&str, Option<Algorithm>> = algorithms
        .into_iter()
        .map(|name| (name, Algorithm::from_name(name)))
        .collect();
    let digests = digest_with(&mut open(path)?, names.values().copied().flatten())?;
    let digests = names
        .into_iter()
        .map(|(name, known)| (name, known.and_then(|known| digests.get(known))));
    Ok(digests.collect())
}

/// Opens a regular file; opening a pipe may block forever.
fn open(path: &Path) -> io::Result<std::fs::File> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    std::fs::File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_digests_of_supported_algorithms() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let found = digests(&path, ["md5", "sha1", "blake2b"]).unwrap();
        let expected = [
            ("blake2b", None),
            ("md5", Some("900150983cd24fb0d6963f7d28e17f72")),
            ("sha1", Some("a9993e364706816aba3e25717850c26c9cd0d89d")),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|(name, digits)| (*name, digits.as_deref()))
            .collect();
        assert_eq!(found, expected);
        assert!(digests(directory.path(), ["md5"]).is_err());
    }
}
