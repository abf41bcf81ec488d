//! Bills of materials that wheels bring along (PEP 770): `CycloneDX` and SPDX, in JSON.
//!
//! The files come from outside. Their sizes were limited when they were read, `serde_json` limits their nesting, and the number
//! of components and the length of each text are limited here. What is not understood is listed without its components.

use std::collections::BTreeSet;

use serde_json::Value;
use wheelhouse_archive::SbomFile;
use wheelhouse_types::Sha256;

use crate::licenses::Licenses;

/// The components that are taken from the bills of one wheel. Those of large Rust projects have about 1,000.
const MAX_COMPONENTS: usize = 10_000;

/// The length of a text, in characters.
const MAX_TEXT: usize = 500;

/// The depth of components in components.
const MAX_DEPTH: usize = 20;

/// The kinds of components that `CycloneDX` 1.6 defines.
const KINDS: [&str; 13] = [
    "application",
    "framework",
    "library",
    "container",
    "platform",
    "operating-system",
    "device",
    "device-driver",
    "firmware",
    "file",
    "machine-learning-model",
    "data",
    "cryptographic-asset",
];

/// A bill of materials in a wheel.
#[derive(Debug)]
pub(crate) struct BundledSbom {
    /// The path in the wheel.
    pub(crate) path: String,
    /// The digest of the file, if it was read.
    pub(crate) sha256: Option<Sha256>,
    /// The reason why the components are not known.
    pub(crate) problem: Option<String>,
    /// The components that no earlier file of the same wheel lists.
    pub(crate) components: Vec<BundledComponent>,
}

/// A component that a wheel contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BundledComponent {
    /// One of [`KINDS`].
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) purl: Option<String>,
    pub(crate) licenses: Licenses,
    pub(crate) sha256: Option<Sha256>,
}

/// Reads the bills of materials `files` of a wheel of `package`.
pub(crate) fn read(files: Vec<SbomFile>, package: &str) -> Vec<BundledSbom> {
    let mut collector = Collector {
        package: format!("pkg:pypi/{package}"),
        seen: BTreeSet::new(),
        components: Vec::new(),
    };
    let sboms = files.into_iter().map(|SbomFile { path, content }| {
        let (sha256, problem) = match content {
            Ok(bytes) => {
                let problem = collector.read(&bytes).err();
                (Some(Sha256::of(&bytes)), problem.map(ToOwned::to_owned))
            }
            Err(error) => (None, Some(error.display_chain())),
        };
        BundledSbom {
            path: text(&Value::from(path)).unwrap_or_default(),
            sha256,
            problem,
            components: std::mem::take(&mut collector.components),
        }
    });
    sboms.collect()
}

/// Collects the components of the files of one wheel, each once.
struct Collector {
    /// The package URL of the wheel without a version: a bill describes the wheel itself, too.
    package: String,
    seen: BTreeSet<(String, Option<String>, Option<String>)>,
    components: Vec<BundledComponent>,
}

impl Collector {
    fn read(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let document: Value = serde_json::from_slice(bytes).map_err(|_| "it is not valid JSON")?;
        if document["bomFormat"] == "CycloneDX" {
            self.cyclonedx(&document["metadata"]["component"], 0);
            self.cyclonedx_list(&document["components"], 0);
        } else if document["spdxVersion"].is_string() {
            for package in items(&document["packages"]) {
                self.add(spdx_package(package));
            }
        } else if document["@graph"].is_array() {
            for element in items(&document["@graph"]) {
                self.add(spdx3_package(element));
            }
        } else {
            return Err("its format is not known");
        }
        if self.seen.len() >= MAX_COMPONENTS {
            return Err("it has too many components");
        }
        Ok(())
    }

    fn cyclonedx_list(&mut self, components: &Value, depth: usize) {
        for component in items(components) {
            self.cyclonedx(component, depth);
        }
    }

    fn cyclonedx(&mut self, component: &Value, depth: usize) {
        self.add(cyclonedx_component(component));
        if depth < MAX_DEPTH {
            self.cyclonedx_list(&component["components"], depth + 1);
        }
    }

