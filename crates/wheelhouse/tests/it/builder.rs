//! The builder image in real containers, built and used like the S2I tool does with docker: labels, users and failing
//! builds. The build strategies of `OpenShift` are in `openshift_builds`.

use std::process::Output;

use tempfile::TempDir;

use crate::support::Wheel;
use crate::support::containers::{Buildah, Network, output_text};
use crate::support::s2i_builds::{Build, checkout};

const SCRIPTS: &str = "/opt/app-root/s2i";

#[track_caller]
pub(crate) fn assert_is_builder(buildah: &Buildah, image: &str) {
    for label in ["io.openshift.s2i.scripts-url", "io.s2i.scripts-url"] {
        let template = format!("{{{{index .OCIv1.Config.Labels {label:?}}}}}");
        assert_eq!(
            buildah.inspect(image, &template),
            format!("image://{SCRIPTS}")
        );
    }
    for label in [
        "io.k8s.display-name",
        "io.k8s.description",
        "io.openshift.tags",
    ] {
        let template = format!("{{{{index .OCIv1.Config.Labels {label:?}}}}}");
        assert!(!buildah.inspect(image, &template).is_empty(), "{label}");
    }
    assert_eq!(buildah.inspect(image, "{{.OCIv1.Config.User}}"), "1001");
    let check = "set -e; cd /opt/app-root; test -w wheelhouse; touch wheelhouse/a; rm wheelhouse/a; \
        for script in assemble run save-artifacts usage; do test -x s2i/$script; done; \
        wheelhouse --version >/dev/null; s2i/usage";
    let output = buildah
        .container(image)
        .for_any_user()
        .bash(check, &[], Network::None);
    let text = output_text(&output);
    assert!(
        output.status.success() && text.contains("REQUIREMENTS_FILE"),
        "{text}"
    );
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn s2i_builds_builder_and_wheelhouse_as_any_user_of_group() {
    let buildah = Buildah::find();
    let (base, checkout, image) = (buildah.base(), checkout(), "localhost/wheelhouse-by-s2i");
    let build = Build {
        network: Network::None,
        ..Build::new(&buildah, &base, checkout.path())
    };
    let (container, output) = build.assemble();
    assert!(output.status.success(), "{}", output_text(&output));
    container.apply_labels();
    let left = "ls -A /tmp; find /opt/app-root ! -type l ! -perm -g+w";
    assert_eq!(
        output_text(&container.bash(left, &[], Network::None)),
        ".s2i\n"
    );
    container.commit("/usr/libexec/s2i/run", image);
    assert_is_builder(&buildah, image);

    // The builder belongs to one user and its builds run as another.
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("requirements.txt"), "six==1.17.0\n").unwrap();
    let build = Build {
        user: "1001:0",
        ..Build::new(&buildah, image, source.path())
    };
    let (_container, output) = build.assemble();
    let said = output_text(&output);
    assert!(
        output.status.success() && said.contains("---> Installed "),
        "{said}"
    );

    let build = Build {
        user: "1234567:1234567",
        network: Network::None,
        ..Build::new(&buildah, &base, checkout.path())
    };
    let (_container, output) = build.assemble();
    assert_fails_with(
        &output,
        &[
            "user 1234567 in group 1234567 cannot write to /opt/app-root",
            "hint: ",
            "group 0",
        ],
    );
    buildah.remove(image);
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn reports_failures_last() {
    let buildah = Buildah::find();
    let (image, checkout) = ("localhost/wheelhouse-failing", checkout());
    buildah.build(checkout.path(), image);
    let variables = [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "packages")];
    let failures: [(&str, Network, &[&str]); 3] = [
        (
            "",
            Network::None,
            &["no requirements found", "REQUIREMENTS_FILE"],
        ),
        ("./broken\n", Network::Host, &["broken", "broken.c"]),
        (
            "./needy\n",
            Network::None,
            &["build requirements `nowhere`"],
        ),
    ];
    for (requirements, network, words) in failures {
        let source = source_that_fails(requirements);
        let offline: &[_] = if network == Network::None {
            &variables
        } else {
            &[]
        };
        let build = Build {
            network,
            variables: offline,
            ..Build::new(&buildah, image, source.path())
        };
        let (_container, output) = build.assemble();
        assert_fails_with(&output, words);
    }

    let (source, wheel) = (source_that_fails("alpha\n"), Wheel::new("alpha", "1.0"));
    let packages = source.path().join("packages");
    std::fs::create_dir(&packages).unwrap();
    std::fs::write(packages.join(wheel.filename()), wheel.bytes()).unwrap();
    let container = buildah
        .container(image)
        .for_any_user()
        .with_read_only("/opt/app-root/wheelhouse");
    container.upload(source.path(), "/tmp/src");
    let assemble = "exec /opt/app-root/s2i/assemble";
    let output = container.bash(assemble, &variables, Network::None);
    assert_fails_with(&output, &["/opt/app-root/wheelhouse", "Read-only"]);
    buildah.remove(image);
}

/// Checks that the build fails and that its output ends with an error that contains `words`.
#[track_caller]
fn assert_fails_with(output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "{}", output_text(output));
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().skip_while(|line| !line.starts_with("error: "));
    // Output of the container engine follows.
    let lines = lines.take_while(|line| !line.starts_with("Error: while running runtime"));
    let error: Vec<_> = lines.collect();
    let progress = ["--->", "Fetched ", "Built ", "Finished ", "warning: "];
    let is_progress = |line: &&str| progress.iter().any(|start| line.starts_with(start));
    assert!(
        !error.is_empty() && !error.iter().any(is_progress),
        "{text}"
    );
    let error = error.join("\n");
    for word in words {
        assert!(error.contains(word), "`{word}` is not in {error}");
    }
}

/// Returns a source that requires `requirements`, with a package whose extension does not compile and one with a
/// missing build requirement.
fn source_that_fails(requirements: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    if !requirements.is_empty() {
        write("requirements.txt", requirements);
    }
    let setup = "from setuptools import setup, Extension\n\
        setup(name='broken', version='1.0', ext_modules=[Extension('broken', ['broken.c'])])\n";
    write("broken/setup.py", setup);
    write("broken/broken.c", "#error it cannot be compiled\n");
    write(
        "needy/pyproject.toml",
        "[build-system]\nrequires = ['nowhere']\nbuild-backend = 'nowhere'\n",
    );
    directory
}
