//! Local trees that requirements name: replaced by copies, so that no hook touches them. A copy is
//! where its contents say, so uv never takes what it knows of a tree for what a changed tree has.

use std::path::{Path, PathBuf};

use uv_distribution_types::{Requirement, RequirementSource, UnresolvedRequirement};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_types::RequestedRequirements;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result};

use crate::context::Bench;

impl Bench<'_> {
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

    /// A copy of `tree`, which stays what it is if it is one.
    pub(crate) async fn copied(&self, tree: &Path) -> Result<(PathBuf, VerbatimUrl)> {
        let copy = if self.workshop.original_tree(tree) == tree {
            let copy = self.companion.copy_tree(tree).await?;
            let mut trees = self.workshop.trees.lock().expect("no panic while locked");
            trees.insert(copy.clone(), tree.to_owned());
            copy
        } else {
            tree.to_owned()
        };
        let url = VerbatimUrl::from_absolute_path(&copy).context(Kind::Input, || {
            format!("{} is no usable path", copy.display())
        })?;
        Ok((copy, url))
    }
}
