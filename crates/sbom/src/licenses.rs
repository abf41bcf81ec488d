//! The licenses of core metadata.

use wheelhouse_archive::metadata::{value, values};

/// The maximum length of a license name. Some packages put the whole text of the license into the field.
const MAX_NAME: usize = 80;

/// The license that a package declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Licenses {
    #[default]
    Unknown,
    /// An SPDX license expression (PEP 639).
    Expression(String),
    /// Names of licenses, as they are written.
    Names(Vec<String>),
}

impl Licenses {
    /// Returns the licenses of core metadata: an SPDX expression, or names.
    pub(crate) fn of(metadata: &str) -> Self {
        if let Some(expression) = value(metadata, "License-Expression") {
            return Self::parse(expression);
        }
        let short = |name: &String| name.len() <= MAX_NAME && !name.contains('\n');
        let mut names: Vec<String> = value(metadata, "License")
            .into_iter()
            .filter(short)
            .collect();
        if names.is_empty() {
            let classifiers = values(metadata, "Classifier").into_iter();
            let licenses = classifiers.filter(|classifier| classifier.starts_with("License ::"));
            names.extend(licenses.filter_map(|name| Some(name.rsplit_once(":: ")?.1.to_owned())));
        }
        Self::named(names)
    }

    /// Returns `text` as an expression, or as a name if it is not one.
    pub(crate) fn parse(text: String) -> Self {
        if is_expression(&text) {
            Self::Expression(text)
        } else {
            Self::named(vec![text.chars().take(MAX_NAME).collect()])
        }
    }

    /// Returns the licenses called `names`.
    pub(crate) fn named(names: Vec<String>) -> Self {
        if names.is_empty() {
            Self::Unknown
        } else {
            Self::Names(names)
        }
    }

    /// Returns the identifiers in the expression that are defined in the document only.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        let text = match self {
            Self::Expression(text) => text.as_str(),
            _ => "",
        };
        text.split([' ', '(', ')'])
            .map(|word| word.trim_end_matches('+'))
            .filter(|word| word.starts_with("LicenseRef-"))
    }
}

/// Returns whether `text` has the syntax of an SPDX license expression: operands, `AND`, `OR`, `WITH` and parentheses.
fn is_expression(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut depth, mut awaits_operand) = (0_usize, true);
    for word in spaced.split_ascii_whitespace() {
        let is_valid = match word {
            "(" => {
                depth += 1;
                awaits_operand
            }
            ")" if depth == 0 => false,
            ")" => {
                depth -= 1;
                !awaits_operand
            }
            "AND" | "OR" | "WITH" => !std::mem::replace(&mut awaits_operand, true),
            operand => {
                let is_identifier = operand
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.+".contains(&byte));
                is_identifier && std::mem::replace(&mut awaits_operand, false)
            }
        };
        if !is_valid {
            return false;
        }
    }
    depth == 0 && !awaits_operand
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_expressions_or_names() {
        let names =
            |names: &[&str]| Licenses::Names(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            Licenses::of("License-Expression: MIT\nLicense: x\n"),
            Licenses::Expression("MIT".to_owned())
        );
        assert_eq!(Licenses::of("License: BSD\n"), names(&["BSD"]));
        let classified =
            "License: A\n  long text\nClassifier: License :: OSI Approved :: MIT License\n";
        assert_eq!(Licenses::of(classified), names(&["MIT License"]));
        assert_eq!(Licenses::of("Name: a\n"), Licenses::Unknown);
    }

    #[test]
    fn recognizes_expressions() {
        for text in [
            "MIT",
            "MIT OR Apache-2.0",
            "(GPL-2.0+ WITH Classpath-exception-2.0) AND (MIT OR LicenseRef-a.b)",
        ] {
            assert!(is_expression(text), "{text}");
        }
        for text in [
            "",
            "MIT License",
            "MIT AND",
            "(MIT",
            "MIT)",
            "MIT/X11",
            "AND",
            "()",
        ] {
            assert!(!is_expression(text), "{text}");
        }
        let licenses = Licenses::parse("MIT AND (LicenseRef-a OR LicenseRef-b+)".to_owned());
        let references: Vec<_> = licenses.references().collect();
        assert_eq!(references, ["LicenseRef-a", "LicenseRef-b"]);
    }
}
