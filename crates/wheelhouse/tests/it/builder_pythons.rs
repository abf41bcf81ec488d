//! The builder image with other Pythons: one application each, with one compiled package.

use crate::builder::assert_is_builder;
use crate::support::containers::{Buildah, Container, Network, output_text};
use crate::support::s2i_builds::{Build, checkout, with_server};

/// An application for one Python.
struct Application {
    python: &'static str,
    requirements: &'static str,
    /// The compiled package, as the log names it.
    compiled: &'static str,
    /// Prefixes of expected wheel names: the compiled one and one from the index.
    wheels: [&'static str; 2],
    count: usize,
}

/// Builds the builder and the wheelhouse, installs from the server of the wheelhouse with pip, and builds again
/// without changes.
fn check(application: &Application) {
    let python = application.python;
    let buildah = Buildah::with_python(python);
    let (builder, wheelhouse) = (
        format!("localhost/builder-{python}"),
        format!("localhost/wheelhouse-{python}"),
    );
    buildah.build(checkout().path(), &builder);
    assert_is_builder(&buildah, &builder);

    let source = tempfile::tempdir().unwrap();
    std::fs::write(
        source.path().join("requirements.txt"),
        application.requirements,
    )
    .unwrap();
    let build = Build {
        variables: &[("PIP_NO_BINARY", "MarkupSafe")],
        ..Build::new(&buildah, &builder, source.path())
    };
    let first = build.image(&wheelhouse);
    assert!(
        first.contains(&format!("Built {}", application.compiled)),
        "{first}"
    );
    let container = buildah.container(&wheelhouse).for_any_user();
    let list = "cd /opt/app-root/wheelhouse && ls *.whl";
    let listed = output_text(&container.bash(list, &[], Network::None));
    assert_eq!(listed.lines().count(), application.count, "{listed}");
    for wheel in application.wheels {
        let mut names = listed.lines();
        assert!(
            names.any(|name| name.starts_with(wheel)),
            "{wheel}: {listed}"
        );
    }
    assert_serves_and_installs(&container);

    let artifacts = container.artifacts();
    let build = Build {
        artifacts: Some(artifacts.path()),
        ..build
    };
    let (_container, output) = build.assemble();
    let again = output_text(&output);
    let made = |line: &str| line.starts_with("Fetched ") || line.starts_with("Built ");
    assert!(
        output.status.success() && !again.lines().any(made),
        "{again}"
    );
    for image in [&wheelhouse, &builder] {
        buildah.remove(image);
    }
}

/// Installs the requirements with the pip of the image from its wheelhouse server, without a network.
fn assert_serves_and_installs(container: &Container) {
    let script = with_server(
        "/opt/app-root/s2i/run",
        "/health",
        "import subprocess, sys\n\
         assert 'markupsafe' in get('/simple/')\n\
         pip = [sys.executable, '-m', 'pip', 'install', '-q', '--index-url', 'http://127.0.0.1:8080/simple/', 'Flask', 'PyYAML']\n\
         subprocess.check_call(pip)\n\
         subprocess.check_call([sys.executable, '-c', 'import flask, yaml, markupsafe._speedups'])",
    );
    let output = container.bash(&script, &[], Network::None);
    let text = output_text(&output);
    assert!(
        output.status.success() && text.contains("ended with 0"),
        "{text}"
    );
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn builds_wheelhouse_for_python_3_13() {
    check(&Application {
        python: "3.13",
        requirements: "Flask==3.1.3\nMarkupSafe==3.0.3\nPyYAML==6.0.3\n",
        compiled: "markupsafe==3.0.3",
        wheels: [
            "markupsafe-3.0.3-cp313-cp313-linux_",
            "pyyaml-6.0.3-cp313-cp313-manylinux",
        ],
        count: 8,
    });
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn builds_wheelhouse_for_python_2_7() {
    check(&Application {
        python: "2.7",
        requirements: "Flask==1.1.4\nMarkupSafe==1.1.1\nPyYAML==5.4.1\n",
        compiled: "markupsafe==1.1.1",
        wheels: [
            "MarkupSafe-1.1.1-cp27-cp27mu-linux_",
            "PyYAML-5.4.1-cp27-cp27mu-manylinux",
        ],
        count: 7,
    });
}
