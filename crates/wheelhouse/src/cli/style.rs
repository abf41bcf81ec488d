//! Colors of labels. The words are the same without them.

use anstyle::{AnsiColor, Style};

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default().bold();
pub(crate) const QUIET: Style = Style::new().dimmed();
pub(crate) const DONE: Style = AnsiColor::Green.on_default().bold();

/// Returns `label: text` with a colored label.
pub(crate) fn labeled(style: Style, label: &str, text: &str) -> String {
    format!("{style}{label}:{style:#} {text}")
}

/// Returns `word` in color.
pub(crate) fn painted(style: Style, word: &str) -> String {
    format!("{style}{word}{style:#}")
}

/// Indents a line; an empty one stays empty.
pub(crate) fn indented(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        format!("  {line}")
    }
}

/// Makes `text` safe for a terminal: escapes control characters other than line breaks, tabs and colors, and characters that
/// change the direction of writing. Output of builds and names from indexes could otherwise write to the clipboard, rename the
/// window or overwrite other lines.
pub(crate) fn presentable(text: &str) -> String {
    let mut presentable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(one) = rest.chars().next() {
        let length = match one {
            '\x1b' => color_length(rest).unwrap_or(1),
            '\r' if rest.starts_with("\r\n") => 2,
            _ => one.len_utf8(),
        };
        let (taken, after) = rest.split_at(length);
        let is_safe = length > 1 && taken.is_ascii()
            || matches!(one, '\n' | '\t')
            || !one.is_control() && !is_bidirectional(one);
        if is_safe {
            presentable.push_str(taken);
        } else {
            presentable.extend(one.escape_default());
        }
        rest = after;
    }
    presentable
}

/// Returns the length in bytes of the color or style sequence at the beginning of `text`.
fn color_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|one: char| !one.is_ascii_digit() && one != ';')?;
    parameters[end..].starts_with('m').then_some(end + 3)
}

fn is_bidirectional(one: char) -> bool {
    matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colors_reach_the_terminal() {
        for (text, shown) in [
            ("plain\ttext\r\nand more\n", "plain\ttext\r\nand more\n"),
            ("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m"),
            ("\x1b]0;pwned\x07", "\\u{1b}]0;pwned\\u{7}"),
            ("\x1b[2J\x1b[1A\x1b", "\\u{1b}[2J\\u{1b}[1A\\u{1b}"),
            ("50 %\rdone\u{9b}2J", "50 %\\rdone\\u{9b}2J"),
            ("abc\u{202e}fdp", "abc\\u{202e}fdp"),
            ("déjà vu ✓", "déjà vu ✓"),
        ] {
            assert_eq!(presentable(text), shown);
        }
    }
}
