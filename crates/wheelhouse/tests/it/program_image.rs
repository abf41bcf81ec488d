//! `packaging/image`: the image of the program, and a builder that copies the program from it, as the S2I
//! documentation describes.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::containers::{Buildah, Network, output_text, repository, succeed};
use crate::support::openshift::succeeded;
use crate::support::s2i_builds::checkout;

/// Builds the image from the tarballs in `dist/` of `checkout` and returns its index.
fn image(buildah: &Buildah, checkout: &Path) -> Value {
    succeed(&mut buildah.command(checkout.join("packaging/image")));
    let image = format!("oci-archive:{}", archive(checkout));
    let mut inspect = Command::new("skopeo");
    let index = succeed(inspect.args(["inspect", "--raw", &image]));
    serde_json::from_str(&index).unwrap()
}

fn archive(checkout: &Path) -> String {
    let name = format!("dist/wheelhouse-{}-image.tar", env!("CARGO_PKG_VERSION"));
    checkout.join(name).display().to_string()
}

/// Returns the only block of docs/how-to/s2i.md that is a Dockerfile.
fn documented() -> String {
    let text = std::fs::read_to_string(repository().join("docs/how-to/s2i.md")).unwrap();
    let block = text.split("```dockerfile\n").nth(1).expect("a Dockerfile");
    block.split("```").next().unwrap().to_owned()
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn dockerfile_copies_program_from_image() {
    let buildah = Buildah::find();
    let directory = checkout();
    let checkout = directory.path();
    for name in ["packaging", "LICENSE-MIT", "LICENSE-APACHE"] {
        succeed(
            Command::new("cp")
                .arg("-a")
                .arg(repository().join(name))
                .arg(checkout),
        );
    }
    let one = image(&buildah, checkout);
    assert_eq!(one["manifests"].as_array().unwrap().len(), 1, "{one}");

    // The image is reproducible, and another architecture is added to it.
    let this = std::env::consts::ARCH;
    let (own, other) = if this == "x86_64" {
        (0, "aarch64")
    } else {
        (1, "x86_64")
    };
    let name = |architecture| {
        let version = env!("CARGO_PKG_VERSION");
        checkout.join(format!(
            "dist/wheelhouse-{version}-{architecture}-linux-gnu.tar.gz"
        ))
    };
    std::fs::copy(name(this), name(other)).unwrap();
    let both = image(&buildah, checkout);
    let manifests = both["manifests"].as_array().unwrap();
    let platforms: Vec<_> = manifests
        .iter()
        .map(|it| &it["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    assert_eq!(manifests[own], one["manifests"][0]);

    // The documented Dockerfile builds a builder whose program runs.
    std::fs::write(
        checkout.join("policy.json"),
        r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
    )
    .unwrap();
    let archived = format!("oci-archive:{}", archive(checkout));
    let pull = [
        "pull",
        "--quiet",
        "--signature-policy",
        "policy.json",
        &archived,
    ];
    let pulled = succeed(buildah.buildah(pull).current_dir(checkout));
    succeed(&mut buildah.buildah(["tag", &pulled, "localhost/wheelhouse"]));
    let dockerfile = documented().replace("REGISTRY/wheelhouse", "localhost/wheelhouse");
    std::fs::write(checkout.join("Dockerfile"), dockerfile).unwrap();
    let builder = "localhost/wheelhouse-by-copy";
    buildah.build(checkout, builder);
    let script = "set -e; wheelhouse --version; s2i/usage; touch wheelhouse/a; rm wheelhouse/a";
    let container = buildah.container(builder).for_any_user();
    let said =
        succeeded(&container.bash(&format!("cd /opt/app-root; {script}"), &[], Network::None));
    assert!(said.contains("REQUIREMENTS_FILE"), "{said}");
    drop(container);
    let files = "find . -type f -printf '%m %p\\n' | sort";
    let mut list = Command::new("bash");
    let container = buildah.container("localhost/wheelhouse");
    let listed = list
        .args(["-c", files])
        .current_dir(container.mount())
        .output()
        .unwrap();
    assert_eq!(
        output_text(&listed),
        "644 ./etc/ssl/certs/ca-certificates.crt\n\
         644 ./licenses/LICENSE-APACHE\n\
         644 ./licenses/LICENSE-MIT\n\
         755 ./wheelhouse\n"
    );
    drop(container);
    for image in [builder, "localhost/wheelhouse"] {
        buildah.remove(image);
    }
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn rejects_image_without_programs() {
    let buildah = Buildah::find();
    let checkout = checkout();
    succeed(
        Command::new("cp")
            .arg("-a")
            .arg(repository().join("packaging"))
            .arg(checkout.path()),
    );
    std::fs::remove_dir_all(checkout.path().join("dist")).unwrap();
    let output = buildah
        .command(checkout.path().join("packaging/image"))
        .output()
        .unwrap();
    let said = output_text(&output);
    assert!(
        !output.status.success() && said.contains("error: dist/ has no tarball of wheelhouse"),
        "{said}"
    );
}
