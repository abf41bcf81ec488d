//! The surroundings of a local source tree, which its build can read without a copy.
//!
//! A build may read files beside its tree: `../VERSION`, the sources of a library that it binds, the workspace of a Cargo
//! package, or the Git repository above it. So the copy of a tree is placed below directories with the names of the original
//! ones, in which every other entry is a link to the original. The access times of links, which POSIX requires to be updated
//! when a link is resolved, show which entries the build has read. These entries become part of the key of the build.
//!
//! 1. [`SurroundingsView::create`] creates the directories and links.
//! 2. [`SurroundingsView::accessed`] lists the entries that were read since.
//! 3. [`digest`] digests the state of such an entry.
//!
//! Does not write to the original.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Sha256};

use crate::known_files::KnownFiles;
use crate::{git, ignore, source_tree};

/// The number of directories above a tree that are shown if the tree is not in a Git repository.
const MAX_LEVELS: usize = 3;

/// The largest number of entries of a directory that is shown.
const MAX_ENTRIES: usize = 1000;

/// The variables that would make Git use another repository than that of the directory.
const GIT_VARIABLES: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"];

/// A directory for the copy of a tree, with the surroundings of the original.
pub struct SurroundingsView {
    /// The path for the copy of the tree; its parent exists.
    pub root: PathBuf,
    /// The top directory of the view, and the original that it represents.
    top: (PathBuf, PathBuf),
    /// The topmost original directory of which entries are shown, or the original tree.
    pub shown: PathBuf,
    /// The links with their originals.
    links: Vec<(PathBuf, PathBuf)>,
    /// The repository above the tree, and the path of `HEAD` in its copy.
    repository: Option<(PathBuf, PathBuf)>,
    /// True if the filesystem updates access times.
    has_access_times: bool,
}

impl SurroundingsView {
    /// Creates the surroundings of the tree `original` in `directory`. Does not show the paths `excluded` and the directories
    /// that are ignored in trees.
    ///
    /// Shows the directories above the tree up to the root of its Git repository, or three of them without a repository. Never
    /// shows the home directory, the root of the filesystem, a directory for the files of all users such as `/tmp`, or
    /// directories above them.
    ///
    /// # Errors
    /// [`Kind::Input`] if the tree cannot be read, and [`Kind::Build`] if the links cannot be created.
    pub fn create(original: &Path, directory: &Path, excluded: &[PathBuf]) -> Result<Self> {
        let failed = || format!("failed to link the surroundings of {}", original.display());
        let original = fs::canonicalize(original).context(Kind::Input, failed)?;
        let levels = levels(&original);
        let root = directory.join("source");
        let mut view = Self {
            top: (root.clone(), original.clone()),
            shown: original.clone(),
            root,
            links: Vec::new(),
            repository: None,
            has_access_times: has_access_times(directory).context(Kind::Build, failed)?,
        };
        let Some(top) = levels.last() else {
            return Ok(view);
        };
        let above = top.0.parent().unwrap_or(Path::new("/"));
        let shown_at = |path: &Path| directory.join(path.strip_prefix(above).unwrap_or(path));
        view.root = shown_at(&original);
        view.top = (directory.to_owned(), above.to_owned());
        view.shown.clone_from(&top.0);
        for (level, entries) in levels.iter().rev() {
            let inside = shown_at(level);
            fs::create_dir_all(&inside).context(Kind::Build, failed)?;
            if git::is_repository(level) {
                git::copy_above(level, &inside)?;
                let head = inside.join(".git/HEAD");
                reset_access_time(&head).context(Kind::Build, failed)?;
                view.repository = Some((level.clone(), head));
            }
            for entry in entries {
                let is_hidden = original.starts_with(entry)
                    || excluded.contains(entry)
                    || git::owns(level, entry)
                    || ignore::is_ignored(level, entry);
                if !is_hidden {
                    let link = shown_at(entry);
                    source_tree::symlink(entry, &link).context(Kind::Build, failed)?;
                    reset_access_time(&link).context(Kind::Build, failed)?;
                    view.links.push((link, entry.clone()));
                }
            }
        }
        Ok(view)
    }

    /// Replaces the paths of the view in `text` by those of the originals.
    #[must_use]
    pub fn with_originals(&self, text: &str) -> String {
        let (copy, original) = &self.top;
        let original = original.to_string_lossy();
        text.replace(&*copy.to_string_lossy(), original.trim_end_matches('/'))
    }

