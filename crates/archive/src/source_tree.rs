//! Local source trees: computes a digest that changes whenever a wheel built from the tree could change, and copies the tree to
//! build from.
//!
//! Both operations ignore the same directories. Times are not part of the digest, but determine which files need not be read
//! again ([`KnownFiles`]). Does not write to the tree, and does not read files beside it; see [`crate::surroundings`].

use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use crate::known_files::KnownFiles;
use crate::{git, ignore};
use wheelhouse_fs::digest::{self, Digester};
use wheelhouse_fs::interruption;
use wheelhouse_fs::threads::try_in_parallel;

/// A file, directory or link in a tree.
struct TreeEntry {
    /// The path relative to the tree.
    path: PathBuf,
    /// The path of the content, which is outside the tree if a link led there.
    source: PathBuf,
    kind: EntryKind,
}

/// The kind of an entry.
enum EntryKind {
    Directory,
    File { executable: bool },
    Link(PathBuf),
}

/// Computes the digest of the source tree `root`: of paths, kinds, executable bits, contents and the state of Git. Ignores the
/// directories `excluded`, such as the output of the current run, and does not read files whose digests are `known`.
///
/// # Errors
/// [`Kind::Input`] if the tree cannot be read.
pub fn digest(root: &Path, excluded: &[PathBuf], known: &mut KnownFiles) -> Result<Sha256> {
    digest_of(root, &list(root, excluded)?, |entry| {
        content_digest(&entry.source, known)
    })
}

/// The size from which a file is assumed to be data that builds do not change, in bytes.
const LARGE: u64 = 16 << 20;

/// The treatment of large files in a copy. Files that Git tracks are always copied, because Git would report links as changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeFiles {
    /// Large files become links to the originals.
    Link,
    /// Large files are copied.
    Copy,
}

/// The result of [`copy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopySummary {
    /// The digest of the copy. It differs from an earlier digest of the tree if the tree has changed.
    pub digest: Sha256,
    /// True if the copy has links to large files.
    pub has_links: bool,
}

/// Copies the source tree `root` to `into`, which must be empty or missing. Preserves times and executable bits. Links that
/// stay inside the tree are preserved, others are replaced by their targets. Files whose digests are `known`, and whose states
/// did not change during the copy, are not read for the digest.
///
/// # Errors
/// [`Kind::Input`] if the tree cannot be read, and [`Kind::Build`] if the copy cannot be written.
pub fn copy(
    root: &Path,
    into: &Path,
    excluded: &[PathBuf],
    large: LargeFiles,
    known: &mut KnownFiles,
) -> Result<CopySummary> {
    let entries = list(root, excluded)?;
    let tracked = match large {
        LargeFiles::Link => git::tracked(root),
        LargeFiles::Copy => None,
    };
    let may_link = |entry: &TreeEntry| {
        let tracked = tracked.as_ref();
        tracked.is_some_and(|tracked| !tracked.contains(&entry.path)) && is_large(&entry.source)
    };
    let failed = |path: &Path| format!("failed to copy {} to {}", path.display(), into.display());
    fs::create_dir_all(into).context(Kind::Build, || failed(root))?;
    let (mut has_links, mut files) = (false, Vec::new());
    for entry in &entries {
        let target = into.join(&entry.path);
        let created = match &entry.kind {
            EntryKind::Directory => fs::create_dir(&target),
            EntryKind::Link(link) => symlink(link, &target),
            EntryKind::File { .. } if may_link(entry) => {
                has_links = true;
                symlink(&entry.source, &target)
            }
            EntryKind::File { executable } => {
                files.push((&*entry.source, target, *executable));
                Ok(())
            }
        };
        created.context(Kind::Build, || failed(&entry.source))?;
    }
    copy_files(&files)
        .map_err(|(path, error)| Error::new(Kind::Build, failed(path)).caused_by(error))?;
    git::copy(root, into)?;
    // In reverse, because creating an entry changes the time of its directory.
    for entry in entries.iter().rev() {
        if let EntryKind::Directory = entry.kind {
            copy_time(&entry.source, &into.join(&entry.path))
                .context(Kind::Build, || failed(&entry.source))?;
        }
    }
    let digest = digest_of(root, &entries, |entry| {
        let metadata = fs::metadata(&entry.source).context(Kind::Input, || failed(root))?;
        match known.digest(&entry.source, &metadata) {
            Some(digest) => Ok(digest),
            None => content_digest(&into.join(&entry.path), &mut KnownFiles::default()),
        }
    })?;
    Ok(CopySummary { digest, has_links })
}

/// Digests `entries` of the tree `root`. `content` returns the digest of a file.
fn digest_of(
    root: &Path,
    entries: &[TreeEntry],
    mut content: impl FnMut(&TreeEntry) -> Result<Sha256>,
) -> Result<Sha256> {
    let mut digester = Digester::default();
    for entry in entries {
        let (kind, content) = match &entry.kind {
            EntryKind::Directory => (b'd', Vec::new()),
            EntryKind::Link(target) => (b'l', target.as_os_str().as_encoded_bytes().to_vec()),
            EntryKind::File { executable } => {
                let kind = if *executable { b'x' } else { b'f' };
                (kind, content(entry)?.to_string().into_bytes())
            }
        };
        add(&mut digester, kind, &entry.path, &content);
    }
    for (path, digest) in git::state(root)? {
        add(&mut digester, b'g', &path, digest.to_string().as_bytes());
    }
    Ok(digester.finish().sha256)
}

/// Adds one entry to the digest.
fn add(digester: &mut Digester, kind: u8, path: &Path, content: &[u8]) {
    let path = path.as_os_str().as_encoded_bytes();
    digester.update(&[kind]);
    for field in [path, content] {
        digester.update(&(field.len() as u64).to_le_bytes());
        digester.update(field);
    }
}

