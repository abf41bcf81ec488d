//! The bill of materials in SPDX 2.3 (JSON).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use url::Url;
use wheelhouse_types::Sha256;
use wheelhouse_types::manifest::Wheel;

use crate::bill::{Bill, DetailedWheel, build_requirements, built_from, how, origin};
use crate::bundled::{BundledComponent, BundledSbom};
use crate::licenses::Licenses;
use crate::purl::purl;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// The identifier of the wheelhouse itself.
const ROOT: &str = "SPDXRef-wheelhouse";

/// The time of a document whose time is not known, because the field is required.
const UNKNOWN_TIME: &str = "1970-01-01T00:00:00Z";

const NO_ASSERTION: &str = "NOASSERTION";

impl Bill<'_> {
    /// Returns the bill of materials of the wheelhouse, which is called `name`, in SPDX 2.3.
    #[must_use]
    pub fn spdx(&self, name: &str) -> Value {
        let mut document = Document::default();
        document.packages.push(json!({
            "SPDXID": ROOT, "name": name, "versionInfo": self.digest.to_string()[..12],
            "downloadLocation": NO_ASSERTION, "filesAnalyzed": false,
            "licenseConcluded": NO_ASSERTION, "licenseDeclared": NO_ASSERTION, "copyrightText": NO_ASSERTION,
            "primaryPackagePurpose": "APPLICATION",
        }));
        document.relate(DOCUMENT, "DESCRIBES", ROOT);
        for entry in self.entries() {
            document.add_wheel(entry);
        }
        for sdist in &self.manifest.sdists {
            let id = identifier(&sdist.filename, &sdist.sha256);
            document.packages.push(package(&Package {
                id: &id,
                name: &sdist.name,
                version: Some(&sdist.version),
                filename: Some(&sdist.filename),
                sha256: Some(sdist.sha256),
                source: Some(&sdist.source),
                purl: Some(&purl(&sdist.name, &sdist.version, Some(&sdist.filename))),
                licenses: &Licenses::Unknown,
                purpose: "SOURCE",
                comment: Some(format!("sdist from {}", origin(&sdist.origin))),
            }));
            document.relate(ROOT, "CONTAINS", &id);
        }
        let known: BTreeSet<String> = self.manifest.wheels.iter().map(wheel_id).collect();
        for wheel in &self.manifest.wheels {
            for needed in self.dependencies(wheel) {
                document.relate(&wheel_id(wheel), "DEPENDS_ON", &wheel_id(needed));
            }
            for (filename, sha256) in build_requirements(wheel) {
                let requirement = identifier(filename, &sha256);
                if known.contains(&requirement) {
                    document.relate(&requirement, "BUILD_DEPENDENCY_OF", &wheel_id(wheel));
                }
            }
        }
        for root in self.roots() {
            document.relate(ROOT, "DEPENDS_ON", &wheel_id(root));
        }
        let texts = document.references.iter().map(|reference| {
            let extracted = "The text is in the packages that refer to it.";
            json!({"licenseId": reference, "name": reference, "extractedText": extracted})
        });
        let created = self.created();
        json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": DOCUMENT,
            "name": name,
            "documentNamespace": format!("https://spdx.org/spdxdocs/wheelhouse-{}", self.uuid()),
            "creationInfo": {
                "created": created.as_deref().unwrap_or(UNKNOWN_TIME),
                "creators": [concat!("Tool: wheelhouse-", env!("CARGO_PKG_VERSION"))],
            },
            "hasExtractedLicensingInfos": texts.collect::<Vec<_>>(),
            "packages": document.packages,
            "relationships": document.relationships,
        })
    }
}

/// The parts of a document.
#[derive(Default)]
struct Document {
    packages: Vec<Value>,
    relationships: Vec<Value>,
    /// The licenses that the document has to define.
    references: BTreeSet<String>,
}

