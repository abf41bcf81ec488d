//! The `inspect` command.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wheelhouse_types::manifest::{Sdist, Wheel};
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Manifest, Origin, Result};

use crate::cli::args::{GlobalOptions, WheelhouseArgs};
use crate::cli::commands::image_opener::{ImageOpener, WheelhouseInput};
use crate::cli::process_env::ProcessEnv;
use crate::cli::{format, output, signals};
use wheelhouse_archive::safe_path::escape_for_display;
use wheelhouse_oci::inspect::{self, Inspection};

const SCHEMA: &str = "wheelhouse-inspect/1";

/// Runs the command.
pub(crate) fn run(arguments: &WheelhouseArgs, globals: &GlobalOptions) -> Result<()> {
    let process = ProcessEnv::read()?;
    let found = match WheelhouseInput::new(arguments, globals, &process)? {
        WheelhouseInput::Directory(directory) => inspect::inspect_directory(&directory)?,
        WheelhouseInput::Image(opener) => signals::run(move || look(*opener))?,
    };
    let place = &arguments.place;
    let text = if globals.json {
        format!("{:#}\n", as_json(place, &found))
    } else {
        as_text(place, &found, globals.verbose > 0)
    };
    output::data(&mask(&text));
    Ok(())
}

async fn look(opener: ImageOpener) -> Result<Inspection> {
    let (source, choice) = opener.open().await?;
    wheelhouse_fs::interruption::blocking(move || {
        inspect::inspect_image(&choice.find(source)?, choice.path.as_deref())
    })
    .await
}

/// A distribution, as listed.
struct ListedDistribution {
    name: String,
    version: String,
    size: u64,
    how: &'static str,
    source: String,
}

/// The width of lines in characters, unless everything is shown.
const WIDTH: usize = 100;

/// The minimum width of the source column.
const LEAST: usize = 24;

/// Returns the index and URL of a distribution; with `all`, always including its own URL or path.
fn from(origin: &Origin, source: &str, all: bool) -> String {
    match origin {
        Origin::Index { url } if !all => escape_for_display(url),
        Origin::FindLinks { location } if !all => escape_for_display(location),
        _ => escape_for_display(source),
    }
}

/// Removes the middle of `text` if it is longer than `most` characters.
fn shortened(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (start, end) = (kept - kept / 2, kept / 2);
    let start = letters[..start].iter();
    let end = letters[letters.len() - end..].iter();
    start.chain(&['…']).chain(end).collect()
}

fn rows(manifest: &Manifest, all: bool) -> Vec<ListedDistribution> {
    let wheels = manifest
        .wheels
        .iter()
        .map(|wheel: &Wheel| ListedDistribution {
            name: escape_for_display(&wheel.name),
            version: escape_for_display(&wheel.version),
            size: wheel.size,
            how: match (&wheel.built, &wheel.origin) {
                (Some(_), _) => "built",
                (None, Origin::Index { .. }) => "fetched",
                (None, _) => "taken",
            },
            source: from(&wheel.origin, &wheel.source, all),
        });
    let sdists = manifest
        .sdists
        .iter()
        .map(|sdist: &Sdist| ListedDistribution {
            name: escape_for_display(&sdist.name),
            version: escape_for_display(&sdist.version),
            size: sdist.size,
            how: "sdist",
            source: from(&sdist.origin, &sdist.source, all),
        });
    wheels.chain(sdists).collect()
}

fn as_text(what: &str, found: &Inspection, all: bool) -> String {
    let mut text = format!("{what}\n");
    if let Some(digest) = &found.digest {
        let architecture = escape_for_display(found.architecture.as_deref().unwrap_or("unknown"));
        let layers = format::count(found.layers, "layer");
        let _ = writeln!(text, "image {digest}, {architecture}, {layers}");
    }
    let Some(manifest) = &found.manifest else {
        let _ = writeln!(text, "no manifest: only file names are known");
        for (name, size) in &found.files {
            let _ = writeln!(
                text,
                "  {}  {}",
                escape_for_display(name),
                format::bytes(*size)
            );
        }
        return text;
    };
    for target in &manifest.targets {
        let _ = writeln!(text, "for {}", escape_for_display(&target.label()));
    }
    let rows = rows(manifest, all);
    let size = rows.iter().map(|row| row.size).sum();
    let packages = format::count(rows.len(), "package");
    let _ = writeln!(text, "{packages}, {}", format::bytes(size));
    let width =
        |length: fn(&ListedDistribution) -> usize| rows.iter().map(length).max().unwrap_or(0);
    let names = width(|row| row.name.len());
    let versions = width(|row| row.version.len());
    for row in &rows {
        let (name, version, how) = (&row.name, &row.version, row.how);
        let size = format::bytes(row.size);
        let line = format!("  {name:<names$}  {version:<versions$}  {size:>9}  {how:<7}  ");
        let left = WIDTH.saturating_sub(line.chars().count()).max(LEAST);
        let source = shortened(&row.source, if all { usize::MAX } else { left });
        let _ = writeln!(text, "{line}{source}");
    }
    text
}

fn as_json(what: &str, found: &Inspection) -> Value {
    json!({
        "schema": SCHEMA,
        "name": what,
        "digest": found.digest,
        "architecture": found.architecture,
        "layers": found.digest.as_ref().map(|_| found.layers),
        "labels": found.labels,
        "manifest": found.manifest,
        "files": found.files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_places_lose_their_middle() {
        assert_eq!(shortened("https://host/simple", 19), "https://host/simple");
        assert_eq!(shortened("https://host/simple", 11), "https…imple");
        assert_eq!(shortened("äöüäöü", 3), "ä…ü");
    }

    #[test]
    fn a_distribution_is_from_its_index_or_itself() {
        let url = "https://me:secret@host/simple".to_owned();
        let origin = Origin::Index { url };
        assert!(from(&origin, "https://files/x.whl", false).ends_with("host/simple"));
        assert_eq!(
            from(&origin, "https://files/x.whl", true),
            "https://files/x.whl"
        );
        assert_eq!(from(&Origin::Direct, "/x.whl", false), "/x.whl");
    }
}
