//! The log for those who look for a fault: off unless it is asked for.

use tracing_subscriber::EnvFilter;

use crate::cli::credentials::MaskingWriter;

const VARIABLE: &str = "WHEELHOUSE_LOG";

/// Starts the log of decisions, requests and hooks if `WHEELHOUSE_LOG` says what to log, or if `-v` was given twice or more.
pub(super) fn start(verbose: u8) {
    let filter = match (std::env::var(VARIABLE), verbose) {
        (Ok(filter), _) if !filter.is_empty() => EnvFilter::try_new(filter).ok(),
        (_, 2) => EnvFilter::try_new("warn,wheelhouse=debug,uv=debug").ok(),
        (_, 3..) => EnvFilter::try_new("debug").ok(),
        _ => None,
    };
    let Some(filter) = filter else { return };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| MaskingWriter(std::io::stderr()));
    // It can be started once; a test may have done so.
    let _ = log
        .with_ansi(crate::cli::output::status_has_color())
        .try_init();
}
