//! The glibc version that the binaries of a wheel need: the newest version of the symbols that they import.

use std::io::BufReader;
use std::path::Path;

use fs_err::File;
use goblin::elf::Elf;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::limits::Limits;
use crate::zip_reader;

const MAGIC: &[u8] = b"\x7fELF";

/// Returns the newest version of glibc that a binary of the wheel at `path` needs, or `None` if none needs glibc.
///
/// # Errors
/// [`Kind::Fetch`] if the archive cannot be read or inflates beyond `limits`.
pub fn needed_glibc(path: &Path, limits: &Limits) -> Result<Option<(u16, u16)>> {
    let failed = || format!("failed to read {}", path.display());
    let file = File::open(path).context(Kind::Fetch, failed)?;
    let mut remaining = limits.byte_limit(file.metadata().context(Kind::Fetch, failed)?.len());
    let mut archive = zip_reader::open(BufReader::new(file))?;
    let mut needed = None;
    for entry in zip_reader::entries(&archive)? {
        if entry.directory || !may_be_binary(&entry.path) {
            continue;
        }
        let bytes = zip_reader::read(&mut archive, &entry, remaining)?;
        remaining -= bytes.len() as u64;
        if bytes.starts_with(MAGIC) {
            needed = needed.max(needed_by_binary(&bytes));
        }
    }
    Ok(needed)
}

/// Returns whether the file may be a library or a program, by its name.
fn may_be_binary(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.contains(".so") || !name.contains('.') || path.contains(".data/scripts/")
}

/// Returns the newest version of glibc that an ELF binary needs.
fn needed_by_binary(bytes: &[u8]) -> Option<(u16, u16)> {
    let elf = Elf::parse(bytes).ok()?;
    let needs = elf.verneed.as_ref()?;
    let names = needs.iter().flat_map(|need| {
        need.iter()
            .map(|version| version.vna_name)
            .collect::<Vec<_>>()
    });
    let versions = names.filter_map(|name| version(elf.dynstrtab.get_at(name)?));
    versions.max()
}

/// Parses `GLIBC_2.34`. Ignores the third number of old versions.
fn version(name: &str) -> Option<(u16, u16)> {
    let mut parts = name.strip_prefix("GLIBC_")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_symbol_versions() {
        assert_eq!(version("GLIBC_2.2.5"), Some((2, 2)));
        assert_eq!(version("GLIBC_2.34"), Some((2, 34)));
        assert_eq!(version("GLIBC_PRIVATE"), None);
        assert_eq!(version("GLIBCXX_3.4"), None);
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn detects_glibc_of_this_program() {
        let bytes = fs_err::read(std::env::current_exe().unwrap()).unwrap();
        let needed = needed_by_binary(&bytes).unwrap();
        assert!(((2, 2)..(2, 99)).contains(&needed), "{needed:?}");
    }

    #[test]
    fn truncated_binary_requires_nothing() {
        assert_eq!(needed_by_binary(b"\x7fELF\x02\x01\x01"), None);
    }
}
