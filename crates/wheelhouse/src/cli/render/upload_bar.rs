//! Live progress of commands without events, in the style of the event renderer.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::render::{Verbosity, can_be_live};
use crate::cli::{format, style};
use wheelhouse_oci::progress::TransferProgress;

/// The interval at which live lines are redrawn.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The template of a line for the current activity.
pub(crate) const SPINNER: &str = "{spinner} {wide_msg} {elapsed}";

/// Creates the style of a live line from its template.
pub(crate) fn form(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}

fn target(wanted: bool, verbosity: Verbosity) -> ProgressDrawTarget {
    if wanted && can_be_live(verbosity) {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// A line for the current activity, which is removed at the end.
pub(crate) struct Activity(ProgressBar);

impl Activity {
    /// Creates a line that is hidden unless progress is `wanted` and stderr is a terminal.
    pub(crate) fn new(wanted: bool, verbosity: Verbosity) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(wanted, verbosity));
        Self(bar.with_style(form(SPINNER)))
    }

    /// Shows the beginning of an activity.
    pub(crate) fn begin(&self, message: &str) {
        self.0.set_message(style::presentable(message));
        self.0.reset_elapsed();
        self.0.enable_steady_tick(TICK);
    }

    /// Calls `write`, which writes permanent lines above the live one.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    pub(crate) fn close(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar for the progress of uploads.
pub(crate) struct UploadBar(ProgressBar);

impl UploadBar {
    /// Creates a bar that is hidden unless progress is `wanted` and stderr is a terminal.
    pub(crate) fn new(wanted: bool, verbosity: Verbosity) -> Self {
        Self(ProgressBar::with_draw_target(
            Some(0),
            target(wanted, verbosity),
        ))
    }

    /// Shows an activity before the upload.
    pub(crate) fn begin(&self, message: &'static str) {
        self.0.set_style(form(SPINNER));
        self.0.set_message(message);
        self.0.enable_steady_tick(TICK);
    }

    pub(crate) fn close(&self) {
        self.0.finish_and_clear();
    }

    fn show(&self) {
        let (moved, all) = (self.0.position(), self.0.length().unwrap_or_default());
        let [moved, all] = [moved, all].map(format::bytes);
        self.0.set_message(format!("{moved} of {all}"));
    }
}

impl TransferProgress for UploadBar {
    fn add_expected(&self, bytes: u64) {
        self.0
            .set_style(form("{spinner} Uploading [{bar:24}] {msg}"));
        self.0.inc_length(bytes);
        self.show();
    }

    fn add_transferred(&self, bytes: u64) {
        self.0.inc(bytes);
        self.show();
    }
}
