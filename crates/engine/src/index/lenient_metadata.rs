//! Metadata with versions that do not follow PEP 440, which the pip of an old Python accepts and uv rejects.

use uv_pep440::{VersionSpecifier, VersionSpecifiers};
use uv_pypi_types::{
    LenientRequirement, LenientVersionSpecifiers, ResolutionMetadata, VerbatimParsedUrl,
};
use wheelhouse_types::limits;

/// Parses core metadata. Specifiers without a valid version are removed from requirements.
pub(crate) fn parse(metadata: &[u8]) -> Option<ResolutionMetadata> {
    limits::metadata(metadata).ok()?;
    if let Ok(parsed) = ResolutionMetadata::parse_metadata(metadata) {
        return Some(parsed);
    }
    let text = String::from_utf8_lossy(metadata);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let lines: Vec<String> = head.lines().filter_map(readable).collect();
    let repaired = format!("{}\n\n{body}", lines.join("\n"));
    ResolutionMetadata::parse_metadata(repaired.as_bytes()).ok()
}

/// Removes from a line of metadata what uv cannot parse.
fn readable(line: &str) -> Option<String> {
    match line.split_once(':') {
        Some(("Requires-Dist", requirement)) => Some(format!(
            "Requires-Dist: {}",
            readable_requirement(requirement.trim())
        )),
        Some(("Requires-Python", specifiers)) => {
            let is_readable = specifiers
                .trim()
                .parse::<LenientVersionSpecifiers>()
                .is_ok();
            is_readable.then(|| line.to_owned())
        }
        _ => Some(line.to_owned()),
    }
}

fn readable_requirement(requirement: &str) -> String {
    let is_readable = requirement
        .parse::<LenientRequirement<VerbatimParsedUrl>>()
        .is_ok();
    let (wanted, marker) = match requirement.split_once(';') {
        Some((wanted, marker)) => (wanted, format!(" ;{marker}")),
        None => (requirement, String::new()),
    };
    match wanted.find(['(', '<', '>', '=', '!', '~']) {
        Some(start) if !is_readable => {
            let (name, specifiers) = wanted.split_at(start);
            let specifiers = specifiers.trim().trim_matches(['(', ')']).split(',');
            let known =
                specifiers.filter(|specifier| specifier.parse::<VersionSpecifier>().is_ok());
            let known: VersionSpecifiers = known.filter_map(|known| known.parse().ok()).collect();
            format!("{}{known}{marker}", name.trim())
        }
        _ => requirement.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_specifier_without_valid_version() {
        for (written, read) in [
            ("pytz (>=2011k)", "pytz"),
            (
                "pytz (>=2011k,!=2012.1) ; extra == 'tz'",
                "pytz!=2012.1 ; extra == 'tz'",
            ),
            ("numpy (>=1.12.0)", "numpy (>=1.12.0)"),
            ("pywin32>=0.0-dev_b", "pywin32"),
        ] {
            assert_eq!(readable_requirement(written), read);
        }
    }

    #[test]
    fn keeps_rest_of_metadata() {
        let text = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nRequires-Python: >=2.7-x\nRequires-Dist: a (>=1k)\nRequires-Dist: b>=2\n\nBody\n";
        let metadata = parse(text.as_bytes()).unwrap();
        let requirements: Vec<String> = metadata
            .requires_dist
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(requirements, ["a", "b>=2"]);
        assert!(metadata.requires_python.is_none());
    }
}
