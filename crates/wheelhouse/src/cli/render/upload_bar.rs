//! Progress on a terminal, of verbs that have no events, in the style of those that have.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::render::{Verbosity, can_be_live};
use crate::cli::{format, style};
use wheelhouse_oci::progress::TransferProgress;

/// How often live lines move.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The form of a line that says what goes on.
pub(crate) const SPINNER: &str = "{spinner} {wide_msg} {elapsed}";

/// Makes the style of a live line from its form.
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

/// A line that says what goes on; nothing of it is left.
pub(crate) struct Activity(ProgressBar);

impl Activity {
    /// Shows nothing unless progress is `wanted` and stderr is a terminal.
    pub(crate) fn new(wanted: bool, verbosity: Verbosity) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(wanted, verbosity));
        Self(bar.with_style(form(SPINNER)))
    }

    /// Says what begins.
    pub(crate) fn begin(&self, message: &str) {
        self.0.set_message(style::presentable(message));
        self.0.reset_elapsed();
        self.0.enable_steady_tick(TICK);
    }

    /// Lets `write` write lines that stay, above.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    pub(crate) fn close(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar that grows with what is to be moved.
pub(crate) struct UploadBar(ProgressBar);

impl UploadBar {
    /// Shows nothing unless progress is wanted and stderr is a terminal.
    pub(crate) fn new(wanted: bool, verbosity: Verbosity) -> Self {
        Self(ProgressBar::with_draw_target(
            Some(0),
            target(wanted, verbosity),
        ))
    }

    /// Says what goes on before anything is moved.
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
