//! The output streams: data goes to stdout, status messages to stderr.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use anstream::ColorChoice;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Kind, Result};

use crate::cli::args::Color;
use crate::cli::style;

/// Writes data to stdout. A closed pipe is not an error.
pub(crate) fn data(text: &str) {
    let mut stream = anstream::stdout();
    // Programs that read the output get it unchanged.
    let text = if io::stdout().is_terminal() {
        &style::presentable(text)
    } else {
        text
    };
    // A closed pipe (`| head`) is not an error, and other errors cannot be reported.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
}

/// Returns stdout without a buffer, for binary data.
///
/// # Errors
/// `Publish` if stdout is closed.
pub(crate) fn bytes() -> Result<File> {
    let owned = io::stdout().as_fd().try_clone_to_owned();
    owned.map(File::from).context(Kind::Publish, || {
        "the standard output cannot be used".to_owned()
    })
}

/// Writes a status message to stderr.
pub(crate) fn status(line: &str) {
    // An unusable stderr cannot be reported.
    let _ = writeln!(anstream::stderr(), "{}", style::presentable(&mask(line)));
}

/// Sets the color policy of both streams.
pub(crate) fn set_color(color: Option<Color>) {
    match color {
        // By default `anstream` considers the stream, `NO_COLOR` and `CLICOLOR_FORCE`.
        None | Some(Color::Auto) => {}
        Some(Color::Always) => ColorChoice::Always.write_global(),
        Some(Color::Never) => ColorChoice::Never.write_global(),
    }
}

/// Returns whether stderr shows colors.
pub(crate) fn status_has_color() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never
}
