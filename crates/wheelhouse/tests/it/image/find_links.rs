//! Images as sources of wheels: `--find-links` of `build` and `download`, and what `verify` takes.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use serde_json::Value;

use super::{
    TWO_ARCHITECTURES, build, files, for_two_architectures, index, run, stdout_of, wheelhouse,
    wheelhouse_command,
};
use crate::support::fake_registry::FakeRegistry;
use crate::support::{RunResult, Sandbox};

/// Runs a command with this image as its only source of wheels.
fn from_image(sandbox: &Sandbox, command: &str, image: &str, arguments: &[&str]) -> RunResult {
    let command = from_image_command(sandbox, command, image, arguments);
    sandbox.spawn(command).finish()
}

fn from_image_command(
    sandbox: &Sandbox,
    command: &str,
    image: &str,
    arguments: &[&str],
) -> std::process::Command {
    let mut command = wheelhouse_command(sandbox, &[command, "--no-index", "--find-links", image]);
    command.arg("--cache-dir").arg(sandbox.cache());
    command.args(arguments);
    command
}

fn wheels(sandbox: &Sandbox, directory: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = files(&sandbox.path(directory));
    found.retain(|(name, _)| name.extension().is_some_and(|extension| extension == "whl"));
    found
}

fn manifest(sandbox: &Sandbox, directory: &str) -> Value {
    let path = sandbox.path(directory).join("wheelhouse.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns the paths of the files called `name` in the image cache.
fn cached(sandbox: &Sandbox, name: &str) -> Vec<PathBuf> {
    let images = walkdir::WalkDir::new(sandbox.cache().join("images-v1"));
    let entries = images.into_iter().filter_map(Result::ok);
    let paths = entries.map(walkdir::DirEntry::into_path);
    paths.filter(|path| path.ends_with(name)).collect()
}

#[test]
fn builds_from_image_without_references_to_cache() {
    let sandbox = wheelhouse();
    let images = [
        "oci:layout:1",
        "oci-archive:layout.tar:1",
        "docker-archive:docker.tar:acme/wheels:1",
    ];
    stdout_of(&sandbox, &[&["image", "out"][..], &images].concat());
    for (number, image) in images.iter().enumerate() {
        // Without a cache, the image is the only source.
        fs::remove_dir_all(sandbox.cache()).unwrap();
        let output = format!("from-{number}");
        from_image(&sandbox, "build", image, &["alpha", "-o", &output]).assert_success();
        assert_eq!(
            wheels(&sandbox, &output),
            wheels(&sandbox, "out"),
            "{image}"
        );
        let (transport, rest) = image.split_once(':').unwrap();
        let name = format!("{transport}:{}", sandbox.path(rest).display());
        let wheel = &manifest(&sandbox, &output)["wheels"][0];
        assert_eq!(wheel["origin"]["kind"], "find-links");
        assert_eq!(wheel["origin"]["location"], name);
        assert_eq!(
            wheel["source"],
            format!("{name}#alpha-1.0-py3-none-any.whl")
        );
        for (path, bytes) in files(&sandbox.path(&output)) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("images-v1"), "{}", path.display());
        }
        // The lock refers to the image, so no option is required.
        fs::remove_dir_all(sandbox.cache()).unwrap();
        let lock = format!("{output}/pylock.toml");
        let again = format!("again-{number}");
        let mut command = wheelhouse_command(&sandbox, &["build", "--no-index", "--lock", &lock]);
        command.args(["--require-hashes", "-o", &again, "--cache-dir"]);
        sandbox
            .spawn({
                command.arg(sandbox.cache());
                command
            })
            .finish()
            .assert_success();
        assert_eq!(wheels(&sandbox, &again), wheels(&sandbox, "out"), "{image}");
    }
}

#[test]
fn downloads_image_once() {
    let (sandbox, registry) = (wheelhouse(), FakeRegistry::start());
    let image = registry.image();
    let digest = stdout_of(&sandbox, &["image", "out", &image]);
    let requests = |path: &str| {
        let requests = registry.requests().into_iter();
        requests
            .filter(|one| one.method == "GET" && one.path.contains(path))
            .count()
    };
    let get = |arguments: &[&str]| {
        fs::remove_dir_all(sandbox.path("out")).unwrap();
        from_image(&sandbox, "build", &image, &[&["alpha"], arguments].concat())
    };
    let dry = dry_run(&sandbox, &image);
    assert!(
        dry.stdout.contains("alpha-1.0-py3-none-any.whl"),
        "{}",
        dry.stdout
    );
    let blobs = requests("/blobs/");
    assert!(blobs >= 5, "{blobs}");
    get(&["-o", "out"]).assert_success();
    let (blobs, manifests) = (requests("/blobs/"), requests("/manifests/"));
    get(&["-o", "out"]).assert_success();
    assert_eq!(requests("/blobs/"), blobs, "the image is in the cache");
    assert_eq!(
        requests("/manifests/"),
        manifests + 1,
        "the tag is resolved"
    );
    let all = registry.requests().len();
    get(&["-o", "out", "--offline"]).assert_success();
    assert_eq!(registry.requests().len(), all, "nothing is requested");
    let named = image.replace("/wheels:1", &format!("/wheels@{digest}"));
    let wheel = &manifest(&sandbox, "out")["wheels"][0];
    assert_eq!(wheel["origin"]["location"], named);
    // A reference by digest does not require the registry.
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    from_image(&sandbox, "build", &named, &["alpha", "-o", "out"]).assert_success();
    assert_eq!(registry.requests().len(), all, "nothing is requested");
    fs::remove_dir_all(sandbox.cache()).unwrap();
    get(&["-o", "out", "--offline"])
        .assert_exit(4)
        .assert_error_names(&[&image, "--offline", "hint: "]);
}

