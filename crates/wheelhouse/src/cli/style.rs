//! Colours of words that say the same without them.

use anstyle::{AnsiColor, Style};

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default().bold();
pub(crate) const DONE: Style = AnsiColor::Green.on_default().bold();

/// `error: text`, the label in colour.
pub(crate) fn labelled(style: Style, label: &str, text: &str) -> String {
    format!("{style}{label}:{style:#} {text}")
}

/// `word`, in colour.
pub(crate) fn painted(style: Style, word: &str) -> String {
    format!("{style}{word}{style:#}")
}

/// A line below another; an empty one stays empty.
pub(crate) fn indented(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        format!("  {line}")
    }
}
