//! The differences between two wheels of the same name, such as two builds of one source: which files and which sections of
//! binaries differ, and the probable cause.
//!
//! The cause is guessed from the first difference of a file: its text without numbers is equal (a time), without paths (a
//! path), or has the same words in another order. Only files that differ are inflated, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::BufReader;
use std::path::Path;

use fs_err::File;
use goblin::elf::Elf;
use serde::Serialize;
use wheelhouse_fs::interruption;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};
use zip::ZipArchive;

use crate::limits::Limits;
use crate::zip_reader::{self, ZipEntry};

/// The length of the shortest text in a binary, in bytes, as for `strings`.
const SHORTEST_TEXT: usize = 4;

/// The largest length of a text that is shown, in characters.
const SHOWN_LENGTH: usize = 60;

/// The section with the digest of the others.
const BUILD_ID: &str = ".note.gnu.build-id";

/// A difference between two wheels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WheelDifference {
    /// The file in the wheel; `None` if only the archive differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The section of an ELF binary that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The probable cause.
    pub cause: Cause,
    /// The first difference as text, on one line. May have characters that change the state of a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The probable cause of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The file is only in the first wheel.
    Missing,
    /// The file is only in the second wheel.
    Added,
    /// The text has another date or time.
    Timestamp,
    /// The text has another path.
    Path,
    /// The lines or parts have another order.
    Order,
    /// The words of a line have another order, as those of a set have with another hash seed.
    HashSeed,
    /// The files are equal, but their order, times, modes or compression are not.
    Archive,
    /// The cause is not known.
    Content,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Timestamp => "timestamp",
            Self::Path => "path",
            Self::Order => "order",
            Self::HashSeed => "hash seed",
            Self::Archive => "archive",
            Self::Content => "content",
        })
    }
}

/// Compares the wheels at `first` and `second`. Returns their differences in the order of file names, and an empty list for
/// wheels whose archives have the same description.
///
/// # Errors
/// [`Kind::Fetch`] if a wheel is damaged, or inflates to more than `limits` allow.
pub fn compare_wheels(
    first: &Path,
    second: &Path,
    limits: &Limits,
) -> Result<Vec<WheelDifference>> {
    let (mut first, mut second) = (OpenWheel::open(first)?, OpenWheel::open(second)?);
    let mut differences = Vec::new();
    let names: BTreeSet<String> = first
        .files
        .keys()
        .chain(second.files.keys())
        .cloned()
        .collect();
    for name in names {
        interruption::check()?;
        let cause = match (first.files.get(&name), second.files.get(&name)) {
            (Some(one), Some(other))
                if one.crc == other.crc && one.entry.size == other.entry.size =>
            {
                continue;
            }
            (Some(_), Some(_)) => {
                let (one, other) = (first.read(&name, limits)?, second.read(&name, limits)?);
                differences.extend(file_differences(&name, &one, &other));
                continue;
            }
            (Some(_), None) => Cause::Missing,
            (None, _) => Cause::Added,
        };
        differences.push(WheelDifference {
            file: Some(name),
            section: None,
            cause,
            detail: None,
        });
    }
    // `RECORD` differs with any other file.
    if differences.len() > 1 {
        differences.retain(|one| !one.file.as_deref().is_some_and(is_record));
    }
    if differences.is_empty() {
        differences.extend(archive_difference(&first, &second));
    }
    Ok(differences)
}

fn is_record(path: &str) -> bool {
    path.ends_with(".dist-info/RECORD")
}

struct OpenWheel {
    archive: ZipArchive<BufReader<File>>,
    size: u64,
    files: BTreeMap<String, WheelFile>,
    order: Vec<String>,
}

struct WheelFile {
    entry: ZipEntry,
    crc: u32,
}

