//! Wheels: verifies from the zip directory and the `dist-info` directory that a wheel is what its file name says.
//!
//! Implements the binary distribution format (PEP 427) as far as installers rely on it, and rejects wheels that would make an
//! installer write outside its directories. Does not inflate the payload; [`crate::record_check`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::str::FromStr;

use fs_err::File;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, PackageName, Result, Version, WheelFilename, limits};
use zip::ZipArchive;

use crate::metadata::{value, values};
use crate::record::{self, RecordDifference, RecordEntry};
use crate::safe_path::{components, escape_for_display};
use crate::zip_reader::{self, ZipEntry};

/// The largest size of an inflated `RECORD`, in bytes: about 500,000 files.
const RECORD_LIMIT: u64 = 64 << 20;

/// The largest number of differences between file list and `RECORD` that are reported one by one.
const MAX_REPORTED_DIFFERENCES: usize = 5;

/// The description of a wheel that agrees with its file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelInspection {
    /// The normalized name of the distribution.
    pub name: PackageName,
    /// The version in the file name.
    pub version: Version,
    /// The bytes of `METADATA`, which an index may serve beside the wheel (PEP 658).
    pub metadata: Vec<u8>,
    /// The value of `Requires-Python`.
    pub requires_python: Option<String>,
    /// The faults that pip ignores.
    pub irregularities: Vec<WheelIrregularity>,
}

/// A fault of a wheel that does not keep pip from installing it. Displays as a fragment without the name of the wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WheelIrregularity {
    /// The list of files differs from `RECORD`.
    Record(RecordDifference),
    /// The list of files has this many further differences from `RECORD`.
    MoreRecordDifferences(usize),
    /// The name of the `dist-info` directory, which has another version than the file name.
    DistInfoVersion(String),
    /// The tags in `WHEEL`, which are not those of the file name.
    Tags(BTreeSet<String>),
}

impl WheelIrregularity {
    /// Returns whether the irregularity is a difference from `RECORD`, which [`crate::verify_contents`] reports as well.
    #[must_use]
    pub fn is_record_difference(&self) -> bool {
        matches!(self, Self::Record(_) | Self::MoreRecordDifferences(_))
    }
}

impl fmt::Display for WheelIrregularity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(difference) => difference.fmt(formatter),
            Self::MoreRecordDifferences(count) => {
                write!(formatter, "RECORD has {count} more differences")
            }
            Self::DistInfoVersion(directory) => {
                write!(formatter, "{directory} has another version in its name")
            }
            Self::Tags(tags) => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                write!(
                    formatter,
                    "WHEEL has other tags than the file name: {}",
                    tags.join(", ")
                )
            }
        }
    }
}

/// Inspects the wheel at `path`, whose published file name is `filename`.
///
/// # Errors
/// [`Kind::Fetch`] if the file is not a wheel, is not the wheel that `filename` names, or has entries that no installer
/// should unpack.
pub fn inspect(path: &Path, filename: &str) -> Result<WheelInspection> {
    let file = File::open(path).context(Kind::Fetch, || format!("failed to read {filename}"))?;
    inspect_reader(BufReader::new(file), filename)
}

/// Inspects the wheel that `reader` returns, as [`inspect`] does.
///
/// # Errors
/// As [`inspect`].
fn inspect_reader<R: Read + Seek>(reader: R, filename: &str) -> Result<WheelInspection> {
    let invalid = || format!("{filename} is not a valid wheel");
    let parsed = WheelFilename::from_str(filename).context(Kind::Fetch, invalid)?;
    WheelReader::new(reader, &parsed)
        .and_then(|wheel| inspect_wheel(wheel, &parsed, filename))
        .context(Kind::Fetch, invalid)
}

/// An open wheel whose zip directory is valid.
pub(crate) struct WheelReader<R> {
    pub(crate) archive: ZipArchive<R>,
    pub(crate) entries: Vec<ZipEntry>,
    /// The name of the `dist-info` directory: `example-1.0.dist-info`.
    pub(crate) dist_info: String,
}

impl WheelReader<BufReader<File>> {
    /// Opens the wheel at `path`, whose headers must agree with its directory. Returns its size in bytes, too.
    pub(crate) fn open(path: &Path, filename: &str) -> Result<(Self, u64)> {
        let invalid = || format!("{filename} is not a valid wheel");
        let parsed = WheelFilename::from_str(filename).context(Kind::Fetch, invalid)?;
        let file =
            File::open(path).context(Kind::Fetch, || format!("failed to read {filename}"))?;
        let size = file.metadata().context(Kind::Fetch, invalid)?.len();
        let reader = BufReader::new(file);
        let mut wheel = WheelReader::new(reader, &parsed).context(Kind::Fetch, invalid)?;
        let consistent = wheel.archive.validate_header_consistency();
        consistent.context(Kind::Fetch, invalid)?;
        Ok((wheel, size))
    }
}