    fn add(&mut self, component: Option<BundledComponent>) {
        let Some(component) = component else { return };
        let is_wheel = component.purl.as_ref().is_some_and(|purl| {
            let rest = purl.strip_prefix(&self.package);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '?']))
        });
        let identity = (
            component.name.clone(),
            component.version.clone(),
            component.purl.clone(),
        );
        if !is_wheel && self.seen.len() < MAX_COMPONENTS && self.seen.insert(identity) {
            self.components.push(component);
        }
    }
}

fn cyclonedx_component(component: &Value) -> Option<BundledComponent> {
    let kind = component["type"].as_str();
    let kind = KINDS.into_iter().find(|known| Some(*known) == kind);
    let licenses = &component["licenses"];
    let name = |license: &Value| text(&license["id"]).or_else(|| text(&license["name"]));
    let licenses = match text(&licenses[0]["expression"]) {
        Some(expression) => Licenses::parse(expression),
        None => Licenses::named(
            items(licenses)
                .filter_map(|entry| name(&entry["license"]))
                .collect(),
        ),
    };
    let mut hashes = items(&component["hashes"]).filter(|hash| hash["alg"] == "SHA-256");
    Some(BundledComponent {
        kind: kind.unwrap_or("library"),
        name: text(&component["name"])?,
        version: text(&component["version"]),
        purl: purl(&component["purl"]),
        licenses,
        sha256: hashes.find_map(|hash| digest(&hash["content"])),
    })
}

fn spdx_package(package: &Value) -> Option<BundledComponent> {
    let mut references = items(&package["externalRefs"]);
    let mut checksums =
        items(&package["checksums"]).filter(|checksum| checksum["algorithm"] == "SHA256");
    let license = text(&package["licenseDeclared"]);
    let license = license.filter(|license| !matches!(license.as_str(), "NOASSERTION" | "NONE"));
    Some(BundledComponent {
        kind: "library",
        name: text(&package["name"])?,
        version: text(&package["versionInfo"]),
        purl: references.find_map(|reference| purl(&reference["referenceLocator"])),
        licenses: license.map(Licenses::parse).unwrap_or_default(),
        sha256: checksums.find_map(|checksum| digest(&checksum["checksumValue"])),
    })
}

