//! The end of a run that has published wheelhouses: signatures, the summary and verifications.

use std::path::{Path, PathBuf};

use wheelhouse_attest::SigningKey;
use wheelhouse_types::{Event, Result, event};

use crate::cli::args::RunOptions;
use crate::cli::commands::session::{CommandContext, RunSession};
use crate::cli::commands::{keys, rebuild, verify};
use crate::cli::{format, output};
use crate::pipeline::{self, RunReport};

/// The steps after the wheelhouses of a run were published.
pub(crate) struct AfterBuild {
    key: Option<SigningKey>,
    /// Verifies the wheelhouses.
    verify: bool,
    /// Builds the built wheels again.
    rebuild: bool,
}

impl AfterBuild {
    /// Reads the key that `options` name, which also signs what the run of `context` writes to a shared cache.
    pub(crate) fn new(options: &RunOptions, context: &mut CommandContext) -> Result<Self> {
        context.sign.clone_from(&options.sign);
        Ok(Self {
            key: keys::signing_key(options.sign.as_deref(), &context.process)?,
            verify: options.verify,
            rebuild: options.verify_reproducible,
        })
    }

    /// Ends the run of `session`.
    pub(crate) async fn finish(self, session: RunSession, report: &RunReport) -> Result<()> {
        let context = &session.context;
        if let Some(key) = &self.key {
            sign(context, key, &report.wheelhouses)?;
        }
        context.renderer.close();
        summarize(&session, report);
        if self.verify {
            verify::after_build(context, &report.wheelhouses).await?;
        }
        if self.rebuild {
            rebuild::after_build(&session).await?;
        }
        Ok(())
    }
}

fn sign(context: &CommandContext, key: &SigningKey, wheelhouses: &[PathBuf]) -> Result<()> {
    let mut signatures = 0;
    for wheelhouse in wheelhouses {
        signatures += pipeline::sign(wheelhouse, key)?;
    }
    if !context.json && context.settings.quiet == 0 {
        context.renderer.close();
        let signatures = format::count(signatures, "signature");
        output::status(&format!("Wrote {signatures}"));
    }
    Ok(())
}

fn summarize(session: &RunSession, report: &RunReport) {
    let context = &session.context;
    let output = &context.settings.output;
    let directory = output
        .strip_prefix(&context.process.directory)
        .unwrap_or(output);
    if !report.foreign.is_empty() {
        context
            .renderer
            .observe(&foreign(directory, &report.foreign));
    }
    if report.crates > 0 {
        context.renderer.observe(&Event::Crates {
            directory: output.join("crates").display().to_string(),
            count: report.crates,
        });
    }
    context.renderer.observe(&Event::Finished {
        directory: directory.display().to_string(),
        fetched: report.fetched,
        built: report.built,
        reused: report.reused,
        copied: report.copied,
        sdists: report.sdists,
        bytes: report.bytes,
        bytes_fetched: report.bytes_fetched,
        seconds: event::seconds(session.started.elapsed()),
    });
}

/// The number of foreign files that are listed.
const NAMED: usize = 5;

fn foreign(directory: &Path, names: &[String]) -> Event {
    let shown: Vec<_> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "`{}` contains {}{more}, which no run created",
        directory.display(),
        shown.join(", ")
    );
    Event::warning(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_named_up_to_a_number() {
        let names: Vec<_> = (1..=7).map(|number| format!("{number}.whl")).collect();
        let Event::Warning { message, .. } = foreign(Path::new("out"), &names) else {
            panic!("not a warning");
        };
        assert_eq!(
            message,
            "`out` contains `1.whl`, `2.whl`, `3.whl`, `4.whl`, `5.whl` and 2 more, which no run created"
        );
    }
}
