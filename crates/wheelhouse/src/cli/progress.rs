//! Progress in bytes, on a terminal.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::oci::Watch;

/// A bar that grows with what is to be moved.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Shows nothing unless progress is wanted and stderr is a terminal.
    pub(super) fn new(wanted: bool) -> Self {
        let shown = wanted && stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(
            "uploading {bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}",
        );
        Self(bar.with_style(style.expect("the template is right")))
    }

    pub(super) fn close(&self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Bar {
    fn expect(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}