#[test]
fn concurrent_runs_cache_one_image() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    fs::remove_dir_all(sandbox.cache()).unwrap();
    let outputs = ["one", "two", "three", "four"];
    let runs = outputs.map(|output| {
        let arguments = ["alpha", "-o", output];
        sandbox.spawn(from_image_command(
            &sandbox,
            "build",
            "oci:layout:1",
            &arguments,
        ))
    });
    for run in runs {
        run.finish().assert_success();
    }
    for output in outputs {
        assert_eq!(wheels(&sandbox, output), wheels(&sandbox, "out"));
    }
    assert_eq!(cached(&sandbox, "files.json").len(), 1);
}

#[test]
fn prune_removes_unused_images() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    let build = || from_image(&sandbox, "build", "oci:layout:1", &["alpha", "-o", "again"]);
    let age = || {
        for record in cached(&sandbox, "files.json") {
            let old = std::time::SystemTime::now() - std::time::Duration::from_hours(48);
            filetime::set_file_mtime(record, old.into()).unwrap();
        }
    };
    let prune = || {
        let prune = ["cache", "prune", "--unused-for", "1", "--cache-dir"];
        let mut command = wheelhouse_command(&sandbox, &prune);
        command.arg(sandbox.cache());
        sandbox.spawn(command).finish().assert_success();
        cached(&sandbox, "files.json").len()
    };
    build().assert_success();
    assert_eq!(prune(), 1, "it was just used");
    age();
    build().assert_success();
    assert_eq!(prune(), 1, "it was used again");
    age();
    assert_eq!(prune(), 0);
    build().assert_success();
}

/// Runs a dry run and checks that it writes no output.
fn dry_run(sandbox: &Sandbox, image: &str) -> RunResult {
    let finished = from_image(
        sandbox,
        "build",
        image,
        &["alpha", "-o", "never", "--dry-run"],
    );
    finished.assert_success();
    assert!(!sandbox.path("never").exists());
    finished
}

#[test]
fn uses_new_image_of_moved_tag() {
    let sandbox = wheelhouse();
    let versions = || -> Vec<String> {
        let wheels = manifest(&sandbox, "copy")["wheels"].clone();
        let wheels = wheels.as_array().unwrap().iter();
        wheels
            .map(|wheel| wheel["filename"].as_str().unwrap().to_owned())
            .collect()
    };
    for version in ["1.0", "2.0"] {
        build(&sandbox, &index(version));
        stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
        let finished = from_image(
            &sandbox,
            "build",
            "oci:layout:1",
            &["alpha", "-o", "copy", "-U"],
        );
        finished.assert_success();
        let beta = format!("beta-{version}-py3-none-any.whl");
        assert!(versions().contains(&beta), "{:?}", versions());
    }
    // The existing lock does not apply to another image, even without `--upgrade`.
    build(&sandbox, &index("1.0"));
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    from_image(&sandbox, "build", "oci:layout:1", &["alpha", "-o", "copy"]).assert_success();
    assert!(
        versions().contains(&"beta-1.0-py3-none-any.whl".to_owned()),
        "{:?}",
        versions()
    );
}

