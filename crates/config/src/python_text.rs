//! White space and line ends as defined by Python's `str`, which differ from Rust's and define pip's file formats.

/// Returns whether `character` matches `str.isspace` and `\s`.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Implements `str.strip()`.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Implements `str.split()`.
pub(super) fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Implements `str.splitlines()`: form feeds and Unicode separators end lines too.
pub(super) fn split_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(ends_line) {
        lines.push(&rest[..end]);
        let width = if rest[end..].starts_with("\r\n") {
            2
        } else {
            rest[end..].chars().next().map_or(0, char::len_utf8)
        };
        rest = &rest[end + width..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn ends_line(character: char) -> bool {
    matches!(
        character,
        '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_lines_like_python() {
        let text = "a\nb\r\nc\rd\u{b}e\u{c}f\u{1c}g\u{85}h\u{2028}i\u{2029}";
        let lines = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        assert_eq!(split_lines(text), lines);
        assert_eq!(split_lines("\n\na"), ["", "", "a"]);
        assert!(split_lines("").is_empty());
    }

    #[test]
    fn treats_separators_as_white_space() {
        assert_eq!(strip("\u{1f}\u{a0} a b \u{3000}"), "a b");
        assert_eq!(
            split_words(" a\n\tb\u{1c}c ").collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
    }
}
