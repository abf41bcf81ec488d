//! The surroundings of a local source tree, shown to its build without being copied.
//!
//! A build may read what lies beside its tree: `../VERSION`, the sources that a binding is for, the
//! workspace of a Cargo package, the Git repository above. So the copy of the tree gets the
//! directories above it as the original has them, in which everything beside the way down is a
//! link to the original. Links that were followed are known by their access times, which POSIX
//! wants updated when a link is resolved: they say which of the surroundings decide the wheel.
//!
//! 1. [`SurroundingsView::create`] makes the directories and links.
//! 2. [`SurroundingsView::accessed`] lists what was looked at since.
//! 3. [`digest`] names the state of one such thing.
//!
//! Never writes to the original.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Sha256};

use super::known_files::KnownFiles;
use super::{git, ignore, source_tree};

/// The number of directories above a tree that are shown if it is in no Git repository.
const LEVELS: usize = 3;

/// The largest number of entries of a directory that is shown. One with more is `/tmp` or the like.
const ENTRIES: usize = 1000;

/// The variables by which Git would look at another repository than that of the directory.
const GIT_VARIABLES: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"];

/// A place for the copy of a tree, and what its surroundings look like from there.
pub struct SurroundingsView {
    /// Where the copy of the tree belongs; its parent exists.
    pub root: PathBuf,
    /// A directory with all that is escape_for_display, and the original that it stands for.
    stands_for: (PathBuf, PathBuf),
    /// The originals by their links.
    links: Vec<(PathBuf, PathBuf)>,
    /// The repository above the tree, and the `HEAD` of its copy.
    repository: Option<(PathBuf, PathBuf)>,
    /// Whether access times are kept here.
    tells: bool,
}

impl SurroundingsView {
    /// Makes the surroundings of the tree `original` in `directory`. Paths in `excluded` are not
    /// escape_for_display, nor what can be made again ([`left_out`]).
    ///
    /// The directories above are shown up to the root of the Git repository that the tree is part
    /// of, or else three of them; never the home directory, the root of the filesystem, or what is above
    /// either.
    ///
    /// # Errors
    /// [`Kind::Input`] for a tree that cannot be read, [`Kind::Build`] when the disk is full.
    pub fn create(original: &Path, directory: &Path, excluded: &[PathBuf]) -> Result<Self> {
        let failed = || format!("failed to show what lies beside {}", original.display());
        let original = fs::canonicalize(original).context(Kind::Input, failed)?;
        let levels = levels(&original);
        let root = directory.join("source");
        let mut view = Self {
            stands_for: (root.clone(), original.clone()),
            root,
            links: Vec::new(),
            repository: None,
            tells: tells(directory).context(Kind::Build, failed)?,
        };
        let Some(top) = levels.last() else {
            return Ok(view);
        };
        let above = top.0.parent().unwrap_or(Path::new("/"));
        let place = |path: &Path| directory.join(path.strip_prefix(above).unwrap_or(path));
        view.root = place(&original);
        view.stands_for = (directory.to_owned(), above.to_owned());
        for (level, entries) in levels.iter().rev() {
            let inside = place(level);
            fs::create_dir_all(&inside).context(Kind::Build, failed)?;
            if git::is_repository(level) {
                git::copy_above(level, &inside)?;
                let head = inside.join(".git/HEAD");
                forget_access(&head).context(Kind::Build, failed)?;
                view.repository = Some((level.clone(), head));
            }
            for entry in entries {
                let is_hidden = original.starts_with(entry)
                    || excluded.contains(entry)
                    || git::owns(level, entry)
                    || ignore::is_ignored(level, entry);
                if !is_hidden {
                    let link = place(entry);
                    source_tree::symlink(entry, &link).context(Kind::Build, failed)?;
                    forget_access(&link).context(Kind::Build, failed)?;
                    view.links.push((link, entry.clone()));
                }
            }
        }
        Ok(view)
    }

    /// Names the originals in `text` instead of what stands for them.
    #[must_use]
    pub fn with_originals(&self, text: &str) -> String {
        let (copy, original) = &self.stands_for;
        let original = original.to_string_lossy();
        text.replace(&*copy.to_string_lossy(), original.trim_end_matches('/'))
    }

    /// Lists the originals of what was looked at, a repository as its `.git`. Where access times are not kept,
    /// these are all surroundings in the repository that the tree is part of.
    #[must_use]
    pub fn accessed(&self) -> Vec<PathBuf> {
        let repository = self.repository.as_ref();
        let is_seen = |link: &Path, original: &Path| match (self.tells, repository) {
            (true, _) => was_accessed(link),
            (false, Some((repository, _))) => original.starts_with(repository),
            (false, None) => false,
        };
        let links = self.links.iter();
        let mut seen: Vec<PathBuf> = links
            .filter(|(link, original)| is_seen(link, original))
            .map(|(_, original)| original.clone())
            .collect();
        if let Some((repository, _)) = repository.filter(|(root, head)| is_seen(head, root)) {
            seen.push(repository.join(".git"));
        }
        seen
    }
}

/// Names the state of something that [`SurroundingsView::accessed`] listed; what cannot be read has a state as well.
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

/// The directories above `tree` that are escape_for_display, the lowest first, with their entries.
fn levels(tree: &Path) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let above = || tree.ancestors().skip(1);
    let of_repository = above().position(git::is_repository);
    let count = of_repository.map_or(LEVELS, |position| position + 1);
    let home = std::env::home_dir().and_then(|home| fs::canonicalize(home).ok());
    let is_shown = |level: &&Path| level.parent().is_some() && Some(*level) != home.as_deref();
    above()
        .take(count)
        .take_while(is_shown)
        .map_while(|level| Some((level.to_owned(), entries(level)?)))
        .collect()
}

/// The sorted entries of `level`; `None` if there are too many, or they cannot be read.
fn entries(level: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(level).ok()?.take(ENTRIES + 1);
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| Some(entry.ok()?.path()))
        .collect::<Option<_>>()?;
    entries.sort();
    (entries.len() <= ENTRIES).then_some(entries)
}

/// The files of the repository `root` that differ from its commit, as Git lists them. Nothing where there is no Git:
/// then the build asked none either.
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

/// Whether following a link in `directory` shows in its access time.
fn tells(directory: &Path) -> std::io::Result<bool> {
    let link = directory.join("probe");
    source_tree::symlink(Path::new("."), &link)?;
    let tells = forget_access(&link).is_ok() && fs::metadata(&link).is_ok() && was_accessed(&link);
    fs::remove_file(link)?;
    Ok(tells)
}

fn was_accessed(path: &Path) -> bool {
    let accessed = fs::symlink_metadata(path).and_then(|metadata| metadata.accessed());
    accessed.is_ok_and(|time| time != std::time::UNIX_EPOCH)
}

/// Sets the access time of `path` itself to the Unix epoch: older than its modification, so that `relatime`
/// updates it as well.
#[cfg(unix)]
fn forget_access(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(0),
        last_modification: time(UTIME_OMIT),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(not(unix))]
fn forget_access(_path: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