/// A package to describe.
struct Package<'a> {
    id: &'a str,
    name: &'a str,
    version: Option<&'a str>,
    filename: Option<&'a str>,
    sha256: Option<Sha256>,
    source: Option<&'a str>,
    purl: Option<&'a str>,
    licenses: &'a Licenses,
    purpose: &'a str,
    comment: Option<String>,
}

impl Document {
    fn relate(&mut self, one: &str, relationship: &str, other: &str) {
        self.relationships.push(json!({
            "spdxElementId": one, "relationshipType": relationship, "relatedSpdxElement": other,
        }));
    }

    fn add_wheel(&mut self, entry: DetailedWheel<'_>) {
        let DetailedWheel { wheel, details } = entry;
        let id = wheel_id(wheel);
        let mut described = package(&Package {
            id: &id,
            name: &wheel.name,
            version: Some(&wheel.version),
            filename: Some(&wheel.filename),
            sha256: Some(wheel.sha256),
            source: wheel.built.is_none().then_some(wheel.source.as_str()),
            purl: Some(&purl(&wheel.name, &wheel.version, Some(&wheel.filename))),
            licenses: &details.licenses,
            purpose: "LIBRARY",
            comment: Some(wheel_comment(entry)),
        });
        if let Some(summary) = &details.summary {
            described["summary"] = json!(summary);
        }
        self.packages.push(described);
        self.define(&details.licenses);
        self.relate(ROOT, "CONTAINS", &id);
        if let Some(sdist) = built_from(wheel) {
            let filename = sdist.filename.unwrap_or(&wheel.name);
            let source = identifier(filename, &sdist.sha256);
            // Several wheels may be built from one sdist.
            if !self
                .packages
                .iter()
                .any(|package| package["SPDXID"] == *source)
            {
                self.packages.push(package(&Package {
                    id: &source,
                    name: &wheel.name,
                    version: Some(&wheel.version),
                    filename: sdist.filename,
                    sha256: Some(sdist.sha256),
                    source: Some(&wheel.source),
                    purl: Some(&purl(&wheel.name, &wheel.version, sdist.filename)),
                    licenses: &Licenses::Unknown,
                    purpose: "SOURCE",
                    comment: None,
                }));
            }
            self.relate(&id, "GENERATED_FROM", &source);
        }
        for (number, component) in details.components().enumerate() {
            self.add_bundled(component, &format!("{id}-{number}"), &id);
        }
    }

    fn add_bundled(&mut self, component: &BundledComponent, id: &str, wheel: &str) {
        self.packages.push(package(&Package {
            id,
            name: &component.name,
            version: component.version.as_deref(),
            filename: None,
            sha256: component.sha256,
            source: None,
            purl: component.purl.as_deref(),
            licenses: &component.licenses,
            purpose: "LIBRARY",
            comment: None,
        }));
        self.define(&component.licenses);
        self.relate(wheel, "CONTAINS", id);
    }

    fn define(&mut self, licenses: &Licenses) {
        self.references
            .extend(licenses.references().map(ToOwned::to_owned));
    }
}

fn wheel_id(wheel: &Wheel) -> String {
    identifier(&wheel.filename, &wheel.sha256)
}

/// Returns the identifier of a file: letters, digits, `.` and `-`.
fn identifier(filename: &str, sha256: &Sha256) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
    let name: String = filename
        .chars()
        .map(|letter| if allowed(letter) { letter } else { '-' })
        .collect();
    format!("SPDXRef-{name}-{}", &sha256.to_string()[..12])
}

fn wheel_comment(entry: DetailedWheel<'_>) -> String {
    let DetailedWheel { wheel, details } = entry;
    let mut comment = format!("{} from {}", how(wheel), origin(&wheel.origin));
    for BundledSbom {
        path,
        sha256,
        problem,
        ..
    } in &details.sboms
    {
        let _ = write!(comment, "; bill of materials {path}");
        if let Some(sha256) = sha256 {
            let _ = write!(comment, " sha256:{sha256}");
        }
        if let Some(problem) = problem {
            let _ = write!(comment, " (not all components are known: {problem})");
        }
    }
    comment
}

