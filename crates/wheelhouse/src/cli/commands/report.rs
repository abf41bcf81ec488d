//! The `report` command.

use std::path::Path;

use serde_json::json;
use wheelhouse_fs::input;
use wheelhouse_site::{ReportLocation, Site, Verification, WheelhouseFacts, read_directory};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Error, Kind, Manifest, Result};

use crate::cli::args::{GlobalOptions, ReportArgs};
use crate::cli::commands::image_opener::WheelhouseInput;
use crate::cli::process_env::ProcessEnv;
use crate::cli::{format, output, signals};

const SCHEMA: &str = "wheelhouse-report/1";

/// The output that stands for stdout.
const STANDARD_OUTPUT: &str = "-";

/// Runs the command.
pub(crate) fn run(arguments: &ReportArgs, globals: &GlobalOptions) -> Result<()> {
    let to_standard_output = arguments.output == Path::new(STANDARD_OUTPUT);
    if to_standard_output && globals.json {
        let message = "`--json` and `--output -` both write to the standard output";
        let hint = "Pass a file with --output.";
        return Err(Error::new(Kind::Input, message).with_hint(hint));
    }
    let process = ProcessEnv::read()?;
    let place = &arguments.wheelhouse.place;
    let (mut facts, location) =
        match WheelhouseInput::new(&arguments.wheelhouse, globals, &process)? {
            WheelhouseInput::Directory(directory) => {
                let name = directory.file_name().unwrap_or(directory.as_os_str());
                let facts = read_directory(&directory, &name.to_string_lossy())?;
                (facts, ReportLocation::Directory(place))
            }
            WheelhouseInput::Image(opener) => {
                let name = place.clone();
                let facts = signals::run(move || {
                    opener.read(move |directory| {
                        Ok(WheelhouseFacts {
                            // The time of the file is that of the extraction.
                            made: None,
                            ..read_directory(directory, &name)?
                        })
                    })
                })?;
                (facts, ReportLocation::Image(place))
            }
        };
    if let Some(path) = &arguments.previous {
        facts.previous = Some(read_manifest(&process.directory.join(path))?);
    }
    if let Some(path) = &arguments.verification {
        facts.verification = Some(read_verification(&process.directory.join(path))?);
    }
    let files = facts.files.len();
    let site = Site::new(vec![facts]);
    let packages = site.packages();
    let report = mask(&site.report(location));
    if to_standard_output {
        output::data(&report);
        return Ok(());
    }
    let path = process.directory.join(&arguments.output);
    wheelhouse_publish::write_file(&path, report.as_bytes(), 0o666)?;
    let written = arguments.output.display().to_string();
    if globals.json {
        let document = json!({
            "schema": SCHEMA,
            "name": place,
            "output": written,
            "bytes": report.len(),
            "packages": packages,
            "files": files,
        });
        output::data(&mask(&format!("{document:#}\n")));
    } else if globals.quiet == 0 {
        let packages = format::count(packages, "package");
        let size = format::bytes(report.len() as u64);
        output::status(&format!("Wrote {written}: {packages}, {size}"));
    }
    Ok(())
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let file = if path.is_dir() {
        path.join(MANIFEST_NAME)
    } else {
        path.to_owned()
    };
    let shown = file.display();
    let bytes = input::read(&file).context(Kind::Input, || format!("failed to read {shown}"))?;
    Manifest::parse(&bytes).map_err(|error| Error::new(Kind::Input, format!("{shown} {error}")))
}

fn read_verification(path: &Path) -> Result<Verification> {
    let shown = path.display();
    let bytes = input::read(path).context(Kind::Input, || format!("failed to read {shown}"))?;
    Verification::parse(&bytes).map_err(|error| Error::new(Kind::Input, format!("{shown} {error}")))
}
