//! The builder image with dockerd, whose builder and file transfer differ from those of buildah.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::Wheel;
use crate::support::containers::{Buildah, succeed};
use crate::support::process::eventually;
use crate::support::s2i_builds::checkout;
use crate::support::services::Docker;

/// A docker daemon with the image operations of a build.
struct Dockerd {
    docker: Docker,
    _directory: TempDir,
}

impl Dockerd {
    fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("docker-")
            .tempdir()
            .unwrap();
        Self {
            docker: Docker::start(directory.path()),
            _directory: directory,
        }
    }

    fn docker<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        self.docker.command(&arguments)
    }

    /// Creates an image from the files in `archive` with the configuration of a Python builder.
    fn import(&self, archive: &Path, image: &str) {
        let mut command = self.docker(["import"]);
        for line in [
            "USER 1001",
            "WORKDIR /opt/app-root/src",
            "ENV HOME=/opt/app-root/src",
            "ENV PATH=/opt/app-root/bin:/usr/local/bin:/usr/bin:/bin",
            "ENV BASH_ENV=/opt/app-root/bin/activate",
        ] {
            command.args(["--change", line]);
        }
        succeed(command.arg(archive).arg(image));
    }

    /// Copies the contents of `source` into `directory` of a container, owned by an arbitrary user.
    fn upload(&self, source: &Path, container: &str, directory: &str) {
        let name = format!("s,^[.],{directory},");
        let mut tar = Command::new("tar")
            .args(["--owner=1234567", "--group=0", "--transform", &name, "-C"])
            .arg(source)
            .args(["-cf", "-", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut command = self.docker(["cp", "-", &format!("{container}:/tmp")]);
        succeed(command.stdin(tar.stdout.take().unwrap()));
        assert!(tar.wait().unwrap().success());
    }
}

/// Builds on `base` as documented for docker without `BuildKit`, which cannot replace the base image of the
/// Dockerfile.
fn build_on(dockerd: &Dockerd, base: &str, checkout: &Path) {
    let dockerfile = std::fs::read_to_string(checkout.join("Dockerfile")).unwrap();
    let edited = checkout.join("edited");
    let named = "\nFROM registry.access.redhat.com/ubi9/python-312\n";
    std::fs::write(
        &edited,
        dockerfile.replace(named, &format!("\nFROM {base}\n")),
    )
    .unwrap();
    let mut build = dockerd.docker([
        "build",
        "--quiet",
        "--network",
        "none",
        "--tag",
        "builder",
        "-f",
        "-",
    ]);
    succeed(build.arg(checkout).stdin(File::open(edited).unwrap()));
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn builder_works_with_dockerd() {
    let buildah = Buildah::find();
    let dockerd = Dockerd::start();
    dockerd.import(&buildah.base_archive(), "base");
    let checkout = checkout();
    build_on(&dockerd, "base", checkout.path());
    let labels = dockerd
        .docker([
            "inspect",
            "--format",
            "{{json .Config.Labels}} {{.Config.User}}",
            "builder",
        ])
        .output();
    let labels = String::from_utf8(labels.unwrap().stdout).unwrap();
    for words in [
        "\"io.openshift.s2i.scripts-url\":\"image:///opt/app-root/s2i\"",
        "} 1001\n",
    ] {
        assert!(labels.contains(words), "{labels}");
    }

    let source = tempfile::tempdir().unwrap();
    let wheel = Wheel::new("alpha", "1.0");
    std::fs::create_dir(source.path().join("packages")).unwrap();
    std::fs::write(
        source.path().join("packages").join(wheel.filename()),
        wheel.bytes(),
    )
    .unwrap();
    std::fs::write(source.path().join("requirements.txt"), "alpha\n").unwrap();
    let create = [
        "create",
        "--name",
        "assembling",
        "--network",
        "none",
        "--user",
        "1234567:0",
    ];
    let variables = [
        "--env",
        "PIP_NO_INDEX=1",
        "--env",
        "PIP_FIND_LINKS=packages",
    ];
    let assemble = ["builder", "/opt/app-root/s2i/assemble"];
    succeed(&mut dockerd.docker(create.into_iter().chain(variables).chain(assemble)));
    dockerd.upload(source.path(), "assembling", "src");
    succeed(&mut dockerd.docker(["start", "--attach", "assembling"]));
    let command = "CMD [\"/opt/app-root/s2i/run\"]";
    succeed(&mut dockerd.docker(["commit", "--change", command, "assembling", "wheelhouse"]));

    // The server is process 1 of its container, which ignores signals by default.
    let run = [
        "run",
        "--detach",
        "--name",
        "serving",
        "--network",
        "none",
        "--user",
        "7654321:0",
        "wheelhouse",
    ];
    succeed(&mut dockerd.docker(run));
    let get =
        "import urllib.request as it; print(it.urlopen('http://127.0.0.1:8080/simple/').read())";
    let exec = ["exec", "serving", "python3", "-c", get];
    eventually("the server", || {
        dockerd.docker(exec).output().unwrap().status.success()
    });
    assert!(succeed(&mut dockerd.docker(exec)).contains("alpha"));
    let begun = std::time::Instant::now();
    succeed(&mut dockerd.docker(["stop", "--time", "20", "serving"]));
    assert!(
        begun.elapsed().as_secs() < 10,
        "it was killed after {:?}",
        begun.elapsed()
    );
    let code = ["inspect", "--format", "{{.State.ExitCode}}", "serving"];
    assert_eq!(succeed(&mut dockerd.docker(code)), "0");
}
