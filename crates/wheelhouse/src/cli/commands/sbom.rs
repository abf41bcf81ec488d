//! The `sbom` command.

use std::path::Path;

use wheelhouse_oci::image::contents::ImageContents;
use wheelhouse_sbom::Bill;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Error, Kind, Result};

use crate::cli::args::{GlobalOptions, SbomArgs, SbomFormat};
use crate::cli::commands::image_opener::WheelhouseInput;
use crate::cli::process_env::ProcessEnv;
use crate::cli::{format, output, signals};

/// The form in which a wheelhouse is described.
struct Description {
    format: SbomFormat,
    name: String,
    /// The time to state, in seconds since 1970-01-01 UTC.
    created: Option<i64>,
}

/// Runs the command.
pub(crate) fn run(arguments: &SbomArgs, globals: &GlobalOptions) -> Result<()> {
    let process = ProcessEnv::read()?;
    let description = Description {
        format: arguments.format,
        name: arguments.name.clone(),
        created: source_date_epoch(&process)?,
    };
    let document = match WheelhouseInput::new(&arguments.wheelhouse, globals, &process)? {
        WheelhouseInput::Directory(directory) => description.of_directory(&directory)?,
        WheelhouseInput::Image(opener) => {
            signals::run(move || opener.read(move |directory| description.of_directory(directory)))?
        }
    };
    let document = mask(&document);
    let Some(path) = &arguments.output else {
        output::data(&document);
        return Ok(());
    };
    let target = process.directory.join(path);
    wheelhouse_publish::write_file(&target, document.as_bytes(), 0o666)?;
    if globals.quiet == 0 {
        let size = format::bytes(document.len() as u64);
        output::status(&format!("Wrote {}: {size}", path.display()));
    }
    Ok(())
}

impl Description {
    fn of_directory(&self, directory: &Path) -> Result<String> {
        let contents = ImageContents::open(directory)?;
        let bill = Bill::read(directory, &contents.manifest, self.created)?;
        bill.check().map_err(|error| {
            error.with_hint("Run `wheelhouse verify` to find all files that are damaged.")
        })?;
        let document = match self.format {
            SbomFormat::Cyclonedx => bill.cyclonedx(&self.name),
            SbomFormat::Spdx => bill.spdx(&self.name),
        };
        Ok(format!("{document:#}\n"))
    }
}

/// Returns the time of `SOURCE_DATE_EPOCH`.
fn source_date_epoch(process: &ProcessEnv) -> Result<Option<i64>> {
    let Some(text) = process.environment.get_nonempty("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let message = format!("SOURCE_DATE_EPOCH is not a number of seconds: `{text}`");
        Error::new(Kind::Input, message)
    })
}