    /// Lists the originals of the entries that were read, and `.git` for the repository. If the filesystem does not update
    /// access times, lists all surroundings in the repository of the tree.
    #[must_use]
    pub fn accessed(&self) -> Vec<PathBuf> {
        let repository = self.repository.as_ref();
        let was_read = |link: &Path, original: &Path| match (self.has_access_times, repository) {
            (true, _) => was_accessed(link),
            (false, Some((repository, _))) => original.starts_with(repository),
            (false, None) => false,
        };
        let links = self.links.iter();
        let mut accessed: Vec<PathBuf> = links
            .filter(|(link, original)| was_read(link, original))
            .map(|(_, original)| original.clone())
            .collect();
        if let Some((repository, _)) = repository.filter(|(root, head)| was_read(head, root)) {
            accessed.push(repository.join(".git"));
        }
        accessed
    }
}

/// Returns a digest of the state of an entry that [`SurroundingsView::accessed`] listed. An unreadable entry has a digest, too.
#[must_use]
pub fn digest(path: &Path, excluded: &[PathBuf], known: &mut KnownFiles) -> Sha256 {
    let repository = path.parent().filter(|root| git::owns(root, path));
    let state = match repository {
        Some(root) => git::state(root).map(|state| {
            let state = format!("{state:?} {:?}", changes(root));
            Sha256::of(state.as_bytes())
        }),
        None if path.is_dir() => source_tree::digest(path, excluded, known),
        None => source_tree::content_digest(path, known),
    };
    state.unwrap_or_else(|_| Sha256::of(b"nothing"))
}

/// Returns the directories above `tree` that are shown, from the lowest, with their entries.
fn levels(tree: &Path) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let above = || tree.ancestors().skip(1);
    let repository = above().position(git::is_repository);
    let count = repository.map_or(MAX_LEVELS, |position| position + 1);
    let home = std::env::home_dir().and_then(|home| fs::canonicalize(home).ok());
    let is_shown = |level: &&Path| {
        level.parent().is_some() && Some(*level) != home.as_deref() && !is_for_all_users(level)
    };
    above()
        .take(count)
        .take_while(is_shown)
        .map_while(|level| Some((level.to_owned(), entries(level)?)))
        .collect()
}

/// Returns whether all users may create files in `level`, but not remove those of others, as in `/tmp`.
fn is_for_all_users(level: &Path) -> bool {
    fs::metadata(level).is_ok_and(|metadata| metadata.mode() & 0o1002 == 0o1002)
}

/// Returns the sorted entries of `level`, or `None` if there are too many or they cannot be read.
fn entries(level: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(level).ok()?.take(MAX_ENTRIES + 1);
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| Some(entry.ok()?.path()))
        .collect::<Option<_>>()?;
    entries.sort();
    (entries.len() <= MAX_ENTRIES).then_some(entries)
}

/// Returns the list by Git of the files in the repository `root` that differ from its commit. Returns `None` if Git is not
/// installed; the build cannot run it either then.
fn changes(root: &Path) -> Option<Vec<u8>> {
    let mut git = Command::new("git");
    for variable in GIT_VARIABLES {
        git.env_remove(variable);
    }
    git.current_dir(root)
        .args(["--no-optional-locks", "status", "--porcelain"])
        .arg("--untracked-files=no")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    Some(git.output().ok()?.stdout)
}

/// Returns whether resolving a link in `directory` updates its access time.
fn has_access_times(directory: &Path) -> std::io::Result<bool> {
    let link = directory.join("probe");
    source_tree::symlink(Path::new("."), &link)?;
    let updates =
        reset_access_time(&link).is_ok() && fs::metadata(&link).is_ok() && was_accessed(&link);
    fs::remove_file(link)?;
    Ok(updates)
}

fn was_accessed(path: &Path) -> bool {
    let accessed = fs::symlink_metadata(path).and_then(|metadata| metadata.accessed());
    accessed.is_ok_and(|time| time != std::time::UNIX_EPOCH)
}

/// Sets the access time of `path`, without following links, to the Unix epoch. This is older than its modification time, so
/// that filesystems with `relatime` update it as well.
#[cfg(unix)]
fn reset_access_time(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(0),
        last_modification: time(UTIME_OMIT),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(not(unix))]
fn reset_access_time(_path: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
