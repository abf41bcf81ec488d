//! Renders the events of a run: live on a terminal, as plain lines, or as JSON.

mod download_progress;
mod json;
mod messages;
mod plain;
mod terminal;
pub(super) mod upload_bar;

use std::sync::Arc;

use indicatif::ProgressDrawTarget;
use tracing::level_filters::LevelFilter;
use wheelhouse_types::Observer;

pub(crate) use json::EVENT_SCHEMA;
pub(in crate::cli) use messages::removed;

/// Renders events.
pub(crate) trait Renderer: Observer {
    /// Removes live output permanently.
    fn close(&self);
}

/// The amount of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Only errors.
    Silent,
    /// Warnings and errors.
    Quiet,
    Normal,
    Verbose,
}

impl Verbosity {
    /// Combines the numbers of `-q` and `-v`.
    pub(crate) fn new(quiet: u32, verbose: u32) -> Self {
        match i64::from(verbose) - i64::from(quiet) {
            ..=-2 => Self::Silent,
            -1 => Self::Quiet,
            0 => Self::Normal,
            1.. => Self::Verbose,
        }
    }
}

/// Returns whether live progress can be shown: log lines on stderr would break it.
pub(in crate::cli) fn can_be_live(verbosity: Verbosity) -> bool {
    let has_log = LevelFilter::current() != LevelFilter::OFF;
    verbosity >= Verbosity::Normal && !has_log && !ProgressDrawTarget::stderr().is_hidden()
}

/// Selects the renderer: JSON if requested, live progress if the terminal supports it, plain lines otherwise. A terminal
/// without cursor movement (`TERM=dumb`) does not support it.
pub(crate) fn choose(verbosity: Verbosity, json: bool, live: bool) -> Arc<dyn Renderer> {
    if json {
        Arc::new(json::JsonRenderer::new(std::io::stdout(), verbosity))
    } else if live && can_be_live(verbosity) {
        Arc::new(terminal::TerminalRenderer::new(verbosity))
    } else {
        Arc::new(plain::PlainRenderer::new(anstream::stderr(), verbosity))
    }
}