impl<R: Read + Seek> WheelReader<R> {
    /// Opens the wheel that `reader` returns, and finds its `dist-info` directory.
    pub(crate) fn new(reader: R, filename: &WheelFilename) -> Result<Self> {
        let archive = zip_reader::open(reader)?;
        let entries = zip_reader::entries(&archive)?;
        let dist_info = dist_info(&entries, &filename.name)?;
        Ok(Self {
            archive,
            entries,
            dist_info,
        })
    }

    /// Returns the path of the file or directory `name` of the `dist-info` directory.
    pub(crate) fn dist_info_path(&self, name: &str) -> String {
        format!("{}/{name}", self.dist_info)
    }

    /// Finds the file `name` of the `dist-info` directory.
    fn find(&self, name: &str) -> Option<&ZipEntry> {
        let path = self.dist_info_path(name);
        self.entries
            .iter()
            .find(|entry| entry.path == path && !entry.directory)
    }

    /// Reads the file `name` of the `dist-info` directory.
    pub(crate) fn text(&mut self, name: &str, limit: u64) -> Result<String> {
        let path = self.dist_info_path(name);
        let entry = self
            .find(name)
            .cloned()
            .ok_or_else(|| Error::new(Kind::Fetch, format!("it has no {path}")))?;
        let bytes = zip_reader::read(&mut self.archive, &entry, limit)?;
        String::from_utf8(bytes).context(Kind::Fetch, || format!("{path} is not UTF-8"))
    }

    /// Reads `RECORD`. Returns the entries by file name, and the rows that are not valid.
    pub(crate) fn record(
        &mut self,
    ) -> Result<(BTreeMap<String, RecordEntry>, Vec<RecordDifference>)> {
        let text = self.text("RECORD", RECORD_LIMIT)?;
        Ok(record::parse(&text))
    }

    /// Returns whether `RECORD` need not list `path`: `RECORD` itself and its signatures.
    pub(crate) fn is_unlisted(&self, path: &str) -> bool {
        path.strip_prefix(&self.dist_info)
            .is_some_and(|name| matches!(name, "/RECORD" | "/RECORD.jws" | "/RECORD.p7s"))
    }

    /// Returns whether `RECORD` has a signature.
    pub(crate) fn is_signed(&self) -> bool {
        self.find("RECORD.jws").is_some() || self.find("RECORD.p7s").is_some()
    }

    /// Compares the files of the archive with those that `RECORD` lists.
    fn record_differences(&mut self) -> Result<Vec<WheelIrregularity>> {
        let (record, invalid_rows) = self.record()?;
        let present: BTreeSet<&str> = self
            .entries
            .iter()
            .filter(|entry| !entry.directory)
            .map(|entry| entry.path.as_str())
            .collect();
        let unlisted = present
            .iter()
            .filter(|path| !record.contains_key(**path) && !self.is_unlisted(path))
            .map(|path| RecordDifference::Unlisted((*path).to_owned()));
        let missing = record
            .keys()
            .filter(|path| !present.contains(path.as_str()) && !self.is_unlisted(path))
            .map(|path| RecordDifference::Missing(path.clone()));
        let listed: Vec<_> = unlisted.chain(missing).collect();
        let more = listed.len().saturating_sub(MAX_REPORTED_DIFFERENCES);
        Ok(invalid_rows
            .into_iter()
            .chain(listed.into_iter().take(MAX_REPORTED_DIFFERENCES))
            .map(WheelIrregularity::Record)
            .chain((more > 0).then_some(WheelIrregularity::MoreRecordDifferences(more)))
            .collect())
    }
}

fn inspect_wheel<R: Read + Seek>(
    mut wheel: WheelReader<R>,
    parsed: &WheelFilename,
    filename: &str,
) -> Result<WheelInspection> {
    let metadata = wheel.text("METADATA", limits::METADATA)?;
    limits::metadata(metadata.as_bytes())
        .context(Kind::Fetch, || "METADATA exceeds a limit".to_owned())?;
    check_metadata(&metadata, parsed)?;
    let description = wheel.text("WHEEL", limits::METADATA)?;
    let wheel_version = required(&description, "WHEEL", "Wheel-Version")?;
    // pip installs wheels of the drafts of the format, which had the version 0.1.
    if !matches!(wheel_version.split('.').next(), Some("0" | "1")) {
        let message = format!("its Wheel-Version {wheel_version} is newer than 1.x");
        return Err(Error::new(Kind::Fetch, message));
    }
    if wheel.find("entry_points.txt").is_some() {
        check_scripts(&wheel.text("entry_points.txt", limits::METADATA)?)?;
    }
    let mut irregularities = wheel.record_differences()?;
    if !names_version(&wheel.dist_info, &parsed.version) {
        irregularities.push(WheelIrregularity::DistInfoVersion(wheel.dist_info.clone()));
    }
    let tags: BTreeSet<String> = values(&description, "Tag")
        .iter()
        .flat_map(|tag| expand_tags(tag))
        .collect();
    if tags != filename_tags(filename) {
        irregularities.push(WheelIrregularity::Tags(tags));
    }
    Ok(WheelInspection {
        name: parsed.name.clone(),
        version: parsed.version.clone(),
        requires_python: value(&metadata, "Requires-Python"),
        metadata: metadata.into_bytes(),
        irregularities,
    })
}

