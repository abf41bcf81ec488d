//! The toolchain of rustup that builds a source.
//!
//! A `rust-toolchain.toml` lets rustup install the toolchain and the components that its author works with. A build has no network,
//! and needs the compiler alone. See <https://rust-lang.github.io/rustup/overrides.html>.

use std::ffi::OsStr;
use std::path::Path;

use toml::Table;
use wheelhouse_types::limits;

use crate::rust_source::RustSource;
use crate::rust_version::{host, rust_sysroot};

impl RustSource {
    /// Returns the installed toolchain that builds the source although a file of the source selects one: that one if it is
    /// installed, else the default. `path` is the value of `PATH`. Returns `None` if there is no such file, or no rustup.
    #[must_use]
    pub fn toolchain(&self, path: &OsStr) -> Option<String> {
        let file = self.toolchain_file.as_ref()?;
        let sysroot = rust_sysroot(path)?;
        let toolchains = sysroot.parent()?;
        if toolchains.file_name()? != "toolchains" {
            return None;
        }
        let named = named(file).and_then(|channel| {
            let full = format!("{channel}-{}", host(path)?);
            let mut names = [full, channel].into_iter();
            names.find(|name| toolchains.join(name).is_dir())
        });
        let default = || Some(sysroot.file_name()?.to_str()?.to_owned());
        named.or_else(default)
    }
}

/// Returns the toolchain that the file at `path` names.
fn named(path: &Path) -> Option<String> {
    let file = fs_err::File::open(path).ok()?;
    let text = String::from_utf8(limits::read(file, limits::PYPROJECT).ok()?).ok()?;
    limits::toml(&text).ok()?;
    let name = match text.parse::<Table>() {
        Ok(table) => table.get("toolchain")?.get("channel")?.as_str()?.to_owned(),
        Err(_) => text.trim().to_owned(),
    };
    let is_name = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let is_safe = !name.starts_with('.') && name.chars().all(is_name);
    (is_safe && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn installed_toolchain_of_the_file_or_the_default_is_chosen() {
        let root = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(root.path()).unwrap();
        for name in ["stable-arch-os", "1.80-arch-os", "own"] {
            std::fs::create_dir_all(root.join("toolchains").join(name)).unwrap();
        }
        let script = format!(
            "#!/bin/sh\ncase $1 in --print) echo {}/toolchains/stable-arch-os ;; *) echo 'host: arch-os' ;; esac\n",
            root.display()
        );
        std::fs::write(root.join("rustc"), script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(root.join("rustc"), mode).unwrap();
        let path = std::env::join_paths([&*root, "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
        let tree = root.join("tree");
        for (name, text, expected) in [
            (
                "rust-toolchain.toml",
                "[toolchain]\nchannel = '1.80'\n",
                "1.80-arch-os",
            ),
            (
                "rust-toolchain.toml",
                "[toolchain]\nchannel = 'own'\n",
                "own",
            ),
            (
                "rust-toolchain.toml",
                "[toolchain]\nchannel = '1.97.1'\n",
                "stable-arch-os",
            ),
            (
                "rust-toolchain.toml",
                "[toolchain]\npath = '/opt/rust'\n",
                "stable-arch-os",
            ),
            (
                "rust-toolchain.toml",
                "[toolchain]\nchannel = '../own'\n",
                "stable-arch-os",
            ),
            ("rust-toolchain", "1.80\n", "1.80-arch-os"),
            ("rust-toolchain", "nightly\n", "stable-arch-os"),
        ] {
            std::fs::create_dir_all(tree.join("member")).unwrap();
            std::fs::write(tree.join("Cargo.toml"), "").unwrap();
            std::fs::write(tree.join("Cargo.lock"), "").unwrap();
            std::fs::write(tree.join("member").join("rust-toolchain"), "1.80\n").unwrap();
            let of_member = RustSource::find(&tree).unwrap();
            assert_eq!(
                of_member.toolchain(&path),
                None,
                "a file below the project does not count"
            );
            std::fs::write(tree.join(name), text).unwrap();
            let source = RustSource::find(&tree).unwrap();
            assert_eq!(source.toolchain(&path).as_deref(), Some(expected), "{text}");
            std::fs::remove_dir_all(&tree).unwrap();
        }
    }
}
