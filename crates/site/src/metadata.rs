//! The core metadata of a package as it is shown: text is bounded, and only links to web pages remain.

use std::borrow::Cow;
use std::collections::BTreeMap;

use url::Url;
use wheelhouse_archive::metadata;
use wheelhouse_types::{PackageName, requirement};

use crate::text::{self, Clipped};

/// The maximum lengths of shown text, in characters.
const SUMMARY: usize = 300;
const NAME: usize = 80;
const LINE: usize = 120;

/// The maximum number of links and of names of extras.
const LINKS: usize = 20;
const EXTRAS: usize = 100;

/// The maximum number of requirements that are read.
const REQUIREMENTS: usize = 2_000;

/// The maximum length of a requirement whose marker is read, and of all these of one package, in bytes. The time that
/// markers take grows with the square of their clauses.
const PARSED_REQUIREMENT: usize = 1_000;
const PARSED_REQUIREMENTS: usize = 256 << 10;

/// The metadata of one release.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// The name as its authors write it, if it is another spelling of the normalized one.
    pub(crate) display_name: Option<String>,
    pub(crate) summary: Clipped,
    pub(crate) license: Clipped,
    pub(crate) author: Clipped,
    pub(crate) requires_python: Option<String>,
    pub(crate) keywords: Clipped,
    pub(crate) links: Vec<Link>,
    pub(crate) extras: Vec<String>,
    /// By name; empty if there is no metadata.
    pub(crate) requirements: Vec<DeclaredRequirement>,
    /// `Requires-Dist` lines that are not requirements.
    pub(crate) invalid_requirements: Vec<Clipped>,
}

/// A link to a web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) label: String,
    /// With the scheme `http` or `https`, without credentials.
    pub(crate) url: String,
    /// The host, which the label may hide.
    pub(crate) host: String,
}

/// All requirements that a package has on another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredRequirement {
    pub(crate) name: PackageName,
    /// True if only extras require it.
    pub(crate) is_extra: bool,
    /// Versions and markers, one for each line: `>=1.2`, `>=2 ; python_version < "3.11"`.
    pub(crate) conditions: Vec<String>,
}

impl Metadata {
    /// Reads the bytes of `METADATA` or `PKG-INFO`. Anything that cannot be read is left out.
    pub(crate) fn parse(bytes: &[u8], name: &PackageName) -> Self {
        let headers = String::from_utf8_lossy(headers(bytes));
        let mut metadata = Self::default();
        let mut fields = License::default();
        let mut author = Author::default();
        let mut requirements = Requirements::default();
        for (field, value) in metadata::fields(&headers) {
            if value.is_empty() || value == "UNKNOWN" {
                continue;
            }
            match field.to_ascii_lowercase().as_str() {
                "name" => {
                    let is_same = value
                        .parse::<PackageName>()
                        .is_ok_and(|parsed| parsed == *name);
                    metadata.display_name =
                        (is_same && value != name.as_ref()).then(|| text::line(&value, NAME));
                }
                "summary" => metadata.summary = Clipped::new(&value, SUMMARY),
                "keywords" => metadata.keywords = Clipped::new(&value, LINE),
                "requires-python" => metadata.requires_python = Some(text::line(&value, NAME)),
                "license-expression" => fields.expression = Some(value),
                "license" => fields.text = Some(value),
                "classifier" => fields.add_classifier(&value),
                "author" => author.name = Some(value),
                "author-email" => author.email = Some(value),
                "maintainer" => author.maintainer = Some(value),
                "maintainer-email" => author.maintainer_email = Some(value),
                "home-page" => metadata.add_link("Home page", &value),
                "project-url" => {
                    let (label, url) = value.split_once(',').unwrap_or(("Link", &value));
                    metadata.add_link(label, url);
                }
                "provides-extra" if metadata.extras.len() < EXTRAS => {
                    metadata.extras.push(text::line(&value, NAME));
                }
                "requires-dist" => requirements.add(&value),
                _ => {}
            }
        }
        metadata.license = fields.shown();
        metadata.author = author.shown();
        metadata.requirements = requirements.by_name.into_values().collect();
        metadata.invalid_requirements = requirements.invalid;
        metadata
    }

    fn add_link(&mut self, label: &str, url: &str) {
        let link = web_url(url).map(|(url, host)| Link {
            label: text::line(label, NAME),
            url,
            host,
        });
        if let Some(link) = link
            && self.links.len() < LINKS
            && !self.links.iter().any(|other| other.url == link.url)
        {
            self.links.push(link);
        }
    }
}

/// Returns the part of `bytes` before the first empty line.
fn headers(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        end += line.len();
    }
    &bytes[..end]
}

/// Returns the URL of a web page and its host, or `None` for other schemes, and for URLs whose credentials look like a
/// host.
pub(crate) fn web_url(text: &str) -> Option<(String, String)> {
    const LONGEST: usize = 2_000;
    let text = text.trim();
    if text.len() > LONGEST {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
    let is_web = matches!(url.scheme(), "http" | "https");
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    (is_web && !has_credentials).then(|| (url.to_string(), host))
}

/// The fields that state a license.
#[derive(Default)]
struct License<'a> {
    expression: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
    classifiers: Vec<String>,
}

