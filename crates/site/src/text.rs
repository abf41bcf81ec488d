//! Text of unknown origin made fit to be shown, and numbers as people read them.
//!
//! The templates escape HTML. This module bounds lengths and shows characters that would change the order or the
//! visibility of the text around them.

use std::fmt::Write as _;

use jiff::Timestamp;

/// The maximum length of text that is kept beside its short form, in characters. The whole text is in the metadata file.
const LONGEST: usize = 10_000;

/// A text that is shown in a short form, with more of it if it is longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clipped {
    /// At most the requested number of characters, on one line.
    pub(crate) short: String,
    /// The text, if the short form is not all of it.
    pub(crate) full: Option<String>,
}

impl Clipped {
    /// Shortens `text` to at most `most` characters.
    pub(crate) fn new(text: &str, most: usize) -> Self {
        let (shown, is_whole) = visible(text, LONGEST);
        if shown.char_indices().nth(most).is_none() {
            return Self {
                short: shown,
                full: None,
            };
        }
        let kept: String = shown.chars().take(most.saturating_sub(1)).collect();
        let short = format!("{}…", kept.trim_end());
        let full = if is_whole { shown } else { shown + "…" };
        Self {
            short,
            full: Some(full),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.short.is_empty()
    }
}

/// Returns `text` on one line with at most `most` characters.
pub(crate) fn line(text: &str, most: usize) -> String {
    Clipped::new(text, most).short
}

/// Returns the first `most` characters of `text` with white space collapsed and hidden characters as escapes, and true if
/// nothing was left out.
fn visible(text: &str, most: usize) -> (String, bool) {
    let mut shown = String::with_capacity(text.len().min(most));
    let mut characters = text.chars();
    let mut is_gap = false;
    for character in characters.by_ref().take(most) {
        if character.is_whitespace() || character.is_control() {
            is_gap = !shown.is_empty();
            continue;
        }
        if is_gap {
            shown.push(' ');
            is_gap = false;
        }
        if is_hidden(character) {
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    (shown, characters.next().is_none())
}

/// Returns whether `character` is not seen itself, but changes the order or identity of the text around it.
fn is_hidden(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Formats a count as `1 wheel`, `2 wheels` or `5,000 wheels`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// Formats `number` with commas: `5,000`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a time in UTC as `2026-01-31 12:30 UTC`.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Formats a time in milliseconds since 1970-01-01 UTC as a date, `2026-01-31`.
pub(crate) fn date(milliseconds: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(milliseconds).ok()?;
    Some(time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_clipped_and_kept() {
        let text = "word ".repeat(100);
        let clipped = Clipped::new(&text, 20);
        assert_eq!(clipped.short, "word word word word…");
        assert_eq!(clipped.full.as_deref(), Some(text.trim()));
        assert_eq!(Clipped::new("short", 5).short, "short");
        assert_eq!(Clipped::new("short", 5).full, None);
        let enormous = Clipped::new(&"x".repeat(5_000_000), 100);
        assert_eq!(enormous.full.unwrap().chars().count(), LONGEST + 1);
    }

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(line("a\u{202e}b", 99), "a\\u{202e}b");
        assert_eq!(line("a\u{2066}\u{200b}", 99), "a\\u{2066}\\u{200b}");
        assert_eq!(line(" a\r\n\t b\0c\u{1b}[31m ", 99), "a b c [31m");
        assert_eq!(line("naïve 日本 👩‍🚀", 99), "naïve 日本 👩‍🚀");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1, "wheel"), "1 wheel");
        assert_eq!(count(5000, "wheel"), "5,000 wheels");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(i64::MAX), None);
        assert_eq!(time(Timestamp::UNIX_EPOCH), "1970-01-01 00:00 UTC");
    }
}
