//! Splits words like a POSIX shell, as Python's `shlex.split` does, and quotes them. Nothing is expanded.

/// An error of splitting words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// A quotation is not closed.
    #[error("a quotation mark is not closed")]
    Unclosed,
    /// The text ends in a backslash.
    #[error("nothing follows the last backslash")]
    NothingEscaped,
}

/// Splits text into words.
pub(super) fn split_words(text: &str) -> Result<Vec<String>, QuoteError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let escaped = characters.next().ok_or(QuoteError::NothingEscaped)?;
                word.get_or_insert_default().push(escaped);
            }
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                read_quotation(character, &mut characters, word)?;
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Ok(words)
}

fn read_quotation(
    quote: char,
    characters: &mut std::str::Chars<'_>,
    word: &mut String,
) -> Result<(), QuoteError> {
    loop {
        let character = characters.next().ok_or(QuoteError::Unclosed)?;
        if character == quote {
            return Ok(());
        }
        if character == '\\' && quote == '"' {
            let escaped = characters.next().ok_or(QuoteError::NothingEscaped)?;
            // Within quotation marks, only they and the backslash can be escaped.
            if escaped != '"' && escaped != '\\' {
                word.push('\\');
            }
            word.push(escaped);
        } else {
            word.push(character);
        }
    }
}

/// Quotes a word so that [`split_words`] returns it.
pub(super) fn quote(word: &str) -> String {
    let is_safe =
        |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if !word.is_empty() && word.chars().all(is_safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        split_words(text).unwrap()
    }

    #[test]
    fn parses_quotes_and_escapes_like_a_shell() {
        assert_eq!(words("-i 'url'  --a=\"b c\""), ["-i", "url", "--a=b c"]);
        assert_eq!(words(r#"a\ b "\a\"\\" '\'"#), ["a b", r#"\a"\"#, r"\"]);
        assert_eq!(words("a'b'\"c\" '' #d"), ["abc", "", "#d"]);
        assert!(words(" \t").is_empty());
    }

    #[test]
    fn unterminated_quote_is_an_error() {
        assert_eq!(split_words("--'data"), Err(QuoteError::Unclosed));
        assert_eq!(split_words("\"a"), Err(QuoteError::Unclosed));
        assert_eq!(split_words("a\\"), Err(QuoteError::NothingEscaped));
        assert_eq!(split_words("\"a\\"), Err(QuoteError::NothingEscaped));
    }

    proptest! {
        #[test]
        fn quoted_words_round_trip(input in prop::collection::vec("\\PC{0,8}|['\"\\\\ ]{0,4}", 0..5)) {
            let quoted: Vec<_> = input.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(words(&quoted.join(" ")), input);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = split_words(&text);
        }
    }
}