fn package(package: &Package<'_>) -> Value {
    let source = package.source.filter(|source| is_download_location(source));
    let mut value = json!({
        "SPDXID": package.id,
        "name": package.name,
        "downloadLocation": source.unwrap_or(NO_ASSERTION),
        "filesAnalyzed": false,
        "supplier": NO_ASSERTION,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": package.purpose,
    });
    match package.licenses {
        Licenses::Unknown => {}
        Licenses::Expression(expression) => value["licenseDeclared"] = json!(expression),
        Licenses::Names(names) => {
            value["licenseComments"] = json!(format!("declared: {}", names.join("; ")));
        }
    }
    let texts = [
        ("versionInfo", package.version),
        ("packageFileName", package.filename),
        ("comment", package.comment.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            value[name] = json!(text);
        }
    }
    if let Some(sha256) = package.sha256 {
        value["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256.to_string()}]);
    }
    if let Some(purl) = package.purl {
        value["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl,
        }]);
    }
    value
}

/// Returns whether SPDX allows `source` as a location: a URL, or that of a repository.
fn is_download_location(source: &str) -> bool {
    let schemes = [
        "https",
        "http",
        "ftp",
        "git+https",
        "git+http",
        "git+ssh",
        "git+git",
    ];
    Url::parse(source).is_ok_and(|url| schemes.contains(&url.scheme()))
        && source.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::tests::{bill, manifest};

    #[test]
    fn describes_wheels_and_their_relations() {
        let component = |name: &str, license: &str| BundledComponent {
            kind: "library",
            name: name.to_owned(),
            version: None,
            purl: Some(format!("pkg:cargo/{name}@1")),
            licenses: Licenses::parse(license.to_owned()),
            sha256: None,
        };
        let sbom = BundledSbom {
            path: "alpha-1.0.dist-info/sboms/a.cdx.json".to_owned(),
            sha256: None,
            problem: None,
            components: vec![
                component("libc", "MIT AND LicenseRef-x"),
                component("x", "a b"),
            ],
        };
        let manifest = manifest();
        let document = bill(&manifest, vec![sbom]).spdx("example");
        let names: Vec<_> = document["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            ["example", "alpha", "libc", "x", "beta", "beta", "gamma"]
        );
        let ids: BTreeSet<_> = document["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["SPDXID"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), names.len());
        let defined = &document["hasExtractedLicensingInfos"];
        assert_eq!(defined[0]["licenseId"], "LicenseRef-x");
        assert_eq!(document["packages"][3]["licenseComments"], "declared: a b");
        assert_eq!(document["packages"][4]["downloadLocation"], NO_ASSERTION);
        assert_eq!(
            document["packages"][5]["packageFileName"],
            "beta-1.0.tar.gz"
        );
        let relations: Vec<String> = document["relationships"]
            .as_array()
            .unwrap()
            .iter()
            .map(|relation| {
                let text = |name: &str| relation[name].as_str().unwrap().to_owned();
                let ends = ["spdxElementId", "relatedSpdxElement"].map(text);
                assert!(
                    ends.iter()
                        .all(|end| end == DOCUMENT || ids.contains(&**end))
                );
                text("relationshipType")
            })
            .collect();
        for (kind, count) in [("CONTAINS", 5), ("DEPENDS_ON", 2), ("GENERATED_FROM", 1)] {
            let found = relations.iter().filter(|relation| *relation == kind);
            assert_eq!(found.count(), count, "{kind}");
        }
    }

    #[test]
    fn only_urls_are_download_locations() {
        assert!(is_download_location("https://host/a-1.0.tar.gz"));
        assert!(is_download_location("git+https://host/a.git@0f"));
        for source in [
            "/a.whl",
            "file:///a.whl",
            "oci:/a#b",
            "https://host/a b",
            "a",
        ] {
            assert!(!is_download_location(source), "{source}");
        }
    }
}
