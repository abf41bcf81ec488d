//! Wheels: decides from a wheel's directory and its `dist-info` whether it is what its name says.
//!
//! Implements the binary distribution format (PEP 427) as far as an installer relies on it, and
//! refuses what would let an installer write outside its directories. Never
//! inflates the payload: that is what [`super::record_check`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::str::FromStr;

use fs_err::File;
use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, PackageName, Result, Version, WheelFilename, limits};
use zip::ZipArchive;

use super::metadata::{value, values};
use super::record::{self, Recorded};
use super::safe_path::{components, shown};
use super::zip_reader::{self, ZipEntry};

/// The most that `RECORD` may inflate to: about 500,000 files.
const RECORD_LIMIT: u64 = 64 << 20;

/// The most differences that are named one by one.
const NAMED_DIFFERENCES: usize = 5;

/// What a wheel says of itself, once it was found to agree with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelInspection {
    pub name: PackageName,
    /// As the file name has it.
    pub version: Version,
    /// The bytes of `METADATA`, which an index may serve beside the wheel (PEP 658).
    pub metadata: Vec<u8>,
    pub requires_python: Option<String>,
    /// What is wrong though pip installs the wheel nevertheless; fragments without the wheel's name.
    pub irregularities: Vec<String>,
}

/// Inspects the wheel at `path`, which is to be known as `filename`.
///
/// # Errors
/// [`Kind::Fetch`] for a file that is not a wheel, that is not the wheel that `filename` says, or
/// that holds entries which no installer should unpack.
pub fn inspect(path: &Path, filename: &str) -> Result<WheelInspection> {
    let file = File::open(path).context(Kind::Fetch, || format!("failed to read {filename}"))?;
    inspect_reader(BufReader::new(file), filename)
}

/// Inspects the wheel that `reader` reads, as [`inspect`] does.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_reader<R: Read + Seek>(reader: R, filename: &str) -> Result<WheelInspection> {
    let invalid = || format!("{filename} is not a valid wheel");
    let parsed = WheelFilename::from_str(filename).context(Kind::Fetch, invalid)?;
    let opened = Opened::new(reader, &parsed).context(Kind::Fetch, invalid)?;
    inspect_opened(opened, &parsed, filename).context(Kind::Fetch, invalid)
}

/// A wheel whose directory was found to be in order.
pub(super) struct Opened<R> {
    pub(super) archive: ZipArchive<R>,
    pub(super) entries: Vec<ZipEntry>,
    /// `example-1.0.dist-info`
    pub(super) dist_info: String,
}

impl<R: Read + Seek> Opened<R> {
    pub(super) fn new(reader: R, filename: &WheelFilename) -> Result<Self> {
        let archive = zip_reader::open(reader)?;
        let entries = zip_reader::entries(&archive)?;
        let dist_info = dist_info(&entries, &filename.name)?;
        Ok(Self {
            archive,
            entries,
            dist_info,
        })
    }

    /// Returns whether the `dist-info` directory has the file `name`.
    fn has(&self, name: &str) -> bool {
        let path = format!("{}/{name}", self.dist_info);
        self.entries
            .iter()
            .any(|entry| entry.path == path && !entry.directory)
    }

    fn text(&mut self, name: &str, limit: u64) -> Result<String> {
        let path = format!("{}/{name}", self.dist_info);
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.path == path && !entry.directory)
            .ok_or_else(|| Error::new(Kind::Fetch, format!("it has no {path}")))?;
        let bytes = zip_reader::read(&mut self.archive, entry, limit)?;
        String::from_utf8(bytes).context(Kind::Fetch, || format!("{path} is not UTF-8"))
    }

    /// Reads `RECORD`: the files it lists by name, and what is wrong with it.
    pub(super) fn record(&mut self) -> Result<(BTreeMap<String, Recorded>, Vec<String>)> {
        self.text("RECORD", RECORD_LIMIT)
            .map(|text| record::parse(&text))
    }

    /// Whether `RECORD` need not list `path`: itself and the signatures of it.
    pub(super) fn is_unlisted(&self, path: &str) -> bool {
        path.strip_prefix(&self.dist_info)
            .is_some_and(|name| matches!(name, "/RECORD" | "/RECORD.jws" | "/RECORD.p7s"))
    }
}

fn inspect_opened<R: Read + Seek>(
    mut wheel: Opened<R>,
    parsed: &WheelFilename,
    filename: &str,
) -> Result<WheelInspection> {
    let metadata = wheel.text("METADATA", limits::METADATA)?;
    limits::metadata(metadata.as_bytes())
        .context(Kind::Fetch, || "METADATA is refused".to_owned())?;
    check_metadata(&metadata, parsed)?;
    let description = wheel.text("WHEEL", limits::METADATA)?;
    check_wheel_version(&description)?;
    if wheel.has("entry_points.txt") {
        check_scripts(&wheel.text("entry_points.txt", limits::METADATA)?)?;
    }
    let (recorded, mut irregularities) = wheel.record()?;
    irregularities.extend(listing_differences(&wheel, &recorded));
    irregularities.extend(dist_info_version(&wheel.dist_info, parsed));
    irregularities.extend(tag_differences(&description, filename));
    Ok(WheelInspection {
        name: parsed.name.clone(),
        version: parsed.version.clone(),
        requires_python: value(&metadata, "Requires-Python"),
        metadata: metadata.into_bytes(),
        irregularities,
    })
}