/// Reads a package of SPDX 3.
fn spdx3_package(element: &Value) -> Option<BundledComponent> {
    if element["type"] != "software_Package" {
        return None;
    }
    Some(BundledComponent {
        kind: "library",
        name: text(&element["name"])?,
        version: text(&element["software_packageVersion"]),
        purl: purl(&element["software_packageUrl"]),
        licenses: Licenses::Unknown,
        sha256: None,
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns a text that is not empty, shortened and without control characters.
fn text(value: &Value) -> Option<String> {
    let letters = value.as_str()?.chars().filter(|one| !one.is_control());
    let text: String = letters.take(MAX_TEXT).collect();
    (!text.trim().is_empty()).then_some(text)
}

fn purl(value: &Value) -> Option<String> {
    let purl = value.as_str()?;
    let is_valid = purl.starts_with("pkg:")
        && purl.len() <= MAX_TEXT
        && purl.bytes().all(|byte| byte.is_ascii_graphic());
    is_valid.then(|| purl.to_owned())
}

fn digest(value: &Value) -> Option<Sha256> {
    value.as_str()?.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(documents: &[&str]) -> Vec<BundledSbom> {
        let files = documents.iter().enumerate().map(|(number, text)| SbomFile {
            path: format!("a-1.dist-info/sboms/{number}.json"),
            content: Ok(text.as_bytes().to_vec()),
        });
        read(files.collect(), "a")
    }

    fn names(sbom: &BundledSbom) -> Vec<&str> {
        sbom.components
            .iter()
            .map(|one| one.name.as_str())
            .collect()
    }

    #[test]
    fn reads_components_of_all_formats() {
        let cyclonedx = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.4",
            "metadata": {"component": {"type": "library", "name": "a", "purl": "pkg:pypi/a@1"}},
            "components": [{
                "type": "library", "name": "libpng", "version": "1.6", "purl": "pkg:rpm/libpng@1.6",
                "licenses": [{"license": {"id": "libpng-2.0"}}],
                "hashes": [{"alg": "MD5", "content": "0"}, {"alg": "SHA-256", "content": "A".repeat(64)}],
                "components": [{"type": "unheard-of", "name": "zlib"}],
            }],
        });
        let spdx = json!({
            "spdxVersion": "SPDX-2.3",
            "packages": [
                {"name": "libpng", "versionInfo": "1.6",
                 "externalRefs": [{"referenceLocator": "pkg:rpm/libpng@1.6"}]},
                {"name": "serde", "versionInfo": "1.0", "licenseDeclared": "MIT OR Apache-2.0"},
            ],
        });
        let spdx3 = json!({
            "@graph": [
                {"type": "software_Package", "name": "openssl", "software_packageVersion": "3"},
                {"type": "Person", "name": "me"},
            ],
        });
        let documents = [cyclonedx, spdx, spdx3].map(|document| document.to_string());
        let sboms = read_all(&documents.each_ref().map(String::as_str));
        assert_eq!(names(&sboms[0]), ["libpng", "zlib"]);
        assert_eq!(names(&sboms[1]), ["serde"], "libpng was listed before");
        assert_eq!(names(&sboms[2]), ["openssl"]);
        let libpng = &sboms[0].components[0];
        assert_eq!(
            libpng.licenses,
            Licenses::Names(vec!["libpng-2.0".to_owned()])
        );
        assert_eq!(libpng.sha256, "a".repeat(64).parse().ok());
        assert_eq!(sboms[0].components[1].kind, "library");
        let expression = Licenses::Expression("MIT OR Apache-2.0".to_owned());
        assert_eq!(sboms[1].components[0].licenses, expression);
    }

    #[test]
    fn lists_unreadable_files_without_components() {
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let nested = format!(r#"{{"bomFormat": "CycloneDX", "components": {nested}}}"#);
        for (text, problem) in [
            ("", "it is not valid JSON"),
            ("<bom/>", "it is not valid JSON"),
            ("[]", "its format is not known"),
            (&nested, "it is not valid JSON"),
        ] {
            let sboms = read_all(&[text]);
            assert_eq!(sboms[0].problem.as_deref(), Some(problem));
            assert!(sboms[0].components.is_empty());
        }
        let odd =
            r#"{"bomFormat": "CycloneDX", "components": [1, {"name": 2}, {"name": " "}, []]}"#;
        assert!(read_all(&[odd])[0].components.is_empty());
    }

    #[test]
    fn limits_components_and_texts() {
        let component = |number: usize| json!({"name": format!("{number}"), "type": "file"});
        let many: Vec<Value> = (0..MAX_COMPONENTS + 5).map(component).collect();
        let document = json!({"bomFormat": "CycloneDX", "components": many}).to_string();
        let sboms = read_all(&[&document]);
        assert_eq!(sboms[0].components.len(), MAX_COMPONENTS);
        assert!(sboms[0].problem.is_some());
        let mut deep = json!({"name": "0"});
        for _ in 0..50 {
            deep = json!({"name": "x", "version": deep["name"], "components": [deep]});
        }
        let long = json!({"name": "\u{1b}[31m".repeat(MAX_TEXT), "purl": "pkg:a\n"});
        let document = json!({"bomFormat": "CycloneDX", "components": [deep, long]}).to_string();
        let sboms = read_all(&[&document]);
        assert!(sboms[0].components.len() <= MAX_DEPTH + 2);
        let long = sboms[0].components.last().unwrap();
        assert_eq!(long.name.chars().count(), MAX_TEXT);
        assert!(!long.name.contains('\u{1b}'));
        assert_eq!(long.purl, None);
    }
}
