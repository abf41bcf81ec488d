//! The manifests for clusters, against the published schemas and against themselves.

use std::path::PathBuf;
use std::process::Command;

use crate::support::containers::{repository, succeed, target};
use crate::support::process::left_out;
use crate::support::test_python;

/// The npm package that carries `OpenShift`'s specification, kept below the target directory.
fn specification() -> Option<PathBuf> {
    let directory = target().join("test-schemas");
    let path = directory.join("openshift-rest-client-9.1.1.tgz");
    if path.is_file() {
        return Some(path);
    }
    if Command::new("npm").arg("--version").output().is_err() {
        left_out(
            "npm is missing, which fetches OpenShift's specification",
            true,
        );
        return None;
    }
    std::fs::create_dir_all(&directory).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "openshift-rest-client@9.1.1"]);
    succeed(npm.current_dir(directory));
    Some(path)
}

#[test]
fn manifests_are_what_clusters_take() {
    let Some(python) = test_python() else { return };
    let Some(specification) = specification() else {
        return;
    };
    let directory = repository().join("openshift");
    let entries = std::fs::read_dir(directory).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let mut command = Command::new(python);
    command.arg(repository().join("tests/manifests.py"));
    command.arg(specification);
    let said = succeed(command.args(files));
    for kind in [
        "BuildConfig",
        "ImageStream",
        "Deployment",
        "Service",
        "Route",
    ] {
        assert!(said.contains(kind), "{said}");
    }
}

#[test]
fn the_wheelhouse_of_an_application_is_where_its_build_looks() {
    for name in ["application.yaml", "disconnected.yaml"] {
        let text = std::fs::read_to_string(repository().join("openshift").join(name)).unwrap();
        for line in [
            "- sourcePath: /opt/app-root/wheelhouse/.\n",
            "destinationDir: .s2i/wheelhouse\n",
            "value: .s2i/wheelhouse\n",
        ] {
            assert!(text.contains(line), "{name} has no `{line}`");
        }
    }
}
