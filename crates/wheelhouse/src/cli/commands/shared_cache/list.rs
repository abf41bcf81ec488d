//! `cache ls`: the contents of a shared cache.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};
use wheelhouse_archive::safe_path::escape_for_display;
use wheelhouse_types::secrets::mask;

use super::contents::{Contents, ListedRecord};
use crate::cli::{format, output};

/// Prints the contents as a table, or as one document.
pub(super) fn print(contents: &Contents, location: &str, json: bool) {
    let text = if json {
        format!("{:#}\n", as_json(contents, location))
    } else {
        as_lines(contents, SystemTime::now())
    };
    output::data(&mask(&text));
}

/// Returns the number and the size of all entries in one line.
pub(super) fn summary(contents: &Contents) -> String {
    let wheels = format::count(contents.records.len(), "built wheel");
    let files = format::count(contents.files().count(), "file");
    let bytes = contents.entries.iter().map(|entry| entry.size).sum();
    format!("{wheels}, {files}, {}", format::bytes(bytes))
}

fn as_lines(contents: &Contents, now: SystemTime) -> String {
    let rows = contents.records.iter().map(|listed| {
        let wheel = &listed.record;
        let age = listed.entry.modified.map(|time| {
            let age = now.duration_since(time).unwrap_or_default();
            format_age(age)
        });
        [
            escape_for_display(&listed.package()),
            escape_for_display(&wheel.python),
            escape_for_display(listed.platform()),
            format::bytes(wheel.size),
            age.unwrap_or_else(|| "-".to_owned()),
            listed.trust.to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            // Numbers are aligned at the right.
            3 | 4 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let text = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", text.trim_end())
    };
    rows.iter().map(line).collect()
}

/// Formats an age as `5 min`, `3 h` or `12 days`.
fn format_age(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

fn as_json(contents: &Contents, location: &str) -> Value {
    let records: Vec<_> = contents.records.iter().map(record_as_json).collect();
    let files = contents.files().map(|entry| entry.size);
    json!({
        "schema": super::SCHEMA,
        "location": location,
        "records": records,
        "unreadable": contents.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "files": files.clone().count(),
        "file_bytes": files.sum::<u64>(),
    })
}

fn record_as_json(listed: &ListedRecord) -> Value {
    let wheel = &listed.record;
    let time = listed.entry.modified;
    let written = time.and_then(|time| Timestamp::try_from(time).ok());
    json!({
        "key": listed.key.to_string(),
        "package": listed.package(),
        "filename": wheel.filename,
        "sha256": wheel.sha256.to_string(),
        "size": wheel.size,
        "python": wheel.python,
        "platform": listed.platform(),
        "build_seconds": wheel.seconds,
        "written": written.map(|time| time.to_string()),
        "signed": listed.trust.is_signed(),
        "verified": listed.trust.is_verified(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let minutes = |minutes: u64| format_age(Duration::from_mins(minutes));
        assert_eq!(minutes(0), "0 min");
        assert_eq!(minutes(59), "59 min");
        assert_eq!(minutes(60), "1 h");
        assert_eq!(minutes(47 * 60), "47 h");
        assert_eq!(minutes(48 * 60), "2 days");
    }
}
