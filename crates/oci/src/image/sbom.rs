//! The bill of materials of a wheelhouse (`CycloneDX` 1.5): one component for each wheel and sdist, with package URL, digest,
//! licenses, origin and dependencies. It has no timestamp, so that it is reproducible.

use oci_spec::image::MediaType;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;
use wheelhouse_types::manifest::{Sdist, Wheel};
use wheelhouse_types::{Origin, Result, Sha256};

use crate::image::contents::ImageContents;
use crate::image::manifest::Document;
use wheelhouse_archive::metadata::{value, values};

/// The media type of the document, and the type of the artifact that holds it.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// The maximum length of a license name. Some packages put the whole text of the license into the field.
const MAX_LICENSE_NAME: usize = 80;

/// The characters to encode in a package URL.
const PURL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The characters to encode in an IRI.
const IRI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Creates the bill of materials of `contents`.
///
/// # Errors
/// Fails if metadata cannot be read.
pub fn sbom(contents: &ImageContents) -> Result<Document> {
    let manifest = &contents.manifest;
    let wheels = manifest.wheels.iter().map(|wheel| {
        let metadata = contents.text(&format!("{}.metadata", wheel.filename))?;
        Ok(wheel_component(wheel, metadata.as_deref()))
    });
    let mut components = wheels.collect::<Result<Vec<Value>>>()?;
    components.extend(manifest.sdists.iter().map(sdist_component));
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "wheelhouse"}]},
        },
        "components": components,
        "dependencies": dependencies(&manifest.wheels),
    });
    let media_type = MediaType::Other(MEDIA_TYPE.to_owned());
    Ok(Document::new(&document, media_type))
}

fn wheel_component(wheel: &Wheel, metadata: Option<&str>) -> Value {
    let (how, digests) = match &wheel.built {
        Some(built) => ("built", built.sdist.sha256()),
        None => ("fetched", None),
    };
    let reference = purl(&wheel.name, &wheel.version, &wheel.filename);
    let mut component = component(&reference, &wheel.sha256, &wheel.source);
    component["name"] = json!(wheel.name);
    component["version"] = json!(wheel.version);
    let mut properties = vec![
        property("how", how),
        property("origin", &origin(&wheel.origin)),
    ];
    properties.extend(digests.map(|sha256| property("sdist", &format!("sha256:{sha256}"))));
    component["properties"] = json!(properties);
    if let Some(licenses) = metadata.and_then(licenses) {
        component["licenses"] = licenses;
    }
    component
}

fn sdist_component(sdist: &Sdist) -> Value {
    let reference = purl(&sdist.name, &sdist.version, &sdist.filename);
    let mut component = component(&reference, &sdist.sha256, &sdist.source);
    component["name"] = json!(sdist.name);
    component["version"] = json!(sdist.version);
    component["properties"] = json!([property("origin", &origin(&sdist.origin))]);
    component
}

fn component(reference: &str, sha256: &Sha256, source: &str) -> Value {
    json!({
        "type": "library",
        "bom-ref": reference,
        "purl": reference,
        "hashes": [{"alg": "SHA-256", "content": sha256.to_string()}],
        "externalReferences": [{"type": "distribution", "url": iri(source)}],
    })
}

/// Converts the source of a file, a path or a URL, to an IRI (RFC 3987).
fn iri(source: &str) -> String {
    match Url::from_file_path(source) {
        Ok(url) => url.into(),
        Err(()) => utf8_percent_encode(source, IRI).to_string(),
    }
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": format!("wheelhouse:{name}"), "value": value})
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Index { url } => url.clone(),
        Origin::FindLinks { location } => location.clone(),
        Origin::Direct => "direct".to_owned(),
        Origin::Upload => "upload".to_owned(),
    }
}

/// Returns the package URL of a distribution.
fn purl(name: &str, version: &str, filename: &str) -> String {
    let encoded = |text| utf8_percent_encode(text, PURL);
    format!(
        "pkg:pypi/{}@{}?file_name={}",
        encoded(name),
        encoded(version),
        encoded(filename)
    )
}

/// Returns the licenses of core metadata: an SPDX expression, or names.
fn licenses(metadata: &str) -> Option<Value> {
    if let Some(expression) = value(metadata, "License-Expression") {
        return Some(json!([{"expression": expression}]));
    }
    let short = |name: &String| name.len() <= MAX_LICENSE_NAME && !name.contains('\n');
    let mut names: Vec<String> = value(metadata, "License")
        .into_iter()
        .filter(short)
        .collect();
    if names.is_empty() {
        let classifiers = values(metadata, "Classifier").into_iter();
        let licenses = classifiers.filter(|classifier| classifier.starts_with("License ::"));
        names.extend(licenses.filter_map(|name| Some(name.rsplit_once(":: ")?.1.to_owned())));
    }
    let named: Vec<_> = names
        .iter()
        .map(|name| json!({"license": {"name": name}}))
        .collect();
    (!named.is_empty()).then(|| json!(named))
}

fn dependencies(wheels: &[Wheel]) -> Vec<Value> {
    let reference = |wheel: &Wheel| purl(&wheel.name, &wheel.version, &wheel.filename);
    let described = wheels.iter().map(|wheel| {
        let needed = wheels
            .iter()
            .filter(|other| wheel.dependencies.contains(&other.name));
        json!({"ref": reference(wheel), "dependsOn": needed.map(reference).collect::<Vec<_>>()})
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_expressions_or_names() {
        let of = |text: &str| licenses(text).unwrap_or_default().to_string();
        assert_eq!(
            of("License-Expression: MIT\nLicense: x\n"),
            r#"[{"expression":"MIT"}]"#
        );
        assert_eq!(of("License: BSD\n"), r#"[{"license":{"name":"BSD"}}]"#);
        let classified =
            "License: A\n  long text\nClassifier: License :: OSI Approved :: MIT License\n";
        assert_eq!(of(classified), r#"[{"license":{"name":"MIT License"}}]"#);
        assert_eq!(of("Name: a\n"), "null");
    }

    #[test]
    fn locations_are_iris() {
        assert_eq!(iri("/some wheels/a.whl"), "file:///some%20wheels/a.whl");
        assert_eq!(iri("oci:/a b:1#c.whl"), "oci:/a%20b:1#c.whl");
        let plain = "git+https://example.org/a.git@0f";
        assert_eq!(iri(plain), plain);
    }

    #[test]
    fn encodes_package_urls() {
        assert_eq!(
            purl(
                "torch",
                "2.0+cpu",
                "torch-2.0+cpu-cp312-cp312-linux_x86_64.whl"
            ),
            "pkg:pypi/torch@2.0%2Bcpu?file_name=torch-2.0%2Bcpu-cp312-cp312-linux_x86_64.whl"
        );
    }
}
