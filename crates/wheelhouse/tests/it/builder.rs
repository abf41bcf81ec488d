//! The builder image with real containers: made in both ways, and used as the S2I tool uses it.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::builds::{Build, blog_source, checkout, with_server};
use crate::support::containers::{Buildah, Network, succeed, told};

const SCRIPTS: &str = "/opt/app-root/s2i";

/// Makes the builder in the S2I way, once for all tests.
fn builder(buildah: &Buildah, name: &str) {
    let (base, checkout) = (buildah.base(), checkout());
    let build = Build {
        network: Network::None,
        ..Build::new(buildah, &base, checkout.path())
    };
    let (container, output) = build.assemble();
    assert!(output.status.success(), "{}", told(&output));
    container.take_labels();
    container.commit("/tmp/scripts/run", name);
}

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
        .for_anybody()
        .bash(check, &[], Network::None);
    let told = told(&output);
    assert!(
        output.status.success() && told.contains("REQUIREMENTS_FILE"),
        "{told}"
    );
}

#[test]
fn a_builder_is_made_of_the_dockerfile() {
    let Some(buildah) = Buildah::find() else {
        return;
    };
    let (checkout, image) = (checkout(), "localhost/wheelhouse-by-dockerfile");
    buildah.build(checkout.path(), image);
    assert_is_builder(&buildah, image);
    let owner = "stat -c '%u:%g %a' /opt/app-root/wheelhouse /opt/app-root/s2i";
    let output = buildah.container(image).bash(owner, &[], Network::None);
    assert_eq!(told(&output), "1001:0 775\n1001:0 775\n");
    buildah.remove(image);
}

#[test]
fn a_builder_without_a_program_says_how_to_get_one() {
    let Some(buildah) = Buildah::find() else {
        return;
    };
    let (base, checkout) = (buildah.base(), checkout());
    std::fs::remove_dir_all(checkout.path().join("dist")).unwrap();
    let build = Build {
        network: Network::None,
        variables: &[("PIP_NO_INDEX", "1")],
        ..Build::new(&buildah, &base, checkout.path())
    };
    let (_container, output) = build.assemble();
    let told = told(&output);
    assert!(!output.status.success(), "{told}");
    let last = &told[told.find("error: ").expect("an error")..];
    for words in [
        "no wheelhouse program",
        "dist/ has no",
        "pip install python-wheelhouse",
        "no cargo",
        "hint:",
    ] {
        assert!(last.contains(words), "`{words}` is not in {last}");
    }
}

#[test]
fn an_application_goes_from_source_to_running() {
    let Some(buildah) = Buildah::find() else {
        return;
    };
    let image = "localhost/wheelhouse-by-s2i";
    builder(&buildah, image);
    assert_is_builder(&buildah, image);

    // From the index: the application's own assemble hands over to the builder's.
    let (source, wheelhouse) = (blog_source(), "localhost/blog-wheelhouse");
    let build = Build::new(&buildah, image, source.path());
    let told_first = build.image(wheelhouse);
    for words in [
        "Built misaka==2.1.1",
        "---> Installed ",
        " pip-",
        "8 wheels",
    ] {
        assert!(
            told_first.contains(words),
            "`{words}` is not in {told_first}"
        );
    }

    // It serves itself.
    let serves = with_server(
        "/tmp/scripts/run",
        "/health",
        "assert 'misaka' in get('/simple/') and '.whl#sha256=' in get('/simple/django/')",
    );
    let output = buildah
        .container(wheelhouse)
        .for_anybody()
        .bash(&serves, &[], Network::None);
    assert!(
        output.status.success() && told(&output).contains("ended with 0"),
        "{}",
        told(&output)
    );

    // One line changes: only that is had, and nothing is compiled again.
    let artifacts = buildah.container(wheelhouse).for_anybody().artifacts();
    let requirements = source.path().join("requirements.txt");
    let text = std::fs::read_to_string(&requirements).unwrap();
    std::fs::write(
        &requirements,
        text.replace("sqlparse==0.6.1", "sqlparse==0.5.3"),
    )
    .unwrap();
    let build = Build {
        artifacts: Some(artifacts.path()),
        ..build
    };
    let (_container, output) = build.assemble();
    let told_second = told(&output);
    assert!(output.status.success(), "{told_second}");
    let had: Vec<_> = told_second
        .lines()
        .filter(|line| line.starts_with("Fetched ") || line.starts_with("Built "))
        .collect();
    assert!(
        had.len() == 1 && had[0].contains("sqlparse-0.5.3"),
        "{told_second}"
    );
    std::fs::write(&requirements, text).unwrap();

    runs_from(&buildah, wheelhouse, source.path());
    for name in [wheelhouse, image] {
        buildah.remove(name);
    }
}

/// Makes an image of the wheelhouse, and takes it out of that as `--source-image-path` does.
fn carry(buildah: &Buildah, wheelhouse: &Path, destination: &Path) {
    let directory = wheelhouse.parent().unwrap();
    let mut image = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
    image.current_dir(directory).arg("image").arg(wheelhouse);
    succeed(image.arg("oci:layout:1"));
    let anything = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    std::fs::write(directory.join("policy.json"), anything).unwrap();
    let pull = [
        "pull",
        "--quiet",
        "--signature-policy",
        "policy.json",
        "oci:layout:1",
    ];
    let pulled = succeed(buildah.buildah(pull).current_dir(directory));
    let container = buildah.container(&pulled);
    let inside = container.mounted().join("opt/app-root/wheelhouse/.");
    std::fs::create_dir_all(destination.parent().unwrap()).unwrap();
    succeed(Command::new("cp").arg("-r").arg(inside).arg(destination));
    drop(container);
    buildah.remove(&pulled);
}

