//! The locations of pip's configuration files, in increasing precedence.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::setting::ConfigurationLevel;

/// The conventions for the locations of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathConventions {
    /// The XDG base directories, on Linux and other Unix systems.
    Unix,
    /// The library directories of macOS.
    MacOs,
}

impl PathConventions {
    /// Returns the conventions of the platform that this program was compiled for.
    #[must_use]
    pub const fn current() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Unix
        }
    }
}

/// Lists the files of each level, in increasing precedence.
pub(super) fn candidates(
    environment: &Environment,
    prefix: Option<&Path>,
    platform: PathConventions,
    is_directory: impl Fn(&Path) -> bool,
) -> Vec<(ConfigurationLevel, PathBuf)> {
    let global = global_directories(environment, prefix, platform);
    let user = user_directories(environment, platform, is_directory);
    let site = prefix.map(Path::to_owned);
    let named = environment.get("PIP_CONFIG_FILE").map(PathBuf::from);
    let in_directories = [
        (ConfigurationLevel::Global, global),
        (ConfigurationLevel::User, user),
        (ConfigurationLevel::Site, site.into_iter().collect()),
    ];
    in_directories
        .into_iter()
        .flat_map(|(level, directories)| {
            directories
                .into_iter()
                .map(move |directory| (level, directory.join("pip.conf")))
        })
        .chain(named.map(|file| (ConfigurationLevel::Environment, file)))
        .collect()
}

fn global_directories(
    environment: &Environment,
    prefix: Option<&Path>,
    platform: PathConventions,
) -> Vec<PathBuf> {
    let (variable, defaults) = match platform {
        PathConventions::Unix => ("XDG_CONFIG_DIRS", vec![PathBuf::from("/etc/xdg")]),
        PathConventions::MacOs => ("XDG_DATA_DIRS", macos_support_directories(prefix)),
    };
    let stated = absolute_directories(environment.get(variable).unwrap_or_default());
    let bases = if stated.is_empty() { defaults } else { stated };
    let mut directories: Vec<_> = bases.into_iter().map(|base| base.join("pip")).collect();
    if platform == PathConventions::Unix {
        directories.push(PathBuf::from("/etc"));
    }
    directories
}

/// Returns the shared directory of Homebrew, if the prefix is that of its Python, and that of the system.
fn macos_support_directories(prefix: Option<&Path>) -> Vec<PathBuf> {
    let homebrew = prefix
        .and_then(Path::to_str)
        .filter(|prefix| prefix.contains("/Frameworks/Python.framework/Versions/"))
        .and_then(|prefix| prefix.split_once("/opt/python"))
        .map(|(homebrew, _)| Path::new(homebrew).join("share"));
    let system = PathBuf::from("/Library/Application Support");
    homebrew.into_iter().chain([system]).collect()
}

fn user_directories(
    environment: &Environment,
    platform: PathConventions,
    is_directory: impl Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let home = environment.get_nonempty("HOME").map(Path::new);
    let stated = |name| {
        let path = Path::new(environment.get(name).unwrap_or_default().trim());
        path.is_absolute().then(|| path.to_owned())
    };
    let in_home = |path: &str| home.map(|home| home.join(path));
    let current = match platform {
        PathConventions::Unix => stated("XDG_CONFIG_HOME").or_else(|| in_home(".config")),
        PathConventions::MacOs => stated("XDG_DATA_HOME")
            .or_else(|| in_home("Library/Application Support"))
            .filter(|base| is_directory(&base.join("pip")))
            .or_else(|| in_home(".config")),
    };
    let current = current.map(|base| base.join("pip"));
    in_home(".pip").into_iter().chain(current).collect()
}

fn absolute_directories(list: &str) -> Vec<PathBuf> {
    list.split(':')
        .map(|path| Path::new(path.trim()))
        .filter(|path| path.is_absolute())
        .map(Path::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(
        variables: &[(&str, &str)],
        prefix: Option<&str>,
        platform: PathConventions,
        directories: &[&str],
    ) -> Vec<String> {
        let environment: Environment = variables.iter().copied().collect();
        let exists = |path: &Path| directories.iter().any(|known| Path::new(known) == path);
        candidates(&environment, prefix.map(Path::new), platform, exists)
            .into_iter()
            .map(|(_, path)| path.display().to_string())
            .collect()
    }

    #[test]
    fn unix_uses_xdg_and_etc() {
        let found = paths(
            &[("HOME", "/home/a")],
            Some("/venv"),
            PathConventions::Unix,
            &[],
        );
        let expected = [
            "/etc/xdg/pip/pip.conf",
            "/etc/pip.conf",
            "/home/a/.pip/pip.conf",
            "/home/a/.config/pip/pip.conf",
            "/venv/pip.conf",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn absolute_variables_override_directories() {
        let variables = [
            ("XDG_CONFIG_DIRS", "/one: relative: /two "),
            ("XDG_CONFIG_HOME", "/mine"),
            ("PIP_CONFIG_FILE", "named.conf"),
        ];
        let found = paths(&variables, None, PathConventions::Unix, &[]);
        let expected = [
            "/one/pip/pip.conf",
            "/two/pip/pip.conf",
            "/etc/pip.conf",
            "/mine/pip/pip.conf",
            "named.conf",
        ];
        assert_eq!(found, expected);
        let relative = [
            ("XDG_CONFIG_HOME", "mine"),
            ("XDG_CONFIG_DIRS", ""),
            ("HOME", "/h"),
        ];
        let found = paths(&relative, None, PathConventions::Unix, &[]);
        assert_eq!(found[0], "/etc/xdg/pip/pip.conf");
        assert_eq!(found[3], "/h/.config/pip/pip.conf");
    }

    #[test]
    fn macos_uses_library_with_fallback() {
        let home = [("HOME", "/Users/a"), ("XDG_CONFIG_HOME", "/unused")];
        let python = "/opt/homebrew/opt/python@3.13/Frameworks/Python.framework/Versions/3.13";
        let found = paths(&home, Some(python), PathConventions::MacOs, &[]);
        let expected = [
            "/opt/homebrew/share/pip/pip.conf",
            "/Library/Application Support/pip/pip.conf",
            "/Users/a/.pip/pip.conf",
            "/Users/a/.config/pip/pip.conf",
        ];
        assert_eq!(found[..4], expected);
        let support = "/Users/a/Library/Application Support/pip";
        let found = paths(&home, None, PathConventions::MacOs, &[support]);
        assert_eq!(found[2], format!("{support}/pip.conf"));
    }
}
