//! The manifests for clusters, against the published schemas and against themselves.

use std::process::Command;

use crate::support::containers::{repository, succeed};
use crate::support::test_python;

#[test]
fn manifests_are_what_clusters_take() {
    let Some(python) = test_python() else { return };
    let directory = repository().join("openshift");
    let entries = std::fs::read_dir(directory).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let mut command = Command::new(python);
    command.arg(repository().join("tests/manifests.py"));
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
