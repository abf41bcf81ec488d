//! The two streams: stdout is data, stderr is talk.
//!
//! Responsible for colour and for readers that go away. Never decides what is said.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use anstream::ColorChoice;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Kind, Result};

use crate::cli::args::Color;
use crate::cli::style;

/// Writes data, and takes it well if nobody reads it to its end.
pub(crate) fn data(text: &str) {
    let mut stream = anstream::stdout();
    // What goes on to another program stays as it is.
    let text = if io::stdout().is_terminal() {
        &style::presentable(text)
    } else {
        text
    };
    // Whoever closes the pipe (`| head`) has seen enough; there is nobody to tell of other failures.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
}

/// The standard output for bytes, which are not held back.
///
/// # Errors
/// When there is none.
pub(crate) fn bytes() -> Result<File> {
    let owned = io::stdout().as_fd().try_clone_to_owned();
    owned.map(File::from).context(Kind::Publish, || {
        "the standard output cannot be used".to_owned()
    })
}

/// Writes a line for the user.
pub(crate) fn status(line: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{}", style::presentable(&mask(line)));
}

/// Decides on colour for both streams.
pub(crate) fn set_color(color: Option<Color>) {
    match color {
        // `anstream` then looks at the stream, `NO_COLOR` and `CLICOLOR_FORCE`.
        None | Some(Color::Auto) => {}
        Some(Color::Always) => ColorChoice::Always.write_global(),
        Some(Color::Never) => ColorChoice::Never.write_global(),
    }
}

/// Whether stderr shows colours.
pub(crate) fn status_has_color() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never
}
