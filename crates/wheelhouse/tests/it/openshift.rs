//! The templates for clusters: against the API server's rules, against themselves, and their parts in real containers.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::containers::{Buildah, repository, succeed, told};
use crate::support::{Index, Sdist, Wheel, test_python, tree};

/// Runs the check of the templates, all of them unless `arguments` name others.
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
fn templates_are_what_the_api_server_accepts() {
    let python = test_python();
    let output = check(&python, &[]);
    let said = told(&output);
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
fn documented_commands_give_what_the_api_server_accepts() {
    let python = test_python();
    let output = check(&python, &["--documented", "docs/how-to/openshift.md"]);
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn mistakes_in_templates_are_found() {
    let python = test_python();
    let output = check(&python, &["--broken", "tests/manifests-broken.yaml"]);
    assert!(output.status.success(), "{}", told(&output));

    let directory = tempfile::tempdir().unwrap();
    let twice = directory.path().join("twice.yaml");
    let text = std::fs::read_to_string(repository().join("openshift/index.yaml")).unwrap();
    std::fs::write(&twice, text + "kind: Template\n").unwrap();
    let said = told(&check(&python, &[twice.to_str().unwrap()]));
    assert!(said.contains("duplicate key kind"), "{said}");

    let markdown = directory.path().join("commands.md");
    let text =
        "```console\n$ oc process -f openshift/index.yaml -p HOST=A_B | oc apply -f -\n```\n";
    std::fs::write(&markdown, text).unwrap();
    let said = told(&check(
        &python,
        &["--documented", markdown.to_str().unwrap()],
    ));
    assert!(said.contains("spec.host: invalid value"), "{said}");
}

#[test]
fn the_wheelhouse_of_an_application_is_where_its_build_looks() {
    // An image source lies in the root of the inputs, and the source below it if there is a `contextDir`.
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

/// Returns the script that the template runs in the image of a wheelhouse before it is pushed.
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

/// Where `docs/how-to/openshift.md` mounts the secret with pip's configuration.
const SECRET_PLACE: &str = "/etc/xdg/pip";

/// Builds the image of a wheelhouse from `source` with `assemble`, as `OpenShift` does: the Dockerfile of
/// `s2i build --as-dockerfile`, with the hook in a stage of its own, and `secret` as a volume.
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
    let volume = format!("{}:{SECRET_PLACE}:ro", secret.display());
    command.args(["--volume", &volume]).arg(context.path());
    command.output().unwrap()
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn an_index_that_needs_credentials_is_used_by_a_secret_that_does_not_stay() {
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
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("hunter2secret"), "{said}");
    let container = buildah.container(image);
    let root = container.mounted();
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
    assert!(documentation.contains(&format!("\"destinationPath\": \"{SECRET_PLACE}\"")));
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn a_build_that_made_no_wheels_fails_and_says_why() {
    assert_eq!(hook("application.yaml"), hook("disconnected.yaml"));
    let buildah = Buildah::find();
    let (source, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join("requirements.txt"), "").unwrap();
    let image = "localhost/wheelhouse-without-wheels";
    // What runs where the builder lacks its label.
    let assemble = "/usr/libexec/s2i/assemble";
    let output = build(&buildah, source.path(), assemble, secret.path(), image);
    let said = told(&output);
    assert!(!output.status.success(), "{said}");
    for part in [
        "error: the build made no complete wheelhouse",
        "python-wheelhouse:latest lacks the label io.openshift.s2i.scripts-url=image:///opt/app-root/s2i",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
