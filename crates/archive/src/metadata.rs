//! The header format of `METADATA`, `PKG-INFO` and `WHEEL`: finds the values of a field.
//!
//! Does not parse the values.

use std::borrow::Cow;

/// Returns the fields in the headers of `text` in order: names as they are written, values unfolded.
///
/// Implements the part of RFC 822 that the core metadata specification uses: a line that starts with whitespace continues
/// the previous field, and the first empty line ends the headers.
pub fn fields(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .lines()
        .take_while(|line| !line.is_empty())
        .skip_while(|line| is_continuation(line))
        .peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let mut value = Cow::Borrowed(value.trim());
        while let Some(next) = lines.next_if(|line| is_continuation(line)) {
            let value = value.to_mut();
            value.push('\n');
            value.push_str(next.trim());
        }
        Some((name.trim_end(), value))
    })
}

fn is_continuation(line: &str) -> bool {
    line.starts_with([' ', '\t'])
}

/// Returns the values of all [`fields`] `name` in the headers of `text`, in order. Names are case-insensitive.
#[must_use]
pub fn values(text: &str, name: &str) -> Vec<String> {
    fields(text)
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.into_owned())
        .collect()
}

/// Returns the first value of the field `name`, unless it is empty.
#[must_use]
pub fn value(text: &str, name: &str) -> Option<String> {
    let mut fields = fields(text);
    let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    (!value.is_empty()).then(|| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_in_any_case_and_folding() {
        let text = "Name: a\r\nRequires-Dist: b\r\nsummary: one\r\n  two\r\nrequires-dist: c ; x\r\n\r\nName: body\r\n";
        assert_eq!(values(text, "name"), ["a"]);
        assert_eq!(values(text, "Requires-Dist"), ["b", "c ; x"]);
        assert_eq!(value(text, "Summary").unwrap(), "one\ntwo");
        assert_eq!(value(text, "Version"), None);
        let names: Vec<&str> = fields(text).map(|(name, _)| name).collect();
        assert_eq!(names, ["Name", "Requires-Dist", "summary", "requires-dist"]);
        assert_eq!(values(" a\nName: b\n\tc", "Name"), ["b\nc"]);
    }
}
