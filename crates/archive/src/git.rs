//! The Git directory of a source tree: digests the state that determines a version, and copies the directory.
//!
//! Tools such as setuptools-scm derive the version from the commit, the tags and changes in the tree, and the list of files
//! from the index. Objects are immutable, so they are not digested, and the copy refers to them (`objects/info/alternates`).
//! Does not run `git`, and does not write to the original.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use filetime::FileTime;
use fs_err as fs;
use wheelhouse_types::error::Context;
use wheelhouse_types::{Kind, Result, Sha256};

/// The entries of a Git directory that do not belong to the state of the tree.
const IGNORED: [&str; 15] = [
    "objects",
    "logs",
    "hooks",
    "lfs",
    "worktrees",
    "branches",
    "description",
    "COMMIT_EDITMSG",
    "FETCH_HEAD",
    "ORIG_HEAD",
    "gc.log",
    "gc.pid",
    "commondir",
    "gitdir",
    "fsmonitor--daemon.ipc",
];

/// The Git directories of a working tree.
struct Directories {
    /// The directory of the working tree, with `HEAD` and the index.
    own: PathBuf,
    /// The directory of the repository, with references, configuration and objects. It differs in linked working trees.
    common: PathBuf,
}

/// Returns whether `path` is the Git directory of the tree `root`, which [`state`] and [`copy`] handle.
pub(crate) fn owns(root: &Path, path: &Path) -> bool {
    path == root.join(".git") && directories(root).is_some()
}

/// Returns whether `path` is the root of a working tree.
pub(crate) fn is_repository(path: &Path) -> bool {
    directories(path).is_some()
}

/// Lists the files of the Git directory that can determine the version of the tree `root`: sorted names with digests.
pub(crate) fn state(root: &Path) -> Result<Vec<(PathBuf, Sha256)>> {
    let Some(directories) = directories(root) else {
        return Ok(Vec::new());
    };
    let mut state = Vec::new();
    for (prefix, directory) in directories.named() {
        for path in files(directory)? {
            let bytes = fs::read(&path).context(Kind::Input, || unreadable(root))?;
            let name = path.strip_prefix(directory).unwrap_or(&path);
            let bytes = match name.file_name() {
                Some(file) if file == "index" => index_content(&bytes).unwrap_or(bytes),
                _ => bytes,
            };
            state.push((Path::new(prefix).join(name), Sha256::of(&bytes)));
        }
    }
    Ok(state)
}

/// Creates `into/.git` for a copy of the tree `root`: a separate repository with the same state.
pub(crate) fn copy(root: &Path, into: &Path) -> Result<()> {
    let Some(directories) = directories(root) else {
        return Ok(());
    };
    let failed = || format!("failed to copy the Git directory of {}", root.display());
    let target = into.join(".git");
    // The directory of the working tree comes last, because its `HEAD` counts.
    for (_, directory) in directories.named() {
        for path in files(directory)? {
            let name = path.strip_prefix(directory).unwrap_or(&path);
            copy_file(&path, &target.join(name)).context(Kind::Build, failed)?;
        }
    }
    refer_to_objects(&directories.common, &target).context(Kind::Build, failed)
}

/// Creates `into/.git` for a directory that has only parts of the working tree `root`: a repository with the same state, whose
/// working tree is the original.
pub(crate) fn copy_above(root: &Path, into: &Path) -> Result<()> {
    copy(root, into)?;
    let quoted = root
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let section = format!("\n[core]\n\tbare = false\n\tworktree = \"{quoted}\"\n");
    let path = into.join(".git/config");
    let mut options = fs::OpenOptions::new();
    let config = options.append(true).create(true).open(path);
    config
        .and_then(|mut config| config.write_all(section.as_bytes()))
        .context(Kind::Build, || {
            format!("failed to copy the Git directory of {}", root.display())
        })
}

impl Directories {
    /// Returns the directories with distinct names for the state.
    fn named(&self) -> Vec<(&'static str, &Path)> {
        if self.own == self.common {
            return vec![(".git", &self.own)];
        }
        vec![(".git-common", &self.common), (".git", &self.own)]
    }
}

/// Finds the Git directories of the tree `root`.
fn directories(root: &Path) -> Option<Directories> {
    let git = root.join(".git");
    let own = if git.is_dir() {
        git
    } else {
        let text = fs::read_to_string(&git).ok()?;
        root.join(text.strip_prefix("gitdir:")?.trim())
    };
    let common = match fs::read_to_string(own.join("commondir")) {
        Ok(text) => own.join(text.trim()),
        Err(_) => own.clone(),
    };
    let is_valid = own.join("HEAD").is_file() && common.join("objects").is_dir();
    is_valid.then_some(Directories { own, common })
}

