//! Local trees that requirements name, replaced by copies that hooks may change.
//!
//! The path of a copy depends on its contents, so uv never uses what it cached of a tree for a changed tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use uv_distribution_types::{Requirement, RequirementSource, UnresolvedRequirement};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_types::RequestedRequirements;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::artifact_provider::ArtifactProvider;

/// The copies of the local trees of a run. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct LocalTrees(Arc<Mutex<Copies>>);

impl LocalTrees {
    /// Replaces a local tree that `requirement` names by a copy.
    pub(crate) async fn copy_unresolved(
        &self,
        requirement: &mut UnresolvedRequirement,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<()> {
        match requirement {
            UnresolvedRequirement::Named(named) => {
                self.copy_all(std::slice::from_mut(named), artifacts)
                    .await?;
            }
            UnresolvedRequirement::Unnamed(unnamed) => {
                if let ParsedUrl::Directory(directory) = &mut unnamed.url.parsed_url {
                    let (copy, url) = self.copy(&directory.install_path, artifacts).await?;
                    directory.url = url.to_url();
                    directory.install_path = copy.into_boxed_path();
                    unnamed.url.verbatim = url;
                }
            }
        }
        Ok(())
    }

    /// Replaces the local trees that `lookaheads` require by copies. Returns whether there are any.
    pub(crate) async fn copy_lookaheads(
        &self,
        lookaheads: &mut [RequestedRequirements],
        artifacts: &dyn ArtifactProvider,
    ) -> Result<bool> {
        let mut any = false;
        for lookahead in lookaheads {
            let mut requirements: Box<[Requirement]> = lookahead.requirements().into();
            if self.copy_all(&mut requirements, artifacts).await? {
                any = true;
                *lookahead = RequestedRequirements::new(
                    lookahead.package().clone(),
                    lookahead.version().clone(),
                    lookahead.extras().into(),
                    requirements,
                    lookahead.direct(),
                );
            }
        }
        Ok(any)
    }

    /// Replaces the local trees among `requirements` by copies. Returns whether there are any.
    pub(crate) async fn copy_all(
        &self,
        requirements: &mut [Requirement],
        artifacts: &dyn ArtifactProvider,
    ) -> Result<bool> {
        let mut any = false;
        for requirement in requirements {
            if let RequirementSource::Directory {
                install_path, url, ..
            } = &mut requirement.source
            {
                let copy;
                (copy, *url) = self.copy(install_path, artifacts).await?;
                *install_path = copy.into_boxed_path();
                any = true;
            }
        }
        Ok(any)
    }

    /// Returns the copy of `tree`, or `tree` itself if it is one. A path beside a copy stands for the path beside the
    /// original.
    pub(crate) async fn copy(
        &self,
        tree: &Path,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<(PathBuf, VerbatimUrl)> {
        let is_copy = self.copies().trees.contains(tree);
        let copy = if is_copy {
            tree.to_owned()
        } else {
            let original = self.original(tree);
            let copy = artifacts.copy_source_tree(&original).await?;
            tracing::debug!(tree = %original.display(), copy = %copy.display(), "copied a local tree");
            self.copies().add(&copy, &original);
            copy
        };
        let url = VerbatimUrl::from_absolute_path(&copy).context(Kind::Input, || {
            format!("{} is not a usable path", copy.display())
        })?;
        Ok((copy, url))
    }

    /// Returns the tree of which `path` is a copy, or `path` itself.
    pub(crate) fn original(&self, path: &Path) -> PathBuf {
        self.copies().original(path)
    }

    /// Returns the directory of the copy `path` with what is beside it, and the original of that, to which links in the
    /// copy lead. For another path, returns the path itself.
    pub(crate) fn surroundings(&self, path: &Path) -> (PathBuf, Option<PathBuf>) {
        self.copies().surroundings(path)
    }

    /// Replaces the paths and URLs of copies in `error` by those of the originals.
    pub(crate) fn with_original_paths(&self, error: Error) -> Error {
        let copies = self.copies();
        let named = |text: &str, copy: &Path| text.contains(&*copy.to_string_lossy());
        let texts = [
            Some(error.display_chain()),
            error.detail().map(str::to_owned),
        ];
        let texts: Vec<String> = texts.into_iter().flatten().collect();
        let mut shown = copies.stand_for.keys();
        if !shown.any(|copy| texts.iter().any(|text| named(text, copy))) {
            return error;
        }
        error.rewritten(|text| {
            let replace = |text: String, (copy, original): (&PathBuf, &PathBuf)| {
                let original = original.to_string_lossy();
                text.replace(&*copy.to_string_lossy(), original.trim_end_matches('/'))
            };
            copies.stand_for.iter().fold(text.to_owned(), replace)
        })
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.0.lock().expect("no panic while locked")
    }
}

/// Copies and their originals.
#[derive(Default)]
struct Copies {
    trees: BTreeSet<PathBuf>,
    /// The directories that stand for others, each with the original. What lies beside a tree may be copied with it, so
    /// that both paths have the same end: then the directories above the end stand for each other.
    stand_for: BTreeMap<PathBuf, PathBuf>,
}

impl Copies {
    fn add(&mut self, copy: &Path, original: &Path) {
        self.trees.insert(copy.to_owned());
        let (mut shown, mut shows) = (copy, original);
        while let (Some(above), Some(original_above)) = (shown.parent(), shows.parent())
            && shown.file_name() == shows.file_name()
        {
            (shown, shows) = (above, original_above);
        }
        self.stand_for.insert(shown.to_owned(), shows.to_owned());
    }

    fn surroundings(&self, path: &Path) -> (PathBuf, Option<PathBuf>) {
        let mut above = path.ancestors();
        let Some((shown, original)) =
            above.find_map(|shown| Some((shown, self.stand_for.get(shown)?)))
        else {
            return (path.to_owned(), None);
        };
        // Directories above the topmost one with links are not shown.
        let below = path
            .strip_prefix(shown)
            .ok()
            .and_then(|below| below.components().next());
        let top = below.map_or_else(|| original.clone(), |name| original.join(name));
        (shown.to_owned(), Some(top))
    }

    /// Returns the original of `path` if it is in or beside a copy, else `path` itself.
    fn original(&self, path: &Path) -> PathBuf {
        let mut above = path.ancestors();
        let found = above.find_map(|shown| Some((shown, self.stand_for.get(shown)?)));
        match found.and_then(|(shown, original)| Some((original, path.strip_prefix(shown).ok()?))) {
            Some((original, below)) if below.as_os_str().is_empty() => original.clone(),
            Some((original, below)) => original.join(below),
            None => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_paths_in_and_beside_copies_to_originals() {
        let mut copies = Copies::default();
        copies.add(
            Path::new("/cache/trees/0123/repo/tree"),
            Path::new("/home/a/repo/tree"),
        );
        copies.add(
            Path::new("/cache/trees/4567/source"),
            Path::new("/opt/alone"),
        );
        for (path, original) in [
            ("/cache/trees/0123/repo/tree", "/home/a/repo/tree"),
            ("/cache/trees/0123/repo/other", "/home/a/repo/other"),
            ("/cache/trees/4567/source", "/opt/alone"),
            ("/cache/trees/4567/source/sub", "/opt/alone/sub"),
            ("/home/a/repo/tree", "/home/a/repo/tree"),
            ("/cache/trees/89ab/source", "/cache/trees/89ab/source"),
        ] {
            assert_eq!(copies.original(Path::new(path)), Path::new(original));
        }
        for (path, directory, original) in [
            (
                "/cache/trees/0123/repo/tree",
                "/cache/trees/0123",
                Some("/home/a/repo"),
            ),
            (
                "/cache/trees/4567/source",
                "/cache/trees/4567/source",
                Some("/opt/alone"),
            ),
            ("/cache/sdists/1", "/cache/sdists/1", None),
        ] {
            let expected = (PathBuf::from(directory), original.map(PathBuf::from));
            assert_eq!(copies.surroundings(Path::new(path)), expected);
        }
    }
}