/// Finds the only `dist-info` directory, which must be that of `name`.
fn dist_info(entries: &[ZipEntry], name: &PackageName) -> Result<String> {
    let directories: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.path.split('/').next())
        .filter(|top| top.ends_with(".dist-info"))
        .collect();
    let mut directories = directories.into_iter();
    let (Some(directory), None) = (directories.next(), directories.next()) else {
        let message = "it does not have exactly one dist-info directory";
        return Err(Error::new(Kind::Fetch, message));
    };
    // Some writers do not escape hyphens in names, so the last hyphen separates the version.
    let stem = directory.trim_end_matches(".dist-info");
    let owner = stem.rsplit_once('-').map_or(stem, |(owner, _)| owner);
    if PackageName::from_str(owner).ok().as_ref() == Some(name) {
        return Ok(directory.to_owned());
    }
    let message = format!("its {directory} is not that of {name}");
    Err(Error::new(Kind::Fetch, message))
}

/// Fails unless `METADATA` has the name and the version of the file name.
fn check_metadata(metadata: &str, filename: &WheelFilename) -> Result<()> {
    let name = required(metadata, "METADATA", "Name")?;
    if PackageName::from_str(&name).ok().as_ref() != Some(&filename.name) {
        let message = format!("its METADATA is that of {name}");
        return Err(Error::new(Kind::Fetch, message));
    }
    let version = required(metadata, "METADATA", "Version")?;
    if Version::from_str(&version).ok().as_ref() == Some(&filename.version) {
        return Ok(());
    }
    let message = format!("its METADATA has version {version}");
    Err(Error::new(Kind::Fetch, message))
}

/// Rejects scripts that an installer would write outside the directory for scripts.
fn check_scripts(entry_points: &str) -> Result<()> {
    let mut is_script_section = false;
    for line in entry_points.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']').trim();
            is_script_section = matches!(section, "console_scripts" | "gui_scripts");
            continue;
        }
        let Some((name, _)) = line.split_once('=').filter(|_| is_script_section) else {
            continue;
        };
        let name = name.trim();
        let is_comment = name.starts_with(['#', ';']);
        let is_file_name =
            components(name).is_ok_and(|parts| parts == [name]) && !name.contains('\\');
        if !is_comment && !is_file_name {
            let message = format!(
                "its script `{}` is not a file name",
                escape_for_display(name)
            );
            return Err(Error::new(Kind::Fetch, message));
        }
    }
    Ok(())
}

fn required(text: &str, file: &str, field: &str) -> Result<String> {
    value(text, field).ok_or_else(|| Error::new(Kind::Fetch, format!("its {file} has no {field}")))
}

/// Returns whether the name of the `dist-info` directory ends with `version`, escaped or not.
fn names_version(dist_info: &str, version: &Version) -> bool {
    let stem = dist_info.trim_end_matches(".dist-info");
    stem.rsplit_once('-').is_some_and(|(_, text)| {
        let parses_to_version = |text: &str| Version::from_str(text).ok().as_ref() == Some(version);
        parses_to_version(text) || parses_to_version(&text.replace('_', "-"))
    })
}

/// Returns the expanded tags of a file name.
fn filename_tags(filename: &str) -> BTreeSet<String> {
    let stem = filename.trim_end_matches(".whl");
    let start = stem
        .rmatch_indices('-')
        .nth(2)
        .map_or(0, |(index, _)| index + 1);
    expand_tags(&stem[start..]).into_iter().collect()
}

/// Expands a compressed tag set, such as `py2.py3-none-any` (PEP 425).
fn expand_tags(tag: &str) -> Vec<String> {
    let parts: Vec<&str> = tag.split('-').collect();
    let [pythons, abis, platforms] = parts.as_slice() else {
        return vec![tag.to_owned()];
    };
    let mut tags = Vec::new();
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            for platform in platforms.split('.') {
                tags.push(format!("{python}-{abi}-{platform}"));
            }
        }
    }
    tags
}

#[cfg(test)]
mod tests;
