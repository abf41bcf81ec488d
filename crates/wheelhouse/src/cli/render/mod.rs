//! What a run tells, rendered: live on a terminal, as plain lines, or as JSON.
//!
//! Responsible for choosing the renderer, and for what all of them say in the same words. Never
//! decides what happens.

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

/// Shows events, and can be asked to leave the screen to others.
pub(crate) trait Renderer: Observer {
    /// Removes what is live, for good.
    fn close(&self);
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Errors alone.
    Silent,
    /// Warnings and errors.
    Quiet,
    Normal,
    Verbose,
}

impl Verbosity {
    /// Weighs how often `-q` and `-v` were given.
    pub(crate) fn new(quiet: u32, verbose: u32) -> Self {
        match i64::from(verbose) - i64::from(quiet) {
            ..=-2 => Self::Silent,
            -1 => Self::Quiet,
            0 => Self::Normal,
            1.. => Self::Verbose,
        }
    }
}

/// Whether live progress can be shown: what is written to the standard error beside it would tear it apart.
pub(in crate::cli) fn can_be_live(verbosity: Verbosity) -> bool {
    let has_log = LevelFilter::current() != LevelFilter::OFF;
    verbosity >= Verbosity::Normal && !has_log && !ProgressDrawTarget::stderr().is_hidden()
}

/// Chooses the renderer: JSON if it is wanted, else live progress on a terminal that can show it, else lines. One without
/// a cursor (`TERM=dumb`) cannot, and would show nothing at all.
pub(crate) fn choose(verbosity: Verbosity, json: bool, live: bool) -> Arc<dyn Renderer> {
    if json {
        Arc::new(json::JsonRenderer::new(std::io::stdout(), verbosity))
    } else if live && can_be_live(verbosity) {
        Arc::new(terminal::TerminalRenderer::new(verbosity))
    } else {
        Arc::new(plain::PlainRenderer::new(anstream::stderr(), verbosity))
    }
}
