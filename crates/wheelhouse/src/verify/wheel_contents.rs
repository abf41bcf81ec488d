//! Every wheel of a directory, read once: its digest, its metadata, and what it says of itself
//! that is not so.
//!
//! Never compares a wheel with anything outside it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelhouse_types::{Result, Sha256, WheelFilename};

use super::inventory::Survey;
use wheelhouse_archive::{Limits, record_check};
use wheelhouse_fs::threads::on_threads;
use wheelhouse_store::{Algorithm, Digester};

/// What a wheel was found to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Examined {
    /// `None` for a name that no wheel has.
    pub(super) filename: Option<WheelFilename>,
    /// Digest and size; `None` for a file that cannot be read.
    pub(super) bytes: Option<(Sha256, u64)>,
    /// Its `METADATA`, if it is a wheel.
    pub(super) metadata: Option<Vec<u8>>,
    /// What no installer should take.
    pub(super) faults: Vec<String>,
    /// What installers overlook.
    pub(super) irregularities: Vec<String>,
}

impl Examined {
    pub(super) fn sha256(&self) -> Option<Sha256> {
        self.bytes.map(|(sha256, _)| sha256)
    }

    /// The values of a field of its metadata.
    pub(super) fn values(&self, field: &str) -> Vec<String> {
        let metadata = self.metadata.as_deref().unwrap_or_default();
        wheelhouse_archive::metadata::values(&String::from_utf8_lossy(metadata), field)
    }
}

/// Examines all wheels of `survey`, several at once.
pub(super) fn wheels(survey: &Survey) -> BTreeMap<String, Examined> {
    let names: Vec<&String> = survey.wheels.iter().collect();
    let (next, examined) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = wheel(&survey.directory.join(name), name);
            let mut examined = examined.lock().expect("no panic while locked");
            examined.insert((*name).clone(), found);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    on_threads(&vec![(); threads.min(names.len())], |()| work());
    examined.into_inner().expect("no panic while locked")
}

fn wheel(path: &Path, name: &str) -> Examined {
    let mut examined = Examined {
        filename: name.parse().ok(),
        ..Examined::default()
    };
    match digest(path) {
        Ok(bytes) => examined.bytes = Some(bytes),
        Err(error) => {
            examined.faults.push(format!("cannot be read: {error}"));
            return examined;
        }
    }
    if let Err(error) = look_inside(path, name, &mut examined) {
        let sentence = error.sentence();
        let start = format!("{name} ");
        let fault = sentence.strip_prefix(&start).unwrap_or(&sentence);
        examined.faults.push(fault.to_owned());
    }
    examined
}

fn look_inside(path: &Path, name: &str, examined: &mut Examined) -> Result<()> {
    let inspection = wheelhouse_archive::inspect(path, name)?;
    examined.metadata = Some(inspection.metadata);
    let differences = wheelhouse_archive::verify_contents(path, name, &Limits::default())?;
    // The differences have what `RECORD` lists in full, the inspection in short.
    let others = inspection.irregularities.into_iter();
    let others = others.filter(|irregularity| !irregularity.starts_with("RECORD"));
    for difference in differences.into_iter().chain(others) {
        if record_check::is_contradiction(&difference) {
            examined.faults.push(format!("is damaged: {difference}"));
        } else {
            let irregularity = format!("is irregular: {difference}");
            examined.irregularities.push(irregularity);
        }
    }
    Ok(())
}

/// The digest and the size of the file at `path`.
pub(super) fn digest(path: &Path) -> io::Result<(Sha256, u64)> {
    Sha256::of_reader(&mut open(path)?)
}

/// The digests of the file at `path` by each of `algorithms`; `None` by those that nobody here can
/// compute.
pub(super) fn digests<'a>(
    path: &Path,
    algorithms: impl IntoIterator<Item = &'a str>,
) -> io::Result<BTreeMap<&'a str, Option<String>>> {
    let names: BTreeMap<&str, Option<Algorithm>> = algorithms
        .into_iter()
        .map(|name| (name, Algorithm::named(name)))
        .collect();
    let digester = Digester::new(names.values().copied().flatten());
    let (digests, _) = digester.read(&mut open(path)?)?;
    let digests = names
        .into_iter()
        .map(|(name, known)| (name, known.and_then(|known| digests.get(known))));
    Ok(digests.collect())
}

/// Opens a file. Whoever opens a pipe may wait for ever.
fn open(path: &Path) -> io::Result<std::fs::File> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    std::fs::File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_by_the_algorithms_that_are_known() {
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