/// Digests the file at `path`, unless its digest is `known`.
pub(crate) fn content_digest(path: &Path, known: &mut KnownFiles) -> Result<Sha256> {
    let unreadable = || format!("failed to read {}", path.display());
    let metadata = fs::metadata(path).context(Kind::Input, unreadable)?;
    if let Some(digest) = known.digest(path, &metadata) {
        return Ok(digest);
    }
    let mut file = fs::File::open(path).context(Kind::Input, unreadable)?;
    let (digest, _) = digest::sha256(&mut file).context(Kind::Input, unreadable)?;
    known.remember(path, &metadata, digest);
    Ok(digest)
}

fn is_large(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() >= LARGE)
}

/// Copies files, each with its destination and executable bit, on several threads, because creating a file takes the filesystem
/// longer than writing it. Returns the first error.
fn copy_files<'a>(
    files: &[(&'a Path, PathBuf, bool)],
) -> std::result::Result<(), (&'a Path, std::io::Error)> {
    try_in_parallel(files, |(from, to, executable)| {
        copy_file(from, to, *executable).map_err(|error| (*from, error))
    })?;
    Ok(())
}

/// Copies a file with its time. Opens each file only once, because a tree may have very many.
fn copy_file(from: &Path, to: &Path, executable: bool) -> std::io::Result<()> {
    interruption::check_io()?;
    let mut source = fs::File::open(from)?;
    let modified = source.metadata()?.modified()?;
    let mut copy = fs::File::create(to)?;
    // The kernel shares the blocks if the filesystem can.
    std::io::copy(source.file_mut(), copy.file_mut())?;
    set_mode(copy.file(), executable)?;
    copy.file().set_modified(modified)
}

fn copy_time(from: &Path, to: &Path) -> std::io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    fs::File::open(to)?.file().set_modified(modified)
}

/// Lists the entries of the tree `root`, sorted, directories before their contents.
fn list(root: &Path, excluded: &[PathBuf]) -> Result<Vec<TreeEntry>> {
    let unreadable = || format!("failed to read {}", root.display());
    let real = fs::canonicalize(root).context(Kind::Input, unreadable)?;
    let excluded = excluded
        .iter()
        .map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone()))
        .collect();
    let mut walk = TreeWalker {
        visiting: vec![real.clone()],
        root: real.clone(),
        excluded,
        entries: Vec::new(),
    };
    walk.directory(&real, Path::new(""))
        .context(Kind::Input, unreadable)?;
    Ok(walk.entries)
}

/// Lists the entries of a tree.
struct TreeWalker {
    /// The canonical path of the tree.
    root: PathBuf,
    excluded: Vec<PathBuf>,
    /// The canonical paths of the current directories, which a link must not lead into again.
    visiting: Vec<PathBuf>,
    entries: Vec<TreeEntry>,
}

impl TreeWalker {
    fn directory(&mut self, source: &Path, path: &Path) -> std::io::Result<()> {
        let mut children = fs::read_dir(source)?.collect::<Result<Vec<_>, _>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let source = child.path();
            let path = path.join(child.file_name());
            let kind = child.file_type()?;
            if kind.is_symlink() {
                self.link(source, path)?;
            } else {
                self.add(source, path)?;
            }
        }
        Ok(())
    }

    /// Adds a file, or a directory with its contents. Ignores sockets and other special files.
    fn add(&mut self, source: PathBuf, path: PathBuf) -> std::io::Result<()> {
        let metadata = fs::metadata(&source)?;
        if self.excluded.contains(&source) || git::owns(&self.root, &source) {
            return Ok(());
        }
        if metadata.is_file() {
            let executable = is_executable(&metadata);
            let kind = EntryKind::File { executable };
            self.entries.push(TreeEntry { path, source, kind });
        } else if metadata.is_dir() && !ignore::is_ignored(&self.root, &source) {
            self.entries.push(TreeEntry {
                path: path.clone(),
                source: source.clone(),
                kind: EntryKind::Directory,
            });
            self.visiting.push(source.clone());
            self.directory(&source, &path)?;
            self.visiting.pop();
        }
        Ok(())
    }

    fn link(&mut self, source: PathBuf, path: PathBuf) -> std::io::Result<()> {
        let target = fs::read_link(&source)?;
        let resolved = fs::canonicalize(&source).ok();
        let target = match &resolved {
            // A broken or cyclic link is preserved.
            None => target,
            Some(real) => match real.strip_prefix(&self.root) {
                Ok(_) if stays_inside(&path, &target) => target,
                Ok(inside) => relative(&path, inside),
                Err(_) if self.visiting.iter().any(|above| above.starts_with(real)) => target,
                Err(_) => return self.add(real.clone(), path),
            },
        };
        let kind = EntryKind::Link(target);
        self.entries.push(TreeEntry { path, source, kind });
        Ok(())
    }
}

/// Returns whether the path from a link at `path` in the tree to `target` never leaves the tree.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::ParentDir if depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Returns the target of a link at `path` that leads to `inside`, both relative to the tree.
fn relative(path: &Path, inside: &Path) -> PathBuf {
    let up = path.components().count().saturating_sub(1);
    let mut target: PathBuf = std::iter::repeat_n("..", up).collect();
    target.push(inside);
    if target.as_os_str().is_empty() {
        target.push(".");
    }
    target
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &std::fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn set_mode(file: &std::fs::File, executable: bool) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &std::fs::File, _executable: bool) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
pub(crate) fn symlink(target: &Path, path: &Path) -> std::io::Result<()> {
    fs_err::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _path: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
