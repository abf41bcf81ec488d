//! Local source trees and Git repositories as requirements.

mod git;
mod surroundings;
mod trees;

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Sandbox, Sdist, python_literal, services};

/// The wheel of the tree that [`write_tree`] writes.
const LOCAL: &str = "local-1.0-py3-none-any.whl";

/// Writes a source tree whose build backend appends to `ran` on each build and leaves files in the tree that it
/// builds.
fn write_tree(sandbox: &Sandbox, directory: &Path) {
    let ran = python_literal(&sandbox.path("ran"));
    let script = format!(
        "with open({ran}, 'a') as file: file.write('x')\n\
         os.makedirs('build/lib')\nos.makedirs('local.egg-info')\nopen('local.c', 'w').close()"
    );
    Sdist::new("local", "1.0")
        .script(&script)
        .write_tree(directory);
    std::fs::write(directory.join("module.py"), "ONE = 1\n").unwrap();
    // The backend also provides metadata without a build, which leaves a file in the tree as well.
    let backend = std::fs::read_to_string(directory.join("backend.py")).unwrap();
    std::fs::write(directory.join("backend.py"), backend + PREPARE).unwrap();
}

const PREPARE: &str = "

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    open('prepared.py', 'w').close()
    name = 'local-1.0.dist-info'
    os.makedirs(os.path.join(metadata_directory, name))
    with io.open('PKG-INFO') as source, io.open(os.path.join(metadata_directory, name, 'METADATA'), 'w') as file:
        file.write(source.read())
    return name
";

fn builds(sandbox: &Sandbox) -> usize {
    std::fs::read(sandbox.path("ran")).map_or(0, |marks| marks.len())
}

fn file_url(path: &Path) -> String {
    url::Url::from_file_path(path).unwrap().to_string()
}

/// Runs `git` in `repository` and returns its output.
fn git(sandbox: &Sandbox, repository: &Path, arguments: &[&str]) -> String {
    let mut command: Command = sandbox.command("git");
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    command
        .arg("-C")
        .arg(repository)
        .args(identity)
        .args(arguments);
    services::run(&mut command).trim().to_owned()
}

/// Returns whether `text` is in a wheel of the output.
fn wheel_contains(sandbox: &Sandbox, wheel: &str, text: &str) -> bool {
    let wheel = std::fs::File::open(sandbox.out().join(wheel)).unwrap();
    let mut archive = zip::ZipArchive::new(wheel).unwrap();
    (0..archive.len()).any(|index| {
        let mut entry = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        entry.name().unwrap().contains(text) || String::from_utf8_lossy(&content).contains(text)
    })
}
