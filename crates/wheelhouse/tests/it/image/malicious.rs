//! Malicious images are rejected, and nothing of them is left.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{run, wheelhouse};
use crate::support::{Sandbox, Wheel, sha256};

pub(super) const PREFIX: &str = "opt/app-root/wheelhouse/";

/// An entry of a layer.
pub(super) struct Member {
    name: String,
    kind: tar::EntryType,
    target: Option<String>,
    content: Vec<u8>,
}

pub(super) fn file(name: &str, content: impl Into<Vec<u8>>) -> Member {
    Member {
        name: name.to_owned(),
        kind: tar::EntryType::Regular,
        target: None,
        content: content.into(),
    }
}

pub(super) fn link(name: &str, kind: tar::EntryType, target: &str) -> Member {
    Member {
        kind,
        target: Some(target.to_owned()),
        ..file(name, "")
    }
}

/// Returns a layer of `members` with arbitrary names.
fn layer(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        // Written as bytes, because the library rejects some names.
        let name = member.name.as_bytes();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(member.kind);
        header.set_size(member.content.len() as u64);
        header.set_mode(0o644);
        if let Some(target) = &member.target {
            let place = &mut header.as_gnu_mut().unwrap().linkname;
            place[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, &member.content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Writes an OCI layout with a correct manifest.
struct Layout<'a> {
    directory: &'a Path,
}

impl Layout<'_> {
    fn blob(&self, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        let blobs = self.directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(&digest), bytes).unwrap();
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    fn write(&self, layers: &[Vec<u8>], diff_ids: &[String]) {
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut config = self.blob(&serde_json::to_vec(&config).unwrap());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let layers = layers.iter().map(|bytes| {
            let mut layer = self.blob(bytes);
            layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
            layer
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers.collect::<Vec<_>>(),
        });
        self.index(&serde_json::to_vec(&manifest).unwrap());
    }

    fn index(&self, manifest: &[u8]) {
        let mut descriptor = self.blob(manifest);
        descriptor["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        fs::write(self.directory.join("index.json"), index.to_string()).unwrap();
        fs::write(
            self.directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
    }
}

/// Writes the layout `image` with these layers.
pub(super) fn write(sandbox: &Sandbox, layers: &[Vec<Member>]) {
    let layers: Vec<_> = layers.iter().map(|members| layer(members)).collect();
    let diff_ids: Vec<_> = layers
        .iter()
        .map(|bytes| format!("sha256:{}", sha256(bytes)))
        .collect();
    let directory = sandbox.path("image");
    fs::create_dir_all(&directory).unwrap();
    Layout {
        directory: &directory,
    }
    .write(&layers, &diff_ids);
}

pub(super) fn wheel(name: &str) -> Member {
    let wheel = Wheel::new(name, "1.0");
    file(&format!("{PREFIX}{}", wheel.filename()), wheel.bytes())
}

/// Checks that extraction fails with code 4 and these words, and leaves no files.
#[track_caller]
pub(super) fn assert_refused(sandbox: &Sandbox, words: &[&str]) {
    let finished = run(sandbox, &["extract", "oci:image", "back"]);
    finished.assert_exit(4).assert_error_names(words);
    assert!(!sandbox.path("back").exists());
    let left: Vec<_> = fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    assert!(!left.iter().any(hidden), "something is left behind");
}

#[test]
fn rejects_paths_and_links_outside_root() {
    use tar::EntryType;
    let inside = |name: &str| format!("{PREFIX}{name}");
    let cases = [
        (file("../escaped", "x"), "`../escaped`"),
        (file(&inside("../../../../escaped"), "x"), "`..`"),
        (
            link(&inside("a.whl"), EntryType::Symlink, "/etc/passwd"),
            "a.whl",
        ),
        (
            link(&inside("a.whl"), EntryType::Symlink, "nowhere"),
            "a.whl",
        ),
        (
            link(&inside("a.whl"), EntryType::Link, "etc/passwd"),
            "a.whl",
        ),
        (link(&inside("tty"), EntryType::Char, ""), "tty"),
        (link(&inside("disk"), EntryType::Block, ""), "disk"),
        (link(&inside("pipe"), EntryType::Fifo, ""), "pipe"),
        (
            link("opt/app-root", EntryType::Symlink, "/tmp"),
            "opt/app-root",
        ),
        (
            link("opt/app-root/wheelhouse", EntryType::Symlink, "/tmp"),
            "wheelhouse",
        ),
    ];
    let sandbox = Sandbox::new();
    for (member, word) in cases {
        write(&sandbox, &[vec![wheel("alpha"), member]]);
        assert_refused(&sandbox, &[word]);
        assert!(!sandbox.path("escaped").exists());
    }
}

#[test]
fn layers_hide_and_replace_files_of_lower_layers() {
    let sandbox = Sandbox::new();
    let whiteout = |name: &str| file(&format!("{PREFIX}.wh.{name}"), "");
    let names = |sandbox: &Sandbox| -> Vec<String> {
        let _ = fs::remove_dir_all(sandbox.path("back"));
        run(sandbox, &["extract", "oci:image", "back"]).assert_success();
        let files = super::files(&sandbox.path("back")).into_iter();
        files.map(|(name, _)| name.display().to_string()).collect()
    };
    write(
        &sandbox,
        &[
            vec![wheel("alpha"), wheel("beta")],
            vec![whiteout("alpha-1.0-py3-none-any.whl")],
        ],
    );
    assert_eq!(names(&sandbox), ["beta-1.0-py3-none-any.whl"]);
    // An opaque whiteout hides the files of lower layers only.
    let opaque = file(&format!("{PREFIX}.wh..wh..opq"), "");
    write(
        &sandbox,
        &[vec![wheel("alpha")], vec![wheel("beta"), opaque]],
    );
    assert_eq!(names(&sandbox), ["beta-1.0-py3-none-any.whl"]);
    // So does a whiteout of a parent directory.
    let above = file("opt/.wh.app-root", "");
    write(
        &sandbox,
        &[vec![wheel("alpha")], vec![above, wheel("gamma")]],
    );
    assert_eq!(names(&sandbox), ["gamma-1.0-py3-none-any.whl"]);
    // A common prefix of names is not a match.
    let alike = file("opt/.wh.app", "");
    write(&sandbox, &[vec![wheel("alpha")], vec![alike]]);
    assert_eq!(names(&sandbox), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn rejects_blob_with_wrong_digest() {
    let sandbox = wheelhouse();
    run(&sandbox, &["image", "out", "oci:image"]).assert_success();
    let blobs = sandbox.path("image/blobs/sha256");
    let mut largest: Vec<_> = fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    largest.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let largest = largest.pop().unwrap();
    let bytes = fs::read(&largest).unwrap();
    fs::write(&largest, &bytes[..bytes.len() - 600]).unwrap();
    assert_refused(&sandbox, &["cut short"]);
    let mut changed = bytes.clone();
    // The operating system in the gzip header does not affect the content.
    changed[9] ^= 1;
    fs::write(&largest, &changed).unwrap();
    assert_refused(&sandbox, &["another digest"]);
    fs::write(&largest, [&bytes[..], b"more"].concat()).unwrap();
    assert_refused(&sandbox, &["longer"]);
}

#[test]
fn rejects_configuration_with_wrong_diff_ids() {
    let sandbox = Sandbox::new();
    let bytes = layer(&[wheel("alpha")]);
    let directory = sandbox.path("image");
    fs::create_dir_all(&directory).unwrap();
    Layout {
        directory: &directory,
    }
    .write(&[bytes], &[format!("sha256:{}", "0".repeat(64))]);
    assert_refused(&sandbox, &["another digest than the configuration"]);
}

#[test]
fn rejects_oversized_manifest() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("image");
    fs::create_dir_all(&directory).unwrap();
    Layout {
        directory: &directory,
    }
    .index(&vec![b' '; 100 << 20]);
    assert_refused(&sandbox, &["104857600 bytes"]);
}

#[test]
fn rejects_decompression_bomb() {
    let sandbox = Sandbox::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("somewhere/large").unwrap();
    // A declared size beyond any image; the content does not have to exist.
    header.set_size(200 << 30);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    encoder.write_all(&vec![0; 32 << 20]).unwrap();
    let bytes = encoder.finish().unwrap();
    let directory = sandbox.path("image");
    fs::create_dir_all(&directory).unwrap();
    Layout {
        directory: &directory,
    }
    .write(&[bytes], &["sha256:any".to_owned()]);
    assert_refused(&sandbox, &["somewhere/large", "bomb"]);
}

#[test]
fn rejects_inconsistent_wheelhouse_manifest() {
    let sandbox = wheelhouse();
    let manifest = fs::read_to_string(sandbox.out().join("wheelhouse.json")).unwrap();
    for (from, to, word) in [
        (
            "beta-1.0-py3-none-any.whl",
            "other-1.0-py3-none-any.whl",
            "other-1.0",
        ),
        ("\"pylock.toml\"", "\"../pylock.toml\"", ".."),
        ("wheelhouse-manifest/1", "wheelhouse-manifest/9", "schema"),
        ("\"size\": ", "\"size\": 999999999999", "impossible size"),
    ] {
        let lie = manifest.replace(from, to);
        assert_ne!(lie, manifest);
        write_with_manifest(&sandbox, &lie);
        assert_refused(&sandbox, &[word]);
    }
}

/// Writes an image of the wheelhouse `out` with this manifest.
fn write_with_manifest(sandbox: &Sandbox, manifest: &str) {
    let members = super::files(&sandbox.out()).into_iter();
    let members = members.map(|(name, bytes)| {
        let is_manifest = name == Path::new("wheelhouse.json");
        let bytes = if is_manifest { manifest.into() } else { bytes };
        file(&format!("{PREFIX}{}", name.display()), bytes)
    });
    write(sandbox, &[members.collect()]);
}

#[test]
fn escapes_control_characters_of_manifest() {
    let sandbox = wheelhouse();
    let manifest = fs::read_to_string(sandbox.out().join("wheelhouse.json")).unwrap();
    let garbling = manifest.replace(
        "\"version\": \"1.0\"",
        "\"version\": \"1.0\\u001b[2J\\nforged\"",
    );
    assert_ne!(garbling, manifest);
    write_with_manifest(&sandbox, &garbling);
    let finished = run(&sandbox, &["inspect", "oci:image"]);
    finished.assert_success();
    assert!(!finished.stdout.contains('\u{1b}'), "{}", finished.stdout);
    assert!(
        !finished
            .stdout
            .lines()
            .any(|line| line.starts_with("forged"))
    );
}

#[test]
fn does_not_overwrite_files_in_directory() {
    let sandbox = wheelhouse();
    super::stdout_of(&sandbox, &["image", "out", "oci:image:1"]);
    let own = sandbox.write("mine/pylock.toml", "my own\n");
    let extract = |directory| run(&sandbox, &["extract", "oci:image:1", directory]);
    extract("mine")
        .assert_exit(7)
        .assert_error_names(&["mine/pylock.toml", "exists with other content"]);
    assert_eq!(fs::read_to_string(own).unwrap(), "my own\n");
    assert_eq!(super::files(&sandbox.path("mine")).len(), 1);
    extract("back").assert_success();
    extract("back").assert_success();
}

#[test]
fn extracts_wheels_without_manifest_to_empty_directory() {
    let sandbox = Sandbox::new();
    write(
        &sandbox,
        &[vec![wheel("alpha"), file("etc/passwd", "root")]],
    );
    let finished = run(&sandbox, &["extract", "oci:image", "back"]);
    finished.assert_success();
    assert!(
        finished.stderr.contains("no manifest"),
        "{}",
        finished.stderr
    );
    assert_eq!(super::files(&sandbox.path("back")).len(), 1);
    let finished = run(&sandbox, &["extract", "oci:image", "back"]);
    finished
        .assert_exit(7)
        .assert_error_names(&["back` is not empty"]);
    // A file with the name of a wheel.
    write(
        &sandbox,
        &[vec![file(
            &format!("{PREFIX}alpha-1.0-py3-none-any.whl"),
            "no zip",
        )]],
    );
    let finished = run(&sandbox, &["extract", "oci:image", "other"]);
    finished.assert_exit(4).assert_error_names(&["alpha-1.0"]);
}
