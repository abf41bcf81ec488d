//! Sdists in formats from before PEP 625, which pip accepts.

use std::io::{Read as _, Write as _};

use crate::support::{Index, Sandbox, Sdist, sha256, test_python, tree};

fn tarball(sdist: &Sdist) -> Vec<u8> {
    let mut plain = Vec::new();
    let compressed = sdist.bytes();
    let mut reader = flate2::read::GzDecoder::new(compressed.as_slice());
    reader.read_to_end(&mut plain).unwrap();
    plain
}

fn bzip2(sdist: &Sdist) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(&tarball(sdist)).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn accepts_legacy_sdists_from_index() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("alpha", "1.0"));
    let alpha = Sdist::new("alpha", "2.0");
    index.add_bytes("alpha-2.0.tar.bz2", bzip2(&alpha), None);
    index.add_bytes(
        "alpha-3.0.tar.bz2",
        bzip2(&Sdist::new("alpha", "3.0")),
        None,
    );
    index.yank("alpha-3.0.tar.bz2");
    // A format that uv supports takes precedence in the same version.
    let beta = Sdist::new("beta", "1.0").static_metadata();
    index.add_bytes("beta-1.0.tar", b"no archive".to_vec(), None);
    index.add_sdist(&beta);
    sandbox.build(&index, &["alpha", "beta"]).assert_success();
    let wheels = ["alpha-2.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.out()), wheels);
    // As PEP 592 specifies.
    sandbox.build(&index, &["alpha==3.0"]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-3.0-py3-none-any.whl"]);
}

#[test]
fn checks_digest_of_legacy_sdist() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let archive = bzip2(&Sdist::new("alpha", "1.0"));
    let line = |digest: &str| format!("alpha==1.0 --hash=sha256:{digest}\n");
    let digest = sha256(&archive);
    index.add_bytes("alpha-1.0.tar.bz2", archive, None);
    std::fs::write(sandbox.path("r.txt"), line(&digest)).unwrap();
    sandbox.build(&index, &["-r", "r.txt"]).assert_success();
    std::fs::write(sandbox.path("r.txt"), line(&sha256(b"other"))).unwrap();
    sandbox.build(&index, &["-r", "r.txt"]).assert_exit(4);
}

#[test]
fn accepts_legacy_sdists_from_directories_and_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let [alpha, beta] = ["alpha", "beta"].map(|name| Sdist::new(name, "1.0"));
    std::fs::create_dir(sandbox.path("packages")).unwrap();
    let packages = sandbox.path("packages");
    std::fs::write(packages.join("alpha-1.0.tgz"), alpha.bytes()).unwrap();
    std::fs::write(packages.join("beta-1.0.tar"), tarball(&beta)).unwrap();
    let offline = ["--no-index", "--find-links", "packages", "alpha", "beta"];
    sandbox.build(&index, &offline).assert_success();
    let wheels = ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.out()), wheels);
    index.add_bytes(
        "alpha-2.0.tar.bz2",
        bzip2(&Sdist::new("alpha", "2.0")),
        None,
    );
    let url = format!("alpha @ {}", index.file_url("alpha-2.0.tar.bz2"));
    sandbox
        .build(&index, &[&url, "./packages/beta-1.0.tar"])
        .assert_success();
    let wheels = ["alpha-2.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.out()), wheels);
}

#[test]
fn legacy_sdist_of_another_format_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_bytes("alpha-1.0.tar.bz2", b"no archive".to_vec(), None);
    let finished = sandbox.build(&index, &["alpha"]);
    finished
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0.tar.bz2"]);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn download_keeps_legacy_sdists() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let archive = bzip2(&Sdist::new("alpha", "1.0"));
    index.add_bytes("alpha-1.0.tar.bz2", archive.clone(), None);
    sandbox
        .download(&index, &["alpha", "--no-bootstrap"])
        .assert_success();
    assert!(sandbox.out().join("alpha-1.0.tar.bz2").is_file());
    let verify = |directory: &str| {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(["verify", "--cache-dir", "fresh", directory]);
        // pip 24 and later accept only `.tar.gz` and `.zip` from a directory; this pip is from
        // `tests/requirements.txt`.
        command.arg("--python").arg(test_python());
        sandbox.spawn(command).finish()
    };
    let verified = verify("out");
    verified.assert_success();
    // A directory without index pages.
    std::fs::create_dir(sandbox.path("bare")).unwrap();
    std::fs::write(sandbox.path("bare/alpha-1.0.tar.bz2"), archive).unwrap();
    let verified = verify("bare");
    verified.assert_exit(6);
    let cause = "24 and newer accept only `.tar.gz` and `.zip` in a directory, and ignore alpha-1.0.tar.bz2";
    let output = verified.stdout + &verified.stderr;
    assert!(output.contains(cause), "{output}");
}

/// Returns an archive with a `setup.py` outside of any directory.
fn sdist_of_one_file() -> Vec<u8> {
    let setup = "from setuptools import setup\nsetup(name='alpha', version='1.0')\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(setup.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "./setup.py", setup.as_bytes())
        .unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&archive.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap()
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn accepts_sdist_of_one_file_without_directory() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_bytes("alpha-1.0.tar.gz", sdist_of_one_file(), None);
    // Locking requires only the metadata.
    let python = test_python();
    let mut lock = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    lock.args([
        "lock",
        "alpha",
        "--no-build-isolation",
        "--index-url",
        &index.url(),
    ]);
    lock.arg("--cache-dir").arg(sandbox.cache());
    lock.arg("--python").arg(python);
    sandbox.spawn(lock).finish().assert_success();
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn accepts_path_of_sdist_of_one_file() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    std::fs::write(sandbox.path("alpha-1.0.tar.gz"), sdist_of_one_file()).unwrap();
    let python = test_python();
    let python = python.display().to_string();
    let arguments = [
        "./alpha-1.0.tar.gz",
        "--no-build-isolation",
        "--python",
        &python,
    ];
    sandbox.build(&index, &arguments).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn build_may_require_legacy_sdist_at_url() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let tool = Sdist::new("tool", "1.0");
    index.add_bytes("tool-1.0.tar.bz2", bzip2(&tool), None);
    let requirement = format!("tool @ {}", index.file_url("tool-1.0.tar.bz2"));
    let alpha = Sdist::new("alpha", "1.0").requires(&requirement);
    index.add_sdist(&alpha.script("import tool"));
    sandbox.build(&index, &["alpha"]).assert_success();
}
