//! The bill of materials in `CycloneDX` 1.6.

use serde_json::{Map, Value, json};
use wheelhouse_types::Sha256;
use wheelhouse_types::manifest::{Sdist, Wheel};

use crate::bill::{Bill, DetailedWheel, build_requirements, built_from, how, origin};
use crate::bundled::{BundledComponent, BundledSbom};
use crate::licenses::Licenses;
use crate::purl::{iri, purl};

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// The reference of the wheelhouse itself.
const ROOT: &str = "wheelhouse";

impl Bill<'_> {
    /// Returns the bill of materials of the wheelhouse, which is called `name`, in `CycloneDX` 1.6.
    #[must_use]
    pub fn cyclonedx(&self, name: &str) -> Value {
        let wheels = self.entries().map(wheel_component);
        let sdists = self.manifest.sdists.iter().map(sdist_component);
        let components: Vec<Value> = wheels.chain(sdists).collect();
        let roots: Vec<String> = self.roots().map(reference).collect();
        let mut dependencies = vec![json!({"ref": ROOT, "dependsOn": roots})];
        dependencies.extend(self.manifest.wheels.iter().map(|wheel| {
            let needed: Vec<String> = self.dependencies(wheel).map(reference).collect();
            json!({"ref": reference(wheel), "dependsOn": needed})
        }));
        let mut metadata = json!({
            "tools": {"components": [{
                "type": "application", "name": "wheelhouse", "version": env!("CARGO_PKG_VERSION"),
            }]},
            "component": {
                "type": "application", "bom-ref": ROOT, "name": name,
                "version": self.digest.to_string()[..12],
            },
        });
        if let Some(created) = self.created() {
            metadata["timestamp"] = json!(created);
        }
        json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": format!("urn:uuid:{}", self.uuid()),
            "version": 1,
            "metadata": metadata,
            "components": components,
            "dependencies": dependencies,
        })
    }
}

fn reference(wheel: &Wheel) -> String {
    purl(&wheel.name, &wheel.version, Some(&wheel.filename))
}

fn wheel_component(entry: DetailedWheel<'_>) -> Value {
    let DetailedWheel { wheel, details } = entry;
    let reference = reference(wheel);
    let mut component = component(&reference, &wheel.name, &wheel.version, &wheel.sha256);
    let mut references = vec![json!({"type": "distribution", "url": iri(&wheel.source)})];
    references.extend(details.sboms.iter().map(bundled_reference));
    component.insert("externalReferences".to_owned(), json!(references));
    let mut properties = vec![
        property("how", how(wheel)),
        property("origin", origin(&wheel.origin)),
    ];
    if let Some(sdist) = built_from(wheel) {
        properties.push(property("sdist", &format!("sha256:{}", sdist.sha256)));
        let purl = purl(&wheel.name, &wheel.version, sdist.filename);
        let ancestor = json!({
            "type": "library", "name": wheel.name, "version": wheel.version, "purl": purl,
            "hashes": hashes(&sdist.sha256),
        });
        component.insert("pedigree".to_owned(), json!({"ancestors": [ancestor]}));
    }
    for (filename, sha256) in build_requirements(wheel) {
        let value = format!("{filename} sha256:{sha256}");
        properties.push(property("build-requirement", &value));
    }
    if let Some(problem) = &details.problem {
        properties.push(property("problem", &problem.display_chain()));
    }
    component.insert("properties".to_owned(), json!(properties));
    if wheel.build_only {
        component.insert("scope".to_owned(), json!("excluded"));
    }
    if let Some(summary) = &details.summary {
        component.insert("description".to_owned(), json!(summary));
    }
    add_licenses(&mut component, &details.licenses);
    let bundled: Vec<Value> = details
        .components()
        .enumerate()
        .map(|(number, bundled)| bundled_component(bundled, &format!("{reference}#{number}")))
        .collect();
    if !bundled.is_empty() {
        component.insert("components".to_owned(), json!(bundled));
    }
    component.into()
}

fn sdist_component(sdist: &Sdist) -> Value {
    let reference = purl(&sdist.name, &sdist.version, Some(&sdist.filename));
    let mut component = component(&reference, &sdist.name, &sdist.version, &sdist.sha256);
    let references = json!([{"type": "distribution", "url": iri(&sdist.source)}]);
    component.insert("externalReferences".to_owned(), references);
    let properties = json!([
        property("how", "sdist"),
        property("origin", origin(&sdist.origin))
    ]);
    component.insert("properties".to_owned(), properties);
    if sdist.build_only {
        component.insert("scope".to_owned(), json!("excluded"));
    }
    component.into()
}

