//! Links within images: wheels that are links to other files of the image, as caches and package managers create
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::EntryType::{Link, Symlink};

use super::malicious::{Member, PREFIX, assert_refused, file, link, wheel, write};
use super::{assert_same, document, run, stdout_of, wheelhouse, wheelhouse_command};
use crate::support::Sandbox;
use crate::support::services::{self, Docker, program_path};

const CACHE: &str = "opt/app-root/cache/files-v1/";

/// Returns the files of the wheelhouse `out` as members below `directory`.
fn members(sandbox: &Sandbox, directory: &str) -> Vec<Member> {
    let files = super::files(&sandbox.out()).into_iter();
    files
        .map(|(name, bytes)| file(&format!("{directory}{}", name.display()), bytes))
        .collect()
}

/// Returns a link in the wheelhouse for each of its files, to the path that `target` returns.
fn links(sandbox: &Sandbox, kind: tar::EntryType, target: impl Fn(&str) -> String) -> Vec<Member> {
    let files = super::files(&sandbox.out()).into_iter();
    files
        .map(|(name, _)| {
            let name = name.to_str().unwrap();
            link(&format!("{PREFIX}{name}"), kind, &target(name))
        })
        .collect()
}

/// Checks that `extract` and `inspect` find the wheelhouse `out` in `image`.
#[track_caller]
fn assert_is_wheelhouse(sandbox: &Sandbox, image: &str) {
    let _ = fs::remove_dir_all(sandbox.path("back"));
    run(sandbox, &["extract", image, "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
    let found = document(sandbox, &["inspect", image, "--json"]);
    let packages = document(sandbox, &["inspect", "out", "--json"]);
    assert_eq!(found["manifest"], packages["manifest"]);
}

/// Checks that `verify` and `build --find-links` accept `image`.
#[track_caller]
fn assert_is_source(sandbox: &Sandbox, image: &str) {
    stdout_of(sandbox, &["verify", image, "--no-install"]);
    let _ = fs::remove_dir_all(sandbox.path("built"));
    let arguments = ["build", "alpha", "-o", "built", "--no-index", "--no-cache"];
    let mut command = wheelhouse_command(sandbox, &arguments);
    command.args(["--find-links", image]);
    sandbox.spawn(command).finish().assert_success();
    let name = "alpha-1.0-py3-none-any.whl";
    let read = |directory: PathBuf| fs::read(directory.join(name)).unwrap();
    assert_eq!(read(sandbox.path("built")), read(sandbox.out()));
}

#[test]
fn follows_links_within_image() {
    let sandbox = wheelhouse();
    let cache = || members(&sandbox, CACHE);
    let hard = |root: &str| links(&sandbox, Link, |name| format!("{root}{CACHE}{name}"));
    let symbolic = |root: &str| links(&sandbox, Symlink, |name| format!("{root}{name}"));
    let relative = || {
        links(&sandbox, Symlink, |name| {
            let up = "../".repeat(1 + name.matches('/').count());
            format!("{up}cache/files-v1/{name}")
        })
    };
    let both = |mut one: Vec<Member>, other: Vec<Member>| {
        one.extend(other);
        one
    };
    let emptied = |name: &str| vec![file(&format!("opt/app-root/.wh.{name}"), "")];
    let replaced = || {
        let files = super::files(&sandbox.out()).into_iter();
        let names = files.map(|(name, _)| format!("{CACHE}{}", name.display()));
        names.map(|name| file(&name, "other")).collect::<Vec<_>>()
    };
    let linked_root = || vec![link("opt/app-root", Symlink, "/srv/root")];
    let at_root = |directory: &str| members(&sandbox, directory);
    for layers in [
        vec![both(cache(), hard(""))],
        vec![both(cache(), hard("/"))],
        // In separate layers, and then replaced or removed.
        vec![cache(), hard("./")],
        vec![cache(), hard(""), replaced()],
        vec![both(cache(), hard("")), emptied("cache")],
        vec![symbolic(&format!("/{CACHE}")), cache()],
        vec![cache(), relative()],
        // The parent of the root is the root.
        vec![cache(), symbolic(&format!("../../../../../{CACHE}"))],
        // The directory is a link, created after or before its target.
        vec![at_root("srv/root/wheelhouse/"), linked_root()],
        vec![linked_root(), at_root(PREFIX)],
    ] {
        write(&sandbox, &layers);
        assert_is_wheelhouse(&sandbox, "oci:image");
    }
    assert_is_source(&sandbox, "oci:image");
}

#[test]
fn extracts_hard_links_as_separate_files() {
    let sandbox = Sandbox::new();
    let other = format!("{PREFIX}alpha-1.0-1-py3-none-any.whl");
    let target = format!("{PREFIX}alpha-1.0-py3-none-any.whl");
    write(
        &sandbox,
        &[vec![wheel("alpha"), link(&other, Link, &target)]],
    );
    run(&sandbox, &["extract", "oci:image", "back"]).assert_success();
    let files = super::files(&sandbox.path("back"));
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].1, files[1].1);
    for (name, _) in files {
        let found = fs::metadata(sandbox.path("back").join(name)).unwrap();
        assert_eq!((found.nlink(), found.mode() & 0o111), (1, 0));
    }
}

#[test]
fn dangling_links_are_errors() {
    let sandbox = Sandbox::new();
    let name = format!("{PREFIX}a.whl");
    let outside = sandbox.write("outside.whl", "not of the image");
    let outside = outside.to_str().unwrap();
    for (kind, target, word) in [
        (Symlink, "a.whl", "more than 40 links"),
        (Symlink, ".", "more than 40 links"),
        (Symlink, outside, "not a file of the image"),
        (Link, outside, "not a file of the image"),
        (Link, "opt/app-root/wheelhouse", "not a file of the image"),
    ] {
        write(&sandbox, &[vec![wheel("alpha"), link(&name, kind, target)]]);
        assert_refused(&sandbox, &["a.whl", word]);
    }
    let itself = link("opt/app-root", Symlink, "/opt/app-root");
    write(&sandbox, &[vec![itself]]);
    assert_refused(&sandbox, &["opt/app-root", "more than 40 links"]);
}

