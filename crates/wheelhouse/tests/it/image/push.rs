//! Images in a real registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{assert_same, build, index, run, stdout_of, wheelhouse};
use crate::support::services::{self, Registry, RegistryOptions, certificates, program_path};
use crate::support::{Sandbox, Wheel, sha256, test_python};

/// Returns a wheelhouse and a registry.
fn start(terms: &RegistryOptions<'_>) -> (Sandbox, Registry) {
    let sandbox = wheelhouse();
    let registry = Registry::start(&sandbox.path("registry"), terms);
    (sandbox, registry)
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn uploads_only_missing_blobs() {
    let (sandbox, index_of_old) = (Sandbox::new(), index("1.0"));
    build(&sandbox, &index_of_old);
    let registry = Registry::start(&sandbox.path("registry"), &RegistryOptions::default());
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    let digest = stdout_of(&sandbox, &["image", "out", &image]);
    let uploads = || registry.count("POST", "/blobs/uploads/");
    // Five layers, the configuration, the SBOM and its configuration.
    assert_eq!(uploads(), 8);
    assert_eq!(stdout_of(&sandbox, &["image", "out", &image]), digest);
    assert_eq!(uploads(), 8, "an unchanged wheelhouse uploads nothing");
    let other = format!("docker://{}/acme/wheels:2", registry.host());
    assert_eq!(stdout_of(&sandbox, &["image", "out", &other]), digest);
    assert_eq!(uploads(), 8, "another tag uploads nothing");
    build(&sandbox, &index("2.0"));
    stdout_of(&sandbox, &["image", "out", &image]);
    // The layers of the changed wheel and of the small files, the configuration, the SBOM.
    assert_eq!(uploads(), 12);
    run(&sandbox, &["extract", &image, "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn skopeo_copy_preserves_digest() {
    let skopeo = program_path("skopeo");
    let (sandbox, registry) = start(&RegistryOptions::default());
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    let digest = stdout_of(&sandbox, &["image", "out", &image, "oci:layout:1"]);
    let other = format!("docker://{}/elsewhere/wheels:9", registry.host());
    for (from, to) in [(image.as_str(), other.as_str()), (&other, "oci:pulled:1")] {
        let mut copy = sandbox.command(skopeo.to_str().unwrap());
        copy.args([
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ]);
        services::run(copy.args([from, to]));
    }
    let mut inspect = sandbox.command(skopeo.to_str().unwrap());
    inspect.args(["inspect", "--format", "{{.Digest}}", "oci:pulled:1"]);
    assert_eq!(services::run(&mut inspect).trim(), digest);
    let by_digest = format!("docker://{}/elsewhere/wheels@{digest}", registry.host());
    run(&sandbox, &["extract", &by_digest, "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn mounts_blobs_of_base_image() {
    let (sandbox, registry) = start(&RegistryOptions::default());
    let base = format!("docker://{}/base/image:1", registry.host());
    stdout_of(&sandbox, &["image", "out", &base, "--path", "/base"]);
    let sent = registry.count("PUT", "/blobs/uploads/");
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    stdout_of(&sandbox, &["image", "out", &image, "--base", &base]);
    assert_eq!(registry.count("POST", "mount=sha256"), 5);
    // Five layers, the configuration and the SBOM with its configuration.
    assert_eq!(registry.count("PUT", "acme/wheels/blobs/uploads/"), 8);
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), sent + 8);
}

/// Writes an htpasswd file with the user `me` and the password `secret`.
fn write_users(sandbox: &Sandbox) -> PathBuf {
    let users = sandbox.path("users");
    let mut htpasswd = Command::new(program_path("htpasswd"));
    services::run(htpasswd.arg("-Bbc").arg(&users).args(["me", "secret"]));
    users
}

#[test]
#[cfg_attr(
    not(all(feature = "test-containers", feature = "test-tools")),
    ignore = "requires root, container tools, curl, openssl, strace"
)]
fn supports_private_authority_and_basic_authentication() {
    let mut sandbox = wheelhouse();
    let users = write_users(&sandbox);
    let [authority, certificate, key] = certificates(&sandbox.path(""));
    let terms = RegistryOptions {
        users: Some(&users),
        tls: Some((&certificate, &key)),
        ..RegistryOptions::default()
    };
    let registry = Registry::start(&sandbox.path("registry"), &terms);
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    let push = ["image", "out", &image, "--retries", "0"];
    run(&sandbox, &push)
        .assert_exit(7)
        .assert_error_names(&["certificate", "--cert"]);
    sandbox.set("SSL_CERT_FILE", &authority);
    run(&sandbox, &push)
        .assert_exit(7)
        .assert_error_names(&["401", "docker login"]);
    // `me:secret`.
    let file = format!(
        r#"{{"auths": {{"{}": {{"auth": "bWU6c2VjcmV0"}}}}}}"#,
        registry.host()
    );
    sandbox.write("home/.docker/config.json", &file);
    run(&sandbox, &push).assert_success();
    let path = sandbox.write("auth.json", &file.replace("bWU6c2VjcmV0", "bWU6d3Jvbmc="));
    let wrong = [&push[..], &["--authfile", path.to_str().unwrap()]].concat();
    let finished = run(&sandbox, &wrong);
    finished.assert_exit(7);
    assert!(!finished.stderr.contains("wrong"), "{}", finished.stderr);
    sandbox.set(
        "REGISTRY_AUTH_FILE",
        sandbox.path("home/.docker/config.json"),
    );
    run(&sandbox, &["extract", &image, "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn uses_credential_helper() {
    let mut sandbox = wheelhouse();
    let users = write_users(&sandbox);
    let terms = RegistryOptions {
        users: Some(&users),
        tls: None,
        ..RegistryOptions::default()
    };
    let registry = Registry::start(&sandbox.path("registry"), &terms);
    let helper = sandbox.write(
        "bin/docker-credential-test",
        "#!/bin/sh\nread -r server\necho \"$1 $server\" >> \"$HOME/asked\"\necho '{\"Username\": \"me\", \"Secret\": \"secret\"}'\n",
    );
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&helper, executable).unwrap();
    let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
    sandbox.set("PATH", path);
    let helpers = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, registry.host());
    sandbox.write("home/.docker/config.json", &helpers);
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    run(&sandbox, &["image", "out", &image]).assert_success();
    let asked = fs::read_to_string(sandbox.path("home/asked")).unwrap();
    assert!(
        asked.starts_with(&format!("get {}", registry.host())),
        "{asked}"
    );
}

#[test]
fn does_not_use_plain_http_for_remote_host() {
    let sandbox = wheelhouse();
    // An address reserved for documentation (RFC 5737), which does not respond.
    let image = "docker://192.0.2.1:5000/acme/wheels:1";
    let finished = run(
        &sandbox,
        &["image", "out", image, "--retries", "0", "--timeout", "1"],
    );
    finished
        .assert_exit(7)
        .assert_error_names(&["https://192.0.2.1:5000"]);
    let finished = run(&sandbox, &["image", "out", image, "--offline"]);
    finished.assert_exit(7).assert_error_names(&["--offline"]);
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-containers")),
    ignore = "requires the test Python, root, container tools"
)]
fn attaches_sbom() {
    let skopeo = program_path("skopeo");
    let (sandbox, registry) = start(&RegistryOptions::default());
    let repository = format!("docker://{}/acme/wheels", registry.host());
    let digest = push_licensed(&sandbox, &format!("{repository}:1"));
    let raw = |reference: &str| -> Value {
        let mut inspect = sandbox.command(skopeo.to_str().unwrap());
        inspect.args(["inspect", "--raw", "--tls-verify=false"]);
        let text = services::run(inspect.arg(format!("{repository}{reference}")));
        serde_json::from_str(&text).unwrap()
    };
    // This registry does not support the referrers API.
    let list = raw(&format!(":{}", digest.replace(':', "-")));
    let listed = &list["manifests"][0];
    assert_eq!(listed["artifactType"], "application/vnd.cyclonedx+json");
    let referrer = raw(&format!("@{}", listed["digest"].as_str().unwrap()));
    assert_eq!(referrer["subject"]["digest"], digest);
    let sbom = referrer["layers"][0]["digest"].as_str().unwrap();
    let hex = sbom.trim_start_matches("sha256:");
    let blobs = sandbox.path("registry/data/docker/registry/v2/blobs/sha256");
    let path = blobs.join(&hex[..2]).join(hex).join("data");
    assert_is_cyclonedx(&path);
    let sbom: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let components = sbom["components"].as_array().unwrap();
    assert_eq!(components.len(), 5);
    let licensed = &components[4];
    assert_eq!(licensed["licenses"][0]["expression"], "MIT OR Apache-2.0");
    let beta = components
        .iter()
        .find(|component| component["name"] == "beta")
        .unwrap();
    assert_eq!(
        beta["purl"],
        "pkg:pypi/beta@1.0?file_name=beta-1.0-py3-none-any.whl"
    );
    let wheel = fs::read(sandbox.out().join("beta-1.0-py3-none-any.whl")).unwrap();
    assert_eq!(beta["hashes"][0]["content"], sha256(&wheel));
    let depends = sbom["dependencies"].as_array().unwrap().iter();
    let mut on_gamma = depends.filter(|entry| entry["ref"] == beta["bom-ref"]);
    let gamma = on_gamma.next().unwrap()["dependsOn"][0].as_str().unwrap();
    assert!(gamma.starts_with("pkg:pypi/gamma@"), "{gamma}");
}

/// Builds again with a wheel that states its license, from a directory with a space in its name, and pushes the
/// result.
fn push_licensed(sandbox: &Sandbox, image: &str) -> String {
    let licensed = Wheel::new("licensed", "1.0").metadata(
        "Metadata-Version: 2.4\nName: licensed\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n",
    );
    let links = sandbox.path("some wheels");
    fs::create_dir(&links).unwrap();
    fs::write(links.join(licensed.filename()), licensed.bytes()).unwrap();
    let links = links.to_str().unwrap();
    let arguments = ["alpha", "licensed", "--find-links", links];
    sandbox.build(&index("1.0"), &arguments).assert_success();
    stdout_of(sandbox, &["image", "out", image])
}

/// Validates an SBOM with the schema of `CycloneDX`, including formats.
fn assert_is_cyclonedx(path: &Path) {
    let python = test_python();
    let script = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        text = open(sys.argv[1], encoding='utf-8').read()\n\
        validator = JsonStrictValidator(SchemaVersion.V1_6)\n\
        assert validator.validate_str(text.replace('SHA-256', 'SHA-0')), 'it finds nothing'\n\
        sys.exit(validator.validate_str(text))";
    services::run(Command::new(python).args(["-c", script]).arg(path));
}
