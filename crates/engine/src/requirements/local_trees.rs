//! Local trees that requirements name: replaced by copies, so that no hook touches them. A copy is
//! where its contents say, so uv never takes what it knows of a tree for what a changed tree has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use uv_distribution_types::{Requirement, RequirementSource, UnresolvedRequirement};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_types::RequestedRequirements;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::dispatch::BuildDispatch;
use crate::state::EngineState;

impl BuildDispatch<'_> {
    /// Replaces a local tree that `requirement` names by a copy of it.
    pub(crate) async fn copy_tree_of(&self, requirement: &mut UnresolvedRequirement) -> Result<()> {
        match requirement {
            UnresolvedRequirement::Named(named) => {
                self.copy_trees(std::slice::from_mut(named)).await?;
            }
            UnresolvedRequirement::Unnamed(unnamed) => {
                if let ParsedUrl::Directory(directory) = &mut unnamed.url.parsed_url {
                    let (copy, url) = self.copied(&directory.install_path).await?;
                    directory.url = url.to_url();
                    directory.install_path = copy.into_boxed_path();
                    unnamed.url.verbatim = url;
                }
            }
        }
        Ok(())
    }

    /// Replaces the local trees that `lookaheads` require by copies. Returns whether there are any.
    pub(crate) async fn copy_trees_of(
        &self,
        lookaheads: &mut [RequestedRequirements],
    ) -> Result<bool> {
        let mut any = false;
        for lookahead in lookaheads {
            let mut requirements: Box<[Requirement]> = lookahead.requirements().into();
            if self.copy_trees(&mut requirements).await? {
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
    pub(crate) async fn copy_trees(&self, requirements: &mut [Requirement]) -> Result<bool> {
        let mut any = false;
        for requirement in requirements {
            if let RequirementSource::Directory {
                install_path, url, ..
            } = &mut requirement.source
            {
                let copy;
                (copy, *url) = self.copied(install_path).await?;
                *install_path = copy.into_boxed_path();
                any = true;
            }
        }
        Ok(any)
    }

    /// The copy of `tree`, which stays what it is if it is one. What is named by a place beside a copy is what that
    /// place shows.
    pub(crate) async fn copied(&self, tree: &Path) -> Result<(PathBuf, VerbatimUrl)> {
        let copy = if self.state.is_copy(tree) {
            tree.to_owned()
        } else {
            let original = self.state.original_tree(tree);
            let copy = self.artifacts.copy_source_tree(&original).await?;
            let mut copies = self.state.copies.lock().expect("no panic while locked");
            copies.add(&copy, &original);
            copy
        };
        let url = VerbatimUrl::from_absolute_path(&copy).context(Kind::Input, || {
            format!("{} is no usable path", copy.display())
        })?;
        Ok((copy, url))
    }
}

/// The copies of local trees.
#[derive(Default)]
pub(crate) struct Copies {
    trees: BTreeSet<PathBuf>,
    /// The directories that stand for others, each with the original. A copy may be shown what lies beside its tree, so
    /// that they end alike: then the directories above the end stand for each other.
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

    /// The original of `path` in or beside a copy; `path` itself if it is neither.
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

impl EngineState {
    fn is_copy(&self, path: &Path) -> bool {
        let copies = self.copies.lock().expect("no panic while locked");
        copies.trees.contains(path)
    }

    /// The tree that the copy at `path` was made of.
    pub(crate) fn original_tree(&self, path: &Path) -> PathBuf {
        let copies = self.copies.lock().expect("no panic while locked");
        copies.original(path)
    }

    /// Names in `error` the user's trees instead of their copies, as paths and as URLs.
    pub(crate) fn with_original_trees(&self, error: Error) -> Error {
        let copies = self.copies.lock().expect("no panic while locked");
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_copy_is_what_lies_beside_the_tree() {
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
    }
}
