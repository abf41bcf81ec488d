//! The header format of `METADATA`, `PKG-INFO` and `WHEEL`: finds the values of a field.
//!
//! Does not parse the values.

/// Returns the unfolded values of all fields `name` in the headers of `text`, in order.
///
/// Implements the part of RFC 822 that the core metadata specification uses: names are case-insensitive, a line that starts
/// with whitespace continues the previous field, and the first empty line ends the headers.
#[must_use]
pub fn values(text: &str, name: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    let mut is_match = false;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let (true, Some(value)) = (is_match, values.last_mut()) {
                value.push('\n');
                value.push_str(line.trim());
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        is_match = field.trim_end().eq_ignore_ascii_case(name);
        if is_match {
            values.push(value.trim().to_owned());
        }
    }
    values
}

/// Returns the first value of the field `name`, unless it is empty.
#[must_use]
pub fn value(text: &str, name: &str) -> Option<String> {
    values(text, name)
        .into_iter()
        .next()
        .filter(|value| !value.is_empty())
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
    }
}