impl License<'_> {
    fn add_classifier(&mut self, classifier: &str) {
        const MOST: usize = 5;
        if let Some(license) = classifier.strip_prefix("License ::")
            && self.classifiers.len() < MOST
        {
            let name = license.rsplit("::").next().unwrap_or(license).trim();
            self.classifiers.push(name.to_owned());
        }
    }

    /// Prefers the expression, then a short text, then the classifiers: some packages put the whole text of their
    /// license into the field.
    fn shown(self) -> Clipped {
        const SHORT: usize = 60;
        let classifiers = Some(self.classifiers.join(", ")).filter(|text| !text.is_empty());
        let is_short = |text: &Cow<'_, str>| text.len() <= SHORT && !text.contains('\n');
        let (short, long) = match self.text {
            Some(text) if is_short(&text) => (Some(text), None),
            other => (None, other),
        };
        let chosen = self
            .expression
            .or(short)
            .or(classifiers.map(Cow::Owned))
            .or(long);
        chosen.map_or_else(Clipped::default, |license| Clipped::new(&license, SHORT))
    }
}

/// The fields that name authors.
#[derive(Default)]
struct Author<'a> {
    name: Option<Cow<'a, str>>,
    email: Option<Cow<'a, str>>,
    maintainer: Option<Cow<'a, str>>,
    maintainer_email: Option<Cow<'a, str>>,
}

