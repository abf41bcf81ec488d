//! The file format of pip's configuration, as Python's `RawConfigParser` reads it: sections, multi-line values and
//! comments. Option names are normalized, and values are strings.

use std::collections::HashSet;

use crate::python_text::{is_space, strip};

/// An option of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IniOption {
    pub(super) section: String,
    /// The normalized name.
    pub(super) name: String,
    /// The lines of the value, stripped of white space and joined by line breaks.
    pub(super) value: String,
    /// The line number of the name, starting at 1.
    pub(super) line: usize,
}

/// An error in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IniError {
    /// An option precedes the first section.
    #[error("line {0} is outside of a section such as `[global]`")]
    NoSection(usize),
    /// A line is neither a section nor an option.
    #[error("line {0} is neither `[section]` nor `name = value`")]
    NoOption(usize),
    /// A section is repeated.
    #[error("line {line} repeats the section `[{section}]`")]
    DuplicateSection {
        /// The line number, starting at 1.
        line: usize,
        /// The section.
        section: String,
    },
    /// An option is repeated in a section, possibly in another spelling.
    #[error("line {line} sets `{name}` again in the section `[{section}]`")]
    DuplicateOption {
        /// The line number, starting at 1.
        line: usize,
        /// The section.
        section: String,
        /// The normalized name.
        name: String,
    },
}

/// The section whose options apply to every other section.
const DEFAULT_SECTION: &str = "DEFAULT";

/// Normalizes the spellings that pip accepts for an option.
pub(super) fn normalize_option(name: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    name.strip_prefix("--").unwrap_or(&name).to_owned()
}

/// Parses a configuration file.
pub(super) fn parse_ini(text: &str) -> Result<Vec<IniOption>, IniError> {
    let mut parser = Parser::default();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (index, line) in text.split('\n').enumerate() {
        parser.take(index + 1, line)?;
    }
    Ok(parser.finish())
}

#[derive(Default)]
struct Parser {
    sections: Vec<String>,
    options: Vec<IniOption>,
    section: Option<String>,
    seen: HashSet<(String, String)>,
    /// True if the last option may continue in lines with deeper indentation.
    in_option: bool,
    indentation: usize,
}

impl Parser {
    fn take(&mut self, number: usize, line: &str) -> Result<(), IniError> {
        let content = strip(line);
        if content.starts_with(['#', ';']) {
            return Ok(());
        }
        if content.is_empty() {
            self.go_on("");
            return Ok(());
        }
        let indentation = line.chars().take_while(|it| is_space(*it)).count();
        if self.in_option && indentation > self.indentation {
            self.go_on(content);
            return Ok(());
        }
        self.indentation = indentation;
        match section_name(content) {
            Some(section) => self.begin_section(number, section),
            None => self.begin_option(number, content),
        }
    }

    fn go_on(&mut self, content: &str) {
        if let Some(option) = self.options.last_mut().filter(|_| self.in_option) {
            option.value.push('\n');
            option.value.push_str(content);
        }
    }

    fn begin_section(&mut self, line: usize, section: &str) -> Result<(), IniError> {
        let section = section.to_owned();
        if section != DEFAULT_SECTION {
            if self.sections.contains(&section) {
                return Err(IniError::DuplicateSection { line, section });
            }
            self.sections.push(section.clone());
        }
        self.section = Some(section);
        self.in_option = false;
        Ok(())
    }

    fn begin_option(&mut self, line: usize, content: &str) -> Result<(), IniError> {
        let section = self.section.clone().ok_or(IniError::NoSection(line))?;
        let (name, value) = content
            .split_once(['=', ':'])
            .filter(|(name, _)| !name.is_empty())
            .ok_or(IniError::NoOption(line))?;
        let name = normalize_option(name.trim_end_matches(is_space));
        if !self.seen.insert((section.clone(), name.clone())) {
            return Err(IniError::DuplicateOption {
                line,
                section,
                name,
            });
        }
        let value = strip(value).to_owned();
        self.options.push(IniOption {
            section,
            name,
            value,
            line,
        });
        self.in_option = true;
        Ok(())
    }