fn component(reference: &str, name: &str, version: &str, sha256: &Sha256) -> Map<String, Value> {
    let fields = [
        ("type", json!("library")),
        ("bom-ref", json!(reference)),
        ("name", json!(name)),
        ("version", json!(version)),
        ("purl", json!(reference)),
        ("hashes", hashes(sha256)),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn hashes(sha256: &Sha256) -> Value {
    json!([{"alg": "SHA-256", "content": sha256.to_string()}])
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": format!("wheelhouse:{name}"), "value": value})
}

/// Refers to a bill of materials in a wheel by its path there.
fn bundled_reference(sbom: &BundledSbom) -> Value {
    let mut reference = json!({"type": "bom", "url": iri(&sbom.path)});
    if let Some(sha256) = &sbom.sha256 {
        reference["hashes"] = hashes(sha256);
    }
    if let Some(problem) = &sbom.problem {
        reference["comment"] = json!(format!("not all components are known: {problem}"));
    }
    reference
}

fn bundled_component(bundled: &BundledComponent, reference: &str) -> Value {
    let mut component = Map::new();
    component.insert("type".to_owned(), json!(bundled.kind));
    component.insert("bom-ref".to_owned(), json!(reference));
    component.insert("name".to_owned(), json!(bundled.name));
    for (name, value) in [("version", &bundled.version), ("purl", &bundled.purl)] {
        if let Some(value) = value {
            component.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(sha256) = &bundled.sha256 {
        component.insert("hashes".to_owned(), hashes(sha256));
    }
    add_licenses(&mut component, &bundled.licenses);
    component.into()
}

fn add_licenses(component: &mut Map<String, Value>, licenses: &Licenses) {
    let licenses = match licenses {
        Licenses::Unknown => return,
        Licenses::Expression(expression) => {
            json!([{"expression": expression, "acknowledgement": "declared"}])
        }
        Licenses::Names(names) => names
            .iter()
            .map(|name| json!({"license": {"name": name, "acknowledgement": "declared"}}))
            .collect(),
    };
    component.insert("licenses".to_owned(), licenses);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::tests::{bill, manifest};

    #[test]
    fn describes_wheels_with_bundled_components() {
        let bundled = BundledComponent {
            kind: "library",
            name: "libpng".to_owned(),
            version: Some("1.6".to_owned()),
            purl: None,
            licenses: Licenses::Names(vec!["libpng-2.0".to_owned()]),
            sha256: None,
        };
        let sbom = BundledSbom {
            path: "alpha-1.0.dist-info/sboms/a b.cdx.json".to_owned(),
            sha256: Some(Sha256::of(b"")),
            problem: Some("it is not valid JSON".to_owned()),
            components: vec![bundled],
        };
        let manifest = manifest();
        let document = bill(&manifest, vec![sbom]).cyclonedx("example");
        assert_eq!(document["metadata"]["timestamp"], "2024-05-01T12:00:00Z");
        assert_eq!(document["metadata"]["component"]["name"], "example");
        let [alpha, beta, gamma] = &document["components"].as_array().unwrap()[..] else {
            panic!("{document}");
        };
        assert_eq!(alpha["licenses"][0]["expression"], "MIT");
        assert_eq!(alpha["description"], "An example");
        assert_eq!(alpha["components"][0]["name"], "libpng");
        let reference = &alpha["externalReferences"][1];
        assert_eq!(reference["url"], "alpha-1.0.dist-info/sboms/a%20b.cdx.json");
        assert!(
            reference["comment"]
                .as_str()
                .unwrap()
                .ends_with("valid JSON")
        );
        assert_eq!(
            beta["pedigree"]["ancestors"][0]["purl"],
            "pkg:pypi/beta@1.0?file_name=beta-1.0.tar.gz"
        );
        assert_eq!(beta["properties"][0]["value"], "built");
        let requirement = beta["properties"][3]["value"].as_str().unwrap();
        assert!(requirement.starts_with("setuptools-80.0-py3-none-any.whl sha256:c"));
        assert_eq!(
            gamma["externalReferences"][0]["url"],
            "file:///some%20where/gamma-1.0.tar.gz"
        );
        let dependencies = document["dependencies"].as_array().unwrap();
        assert_eq!(dependencies[0]["dependsOn"], json!([alpha["bom-ref"]]));
        assert_eq!(dependencies[1]["dependsOn"], json!([beta["bom-ref"]]));
    }
}
