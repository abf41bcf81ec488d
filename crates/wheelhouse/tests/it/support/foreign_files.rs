//! Files in and beside a wheelhouse that a server must not serve.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Sandbox;

/// The paths at which a server of the wheelhouse could serve one of the files.
pub(crate) const PATHS: [&str; 7] = [
    "/private.key",
    "/backup-1.0.tar.gz",
    "/other-1.0-py3-none-any.whl",
    "/.hidden",
    "/linked.txt",
    "/simple/evil/",
    "/alpha-1.0-py3-none-any.whl",
];

/// Adds the files to a `wheelhouse` with alpha, whose wheel becomes a pipe. Returns a directory outside that links lead to.
pub(crate) fn add_to(wheelhouse: &Path, sandbox: &Sandbox) -> PathBuf {
    let outside = sandbox.path("outside");
    std::fs::create_dir(&outside).unwrap();
    for name in ["index.html", "index.json"] {
        std::fs::write(outside.join(name), "foreign").unwrap();
    }
    for name in [
        "private.key",
        "backup-1.0.tar.gz",
        "other-1.0-py3-none-any.whl",
        ".hidden",
    ] {
        std::fs::write(wheelhouse.join(name), "foreign").unwrap();
    }
    symlink(outside.join("index.html"), wheelhouse.join("linked.txt")).unwrap();
    symlink(&outside, wheelhouse.join("simple/evil")).unwrap();
    std::fs::remove_dir_all(wheelhouse.join("simple/alpha")).unwrap();
    symlink(&outside, wheelhouse.join("simple/alpha")).unwrap();
    let alpha = wheelhouse.join("alpha-1.0-py3-none-any.whl");
    std::fs::remove_file(&alpha).unwrap();
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &alpha, fifo, mode, 0).unwrap();
    outside
}
