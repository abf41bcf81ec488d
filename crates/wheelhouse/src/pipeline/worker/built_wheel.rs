//! Checks built wheels before they are used: those of a build backend, and those of another machine.

use std::path::Path;

use wheelhouse_archive::{Limits, WheelInspection};
use wheelhouse_store::{ExpectedFile, Store, StoredFile};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Distribution, Error, Kind, Result};

/// A wheel from a build backend that was checked and stored.
pub(super) struct CheckedWheel {
    pub(super) filename: String,
    pub(super) stored: StoredFile,
    /// Differences between the wheel and its own RECORD.
    pub(super) differences: Vec<String>,
    /// The newest version of glibc that its binaries need.
    pub(super) glibc: Option<(u16, u16)>,
}

/// Checks the wheel at `path`, which was built from `distribution`, and adds it to `store` in canonical form, with the time
/// `modified` of its files in seconds since 1970-01-01 UTC.
pub(super) fn store_wheel(
    store: &Store,
    distribution: &Distribution,
    path: &Path,
    modified: i64,
) -> Result<CheckedWheel> {
    let filename = path.file_name().unwrap_or_default();
    let filename = filename.to_string_lossy().into_owned();
    let invalid =
        || format!("the build backend of {distribution} built an invalid wheel, {filename}");
    let inspection = wheelhouse_archive::inspect(path, &filename).context(Kind::Build, invalid)?;
    let differences =
        wheelhouse_archive::canonicalize(path, &filename, modified, &Limits::default())
            .context(Kind::Build, invalid)?;
    if !is_wheel_of(&inspection, distribution) {
        return Err(Error::new(Kind::Build, invalid()));
    }
    let stored = store.add_file(path, ExpectedFile::any(&filename))?;
    store.save_metadata(&stored.sha256, &inspection.metadata);
    let glibc = wheelhouse_archive::needed_glibc(&stored.path, &Limits::default())?;
    Ok(CheckedWheel {
        filename,
        stored,
        differences: differences.iter().map(ToString::to_string).collect(),
        glibc,
    })
}

/// Checks a wheel in `store` that another machine has built from `distribution`, and saves its metadata. Returns the newest
/// version of glibc that its binaries need.
///
/// # Errors
/// [`Kind::Build`] if the wheel is not valid, or is that of another distribution.
pub(super) fn check_wheel(
    store: &Store,
    distribution: &Distribution,
    stored: &StoredFile,
    filename: &str,
) -> Result<Option<(u16, u16)>> {
    let invalid = || format!("the wheel {filename} of {distribution} is not valid");
    let inspection =
        wheelhouse_archive::inspect(&stored.path, filename).context(Kind::Build, invalid)?;
    if !is_wheel_of(&inspection, distribution) {
        let message = format!(
            "{}: it is that of {}=={}",
            invalid(),
            inspection.name,
            inspection.version
        );
        return Err(Error::new(Kind::Build, message));
    }
    store.save_metadata(&stored.sha256, &inspection.metadata);
    wheelhouse_archive::needed_glibc(&stored.path, &Limits::default())
}

fn is_wheel_of(inspection: &WheelInspection, distribution: &Distribution) -> bool {
    let version = distribution.version.as_ref();
    inspection.name == distribution.name
        && version.is_none_or(|version| *version == inspection.version)
}