    /// Returns the options of each section, including the defaults that it does not override.
    fn finish(mut self) -> Vec<IniOption> {
        for option in &mut self.options {
            let end = option.value.trim_end_matches(is_space).len();
            option.value.truncate(end);
        }
        let mut options = Vec::new();
        for section in &self.sections {
            let (mut own, defaults): (Vec<_>, Vec<_>) = (self.options.iter())
                .filter(|option| option.section == *section || option.section == DEFAULT_SECTION)
                .cloned()
                .partition(|option| option.section == *section);
            for mut default in defaults {
                let overriding = own.iter().position(|option| option.name == default.name);
                let value = overriding.map(|position| own.remove(position));
                default.section.clone_from(section);
                options.push(value.unwrap_or(default));
            }
            options.extend(own);
        }
        options
    }
}

/// Returns `name` in `[name]`, up to the last bracket; the rest of the line is ignored.
fn section_name(content: &str) -> Option<&str> {
    let end = content.rfind(']')?;
    content
        .get(1..end)
        .filter(|name| content.starts_with('[') && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(text: &str) -> Vec<(String, String, String)> {
        parse_ini(text)
            .unwrap()
            .into_iter()
            .map(|option| (option.section, option.name, option.value))
            .collect()
    }

    fn option(section: &str, name: &str, value: &str) -> (String, String, String) {
        (section.to_owned(), name.to_owned(), value.to_owned())
    }

    #[test]
    fn normalizes_names() {
        let expected = [option("global", "index-url", "https://h/?a=b:c")];
        assert_eq!(
            options("[global]\r\nIndex_URL = https://h/?a=b:c\r\n"),
            expected
        );
        assert_eq!(options("[global]\n--index-url: https://h/?a=b:c"), expected);
    }

    #[test]
    fn indented_lines_continue_values() {
        let text =
            "[global]\nfind-links =\n    a\n\n  # comment\n    b ; no comment\n\nno-index=1\n";
        let expected = [
            option("global", "find-links", "\na\n\nb ; no comment"),
            option("global", "no-index", "1"),
        ];
        assert_eq!(options(text), expected);
        let indented = "\n    [test]\n    hello = 4\n      5\n    other: 6";
        let expected = [
            option("test", "hello", "4\n5"),
            option("test", "other", "6"),
        ];
        assert_eq!(options(indented), expected);
    }

    #[test]
    fn default_section_applies_to_all() {
        let text = "[DEFAULT]\na=1\nb=2\n[x]\nb=3\nc=4\n[y]\n[DEFAULT]\nd=5";
        let expected = [
            option("x", "a", "1"),
            option("x", "b", "3"),
            option("x", "d", "5"),
            option("x", "c", "4"),
            option("y", "a", "1"),
            option("y", "b", "2"),
            option("y", "d", "5"),
        ];
        assert_eq!(options(text), expected);
    }

    #[test]
    fn accepts_any_section_name() {
        assert_eq!(section_name("[a] ; comment"), Some("a"));
        assert_eq!(section_name("[a]]"), Some("a]"));
        assert_eq!(section_name("[]"), None);
        assert_eq!(section_name("a[b]"), None);
    }

    #[test]
    fn errors_name_line() {
        for (text, message) in [
            (
                "test]\nhello = 4",
                "line 1 is outside of a section such as `[global]`",
            ),
            (
                "[a]\nhello",
                "line 2 is neither `[section]` nor `name = value`",
            ),
            (
                "[a]\n= b",
                "line 2 is neither `[section]` nor `name = value`",
            ),
            ("[a]\n[b]\n[a]", "line 3 repeats the section `[a]`"),
            (
                "[a]\nb-c=1\nB_C=2",
                "line 3 sets `b-c` again in the section `[a]`",
            ),
            (
                "\u{feff}[a]",
                "line 1 is outside of a section such as `[global]`",
            ),
        ] {
            assert_eq!(parse_ini(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC|[\\[\\]=:#;\n\r \t]|a){0,60}") {
            let _ = parse_ini(&text);
        }

        #[test]
        fn written_options_round_trip(
            input in prop::collection::btree_map("[a-z][a-z-]{0,6}", "([a-z=:;#.]{1,6}( [a-z]){0,2}(\n[a-z]{1,3}){0,2})?", 0..5)
        ) {
            let lines = input.iter().map(|(name, value)| {
                format!("{name} = {}", value.replace('\n', "\n  "))
            });
            let text = format!("[global]\n{}", lines.collect::<Vec<_>>().join("\n"));
            let expected: Vec<_> = input.iter().map(|(name, value)| option("global", name, value)).collect();
            prop_assert_eq!(options(&text), expected);
        }
    }
}