impl OpenWheel {
    fn open(path: &Path) -> Result<Self> {
        let failed = || format!("failed to read {}", path.display());
        let file = File::open(path).context(Kind::Fetch, failed)?;
        let size = file.metadata().context(Kind::Fetch, failed)?.len();
        let archive = zip_reader::open(BufReader::new(file)).context(Kind::Fetch, failed)?;
        let entries = zip_reader::entries(&archive).context(Kind::Fetch, failed)?;
        let order = entries.iter().map(|entry| entry.path.clone()).collect();
        let mut files = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| !entry.directory) {
            let data = archive.by_index_data(entry.index);
            let crc = data.context(Kind::Fetch, failed)?.crc32();
            files.insert(entry.path.clone(), WheelFile { entry, crc });
        }
        Ok(Self {
            archive,
            size,
            files,
            order,
        })
    }

    fn read(&mut self, name: &str, limits: &Limits) -> Result<Vec<u8>> {
        let limit = limits.byte_limit(self.size);
        zip_reader::read(&mut self.archive, &self.files[name].entry, limit)
    }
}

/// Returns the difference between archives with equal files, if their directories show one.
fn archive_difference(first: &OpenWheel, second: &OpenWheel) -> Option<WheelDifference> {
    let pairs = || first.files.values().zip(second.files.values());
    let differs = |differ: fn(&ZipEntry, &ZipEntry) -> bool| {
        pairs().any(|(one, other)| differ(&one.entry, &other.entry))
    };
    let parts = [
        ("order", first.order != second.order),
        (
            "times",
            differs(|one, other| one.modified != other.modified),
        ),
        (
            "modes",
            differs(|one, other| one.executable != other.executable),
        ),
        ("size", first.size != second.size),
    ];
    let parts: Vec<&str> = parts
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect();
    (!parts.is_empty()).then(|| WheelDifference {
        file: None,
        section: None,
        cause: Cause::Archive,
        detail: Some(parts.join(", ")),
    })
}

fn file_differences(name: &str, one: &[u8], other: &[u8]) -> Vec<WheelDifference> {
    let difference = |section: Option<&str>, one: &[u8], other: &[u8]| {
        let (cause, detail) = cause(one, other);
        WheelDifference {
            file: Some(name.to_owned()),
            section: section.map(str::to_owned),
            cause,
            detail,
        }
    };
    if let (Ok(first), Ok(second)) = (Elf::parse(one), Elf::parse(other)) {
        let (first, second) = (sections(&first, one), sections(&second, other));
        let names: BTreeSet<&str> = first.keys().chain(second.keys()).copied().collect();
        let section = |sections: &BTreeMap<&str, &'_ [u8]>, name: &str| {
            sections
                .get(name)
                .map(|bytes| bytes.to_vec())
                .unwrap_or_default()
        };
        let mut differences: Vec<WheelDifference> = names
            .into_iter()
            .filter(|name| first.get(name) != second.get(name))
            .map(|name| difference(Some(name), &section(&first, name), &section(&second, name)))
            .collect();
        if differences.len() > 1 {
            differences.retain(|one| one.section.as_deref() != Some(BUILD_ID));
        }
        if !differences.is_empty() {
            return differences;
        }
    }
    // The fields of bytecode before the code: magic number, flags, time and size of the source (PEP 552).
    let is_bytecode = Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "pyc");
    if is_bytecode && one.get(16..) == other.get(16..) && one.len() >= 16 {
        return vec![WheelDifference {
            file: Some(name.to_owned()),
            section: None,
            cause: Cause::Timestamp,
            detail: Some("the time of the source".to_owned()),
        }];
    }
    vec![difference(None, one, other)]
}

/// Returns the contents of the sections of a binary by name.
fn sections<'a>(elf: &Elf<'a>, bytes: &'a [u8]) -> BTreeMap<&'a str, &'a [u8]> {
    let headers = elf.section_headers.iter();
    headers
        .filter_map(|header| {
            let name = elf.shdr_strtab.get_at(header.sh_name)?;
            Some((name, bytes.get(header.file_range()?)?))
        })
        .collect()
}

/// Guesses why two contents differ, and describes the first difference.
fn cause(one: &[u8], other: &[u8]) -> (Cause, Option<String>) {
    let (first, second) = (texts(one), texts(other));
    let is_equal = |(one, other): &(&&str, &&str)| one == other;
    let start = first.iter().zip(&second).take_while(is_equal).count();
    let (Some(before), Some(after)) = (first.get(start), second.get(start)) else {
        return cause_in_binary(one, other, first.len() == second.len());
    };
    let detail = Some(shown_pair(before, after));
    let sorted = |texts: &[&str]| {
        let mut texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    };
    let cause = if sorted(&first) == sorted(&second) {
        Cause::Order
    } else if without_paths(before) == without_paths(after) {
        Cause::Path
    } else if is_time(before) && is_time(after) && without_times(before) == without_times(after) {
        Cause::Timestamp
    } else if words(before) == words(after) {
        Cause::HashSeed
    } else {
        Cause::Content
    };
    (cause, detail)
}

