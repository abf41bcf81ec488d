//! The paths of the operating system: what every program needs, and what none may read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Directories with programs, libraries and configuration.
const READABLE: [&str; 14] = [
    "/bin",
    "/etc",
    "/gnu",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/opt",
    "/sbin",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr",
    "/var/lib/alternatives",
];

/// Files and directories below them that can contain credentials, or sockets of services.
const SECRET: [&str; 17] = [
    "/etc/containers/auth.json",
    "/etc/docker",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/netrc",
    "/etc/pip.conf",
    "/etc/pki/entitlement",
    "/etc/pki/private",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/uv",
];

/// Returns the directories of the operating system that exist here.
#[must_use]
pub fn readable() -> Vec<PathBuf> {
    existing(&READABLE)
}

/// Returns the files and directories with credentials that exist here.
#[must_use]
pub fn secret() -> Vec<PathBuf> {
    existing(&SECRET)
}

fn existing(paths: &[&str]) -> Vec<PathBuf> {
    let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
    paths.iter().map(PathBuf::from).filter(exists).collect()
}

/// Returns the absolute paths in the value of a variable, such as those of `-I/opt/include -L/opt/lib` or `/a/lib:/b/lib`.
fn paths_in(value: &str) -> Vec<PathBuf> {
    let words = value.split([':', ';', ',', '=', ' ', '\t', '"', '\'']);
    let of_word = |word: &str| word.find('/').map(|start| PathBuf::from(&word[start..]));
    // In `../include` the path is relative.
    let absolute = words.filter(|word| {
        let before = word.split('/').next().unwrap_or_default();
        before.is_empty() || (before.starts_with('-') && !before.contains('.'))
    });
    let paths = absolute.filter_map(of_word);
    paths.filter(|path| path.parent().is_some()).collect()
}

/// Returns the paths that programs need: the system, `own` ones, and what the `values` of variables name.
///
/// Leaves out a path at or above a `hidden` one, such as a home directory in `PATH`, unless the system has it.
pub fn of_programs<'a>(
    values: impl IntoIterator<Item = &'a String>,
    own: Vec<PathBuf>,
    hidden: &[PathBuf],
) -> BTreeSet<PathBuf> {
    let named = values.into_iter().flat_map(|value| paths_in(value));
    let paths = named.flat_map(with_libraries).chain(own);
    let has_hidden = |path: &PathBuf| hidden.iter().any(|hidden| hidden.starts_with(path));
    paths
        .filter(|path| !has_hidden(path))
        .chain(readable())
        .collect()
}

/// Returns `path` and, for a directory of programs, the directories beside it that the programs may need.
fn with_libraries(path: PathBuf) -> impl Iterator<Item = PathBuf> {
    const BESIDE: [&str; 5] = ["include", "lib", "lib32", "lib64", "libexec"];
    let has_programs = path
        .file_name()
        .is_some_and(|name| name == "bin" || name == "sbin");
    let prefix = path.parent().filter(|_| has_programs).map(Path::to_owned);
    let beside = prefix
        .into_iter()
        .flat_map(|prefix| BESIDE.map(|name| prefix.join(name)));
    std::iter::once(path).chain(beside)
}

/// Returns the paths of `roots` without those of `hidden` that are below them: the entries of each directory that contains
/// a hidden path take its place. A root below a hidden path stays.
pub(crate) fn without(roots: &[PathBuf], hidden: &[PathBuf]) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    for root in roots {
        if hidden
            .iter()
            .any(|path| path != root && path.starts_with(root))
        {
            let mut entries = entries(root);
            entries.retain(|entry| !hidden.contains(entry));
            kept.extend(without(&entries, hidden));
        } else {
            kept.push(root.clone());
        }
    }
    kept
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_paths_in_compiler_flags() {
        let paths = |value: &str| paths_in(value);
        assert_eq!(
            paths("-O2 -I/opt/ssl/include -L/opt/ssl/lib"),
            [Path::new("/opt/ssl/include"), Path::new("/opt/ssl/lib")]
        );
        assert_eq!(paths("/a/pkgconfig:/b/pkgconfig").len(), 2);
        assert_eq!(paths("-Wl,-rpath,/opt/lib"), [Path::new("/opt/lib")]);
        assert_eq!(paths("--sysroot=/srv/root"), [Path::new("/srv/root")]);
        assert!(paths("-I../include -DX=1 /").is_empty());
    }

    #[test]
    fn home_in_search_path_stays_hidden() {
        let path = "/home/user:/home:/home/user/tools/bin".to_owned();
        let paths = of_programs([&path], vec!["/srv/python".into()], &["/home/user".into()]);
        let has = |path: &str| paths.contains(Path::new(path));
        assert!(has("/home/user/tools/bin") && has("/srv/python") && has("/usr"));
        assert!(!has("/home/user") && !has("/home"));
    }

    #[test]
    fn adds_libraries_of_programs() {
        let with_libraries = |path: &str| with_libraries(path.into()).collect::<Vec<_>>();
        assert!(with_libraries("/a/tool/bin").contains(&"/a/tool/lib".into()));
        assert_eq!(
            with_libraries("/a/tool/include"),
            [Path::new("/a/tool/include")]
        );
    }

    #[test]
    fn replaces_directory_with_hidden_path_by_its_other_entries() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for path in ["a/secret/deep", "a/open", "b"] {
            fs_err::create_dir_all(at(path)).unwrap();
        }
        let roots = [at("a"), at("b")];
        let kept = without(&roots, &[at("a/secret")]);
        assert_eq!(kept, [at("a/open"), at("b")]);
        assert_eq!(without(&roots, &[directory.path().to_owned()]), roots);
        assert_eq!(without(&roots, &[at("c")]), roots);
    }
}