/// Lists the files of a Git directory that belong to the state of the tree, sorted.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let walk = walkdir::WalkDir::new(directory)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_ignored(entry.path()));
    for entry in walk {
        let entry = entry.context(Kind::Input, || unreadable(directory))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// Returns whether `path` is an ignored entry of a Git directory, including those of submodules.
fn is_ignored(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().unwrap_or(path);
    let is_git_directory = directory.join("HEAD").is_file();
    is_git_directory && (IGNORED.contains(&&*name) || name.ends_with(".lock"))
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if to.file_name().is_some_and(|name| name == "config") {
        return fs::write(to, without_worktree(&fs::read(from)?));
    }
    fs::copy(from, to)?;
    // Git reads files again whose times are not older than that of the index.
    let modified = FileTime::from_last_modification_time(&fs::metadata(from)?);
    filetime::set_file_mtime(to, modified)
}

/// Removes `core.worktree`, which would lead from the copy of a submodule to the original.
fn without_worktree(config: &[u8]) -> Vec<u8> {
    let is_worktree = |line: &&[u8]| {
        let line = line.trim_ascii_start();
        line.len() > 8 && line[..8].eq_ignore_ascii_case(b"worktree") && {
            let rest = line[8..].trim_ascii_start();
            rest.first() == Some(&b'=')
        }
    };
    config
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_worktree(line))
        .collect::<Vec<_>>()
        .concat()
}

/// Creates an object database in the Git directory `target` that refers to the objects of `common`.
fn refer_to_objects(common: &Path, target: &Path) -> std::io::Result<()> {
    let objects = fs::canonicalize(common.join("objects"))?;
    let info = target.join("objects/info");
    fs::create_dir_all(&info)?;
    fs::create_dir_all(target.join("objects/pack"))?;
    // Git requires this directory in a repository, even if it is empty.
    fs::create_dir_all(target.join("refs"))?;
    let mut line = objects.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    fs::write(info.join("alternates"), line)
}

/// Reduces an index to modes, objects, flags and names, which do not depend on the times of files. Returns `None` for an
/// unknown format.
fn index_content(bytes: &[u8]) -> Option<Vec<u8>> {
    let entries = index_entries(bytes)?;
    let mut content = Vec::new();
    for IndexEntry { start, end, .. } in entries {
        content.extend_from_slice(bytes.get(start + 24..start + 28)?);
        content.extend_from_slice(bytes.get(start + 40..=end)?);
    }
    Some(content)
}

/// Lists the files that Git tracks in the tree `root`, or none without a repository. Returns `None` for an index in an unknown
/// format.
pub(crate) fn tracked(root: &Path) -> Option<BTreeSet<PathBuf>> {
    let Some(directories) = directories(root) else {
        return Some(BTreeSet::new());
    };
    let bytes = fs::read(directories.own.join("index")).ok()?;
    let entries = index_entries(&bytes)?;
    let names = entries.into_iter().map(|entry| {
        let name = &bytes[entry.name..entry.end];
        PathBuf::from(String::from_utf8_lossy(name).into_owned())
    });
    Some(names.collect())
}

/// The offsets of an entry of an index and its name.
struct IndexEntry {
    start: usize,
    name: usize,
    end: usize,
}

/// Finds the entries of an index in versions 2 and 3 of gitformat-index(5) with SHA-1.
fn index_entries(bytes: &[u8]) -> Option<Vec<IndexEntry>> {
    let version = number(bytes, 4)?;
    if !bytes.starts_with(b"DIRC") || !(2..=3).contains(&version) {
        return None;
    }
    let mut entries = Vec::new();
    let mut start = 12;
    for _ in 0..number(bytes, 8)? {
        let flags = u16::from_be_bytes(bytes.get(start + 60..start + 62)?.try_into().ok()?);
        let extended = if flags & 0x4000 == 0 { 0 } else { 2 };
        let name = start + 62 + extended;
        let length = bytes.get(name..)?.iter().position(|byte| *byte == 0)?;
        // With SHA-256, the flags have another offset, and this check fails.
        if length == 0 || usize::from(flags & 0xfff) != length.min(0xfff) {
            return None;
        }
        let end = name + length;
        entries.push(IndexEntry { start, name, end });
        start += (62 + extended + length + 8) & !7;
    }
    (!has_shared_part(bytes, start)).then_some(entries)
}

/// Returns whether the index refers to another one (`link`), or has extensions that cannot be parsed.
fn has_shared_part(bytes: &[u8], mut start: usize) -> bool {
    const CHECKSUM: usize = 20;
    while start + CHECKSUM < bytes.len() {
        let length = number(bytes, start + 4).map(|length| length as usize);
        match (bytes.get(start..start + 4), length) {
            (Some(b"link") | None, _) | (_, None) => return true,
            (Some(_), Some(length)) => start = start.saturating_add(8 + length),
        }
    }
    start + CHECKSUM != bytes.len()
}

/// Reads a big-endian number.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn unreadable(path: &Path) -> String {
    format!("failed to read the Git directory of {}", path.display())
}
