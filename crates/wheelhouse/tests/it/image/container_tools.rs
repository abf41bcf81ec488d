//! Images read by skopeo, umoci, buildah, podman and docker.

use std::path::Path;
use std::process::Command;

use super::{assert_same, run, stdout_of, wheelhouse};
use crate::support::Sandbox;
use crate::support::services::{self, Docker, program_path};

/// The path of the wheelhouse in an unpacked image.
const INSIDE: &str = "opt/app-root/wheelhouse";

/// Builds a wheelhouse with its images `layout`, `layout.tar` and `docker.tar`, and returns their digest.
fn images() -> (Sandbox, String) {
    let sandbox = wheelhouse();
    let destinations = [
        "oci:layout:1",
        "oci-archive:layout.tar:1",
        "docker-archive:docker.tar:acme/wheels:1",
    ];
    let digest = stdout_of(&sandbox, &[&["image", "out"][..], &destinations].concat());
    (sandbox, digest)
}

fn command(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(program.to_str().unwrap());
    command.args(arguments);
    command
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn skopeo_reports_same_digest_for_layout_and_archive() {
    let skopeo = program_path("skopeo");
    let (sandbox, digest) = images();
    for image in ["oci:layout:1", "oci-archive:layout.tar:1"] {
        let format = ["inspect", "--format", "{{.Digest}}", image];
        assert_eq!(
            services::run(&mut command(&sandbox, &skopeo, &format)).trim(),
            digest
        );
    }
    let copy = [
        "copy",
        "--insecure-policy",
        "docker-archive:docker.tar",
        "oci:copied:1",
    ];
    services::run(&mut command(&sandbox, &skopeo, &copy));
    run(&sandbox, &["extract", "oci:copied:1", "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn reads_compressed_layers() {
    let skopeo = program_path("skopeo");
    let (sandbox, _) = images();
    for format in ["gzip", "zstd"] {
        let target = format!("oci:{format}:1");
        let options = [
            "copy",
            "--insecure-policy",
            "--dest-compress",
            "--dest-compress-format",
            format,
        ];
        let copy = [&options[..], &["oci:layout:1", &target]].concat();
        services::run(&mut command(&sandbox, &skopeo, &copy));
        let directory = format!("back-{format}");
        run(&sandbox, &["extract", &target, &directory]).assert_success();
        assert_same(&sandbox.path(&directory), &sandbox.out());
    }
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn umoci_unpacks_image() {
    let umoci = program_path("umoci");
    let (sandbox, _) = images();
    let unpack = ["unpack", "--rootless", "--image", "layout:1", "bundle"];
    services::run(&mut command(&sandbox, &umoci, &unpack));
    assert_same(&sandbox.path("bundle/rootfs").join(INSIDE), &sandbox.out());
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn buildah_and_podman_load_image() {
    let (sandbox, _) = images();
    let policy = sandbox.write(
        "policy.json",
        r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
    );
    for (program, pull) in [
        (
            "buildah",
            &[
                "pull",
                "--signature-policy",
                policy.to_str().unwrap(),
                "oci:layout:1",
            ][..],
        ),
        (
            "podman",
            &[
                "load",
                "--signature-policy",
                policy.to_str().unwrap(),
                "-i",
                "docker.tar",
            ],
        ),
    ] {
        let program_path = program_path(program);
        let root = sandbox.path(&format!("{program}-root"));
        let run_root = sandbox.path(&format!("{program}-run"));
        let own = |arguments: &[&str]| {
            let mut command = command(
                &sandbox,
                &program_path,
                &["--storage-driver", "vfs", "--root"],
            );
            command
                .arg(&root)
                .arg("--runroot")
                .arg(&run_root)
                .args(arguments);
            command
        };
        services::run(&mut own(pull));
        let listed = services::run(&mut own(&[
            "images",
            "--noheading",
            "--quiet",
            "--no-trunc",
        ]));
        let id = listed.trim().to_owned();
        let mounted = if program == "buildah" {
            let container = services::run(&mut own(&["from", "--pull-never", &id]));
            services::run(&mut own(&["mount", container.trim()]))
        } else {
            services::run(&mut own(&["image", "mount", &id]))
        };
        assert_same(&Path::new(mounted.trim()).join(INSIDE), &sandbox.out());
        let clean: &[&str] = if program == "buildah" {
            &["rm", "--all"]
        } else {
            &["image", "unmount", &id]
        };
        services::run(&mut own(clean));
    }
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn docker_loads_image_and_copies_from_it() {
    let (mut sandbox, _) = images();
    let docker = Docker::start(&sandbox.path("docker"));
    sandbox.set("DOCKER_HOST", format!("unix://{}", docker.socket.display()));
    stdout_of(&sandbox, &["image", "out", "docker-daemon:acme/wheels:2"]);
    services::run(
        docker
            .command(&["load", "-i"])
            .arg(sandbox.path("docker.tar")),
    );
    let links = ["--find-links", "docker-daemon:acme/wheels:2", "--no-index"];
    let build = [
        &["build", "alpha", "-o", "linked", "--no-cache"][..],
        &links,
    ]
    .concat();
    run(&sandbox, &build).assert_success();
    assert_eq!(
        std::fs::read(sandbox.path("linked/alpha-1.0-py3-none-any.whl")).unwrap(),
        std::fs::read(sandbox.out().join("alpha-1.0-py3-none-any.whl")).unwrap(),
    );
    let listed = docker.command(&["images", "--quiet", "--no-trunc", "acme/wheels"]);
    let listed = services::run(&mut { listed });
    let ids: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1], "loaded and pushed are the same image");
    sandbox.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY --from=acme/wheels:2 /opt/app-root/wheelhouse /copied\n",
    );
    let context = sandbox.path("context");
    services::run(
        docker
            .command(&["build", "--network=none", "-t", "copied:1"])
            .arg(context),
    );
    run(
        &sandbox,
        &[
            "extract",
            "docker-daemon:copied:1",
            "back",
            "--path",
            "/copied",
        ],
    )
    .assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
    let finished = run(&sandbox, &["extract", "docker-daemon:copied:1", "other"]);
    finished.assert_exit(4).assert_error_names(&[
        "docker-daemon:copied:1 has no wheelhouse at /opt/app-root/wheelhouse",
        "hint: ",
        "/copied",
    ]);
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn keeps_layers_and_configuration_of_base_image() {
    let skopeo = program_path("skopeo");
    let (sandbox, _) = images();
    stdout_of(
        &sandbox,
        &[
            "image",
            "out",
            "oci:base:1",
            "--path",
            "/base",
            "--label",
            "kept=yes",
        ],
    );
    let copy = [
        "copy",
        "--insecure-policy",
        "--dest-compress",
        "oci:base:1",
        "oci:zipped:1",
    ];
    services::run(&mut command(&sandbox, &skopeo, &copy));
    let destinations = [
        "oci:on:1",
        "oci-archive:on.tar",
        "docker-archive:on-docker.tar",
    ];
    let arguments = [
        &["image", "out", "--base", "oci:zipped:1"][..],
        &destinations,
    ]
    .concat();
    stdout_of(&sandbox, &arguments);
    for image in destinations {
        let found: serde_json::Value = serde_json::from_str(&services::run(&mut command(
            &sandbox,
            &skopeo,
            &["inspect", "--config", image],
        )))
        .unwrap();
        assert_eq!(found["config"]["Labels"]["kept"], "yes");
        for path in ["/base", "/opt/app-root/wheelhouse"] {
            let directory = format!(
                "back-{}-{}",
                image.replace([':', '/', '.'], "-"),
                path.len()
            );
            run(&sandbox, &["extract", image, &directory, "--path", path]).assert_success();
            assert_same(&sandbox.path(&directory), &sandbox.out());
        }
    }
}