/// Finds the one `dist-info` directory, which must be that of `name`.
fn dist_info(entries: &[ZipEntry], name: &PackageName) -> Result<String> {
    let found: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.path.split('/').next())
        .filter(|top| top.ends_with(".dist-info"))
        .collect();
    let mut found = found.into_iter();
    let (Some(first), None) = (found.next(), found.next()) else {
        let message = "it does not have exactly one dist-info directory";
        return Err(Error::new(Kind::Fetch, message));
    };
    // Names were not always escaped, so the hyphen before the version is the last, not the first.
    let stem = first.trim_end_matches(".dist-info");
    let owner = stem.rsplit_once('-').map_or(stem, |(owner, _)| owner);
    if PackageName::from_str(owner).ok().as_ref() == Some(name) {
        return Ok(first.to_owned());
    }
    let message = format!("its {first} is not that of {name}");
    Err(Error::new(Kind::Fetch, message))
}

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
    let message = format!("its METADATA says version {version}");
    Err(Error::new(Kind::Fetch, message))
}

fn check_wheel_version(description: &str) -> Result<()> {
    let version = required(description, "WHEEL", "Wheel-Version")?;
    // Drafts of the format were called 0.1, and pip installs them.
    if matches!(version.split('.').next(), Some("0" | "1")) {
        return Ok(());
    }
    let message = format!("its Wheel-Version {version} is newer than 1.x");
    Err(Error::new(Kind::Fetch, message))
}

/// Refuses a script that an installer would write outside the directory of scripts.
fn check_scripts(entry_points: &str) -> Result<()> {
    let mut makes_scripts = false;
    for line in entry_points.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']').trim();
            makes_scripts = matches!(section, "console_scripts" | "gui_scripts");
            continue;
        }
        let Some((name, _)) = line.split_once('=').filter(|_| makes_scripts) else {
            continue;
        };
        let name = name.trim();
        let is_comment = name.starts_with(['#', ';']);
        let is_file_name =
            components(name).is_ok_and(|parts| parts == [name]) && !name.contains('\\');
        if !is_comment && !is_file_name {
            let message = format!("its script `{}` is not a file name", shown(name));
            return Err(Error::new(Kind::Fetch, message));
        }
    }
    Ok(())
}

fn required(text: &str, file: &str, field: &str) -> Result<String> {
    value(text, field).ok_or_else(|| Error::new(Kind::Fetch, format!("its {file} has no {field}")))
}

/// Compares the files of the archive with those that `RECORD` lists.
fn listing_differences<R: Read + Seek>(
    wheel: &Opened<R>,
    recorded: &BTreeMap<String, Recorded>,
) -> Vec<String> {
    let present: BTreeSet<&str> = wheel
        .entries
        .iter()
        .filter(|entry| !entry.directory)
        .map(|entry| entry.path.as_str())
        .collect();
    let unlisted = present
        .iter()
        .filter(|path| !recorded.contains_key(**path) && !wheel.is_unlisted(path))
        .map(|path| format!("RECORD does not list {path}"));
    let absent = recorded
        .keys()
        .filter(|path| !present.contains(path.as_str()) && !wheel.is_unlisted(path))
        .map(|path| format!("RECORD lists {path}, which is not there"));
    shortened(unlisted.chain(absent).collect())
}

fn shortened(mut differences: Vec<String>) -> Vec<String> {
    if differences.len() > NAMED_DIFFERENCES {
        let more = differences.len() - NAMED_DIFFERENCES;
        differences.truncate(NAMED_DIFFERENCES);
        differences.push(format!("RECORD has {more} more differences"));
    }
    differences
}

fn dist_info_version(dist_info: &str, filename: &WheelFilename) -> Option<String> {
    let stem = dist_info.trim_end_matches(".dist-info");
    let version = stem.rsplit_once('-').map(|(_, version)| version);
    let parsed = version.and_then(|version| Version::from_str(&version.replace('_', "-")).ok());
    let plain = version.and_then(|version| Version::from_str(version).ok());
    let agrees = [parsed, plain].contains(&Some(filename.version.clone()));
    (!agrees).then(|| format!("{dist_info} has another version in its name"))
}

/// Compares the `Tag` lines of `WHEEL` with the tags of the file name, both expanded.
fn tag_differences(description: &str, filename: &str) -> Option<String> {
    let stem = filename.trim_end_matches(".whl");
    let start = stem
        .rmatch_indices('-')
        .nth(2)
        .map_or(0, |(index, _)| index + 1);
    let outside: BTreeSet<String> = expanded(&stem[start..]).into_iter().collect();
    let inside: BTreeSet<String> = values(description, "Tag")
        .iter()
        .flat_map(|tag| expanded(tag))
        .collect();
    (inside != outside).then(|| {
        let listed: Vec<String> = inside.into_iter().collect();
        format!("WHEEL has other tags than the name: {}", listed.join(", "))
    })
}

/// Expands a compressed tag set, `py2.py3-none-any` (PEP 425).
fn expanded(tag: &str) -> Vec<String> {
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
