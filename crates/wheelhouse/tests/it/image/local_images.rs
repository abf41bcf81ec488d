//! Images in layouts and archives: reproducible, and extracted to the same wheelhouse.

use std::fs;
use std::process::Command;

use super::{
    TWO_ARCHITECTURES, assert_same, document, for_two_architectures, index, run, stdout_of,
    wheelhouse, wheelhouse_command,
};
use crate::support::{Index, Sandbox, Wheel};

const FIXED: [&str; 2] = ["--annotation", "source=https://example.org/app"];

#[test]
fn digest_depends_only_on_content() {
    let mut sandbox = wheelhouse();
    sandbox.set("SOURCE_DATE_EPOCH", "1700000000");
    let digest = stdout_of(&sandbox, &["image", "out", "oci:one:1", FIXED[0], FIXED[1]]);
    // The same files with another owner, time and order.
    fs::create_dir(sandbox.path("copy")).unwrap();
    let script = "umask 077; cp -r out/. copy; touch -d 2001-02-03 copy/*
        [ $(id -u) -ne 0 ] || chown -R 65534:65534 copy";
    let copied = Command::new("sh")
        .args(["-c", script])
        .current_dir(sandbox.path(""))
        .status();
    assert!(copied.unwrap().success());
    let again = [
        "image",
        "copy",
        "oci-archive:two.tar:1",
        "docker-archive:three.tar",
        FIXED[0],
        FIXED[1],
    ];
    assert_eq!(stdout_of(&sandbox, &again), digest);
    let dry = [
        "image",
        "copy",
        "oci:never:1",
        "--dry-run",
        FIXED[0],
        FIXED[1],
    ];
    assert_eq!(stdout_of(&sandbox, &dry), digest);
    assert!(!sandbox.path("never").exists());
    sandbox.write("requirements.txt", "alpha\n");
    let build = [
        "image",
        "-r",
        "requirements.txt",
        "--no-index",
        "--find-links",
        "out",
        "oci:never:1",
    ];
    let dry = [&build[..], &["-o", "nowhere", "--dry-run"]].concat();
    stdout_of(&sandbox, &dry);
    assert!(!sandbox.path("never").exists() && !sandbox.path("nowhere").exists());
    // Archives are reproducible as a whole.
    stdout_of(
        &sandbox,
        &["image", "out", "oci-archive:four.tar:1", FIXED[0], FIXED[1]],
    );
    let read = |name| fs::read(sandbox.path(name)).unwrap();
    assert!(read("two.tar") == read("four.tar"));
}

#[test]
fn every_transport_returns_the_same_wheelhouse() {
    let sandbox = wheelhouse();
    let destinations = [
        "oci:a:1",
        "oci-archive:b.tar:1",
        "docker-archive:c.tar:acme/wheels:1",
    ];
    let all = [&["image", "out"][..], &destinations].concat();
    stdout_of(&sandbox, &all);
    for (number, image) in destinations.iter().enumerate() {
        let directory = format!("back-{number}");
        run(&sandbox, &["extract", image, &directory]).assert_success();
        assert_same(&sandbox.path(&directory), &sandbox.out());
        let found = document(&sandbox, &["inspect", image, "--json"]);
        assert_eq!(found["manifest"]["wheels"].as_array().unwrap().len(), 4);
        assert_eq!(found["manifest"]["wheels"][0]["name"], "alpha");
    }
    let found = stdout_of(&sandbox, &["inspect", "out"]);
    assert!(
        found.contains("4 packages") && found.contains("fetched"),
        "{found}"
    );
}

