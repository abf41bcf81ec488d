//! The verb `inspect`.
//!
//! Responsible for showing what was found. Never looks into a layer itself.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wheelhouse_model::manifest::{Sdist, Wheel};
use wheelhouse_model::redact::redacted;
use wheelhouse_model::{Error, Kind, Manifest, Origin, Result, names_image};

use super::arguments::{Globals, Inspect};
use super::extract::Opening;
use super::process::Process;
use super::{human, signals, streams};
use crate::archive::entry::shown;
use crate::config::meant_image;
use crate::oci;
use crate::oci::inspect::{self, Inspection};

const SCHEMA: &str = "wheelhouse-inspect/1";

/// Runs the verb.
pub(super) fn run(arguments: &Inspect, globals: &Globals) -> Result<()> {
    let process = Process::read()?;
    let found = if names_image(&arguments.what) {
        let location = arguments.what.parse()?;
        let opening = Opening::new(&location, &arguments.reading, globals, &process)?;
        wheelhouse_engine::run(move || signals::until_interrupted(look(opening)))?
    } else {
        let directory = process.directory.join(&arguments.what);
        if !directory.exists() {
            let message = format!("there is no directory `{}`", arguments.what);
            let meant = meant_image(&arguments.what);
            let hint = format!("An image is named with its place, such as `{meant}`.");
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
        inspect::directory(&directory)?
    };
    let text = if globals.json {
        format!("{:#}\n", as_json(&arguments.what, &found))
    } else {
        as_text(&arguments.what, &found)
    };
    streams::data(&redacted(&text));
    Ok(())
}

async fn look(opening: Opening) -> Result<Inspection> {
    let (source, choice) = opening.open().await?;
    oci::on_thread(move || inspect::image(&choice.find(source)?, choice.path.as_deref())).await
}

/// A distribution, as it is shown.
struct Row {
    name: String,
    version: String,
    size: u64,
    how: &'static str,
    source: String,
}

fn rows(manifest: &Manifest) -> Vec<Row> {
    let wheels = manifest.wheels.iter().map(|wheel: &Wheel| Row {
        name: shown(&wheel.name),
        version: shown(&wheel.version),
        size: wheel.size,
        how: match (&wheel.built, &wheel.origin) {
            (Some(_), _) => "built",
            (None, Origin::Index { .. }) => "fetched",
            (None, _) => "taken",
        },
        source: shown(&wheel.source),
    });
    let sdists = manifest.sdists.iter().map(|sdist: &Sdist| Row {
        name: shown(&sdist.name),
        version: shown(&sdist.version),
        size: sdist.size,
        how: "sdist",
        source: shown(&sdist.source),
    });
    wheels.chain(sdists).collect()
}

fn as_text(what: &str, found: &Inspection) -> String {
    let mut text = format!("{what}\n");
    if let Some(digest) = &found.digest {
        let architecture = shown(found.architecture.as_deref().unwrap_or("unknown"));
        let layers = human::count(found.layers, "layer");
        let _ = writeln!(text, "image {digest}, {architecture}, {layers}");
    }
    let Some(manifest) = &found.manifest else {
        let _ = writeln!(text, "no manifest: nothing is known but names");
        for (name, size) in &found.files {
            let _ = writeln!(text, "  {}  {}", shown(name), human::bytes(*size));
        }
        return text;
    };
    for target in &manifest.targets {
        let _ = writeln!(text, "for {}", shown(&target.label()));
    }
    let rows = rows(manifest);
    let size = rows.iter().map(|row| row.size).sum();
    let packages = human::count(rows.len(), "package");
    let _ = writeln!(text, "{packages}, {}", human::bytes(size));
    let width = |length: fn(&Row) -> usize| rows.iter().map(length).max().unwrap_or(0);
    let names = width(|row| row.name.len());
    let versions = width(|row| row.version.len());
    for row in &rows {
        let (name, version, how) = (&row.name, &row.version, row.how);
        let size = human::bytes(row.size);
        let _ = writeln!(
            text,
            "  {name:<names$}  {version:<versions$}  {size:>9}  {how:<7}  {}",
            row.source
        );
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
