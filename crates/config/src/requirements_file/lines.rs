//! Converts text to logical lines: joins continuations, removes comments, and expands variables.

use crate::environment::Environment;
use crate::python_text::{is_space, split_lines, strip};

/// A logical line, and the number of its first physical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalLine {
    pub(super) number: usize,
    pub(super) text: String,
}

/// Splits a requirements file into its logical lines, without empty ones.
pub(super) fn logical_lines(content: &str) -> Vec<LogicalLine> {
    joined_lines(content)
        .into_iter()
        .map(|line| LogicalLine {
            text: strip(without_comment(&line.text)).to_owned(),
            ..line
        })
        .filter(|line| !line.text.is_empty())
        .collect()
}

/// Joins a line that ends in a backslash with the next one.
///
/// A comment line never continues, and ends a continuation; as in pip, all backslashes
/// at either end of a continued line are removed.
fn joined_lines(content: &str) -> Vec<LogicalLine> {
    let mut joined = Vec::new();
    let mut pending: Option<LogicalLine> = None;
    for (index, line) in split_lines(content).into_iter().enumerate() {
        let is_comment = line.trim_start_matches(is_space).starts_with('#');
        let continues = line.ends_with('\\') && !is_comment;
        let mut logical = pending.take().unwrap_or(LogicalLine {
            number: index + 1,
            text: String::new(),
        });
        if continues {
            logical.text.push_str(line.trim_matches('\\'));
            pending = Some(logical);
            continue;
        }
        if is_comment {
            // A comment needs white space before it after joining.
            logical.text.push(' ');
        }
        logical.text.push_str(line);
        joined.push(logical);
    }
    joined.extend(pending);
    joined
}

/// Removes `(^|\s+)#.*$` from the line.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (index, character) in line.char_indices() {
        if character == '#' && (index == 0 || is_space(before)) {
            return line[..index].trim_end_matches(is_space);
        }
        before = character;
    }
    line
}

/// Replaces `${NAME}` with the variable's value; unset and empty variables are kept as written.
///
/// The names are those in the original text, but as in pip a replacement also applies to the values
/// that were inserted before it.
pub(in super::super) fn expand_variables(text: &str, environment: &Environment) -> String {
    variable_names(text)
        .into_iter()
        .fold(text.to_owned(), |expanded, name| {
            match environment.get_nonempty(name) {
                Some(value) => expanded.replace(&format!("${{{name}}}"), value),
                None => expanded,
            }
        })
}

fn variable_names(text: &str) -> Vec<&str> {
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        rest = &rest[start + 2..];
        let length = rest.bytes().take_while(|byte| is_name(*byte)).count();
        if length > 0 && rest[length..].starts_with('}') {
            names.push(&rest[..length]);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(content: &str) -> Vec<(usize, String)> {
        logical_lines(content)
            .into_iter()
            .map(|line| (line.number, line.text))
            .collect()
    }

    fn joined(content: &str) -> Vec<(usize, String)> {
        joined_lines(content)
            .into_iter()
            .map(|line| (line.number, line.text))
            .collect()
    }

    fn numbered(lines: &[(usize, &str)]) -> Vec<(usize, String)> {
        lines
            .iter()
            .map(|(number, text)| (*number, (*text).to_owned()))
            .collect()
    }

    #[test]
    fn comments_end_a_continuation() {
        let expected = numbered(&[(1, "req1"), (3, "req2")]);
        assert_eq!(lines("req1 \\\n# comment \\\nreq2\n"), expected);
        assert_eq!(lines("req1 \\\n# comment\nreq2\n"), expected);
        assert_eq!(lines("req1\\\n# comment\n"), numbered(&[(1, "req1")]));
        assert_eq!(lines("req1\\\n   # comment\nreq2"), expected);
    }

    #[test]
    fn comments_need_space_before_them() {
        assert_eq!(
            lines("\nreq1\n# comment\nreq2"),
            numbered(&[(2, "req1"), (4, "req2")])
        );
        assert_eq!(lines("req # comment"), numbered(&[(1, "req")]));
        assert_eq!(lines("req \t\u{a0}# one # two"), numbered(&[(1, "req")]));
        assert_eq!(
            lines("http://h/a.zip#egg=wat"),
            numbered(&[(1, "http://h/a.zip#egg=wat")])
        );
        assert_eq!(lines("  # comment\n#"), numbered(&[]));
    }

    #[test]
    fn joined_lines_have_number_of_first() {
        let content = "line 1\nline 2:1 \\\nline 2:2\nline 3:1 \\\nline 3:2 \\\nline 3:3\nline 4";
        let expected = numbered(&[
            (1, "line 1"),
            (2, "line 2:1 line 2:2"),
            (4, "line 3:1 line 3:2 line 3:3"),
            (7, "line 4"),
        ]);
        assert_eq!(joined(content), expected);
        let unfinished = numbered(&[(1, "line 1"), (2, "line 2 ")]);
        assert_eq!(joined("line 1\nline 2 \\"), unfinished);
    }

    #[test]
    fn removes_backslashes_of_continued_lines() {
        assert_eq!(lines("\\a\\\\\n\\b"), numbered(&[(1, "a\\b")]));
        assert_eq!(lines("a \\\r\n  b\r\n"), numbered(&[(1, "a   b")]));
    }

    #[test]
    fn expands_only_uppercase_names_in_braces() {
        let environment = Environment::from_iter([
            ("TOKEN_1", "secret"),
            ("lower", "no"),
            ("EMPTY", ""),
            ("NESTED", "${TOKEN_1}"),
        ]);
        let expand = |text| expand_variables(text, &environment);
        assert_eq!(expand("a${TOKEN_1}b${TOKEN_1}"), "asecretbsecret");
        let unchanged = "${UNSET}:$TOKEN_1@%TOKEN_1%${lower}${EMPTY}${}${TOKEN_1";
        assert_eq!(expand(unchanged), unchanged);
        assert_eq!(expand("${${TOKEN_1}"), "${secret");
        assert_eq!(expand("${NESTED}"), "${TOKEN_1}");
        assert_eq!(expand("${NESTED}/${TOKEN_1}"), "secret/secret");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(content in "(\\PC|[\\\\#\n\r\u{1c}\u{2028} ${}A]){0,60}") {
            let environment = Environment::from_iter([("A", "${A}#\\")]);
            for line in logical_lines(&content) {
                prop_assert!(!line.text.is_empty());
                expand_variables(&line.text, &environment);
            }
        }
    }
}