/// Builds the application from its wheelhouse without a network, in both ways, and asks for its page.
fn runs_from(buildah: &Buildah, wheelhouse: &str, source: &Path) {
    let container = buildah.container(wheelhouse);
    let output = container.bash(
        "tar -C /opt/app-root/wheelhouse -cf - .",
        &[],
        Network::None,
    );
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("wheelhouse");
    tar::Archive::new(&*output.stdout).unpack(&out).unwrap();
    carry(buildah, &out, &source.join(".s2i/wheelhouse"));

    let (base, image) = (buildah.base(), "localhost/blog");
    let build = Build {
        network: Network::None,
        ..Build::new(buildah, &base, source)
    };
    let told_by_script = build.image(image);
    assert!(
        told_by_script.contains("no index is asked"),
        "{told_by_script}"
    );
    let left = "find /tmp /opt/app-root -name wheelhouse";
    let output = buildah.container(image).bash(left, &[], Network::None);
    assert_eq!(told(&output), "");
    let page = with_server(
        "SECRET_KEY=secret ALLOWED_HOSTS=127.0.0.1 bash -c 'python manage.py migrate --noinput && \
         python manage.py loaddata initial && exec /tmp/scripts/run'",
        "/health/",
        "page = get('/')\nassert 'Wheelwright' in page and '<article' in page, page",
    );
    let output = buildah
        .container(image)
        .for_anybody()
        .bash(&page, &[], Network::None);
    assert!(output.status.success(), "{}", told(&output));
    buildah.remove(image);

    // The other way: the variables of .s2i/environment alone, which the tool sets.
    std::fs::remove_dir_all(source.join(".s2i/bin")).unwrap();
    let variables = [("PIP_FIND_LINKS", ".s2i/wheelhouse"), ("PIP_NO_INDEX", "1")];
    let build = Build {
        variables: &variables,
        ..build
    };
    let (_container, output) = build.assemble();
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn without_a_network_packages_do_and_failures_are_told_last() {
    let Some(buildah) = Buildah::find() else {
        return;
    };
    let (image, checkout) = ("localhost/wheelhouse-disconnected", checkout());
    buildah.build(checkout.path(), image);
    let source = blog_source();
    let download = [
        "download",
        "-r",
        "requirements.txt",
        "pip",
        "setuptools",
        "wheel",
        "-d",
        "packages",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
    command
        .args(download)
        .args(["--python", "/usr/bin/python3"])
        .current_dir(source.path());
    succeed(&mut command);
    let variables = [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "packages")];
    let build = Build {
        network: Network::None,
        variables: &variables,
        ..Build::new(&buildah, image, source.path())
    };
    let (container, output) = build.assemble();
    let told_all = told(&output);
    assert!(
        output.status.success() && told_all.contains("---> Installed "),
        "{told_all}"
    );
    let wheels = container.bash(
        "ls /opt/app-root/wheelhouse/*.whl | wc -l",
        &[],
        Network::None,
    );
    assert_eq!(told(&wheels).trim(), "9");

    let failures: [(&str, Network, &[&str]); 3] = [
        (
            "",
            Network::None,
            &["there are no requirements", "REQUIREMENTS_FILE"],
        ),
        ("./broken\n", Network::Host, &["broken", "broken.c"]),
        (
            "./needy\n",
            Network::None,
            &["build requirements `nowhere`"],
        ),
    ];
    for (requirements, network, words) in failures {
        let source = failing(requirements);
        let offline: &[_] = if network == Network::None {
            &variables
        } else {
            &[]
        };
        let build = Build {
            source: source.path(),
            network,
            variables: offline,
            ..build
        };
        let (_container, output) = build.assemble();
        assert_fails_with(&output, words);
    }

    let container = buildah
        .container(image)
        .for_anybody()
        .with_read_only("/opt/app-root/wheelhouse");
    container.upload(source.path(), "/tmp/src");
    let assemble = "exec /opt/app-root/s2i/assemble";
    let output = container.bash(assemble, &variables, Network::None);
    assert_fails_with(&output, &["/opt/app-root/wheelhouse", "Read-only"]);
    buildah.remove(image);
}

/// The build fails, and the last that it tells is an error that has `words` in it.
#[track_caller]
fn assert_fails_with(output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "{}", told(output));
    let told = String::from_utf8_lossy(&output.stderr);
    let lines = told.lines().skip_while(|line| !line.starts_with("error: "));
    // What follows is of the engine.
    let lines = lines.take_while(|line| !line.starts_with("Error: while running runtime"));
    let error: Vec<_> = lines.collect();
    let progress = ["--->", "Fetched ", "Built ", "Finished ", "warning: "];
    let goes_on = |line: &&str| progress.iter().any(|start| line.starts_with(start));
    assert!(!error.is_empty() && !error.iter().any(goes_on), "{told}");
    let error = error.join("\n");
    for word in words {
        assert!(error.contains(word), "`{word}` is not in {error}");
    }
}

/// A source that requires `requirements`, with a package whose extension does not compile, and one
/// that needs what nobody has.
fn failing(requirements: &str) -> TempDir {
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