/// Guesses why contents differ whose texts are equal up to the end of the shorter list, if `same_texts` up to the end of both.
fn cause_in_binary(one: &[u8], other: &[u8], same_texts: bool) -> (Cause, Option<String>) {
    let start = one
        .iter()
        .zip(other)
        .take_while(|(one, other)| one == other);
    let offset = start.count();
    let detail = if one.len() == other.len() {
        let count = one.iter().zip(other).filter(|(one, other)| one != other);
        let count = count.count();
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} byte{plural} from offset {offset:#x}")
    } else {
        format!("{} bytes instead of {}", other.len(), one.len())
    };
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    let is_order = same_texts && one.len() == other.len() && sorted(one) == sorted(other);
    let cause = if is_order {
        Cause::Order
    } else {
        Cause::Content
    };
    (cause, Some(detail))
}

/// Returns the lines and other texts in `bytes`.
fn texts(bytes: &[u8]) -> Vec<&str> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    bytes
        .split(|byte| !is_text(byte))
        .filter_map(|text| std::str::from_utf8(text).ok())
        .filter(|text| text.len() >= SHORTEST_TEXT)
        .collect()
}

/// Replaces the absolute paths in `text`.
fn without_paths(text: &str) -> String {
    let is_end = |letter: char| letter.is_whitespace() || "'\"`=:;,()<>[]{}|&".contains(letter);
    let parts = text.split_inclusive(is_end);
    parts
        .map(|part| {
            let path = part.trim_end_matches(is_end);
            // An option may precede it: `-I/usr/include`.
            match path.find('/') {
                Some(start) if start <= 2 && path[start..].matches('/').count() > 1 => {
                    format!("{}/{}", &path[..start], &part[path.len()..])
                }
                _ => part.to_owned(),
            }
        })
        .collect()
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Returns whether `text` may have a date, a time, or seconds since 1970: a number of eight or more digits, or two colons or
/// hyphens between digits, or a month beside a number.
fn is_time(text: &str) -> bool {
    let digits = text.split(|letter: char| !letter.is_ascii_digit());
    let has_long_number = digits.clone().any(|number| number.len() >= 8);
    let shape = without_digits(text);
    has_long_number
        || shape.contains("0:0:0")
        || shape.contains("0-0-0")
        || shape.contains("0/0/0")
        || MONTHS.iter().any(|month| text.contains(month)) && shape.contains('0')
        || shape.contains("0:0")
}

/// Replaces numbers, and the names of months and days.
fn without_times(text: &str) -> String {
    let mut text = without_digits(text);
    for name in MONTHS.iter().chain(&DAYS) {
        text = text.replace(name, "@");
    }
    // The day of the month may have a space instead of a digit.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Replaces each number by `0`.
fn without_digits(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_digit() {
            shape.push(letter);
        } else if !shape.ends_with('0') {
            shape.push('0');
        }
    }
    shape
}

/// Returns the words of `text`, sorted.
fn words(text: &str) -> Vec<&str> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

/// Formats two texts around their first difference.
fn shown_pair(before: &str, after: &str) -> String {
    let common = before.chars().zip(after.chars());
    let common = common.take_while(|(one, other)| one == other).count();
    let skipped = common.saturating_sub(SHOWN_LENGTH / 2);
    format!(
        "`{}` -> `{}`",
        shown(before, skipped),
        shown(after, skipped)
    )
}

/// Shortens `text`.
fn shown(text: &str, skipped: usize) -> String {
    let mut shown: String = text.chars().skip(skipped).take(SHOWN_LENGTH).collect();
    if skipped > 0 {
        shown.insert(0, '…');
    }
    if text.chars().nth(skipped + SHOWN_LENGTH).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