#[test]
fn limits_size_of_repeated_hard_links() {
    let sandbox = Sandbox::new();
    let large = file("large", vec![0; 4 << 20]);
    let name = |number: i32| format!("{PREFIX}a{number}.whl");
    let links = (0..300).map(|number| link(&name(number), Link, "large"));
    write(&sandbox, &[[large].into_iter().chain(links).collect()]);
    assert_refused(&sandbox, &["a", "bomb"]);
}

#[test]
fn reads_archive_with_hard_links() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:layout:1"]);
    let blobs = sandbox.path("layout/blobs/sha256");
    let first = sandbox.path("layout/first");
    fs::create_dir(&first).unwrap();
    for entry in fs::read_dir(blobs).unwrap().map(Result::unwrap) {
        fs::hard_link(entry.path(), first.join(entry.file_name())).unwrap();
    }
    let mut tar = sandbox.command("tar");
    tar.args(["-C", "layout", "-cf", "layout.tar", "first", "blobs"]);
    services::run(tar.args(["index.json", "oci-layout"]));
    assert_is_wheelhouse(&sandbox, "oci-archive:layout.tar:1");
}

/// buildah with separate storage.
struct Buildah<'a> {
    sandbox: &'a Sandbox,
    program: PathBuf,
    policy: PathBuf,
}

impl Buildah<'_> {
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = self.sandbox.command(self.program.to_str().unwrap());
        command.args(["--storage-driver", "vfs", "--root"]);
        command.arg(self.sandbox.path("buildah-root"));
        command
            .arg("--runroot")
            .arg(self.sandbox.path("buildah-run"));
        command.args(arguments);
        services::run(&mut command).trim().to_owned()
    }

    /// Applies `change` to the root of `base` and commits it to each of `images`.
    fn commit(&self, base: &str, images: &[&str], change: impl FnOnce(&Path)) {
        let policy = ["--signature-policy", self.policy.to_str().unwrap()];
        let container = self.run(&[&["from"][..], &policy, &[base]].concat());
        change(Path::new(&self.run(&["mount", &container])));
        for image in images {
            self.run(&[&["commit"][..], &policy, &[&container, image]].concat());
        }
        self.run(&["rm", &container]);
    }
}

/// Copies the wheelhouse `out` to the cache in `root` and links its files into the wheelhouse there.
fn link_from_cache(sandbox: &Sandbox, root: &Path) {
    for (name, bytes) in super::files(&sandbox.out()) {
        let cached = root.join(CACHE).join(&name);
        let place = root.join(PREFIX).join(&name);
        for path in [&cached, &place] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&cached, bytes).unwrap();
        fs::hard_link(cached, place).unwrap();
    }
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn reads_links_in_images_of_buildah_umoci_and_docker() {
    let (program, umoci) = (program_path("buildah"), program_path("umoci"));
    let mut sandbox = wheelhouse();
    let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    let policy = sandbox.write("policy.json", policy);
    let docker = Docker::start(&sandbox.path("docker"));
    sandbox.set("DOCKER_HOST", format!("unix://{}", docker.socket.display()));
    let buildah = Buildah {
        sandbox: &sandbox,
        program,
        policy,
    };
    let images = ["oci:linked:1", "docker-archive:linked.tar:acme/linked:1"];
    buildah.commit("scratch", &images, |root| link_from_cache(&sandbox, root));
    let above = ["oci:above:1", "docker-archive:above.tar:acme/above:1"];
    buildah.commit("oci:linked:1", &above, |root| {
        fs::remove_dir_all(root.join("opt/app-root/cache")).unwrap();
        fs::rename(root.join("opt/app-root"), root.join("opt/other")).unwrap();
        std::os::unix::fs::symlink("other", root.join("opt/app-root")).unwrap();
    });
    let archives = ["docker-archive:linked.tar", "docker-archive:above.tar"];
    for image in archives.iter().chain([&images[0], &above[0]]) {
        assert_is_wheelhouse(&sandbox, image);
    }
    assert_is_source(&sandbox, above[0]);
    let umoci = |arguments: &[&str]| {
        let mut command: Command = sandbox.command(umoci.to_str().unwrap());
        services::run(command.args(arguments))
    };
    umoci(&["unpack", "--rootless", "--image", "linked:1", "bundle"]);
    let root = sandbox.path("bundle/rootfs/opt/app-root");
    fs::remove_dir_all(root.join("wheelhouse")).unwrap();
    fs::create_dir(root.join("wheelhouse")).unwrap();
    for entry in fs::read_dir(sandbox.out()).unwrap() {
        let name = entry.unwrap().file_name();
        let target = Path::new("/opt/app-root/cache/files-v1").join(&name);
        std::os::unix::fs::symlink(target, root.join("wheelhouse").join(name)).unwrap();
    }
    umoci(&["repack", "--image", "linked:2", "bundle"]);
    assert_is_wheelhouse(&sandbox, "oci:linked:2");
    for (archive, image) in [
        ("linked.tar", "docker-daemon:acme/linked:1"),
        ("above.tar", "docker-daemon:acme/above:1"),
    ] {
        let mut load = docker.command(&["load", "-i"]);
        services::run(load.arg(sandbox.path(archive)));
        assert_is_wheelhouse(&sandbox, image);
    }
}
