//! Bills of materials of directories and images.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Index, Sandbox, Sdist, Wheel, services, test_python};

/// Returns an index with `alpha`, which brings bills of materials along, with `beta` to build for it, and with a build
/// requirement.
fn index() -> Index {
    let index = Index::start();
    let cyclonedx = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.4", "version": 1,
        "components": [
            {"type": "library", "name": "libpng", "version": "1.6", "purl": "pkg:rpm/almalinux/libpng@1.6",
             "licenses": [{"license": {"id": "libpng-2.0"}}]},
            {"type": "library", "name": "odd\u{1b}[31m", "licenses": [{"expression": "not one"}]},
        ],
    });
    let spdx = json!({
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": "serde", "versionInfo": "1.0", "licenseDeclared": "MIT OR LicenseRef-own"}],
    });
    let deep = "[".repeat(1 << 20);
    index.add(
        &Wheel::new("alpha", "1.0")
            .metadata(
                "Metadata-Version: 2.4\nName: alpha\nVersion: 1.0\nSummary: One\n\
                 License-Expression: MIT OR Apache-2.0\nRequires-Dist: beta\n",
            )
            .file(
                "alpha-1.0.dist-info/sboms/a.cdx.json",
                cyclonedx.to_string(),
            )
            .file("alpha-1.0.dist-info/sboms/b.spdx.json", spdx.to_string())
            .file("alpha-1.0.dist-info/sboms/deep.json", deep)
            .file("alpha-1.0.dist-info/sboms/large.json", vec![b' '; 9 << 20]),
    );
    index.claim_upload_time("alpha-1.0-py3-none-any.whl", "2024-05-01T12:00:00Z");
    index.add(&Wheel::new("tool", "2.0"));
    index.add_sdist(&Sdist::new("beta", "1.0").static_metadata().requires("tool"));
    index
}

/// Checks a document with the library of its format, strictly.
fn assert_is_valid(path: &Path, format: &str) {
    let script = if format == "spdx" {
        "import sys\n\
         from spdx_tools.spdx.parser.parse_anything import parse_file\n\
         from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document\n\
         document = parse_file(sys.argv[1])\n\
         found = validate_full_spdx_document(document)\n\
         document.packages[0].spdx_id = 'wrong'\n\
         assert validate_full_spdx_document(document), 'it finds nothing'\n\
         sys.exit('\\n'.join(message.validation_message for message in found) or None)"
    } else {
        "import sys\n\
         from cyclonedx.schema import SchemaVersion\n\
         from cyclonedx.validation.json import JsonStrictValidator\n\
         text = open(sys.argv[1], encoding='utf-8').read()\n\
         validator = JsonStrictValidator(SchemaVersion.V1_6)\n\
         assert validator.validate_str(text.replace('SHA-256', 'SHA-0')), 'it finds nothing'\n\
         sys.exit(validator.validate_str(text))"
    };
    services::run(Command::new(test_python()).args(["-c", script]).arg(path));
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn describes_directory_and_image_in_both_formats() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    let image = "oci:layout:1.0";
    sandbox
        .wheelhouse(&["image", "out", image])
        .assert_success();
    for format in ["cyclonedx", "spdx"] {
        let describe = |what: &str, file: &str| {
            sandbox
                .wheelhouse(&["sbom", what, "--format", format, "-o", file])
                .assert_success();
            fs::read(sandbox.path(file)).unwrap()
        };
        let bytes = describe("out", "sbom.json");
        // The library does not accept hosts without a name.
        let text = String::from_utf8(bytes.clone()).unwrap();
        let host = index.url().replace("http://", "").replace("/simple/", "");
        assert!(text.contains(&host));
        sandbox.write("sbom.json", &text.replace(&host, "index.example"));
        assert_is_valid(&sandbox.path("sbom.json"), format);
        assert_eq!(bytes, describe(image, "of-image.json"), "{format}");
        assert!(!bytes.contains(&0x1b));
    }
    let printed = sandbox.wheelhouse(&["sbom", "out"]);
    printed.assert_success();
    let document: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(document["metadata"]["timestamp"], "2024-05-01T12:00:00Z");
    let [alpha, beta] = &document["components"].as_array().unwrap()[..] else {
        panic!("{document}");
    };
    let bundled: Vec<_> = alpha["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    assert_eq!(bundled, ["libpng", "odd[31m", "serde"]);
    let comments: Vec<bool> = alpha["externalReferences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reference| reference.get("comment").is_some())
        .collect();
    assert_eq!(comments, [false, false, false, true, true]);
    assert_eq!(beta["pedigree"]["ancestors"][0]["name"], "beta");
    assert!(
        beta["properties"]
            .to_string()
            .contains("tool-2.0-py3-none-any.whl sha256:")
    );
}

#[test]
fn time_can_be_set() {
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    sandbox.build(&index, &["alpha"]).assert_success();
    sandbox.set("SOURCE_DATE_EPOCH", "86400");
    sandbox
        .wheelhouse(&[
            "sbom",
            "out",
            "-f",
            "spdx",
            "-o",
            "sbom.json",
            "--name",
            "mine",
        ])
        .assert_success();
    let document = read(&sandbox.path("sbom.json"));
    assert_eq!(document["creationInfo"]["created"], "1970-01-02T00:00:00Z");
    assert_eq!(document["name"], "mine");
    sandbox.set("SOURCE_DATE_EPOCH", "yesterday");
    let refused = sandbox.wheelhouse(&["sbom", "out"]);
    refused
        .assert_exit(2)
        .assert_error_names(&["SOURCE_DATE_EPOCH", "yesterday"]);
}

#[test]
fn names_damaged_wheel() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    sandbox.build(&index, &["alpha"]).assert_success();
    let wheel = sandbox.out().join("alpha-1.0-py3-none-any.whl");
    fs::remove_file(&wheel).unwrap();
    fs::write(&wheel, "not a wheel").unwrap();
    let refused = sandbox.wheelhouse(&["sbom", "out"]);
    refused.assert_error_names(&["alpha-1.0-py3-none-any.whl", "wheelhouse verify"]);
    assert!(refused.stdout.is_empty());
    let refused = sandbox.wheelhouse(&["sbom", "missing"]);
    refused.assert_exit(2).assert_error_names(&["missing"]);
}
