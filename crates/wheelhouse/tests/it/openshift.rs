//! The `OpenShift` templates: validated against the rules of the API server, and their parts in real containers.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::containers::{Buildah, output_text, repository, succeed};
use crate::support::{Index, Sdist, Wheel, test_python, tree};

/// Checks the templates, all of them unless `arguments` name others.
fn check(python: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(python);
    command.arg("tests/manifests.py").args(arguments);
    let entries = std::fs::read_dir(repository().join("openshift")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let templates = names.iter().map(|name| Path::new("openshift").join(name));
    command.args(templates).current_dir(repository());
    command.output().unwrap()
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn api_server_accepts_templates() {
    let python = test_python();
    let output = check(&python, &[]);
    let said = output_text(&output);
    assert!(output.status.success(), "{said}");
    for object in [
        "BuildConfig/python-wheelhouse",
        "BuildConfig/blog-wheelhouse",
        "PersistentVolumeClaim/blog",
        "Deployment/blog",
        "Route/blog-wheelhouse",
    ] {
        assert!(said.contains(object), "{said}");
    }
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn api_server_accepts_documented_commands() {
    let python = test_python();
    let output = check(&python, &["--documented", "docs/how-to/openshift.md"]);
    assert!(output.status.success(), "{}", output_text(&output));
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn finds_errors_in_templates() {
    let python = test_python();
    let output = check(&python, &["--broken", "tests/manifests-broken.yaml"]);
    assert!(output.status.success(), "{}", output_text(&output));

    let directory = tempfile::tempdir().unwrap();
    let twice = directory.path().join("twice.yaml");
    let text = std::fs::read_to_string(repository().join("openshift/index.yaml")).unwrap();
    std::fs::write(&twice, text + "kind: Template\n").unwrap();
    let said = output_text(&check(&python, &[twice.to_str().unwrap()]));
    assert!(said.contains("duplicate key kind"), "{said}");

    let markdown = directory.path().join("commands.md");
    let text =
        "```console\n$ oc process -f openshift/index.yaml -p HOST=A_B | oc apply -f -\n```\n";
    std::fs::write(&markdown, text).unwrap();
    let said = output_text(&check(
        &python,
        &["--documented", markdown.to_str().unwrap()],
    ));
    assert!(said.contains("spec.host: invalid value"), "{said}");
}

#[test]
fn application_build_finds_its_wheelhouse() {
    // An image source is copied to the root of the inputs, and the source to a directory below it if there is a
    // `contextDir`.
    for (name, destination) in [
        ("application.yaml", "./${CONTEXT_DIR}/.s2i/wheelhouse"),
        ("disconnected.yaml", ".s2i/wheelhouse"),
    ] {
        let text = std::fs::read_to_string(repository().join("openshift").join(name)).unwrap();
        for line in [
            "- sourcePath: /opt/app-root/wheelhouse/.\n",
            &format!("destinationDir: {destination}\n"),
            "value: .s2i/wheelhouse\n",
        ] {
            assert!(text.contains(line), "{name} has no `{line}`");
        }
    }
}

/// Returns the script that the template runs in the image of a wheelhouse before pushing it.
fn hook(template: &str) -> String {
    let text = std::fs::read_to_string(repository().join("openshift").join(template)).unwrap();
    let lines = text
        .lines()
        .skip_while(|line| line.trim() != "script: >-")
        .skip(1);
    let lines: Vec<_> = lines
        .take_while(|line| line.starts_with("          "))
        .map(str::trim)
        .collect();
    lines.join(" ").replace("${BUILDER}", "python-wheelhouse")
}

/// The directory where `docs/how-to/openshift.md` mounts the secret with pip's configuration.
const SECRET_DIRECTORY: &str = "/etc/xdg/pip";

/// Builds the image of a wheelhouse from `source` with `assemble`, like `OpenShift`: with the Dockerfile of `s2i
/// build --as-dockerfile`, the hook in a separate stage, and `secret` as a volume.
fn build(buildah: &Buildah, source: &Path, assemble: &str, secret: &Path, image: &str) -> Output {
    let context = tempfile::tempdir().unwrap();
    tree::copy(source, &context.path().join("src"));
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(repository().join("s2i/bin"));
    succeed(copy.arg(context.path().join("s2i")));
    succeed(
        Command::new("strip")
            .arg("-o")
            .arg(context.path().join("wheelhouse"))
            .arg(env!("CARGO_BIN_EXE_wheelhouse")),
    );
    let dockerfile = format!(
        "FROM {base} AS builder\n\
         USER root\n\
         COPY wheelhouse /opt/app-root/bin/wheelhouse\n\
         COPY s2i /opt/app-root/s2i\n\
         RUN mkdir /opt/app-root/wheelhouse && chown 1001:0 /opt/app-root/wheelhouse\n\
         FROM builder AS appimage\n\
         ENV WHEELHOUSE_UPGRADE_TOOLS=0 PIP_INDEX_URL=\"\" PIP_PROXY=\"\"\n\
         COPY --chown=1001:0 src /tmp/src\n\
         USER 1001\n\
         RUN {assemble}\n\
         CMD /opt/app-root/s2i/run\n\
         FROM appimage\n\
         RUN /bin/sh -ic '{hook}'\n\
         FROM appimage\n",
        base = buildah.base(),
        hook = hook("application.yaml"),
    );
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let mut command = buildah.buildah([
        "build",
        "--layers=false",
        "--skip-unused-stages=false",
        "--network",
        "host",
        "--tag",
        image,
    ]);
    let volume = format!("{}:{SECRET_DIRECTORY}:ro", secret.display());
    command.args(["--volume", &volume]).arg(context.path());
    command.output().unwrap()
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn uses_and_does_not_keep_secret_for_index() {
    let buildah = Buildah::find();
    let (index, image) = (Index::start(), "localhost/wheelhouse-by-secret");
    index.add(&Wheel::new("alpha", "1.0").requires("gamma"));
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    index.require_credentials("somebody", "hunter2secret");
    let (source, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join("requirements.txt"), "alpha\n").unwrap();
    let url = index.url_for("somebody", "hunter2secret");
    let text = format!("[global]\nindex-url = {url}\n");
    std::fs::write(secret.path().join("pip.conf"), text).unwrap();

    let assemble = "/opt/app-root/s2i/assemble";
    let output = build(&buildah, source.path(), assemble, secret.path(), image);
    let said = output_text(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("hunter2secret"), "{said}");
    let container = buildah.container(image);
    let root = container.mount();
    assert_eq!(tree::wheels(&root.join("opt/app-root/wheelhouse")).len(), 2);
    for directory in ["opt/app-root", "tmp", "etc"] {
        for (name, bytes) in tree::read(&root.join(directory)) {
            let has = bytes.windows(13).any(|window| window == b"hunter2secret");
            assert!(!has, "{directory}/{name} has the password");
        }
    }
    assert!(!buildah.inspect(image, "{{.}}").contains("hunter2secret"));
    buildah.remove(image);

    let documentation =
        std::fs::read_to_string(repository().join("docs/how-to/openshift.md")).unwrap();
    assert!(documentation.contains(&format!("\"destinationPath\": \"{SECRET_DIRECTORY}\"")));
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn build_without_wheels_is_an_error() {
    assert_eq!(hook("application.yaml"), hook("disconnected.yaml"));
    let buildah = Buildah::find();
    let (source, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join("requirements.txt"), "").unwrap();
    let image = "localhost/wheelhouse-without-wheels";
    // The script that runs if the builder lacks its label.
    let assemble = "/usr/libexec/s2i/assemble";
    let output = build(&buildah, source.path(), assemble, secret.path(), image);
    let said = output_text(&output);
    assert!(!output.status.success(), "{said}");
    for part in [
        "error: the build made no complete wheelhouse",
        "python-wheelhouse:latest lacks the label io.openshift.s2i.scripts-url=image:///opt/app-root/s2i",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
