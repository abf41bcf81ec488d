//! Paths in a lock: relative to its directory and with `/`, so that both can move together.
//!
//! Works on names alone, as pip and uv do: `..` takes back the name before it, whatever a symbolic
//! link might say.

use std::path::{Component, Path, PathBuf};

/// Formats `path` for a lock in the directory `base`; both are absolute.
///
/// A path that shares nothing but the root with the lock stays absolute: it would not move with it.
pub(super) fn written(path: &Path, base: &Path) -> String {
    match relative(path, base) {
        Some(relative) => portable(&relative),
        None => portable(path),
    }
}

/// Returns the path that `text` stands for in a lock in the directory `base`.
pub(super) fn read(text: &str, base: &Path) -> PathBuf {
    normalized(&base.join(text))
}

/// Formats `path` with `/` between its parts, without touching where it starts.
pub(super) fn portable(path: &Path) -> String {
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' {
        text.into_owned()
    } else {
        text.replace(std::path::MAIN_SEPARATOR, "/")
    }
}

fn relative(path: &Path, base: &Path) -> Option<PathBuf> {
    if !path.is_absolute() || !base.is_absolute() {
        return None;
    }
    let (path, base) = (normalized(path), normalized(base));
    let shared = path
        .components()
        .zip(base.components())
        .take_while(|(left, right)| left == right)
        .map(|(component, _)| component);
    if !shared
        .clone()
        .any(|component| matches!(component, Component::Normal(_)))
    {
        return None;
    }
    let shared = shared.count();
    let up = base.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    if relative.as_os_str().is_empty() {
        return Some(PathBuf::from("."));
    }
    Some(relative)
}

/// Removes `.` and, as far as there are names to take back, `..` from `path`.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if normalized.file_name().is_some() => {
                normalized.pop();
            }
            Component::ParentDir if normalized.has_root() => {}
            _ => normalized.push(component),
        }
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_near_lock_is_relative() {
        let written = |path: &str| written(Path::new(path), Path::new("/srv/application"));
        assert_eq!(written("/srv/application/wheels/a.whl"), "wheels/a.whl");
        assert_eq!(written("/srv/library"), "../library");
        assert_eq!(written("/srv/application/../library/."), "../library");
        assert_eq!(written("/srv/application"), ".");
        assert_eq!(written("/usr/share/a.whl"), "/usr/share/a.whl");
    }

    #[test]
    fn path_round_trips() {
        let read = |text: &str| read(text, Path::new("/srv/application"));
        assert_eq!(read("../library"), Path::new("/srv/library"));
        assert_eq!(read("."), Path::new("/srv/application"));
        assert_eq!(read("/usr/share"), Path::new("/usr/share"));
        assert_eq!(read("../../../.."), Path::new("/"));
    }
}