#[test]
fn detects_changes_of_cached_image() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    fs::remove_dir_all(sandbox.cache()).unwrap();
    let get = |output: &str| {
        let finished = from_image(&sandbox, "build", "oci:layout:1", &["alpha", "-o", output]);
        // The store would still have the correct files.
        let _ = fs::remove_dir_all(sandbox.cache().join("files-v1"));
        finished
    };
    get("one").assert_success();
    let wheel = "delta-1.0-py3-none-any.whl";
    let [path] = &cached(&sandbox, wheel)[..] else {
        panic!("{:?}", cached(&sandbox, wheel));
    };
    // A truncated or modified file is extracted again.
    let open = || fs::File::options().write(true).open(path).unwrap();
    let unpacked = open().metadata().unwrap().modified().unwrap();
    open().set_len(1000).unwrap();
    get("two").assert_success();
    assert_eq!(wheels(&sandbox, "two"), wheels(&sandbox, "out"));
    open().write_all_at(b"other", 1_000_000).unwrap();
    get("again").assert_success();
    assert_eq!(wheels(&sandbox, "again"), wheels(&sandbox, "out"));
    // A file with other bytes and its original modification time is an error.
    open().write_all_at(b"other", 1_000_000).unwrap();
    open().set_modified(unpacked).unwrap();
    get("three")
        .assert_exit(4)
        .assert_error_names(&["delta", "sha256"]);
    assert!(!sandbox.path("three").exists());
}

#[test]
fn accepts_images_in_configuration_and_requirements_files() {
    let mut sandbox = wheelhouse();
    fs::create_dir(sandbox.path("application")).unwrap();
    stdout_of(&sandbox, &["image", "out", "oci:application/layout:1"]);
    // Relative to the requirements file.
    let lines = "--no-index\n--find-links oci:layout:1\nalpha\n";
    sandbox.write("application/requirements.txt", lines);
    let build = |sandbox: &Sandbox, output: &str, what: &[&str]| {
        let mut command = wheelhouse_command(sandbox, &[&["build", "-o", output], what].concat());
        command.arg("--cache-dir").arg(sandbox.cache());
        sandbox.spawn(command).finish().assert_success();
        assert_eq!(wheels(sandbox, output), wheels(sandbox, "out"));
    };
    build(&sandbox, "one", &["-r", "application/requirements.txt"]);
    sandbox.set("PIP_FIND_LINKS", "oci:application/layout:1");
    sandbox.set("PIP_NO_INDEX", "1");
    build(&sandbox, "two", &["alpha"]);
}

#[test]
fn download_uses_all_architectures_of_image() {
    let sandbox = for_two_architectures();
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    fs::remove_dir_all(sandbox.cache()).unwrap();
    let arguments = [&["-o", "copy"][..], &TWO_ARCHITECTURES].concat();
    from_image(&sandbox, "download", "oci:layout:1", &arguments).assert_success();
    assert_eq!(wheels(&sandbox, "copy").len(), 3);
    assert_eq!(wheels(&sandbox, "copy"), wheels(&sandbox, "out"));
    // Offline, a cached image index suffices.
    let offline = [&arguments[..], &["--offline", "--upgrade"]].concat();
    from_image(&sandbox, "download", "oci:layout:1", &offline).assert_success();
}

#[test]
fn unusable_image_is_an_error() {
    let sandbox = wheelhouse();
    stdout_of(
        &sandbox,
        &["image", "out", "oci:layout:1", "--path", "/wheels"],
    );
    stdout_of(&sandbox, &["image", "out", "oci:layout:2"]);
    for (image, words) in [
        ("oci:layout:3", &["oci:", "`3`", "hint: ", "1, 2"][..]),
        ("oci:nowhere", &["--find-links oci:", "nowhere"]),
        ("oci-archive:layout/index.json", &["oci-archive:"]),
        (
            "docker-daemon:acme/wheels:1",
            &["docker-daemon:acme/wheels:1"],
        ),
    ] {
        let finished = from_image(&sandbox, "build", image, &["alpha", "-o", "copy"]);
        assert!(finished.stderr.contains("error: "), "{}", finished.stderr);
        assert!(!sandbox.path("copy").exists(), "{image}");
        finished.assert_error_names(words);
    }
    from_image(&sandbox, "build", "oci:", &["alpha", "-o", "copy"]).assert_exit(2);
    // The path comes from the label of the image.
    from_image(&sandbox, "build", "oci:layout:1", &["alpha", "-o", "copy"]).assert_success();
}

#[test]
fn verifies_image_like_directory() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    let verified = stdout_of(&sandbox, &["verify", "oci:layout:1"]);
    assert!(
        verified.contains("installation") && !verified.contains("not checked"),
        "{verified}"
    );
    let found = super::document(
        &sandbox,
        &["verify", "-f", "oci:layout:1", "--no-install", "--json"],
    );
    assert_eq!(found["directory"], "oci:layout:1");
    assert_eq!(found["passed"], true);
    let required = sandbox.write("requirements.txt", "alpha\nmissing\n");
    let proof = [
        "verify",
        "oci:layout:1",
        "--no-install",
        "-r",
        required.to_str().unwrap(),
    ];
    run(&sandbox, &proof)
        .assert_exit(6)
        .assert_error_names(&["oci:layout:1"]);
    assert!(
        fs::read_dir(sandbox.path("tmp")).unwrap().next().is_none(),
        "temporary files were left"
    );
}
