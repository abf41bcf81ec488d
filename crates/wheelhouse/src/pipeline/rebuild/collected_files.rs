//! The files that a rebuild needs, from the cache and the wheelhouse.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use wheelhouse_store::{LinkMode, LinkOptions, Lookup, Store};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::provenance::{BuildInputs, InputFile};
use wheelhouse_types::{Kind, LockedCrate, Result, Sha256};

/// The files that a run needs, in a directory for `--find-links`.
pub(super) struct CollectedFiles {
    pub(super) directory: PathBuf,
    /// The paths by digest.
    pub(super) paths: BTreeMap<Sha256, PathBuf>,
    /// True if no file is missing, so that no index is needed.
    pub(super) is_complete: bool,
}

impl CollectedFiles {
    /// Links those files of `inputs` into `directory` that `store` or the wheelhouse has, as a download has them; `published`
    /// are the files of the wheelhouse by digest.
    pub(super) fn collect(
        inputs: &BuildInputs,
        directory: PathBuf,
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<Self> {
        let failed = || format!("failed to create {}", directory.display());
        fs_err::create_dir_all(&directory).context(Kind::Publish, failed)?;
        let mut files = Self {
            directory,
            paths: BTreeMap::new(),
            is_complete: true,
        };
        let all = inputs.sdist.iter().chain(&inputs.requirements);
        for input in all {
            files.is_complete &= files.add_input(input, store, published)?;
        }
        files.is_complete &= files.add_crates(&inputs.crates, store, published)?;
        files.is_complete &= inputs.sdist.is_some();
        Ok(files)
    }

    /// Adds the files of `crates`. Returns whether none is missing.
    fn add_crates(
        &mut self,
        crates: &[LockedCrate],
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<bool> {
        let mut is_complete = true;
        for locked in crates {
            let path = wheelhouse_cargo::download_path(locked);
            is_complete &= match locked.sha256 {
                Some(sha256) => self.add(&path, sha256, store, published)?,
                None => false,
            };
        }
        Ok(is_complete)
    }

    /// Adds a file, or the sdist that it is built from with what that build needs. Returns whether it is certain that nothing is
    /// missing.
    fn add_input(
        &mut self,
        input: &InputFile,
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<bool> {
        if self.add(Path::new(&input.filename), input.sha256, store, published)? {
            return Ok(true);
        }
        let Some(sdist) = input.built_from else {
            return Ok(false);
        };
        let filename = file_name(&input.source);
        let mut is_complete = self.add(Path::new(filename), sdist, store, published)?;
        for requirement in &input.requirements {
            is_complete &= self.add_input(requirement, store, published)?;
        }
        is_complete &= self.add_crates(&input.crates, store, published)?;
        // Earlier versions did not record the crates of a build requirement.
        Ok(is_complete && !input.crates.is_empty())
    }

    fn add(
        &mut self,
        name: &Path,
        sha256: Sha256,
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<bool> {
        if self.paths.contains_key(&sha256) {
            return Ok(true);
        }
        // The manifest may name anything.
        let mut parts = name.components();
        let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
        let path = self.directory.join(name);
        if !is_inside || path == self.directory || path.exists() {
            return Ok(false);
        }
        if let Some(parent) = path.parent() {
            let failed = || format!("failed to create {}", parent.display());
            fs_err::create_dir_all(parent).context(Kind::Publish, failed)?;
        }
        if let Lookup::Hit(stored) = store.find(&sha256)? {
            let options = LinkOptions {
                mode: LinkMode::Auto,
                linked_before: false,
            };
            store.link(&stored, &path, options)?;
        } else if let Some(published) = published.get(&sha256) {
            let failed = || format!("failed to copy {}", published.display());
            fs_err::copy(published, &path).context(Kind::Fetch, failed)?;
        } else {
            return Ok(false);
        }
        self.paths.insert(sha256, path);
        Ok(true)
    }
}

/// Returns the last component of a URL or path.
fn file_name(source: &str) -> &str {
    let path = source.split(['#', '?']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_is_the_last_component() {
        assert_eq!(
            file_name("https://a.example/b/c-1.tar.gz#sha256=0"),
            "c-1.tar.gz"
        );
        assert_eq!(file_name("/a/c-1.tar.gz"), "c-1.tar.gz");
    }
}