#[test]
fn keeps_names_of_identical_files() {
    let (sandbox, index) = (Sandbox::new(), Index::start());
    let names = ["x86_64", "aarch64"]
        .map(|machine| format!("fast-1.0-cp312-cp312-manylinux_2_17_{machine}.whl"));
    let wheel = Wheel::new("fast", "1.0").tag("cp312-cp312-manylinux_2_17_x86_64");
    for name in &names {
        index.add_bytes(name, wheel.bytes(), Some(wheel.metadata_text()));
    }
    let requested = [&TWO_ARCHITECTURES[..3], &["fast"]].concat();
    sandbox.download(&index, &requested).assert_success();
    stdout_of(&sandbox, &["image", "out", "oci:a:1", "--all-in-one"]);
    run(&sandbox, &["extract", "oci:a:1", "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
    for name in &names {
        let path = sandbox.path("back").join(name);
        assert_eq!(fs::read(path).unwrap(), wheel.bytes(), "{name}");
    }
    run(&sandbox, &["verify", "oci:a:1", "--no-install"]).assert_success();
}

#[test]
fn reuses_layers_of_unchanged_wheels() {
    let sandbox = wheelhouse();
    let layers = |version: &str, manner: &[&str]| -> Vec<String> {
        super::build(&sandbox, &index(version));
        let arguments = [&["image", "out", "oci:a:1", "--json"][..], manner].concat();
        let found = document(&sandbox, &arguments);
        let layers = found["images"][0]["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = layers("1.0", &[]);
    let after = layers("2.0", &["--label", "some=label"]);
    let new: Vec<_> = after
        .iter()
        .filter(|layer| !before.contains(layer))
        .collect();
    // The layer of `beta`, and that of manifest, lock and index.
    assert_eq!((before.len(), after.len(), new.len()), (5, 5, 2));
    assert_eq!(layers("2.0", &["--single-layer"]).len(), 1);
}

#[test]
fn keeps_other_images_of_layout() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:a:1"]);
    stdout_of(&sandbox, &["image", "out", "oci:a:2", "--single-layer"]);
    stdout_of(&sandbox, &["image", "out", "oci:a:1"]);
    for tag in ["oci:a:1", "oci:a:2"] {
        run(&sandbox, &["inspect", tag]).assert_success();
    }
    let finished = run(&sandbox, &["inspect", "oci:a:3"]);
    finished
        .assert_exit(4)
        .assert_error_names(&["`3`", "hint: ", "2, 1"]);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path("a/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    let left: Vec<_> = fs::read_dir(sandbox.path("a/blobs/sha256"))
        .unwrap()
        .collect();
    let hidden = |entry: &std::io::Result<fs::DirEntry>| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.')
    };
    assert!(!left.iter().any(hidden));
}

#[test]
fn describes_image_in_labels_and_annotations() {
    let mut sandbox = wheelhouse();
    sandbox.set("SOURCE_DATE_EPOCH", "1700000000");
    let made = [
        "image",
        "out",
        "oci:a:1",
        "--path",
        "/wheels",
        "--annotation",
        "revision=abc",
    ];
    stdout_of(&sandbox, &[&made[..], &["--label", "owner=me"]].concat());
    let found = document(&sandbox, &["inspect", "oci:a:1", "--json"]);
    let label = |name: &str| {
        found["labels"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(label("io.github.wheelhouse-rs.path"), "/wheels");
    assert_eq!(label("io.github.wheelhouse-rs.packages"), "4");
    assert_eq!(label("org.opencontainers.image.revision"), "abc");
    assert_eq!(
        label("org.opencontainers.image.created"),
        "2023-11-14T22:13:20Z"
    );
    assert_eq!(label("owner"), "me");
    assert!(label("io.github.wheelhouse-rs.targets").starts_with("cp3"));
}

#[test]
fn builds_requirements_into_image() {
    let (sandbox, index) = (Sandbox::new(), index("1.0"));
    let file = sandbox.write("requirements.txt", "alpha\n");
    let arguments = [
        "image",
        "-r",
        file.to_str().unwrap(),
        "oci:a:1",
        "--index-url",
    ];
    let mut command = wheelhouse_command(&sandbox, &arguments);
    command
        .arg(index.url())
        .arg("--cache-dir")
        .arg(sandbox.cache());
    let finished = sandbox.spawn(command).finish();
    finished.assert_success();
    assert!(
        finished.stdout.starts_with("sha256:"),
        "{}",
        finished.stdout
    );
    run(&sandbox, &["extract", "oci:a:1", "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.path("wheelhouse"));
}

#[test]
fn writes_one_image_per_architecture() {
    let sandbox = for_two_architectures();
    let made = document(&sandbox, &["image", "out", "oci:a:1", "--json"]);
    let architectures: Vec<_> = made["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["architecture"])
        .collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    for (architecture, platform) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let directory = format!("of-{architecture}");
        run(
            &sandbox,
            &["extract", "oci:a:1", &directory, "--arch", architecture],
        )
        .assert_success();
        let names: Vec<String> = super::files(&sandbox.path(&directory))
            .into_iter()
            .filter(|(name, _)| name.extension().is_some_and(|extension| extension == "whl"))
            .map(|(name, _)| name.display().to_string())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].contains(platform), "{names:?}");
        run(&sandbox, &["verify", &directory, "--no-install"]).assert_success();
    }
    let one = document(
        &sandbox,
        &["image", "out", "oci:b:1", "--all-in-one", "--json"],
    );
    assert_eq!(one["images"].as_array().unwrap().len(), 1);
    run(&sandbox, &["extract", "oci:b:1", "all"]).assert_success();
    assert_same(&sandbox.path("all"), &sandbox.out());
    let finished = run(&sandbox, &["image", "out", "docker-archive:c.tar"]);
    finished
        .assert_exit(2)
        .assert_error_names(&["docker", "--all-in-one"]);
}

#[test]
fn rejects_directories_that_cannot_become_images() {
    let sandbox = wheelhouse();
    run(&sandbox, &["image", "nowhere", "oci:a"])
        .assert_exit(2)
        .assert_error_names(&["nowhere", "hint: "]);
    run(&sandbox, &["image", "out"])
        .assert_exit(2)
        .assert_error_names(&["`out`", "oci:DIR"]);
    run(&sandbox, &["image", "out", "oci:a", "--path", "relative"]).assert_exit(2);
    fs::create_dir(sandbox.path("full")).unwrap();
    fs::write(sandbox.path("full/file"), "mine").unwrap();
    run(&sandbox, &["image", "out", "oci:full"])
        .assert_exit(7)
        .assert_error_names(&["full"]);
    // A wheel that differs from its manifest entry.
    let wheel = sandbox.out().join("beta-1.0-py3-none-any.whl");
    let mut bytes = fs::read(&wheel).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&wheel).unwrap();
    fs::write(&wheel, bytes).unwrap();
    let finished = run(&sandbox, &["image", "out", "oci-archive:a.tar"]);
    finished.assert_exit(6).assert_error_names(&["beta-1.0"]);
    assert!(!sandbox.path("a.tar").exists());
}
