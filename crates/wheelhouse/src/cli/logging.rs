//! The log of requests, cache decisions, retries and build steps: tracing events on stderr, and as JSON lines in a file.
//!
//! The log is off by default. `-vv` and `WHEELHOUSE_LOG` turn it on for stderr, `--log-file` and
//! `WHEELHOUSE_LOG_FILE` for a file. Credentials are masked in both.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::cli::args::GlobalOptions;
use crate::cli::credentials::MaskingWriter;
use crate::cli::{output, style};

const DIRECTIVES_VARIABLE: &str = "WHEELHOUSE_LOG";
const FILE_VARIABLE: &str = "WHEELHOUSE_LOG_FILE";

/// The events of this program and of uv.
const DETAILED: &str = "warn,wheelhouse=debug,uv=debug";

/// The events of every library, and the finest ones of this program and of uv.
const EVERYTHING: &str = "debug,wheelhouse=trace,uv=trace";

/// The events of a server that an operator should see.
const WARNINGS: &str = "wheelhouse=warn";

/// The changes that a server notices, too.
const NOTABLE: &str = "wheelhouse=info";

/// Starts the logs that the options and the environment ask for. A server always logs warnings, because nothing else reports
/// them.
///
/// # Errors
/// `Input` if `WHEELHOUSE_LOG` is not a valid list of directives, or if the log file cannot be created.
pub(super) fn start(globals: &GlobalOptions, is_server: bool) -> Result<()> {
    let variable = std::env::var(DIRECTIVES_VARIABLE).unwrap_or_default();
    let (mut on_stderr, in_file) = directives(&variable, globals.verbose);
    if is_server && globals.quiet == 0 {
        let events = if globals.verbose > 0 {
            NOTABLE
        } else {
            WARNINGS
        };
        on_stderr = on_stderr.or(Some(events));
    }
    let file = globals
        .log_file
        .clone()
        .or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from))
        .filter(|path| !path.as_os_str().is_empty());
    let stderr = || {
        fmt::layer()
            .with_ansi(output::status_has_color())
            .with_writer(|| MaskingWriter(io::stderr()))
    };
    let stderr_layer = match on_stderr {
        Some(directives) => {
            let layer = stderr().compact().without_time().with_target(false);
            Some(layer.with_filter(filter(directives)?).boxed())
        }
        None if is_server && globals.quiet == 0 => {
            let events = if globals.verbose > 0 {
                NOTABLE
            } else {
                WARNINGS
            };
            let layer = stderr().event_format(StatusLines);
            Some(layer.with_filter(filter(events)?).boxed())
        }
        None => None,
    };
    let file_layer = match file {
        Some(path) => Some(
            fmt::layer()
                .json()
                .with_writer(Mutex::new(MaskingWriter(LogFile::create(path)?)))
                .with_filter(filter(in_file)?),
        ),
        None => None,
    };
    if stderr_layer.is_some() || file_layer.is_some() {
        // A second subscriber is refused; a unit test may have set the first.
        let _ = tracing_subscriber::registry()
            .with(stderr_layer)
            .with(file_layer)
            .try_init();
    }
    Ok(())
}

/// Returns the directives for stderr, if a log is wanted there, and those for the file.
fn directives(variable: &str, verbose: u8) -> (Option<&str>, &str) {
    match (variable, verbose) {
        ("", 0 | 1) => (None, DETAILED),
        ("", 2) => (Some(DETAILED), DETAILED),
        ("", _) => (Some(EVERYTHING), EVERYTHING),
        (variable, _) => (Some(variable), variable),
    }
}

fn filter(directives: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(directives).map_err(|error| {
        let message = format!("`{directives}` in {DIRECTIVES_VARIABLE} is not a list of log directives");
        Error::new(Kind::Input, message)
            .caused_by(error)
            .with_hint("Set a level such as `debug`, or targets with levels such as `uv_client=trace,wheelhouse=debug`.")
    })
}

/// Formats the events of a server like the messages of the other commands: `warning: MESSAGE`.
struct StatusLines;

impl<S, N> FormatEvent<S, N> for StatusLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let label = match *event.metadata().level() {
            Level::ERROR => style::labeled(style::ERROR, "error", ""),
            Level::WARN => style::labeled(style::WARNING, "warning", ""),
            _ => String::new(),
        };
        if writer.has_ansi_escapes() {
            write!(writer, "{label}")?;
        } else {
            write!(writer, "{}", anstream::adapter::strip_str(&label))?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The log file. It ends with a warning, not with an error, when it cannot be written any more.
struct LogFile {
    path: PathBuf,
    /// `None` after a write failed.
    file: Option<File>,
}

impl LogFile {
    /// Creates the file for its owner alone, or empties the one that exists.
    fn create(path: PathBuf) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).context(Kind::Input, || {
            format!("the log file {} cannot be created", path.display())
        })?;
        let file = Some(file);
        Ok(Self { path, file })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(bytes)
        {
            // A later event would continue the line that was cut short.
            self.file = None;
            let text = format!(
                "the log file {} is incomplete: {error}",
                self.path.display()
            );
            output::status(&style::labeled(style::WARNING, "warning", &text));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_takes_precedence_over_verbosity() {
        assert_eq!(directives("", 1), (None, DETAILED));
        assert_eq!(directives("", 2), (Some(DETAILED), DETAILED));
        assert_eq!(directives("", 3), (Some(EVERYTHING), EVERYTHING));
        assert_eq!(directives("uv=trace", 0), (Some("uv=trace"), "uv=trace"));
    }

    #[test]
    fn rejects_invalid_directives() {
        for directives in [DETAILED, EVERYTHING, "uv_client=trace"] {
            assert!(filter(directives).is_ok(), "{directives}");
        }
        let error = filter("wheelhouse=loud").unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
    }
}
