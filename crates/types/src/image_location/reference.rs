//! Names of images in registries, `HOST/NAME[:TAG][@DIGEST]`.
//!
//! Responsible for the grammar (the `reference` package of the distribution project, which docker,
//! podman and skopeo share), and for what docker adds to short names. `oci-spec` reads them as well,
//! but takes 50 ms to get ready, because its pattern knows every letter of Unicode.

use std::sync::LazyLock;

use oci_spec::distribution::Reference;
use regex::Regex;

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let component = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let tag = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}";
    let digest = "sha256:[0-9a-f]{64}";
    let pattern = format!(
        r"^((?:{label}(?:\.{label})*(?::[0-9]+)?/)?{component}(?:/{component})*)(?::({tag}))?(?:@({digest}))?$"
    );
    Regex::new(&pattern).expect("the pattern is one")
});

/// The registry of a name that has none, and where in it images of one word are.
const HUB: &str = "docker.io";
const LIBRARY: &str = "library";

/// The longest name of a repository, in bytes.
const LONGEST: usize = 255;

/// Reads a name; nothing if it is none. Without tag and digest it is that of `latest`.
pub(super) fn parse(text: &str) -> Option<Reference> {
    let captures = REFERENCE.captures(text)?;
    let part = |index| captures.get(index).map(|found| found.as_str().to_owned());
    let (registry, repository) = split(part(1)?.as_str());
    if repository.len() > LONGEST {
        return None;
    }
    Some(match (part(2), part(3)) {
        (None, None) => Reference::with_tag(registry, repository, "latest".to_owned()),
        (Some(tag), None) => Reference::with_tag(registry, repository, tag),
        (None, Some(digest)) => Reference::with_digest(registry, repository, digest),
        (Some(tag), Some(digest)) => {
            Reference::with_tag_and_digest(registry, repository, tag, digest)
        }
    })
}

/// Splits a name into registry and repository: the first part is a registry if it looks like a host.
fn split(name: &str) -> (String, String) {
    let looks_like_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if looks_like_host(first) => (first, rest),
        _ => (HUB, name),
    };
    let registry = match registry {
        "index.docker.io" => HUB,
        other => other,
    };
    if registry == HUB && !repository.contains('/') {
        return (HUB.to_owned(), format!("{LIBRARY}/{repository}"));
    }
    (registry.to_owned(), repository.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parses_references_like_oci_spec() {
        let names = [
            "wheels",
            "acme/wheels",
            "docker.io/wheels",
            "index.docker.io/acme/wheels",
            "localhost/wheels",
            "localhost:5000/a/b__c/d-e--f.g:1.0_x-y",
            "registry.example/acme/wheels:1",
            "REGISTRY.example:443/acme/wheels",
            "acme.example/a@DIGEST",
            "acme.example/a:tag@DIGEST",
            "",
            "/a",
            "a//b",
            "a/",
            "UPPER/a",
            "host.example/UPPER",
            "a:",
            "a:.tag",
            "a@sha256:12",
            "-a.example/b",
            "a_-b",
            "a b",
        ];
        for name in names {
            let name = name.replace("DIGEST", DIGEST);
            assert_eq!(parse(&name), name.parse().ok(), "{name}");
        }
        let long = format!("host.example/{}", "a".repeat(LONGEST + 1));
        assert_eq!(parse(&long), None);
        assert_eq!(parse(&format!("a:{}", "t".repeat(129))), None);
    }
}