impl Author<'_> {
    fn shown(self) -> Clipped {
        let names = |emails: Cow<'_, str>| -> String {
            let names = emails.split(',').take(20).map(|entry| {
                let name = entry.split('<').next().unwrap_or_default().trim();
                let name = name.trim_matches('"');
                if name.is_empty() { entry.trim() } else { name }.to_owned()
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let chosen = (self.name.map(Cow::into_owned))
            .or(self.email.map(names))
            .or(self.maintainer.map(Cow::into_owned))
            .or(self.maintainer_email.map(names));
        chosen.map_or_else(Clipped::default, |author| Clipped::new(&author, LINE))
    }
}

/// Collects the requirements of a package.
#[derive(Default)]
struct Requirements {
    by_name: BTreeMap<PackageName, DeclaredRequirement>,
    invalid: Vec<Clipped>,
    count: usize,
    parsed: usize,
}

impl Requirements {
    fn add(&mut self, line: &str) {
        const CONDITIONS: usize = 3;
        self.count += 1;
        if self.count > REQUIREMENTS {
            return;
        }
        self.parsed += line.len();
        let is_bounded = line.len() <= PARSED_REQUIREMENT && self.parsed <= PARSED_REQUIREMENTS;
        let read = if is_bounded {
            read_requirement(line)
        } else {
            name_only(line)
        };
        let Some((name, is_extra, condition)) = read else {
            if self.invalid.len() < LINKS {
                self.invalid.push(Clipped::new(line, LINE));
            }
            return;
        };
        let requirement = self
            .by_name
            .entry(name)
            .or_insert_with_key(|name| DeclaredRequirement {
                name: name.clone(),
                is_extra: true,
                conditions: Vec::new(),
            });
        if requirement.is_extra && !is_extra {
            // What extras add to a requirement that always applies is not of interest.
            requirement.is_extra = false;
            requirement.conditions.clear();
        }
        if let Some(condition) = condition
            && requirement.is_extra == is_extra
            && requirement.conditions.len() < CONDITIONS
            && !requirement.conditions.contains(&condition)
        {
            requirement.conditions.push(condition);
        }
    }
}

/// Returns the name, whether only extras require it, and the versions with the marker.
fn read_requirement(line: &str) -> Option<(PackageName, bool, Option<String>)> {
    let parts = requirement::parse(line).ok()?;
    let is_extra = parts.marker.simplify_not_extras_with(|_| true).is_false();
    let mut condition: Vec<String> = Vec::new();
    if !parts.extras.is_empty() {
        let extras: Vec<&str> = parts.extras.iter().map(AsRef::as_ref).collect();
        condition.push(format!("[{}]", extras.join(",")));
    }
    if parts.is_direct {
        condition.push("from a URL".to_owned());
    } else if !parts.specifiers.is_empty() {
        condition.push(parts.specifiers.to_string());
    }
    if let Some((_, marker)) = line.split_once(';') {
        condition.push(format!("; {}", marker.trim()));
    }
    let condition = text::line(&condition.join(" "), LINE);
    let condition = Some(condition).filter(|condition| !condition.is_empty());
    Some((parts.name, is_extra, condition))
}

/// Reads the name of a requirement that is too long to be parsed.
fn name_only(line: &str) -> Option<(PackageName, bool, Option<String>)> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let end = line.find(|character| !is_name(character));
    let name = line[..end.unwrap_or(line.len())].parse().ok()?;
    let is_extra = line
        .split_once(';')
        .is_some_and(|(_, marker)| marker.contains("extra"));
    Some((name, is_extra, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Metadata {
        Metadata::parse(text.as_bytes(), &"some-package".parse().unwrap())
    }

    #[test]
    fn prefers_license_expression_then_short_text_then_classifier() {
        let full = "MIT License\n  Permission is hereby granted, free of charge, to any person";
        let classifier = "Classifier: License :: OSI Approved :: BSD License\n";
        for (text, license) in [
            (
                format!("License-Expression: MIT OR Apache-2.0\nLicense: MIT\n{classifier}"),
                "MIT OR Apache-2.0",
            ),
            (format!("License: MIT\n{classifier}"), "MIT"),
            (format!("License: {full}\n{classifier}"), "BSD License"),
            (format!("License: UNKNOWN\n{classifier}"), "BSD License"),
            ("License: UNKNOWN\n".to_owned(), ""),
            (
                format!("License: {full}\n"),
                "MIT License Permission is hereby granted, free of charge, t…",
            ),
        ] {
            assert_eq!(parse(&text).license.short, license, "{text}");
        }
    }

    #[test]
    fn keeps_only_links_to_web_pages() {
        let metadata = parse(
            "Home-page: javascript:alert(1)\n\
             Project-URL: Docs, https://docs.example/a\"b\n\
             Project-URL: Data, data:text/html,<script>alert(1)</script>\n\
             Project-URL: Mail, mailto:a@b\n\
             Project-URL: File, file:///etc/passwd\n\
             Project-URL: Hidden, https://pypi.org@evil.example/\n\
             Project-URL: Scheme, JaVaScRiPt://host/%0aalert(1)\n\
             Project-URL: Spaced,  HTTP://Example.org \n\
             Project-URL: relative, /path\n",
        );
        let links: Vec<_> = metadata
            .links
            .iter()
            .map(|link| (link.label.as_str(), link.url.as_str(), link.host.as_str()))
            .collect();
        assert_eq!(
            links,
            [
                ("Docs", "https://docs.example/a%22b", "docs.example"),
                ("Spaced", "http://example.org/", "example.org"),
            ]
        );
    }

    #[test]
    fn marks_requirements_of_extras() {
        let metadata = parse(
            "Requires-Dist: alpha>=1\n\
             Requires-Dist: beta ; extra == 'x'\n\
             Requires-Dist: gamma ; extra == 'x' or python_version < '3.9'\n\
             Requires-Dist: Alpha[fast] ; extra == 'y'\n\
             Requires-Dist: beta<2 ; python_version < '3' and extra == 'y'\n\
             Requires-Dist: not a requirement\n",
        );
        let found: Vec<_> = metadata
            .requirements
            .iter()
            .map(|requirement| (requirement.name.as_ref(), requirement.is_extra))
            .collect();
        assert_eq!(found, [("alpha", false), ("beta", true), ("gamma", false)]);
        assert_eq!(metadata.requirements[0].conditions, [">=1"]);
        assert_eq!(metadata.invalid_requirements[0].short, "not a requirement");
    }

    #[test]
    fn enormous_requirements_are_read_by_name() {
        let clauses = vec!["python_version < '3'"; 2_000].join(" and ");
        let many = "Requires-Dist: omega ; sys_platform == 'x'\n".repeat(50_000);
        let started = std::time::Instant::now();
        let metadata = parse(&format!(
            "Requires-Dist: alpha ; {clauses}\nRequires-Dist: beta ; extra == 'x' and {clauses}\n{many}"
        ));
        assert!(started.elapsed().as_secs() < 5);
        let found: Vec<_> = metadata
            .requirements
            .iter()
            .map(|requirement| (requirement.name.as_ref(), requirement.is_extra))
            .collect();
        assert_eq!(found, [("alpha", false), ("beta", true), ("omega", false)]);
    }

    #[test]
    fn names_come_from_any_author_field() {
        for (text, author) in [
            ("Author: Ada\nAuthor-email: a@b\n", "Ada"),
            ("Author-email: \"Ada L\" <a@b>, c@d\n", "Ada L, c@d"),
            ("Maintainer-email: Bob <b@c>\n", "Bob"),
            ("", ""),
        ] {
            assert_eq!(parse(text).author.short, author, "{text}");
        }
    }

    #[test]
    fn name_is_shown_as_written_if_it_is_the_same() {
        let name = |text: &str| parse(text).display_name;
        assert_eq!(
            name("Name: Some.Package\n").as_deref(),
            Some("Some.Package")
        );
        assert_eq!(name("Name: some-package\n"), None);
        assert_eq!(name("Name: <script>\n"), None);
        assert_eq!(name("Name: other\n"), None);
    }

    #[test]
    fn body_is_not_read() {
        let metadata = parse("Summary: one\r\n\r\nSummary: two\r\n");
        assert_eq!(metadata.summary.short, "one");
    }
}
