//! Wheels for Python 2 that requirements name by path or URL: uv rejects all of them, whatever the target is.
//!
//! uv checks the file name, and accepts wheels for any stable ABI. So uv gets a link to such a wheel, with `abi3` added to
//! its tags. All other parts of the program use the original name.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use uv_cache::CacheBucket;
use uv_distribution_filename::{DistExtension, WheelFilename};
use uv_distribution_types::{Dist, Requirement, RequirementSource, UnresolvedRequirement};
use uv_normalize::PackageName;
use uv_pep508::VerbatimUrl;
use uv_pypi_types::{ParsedPathUrl, ParsedUrl};
use uv_redacted::DisplaySafeUrl;
use uv_types::BuildContext;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Sha256};

use super::ResolverContext;
use crate::target::TargetEnvironment;

impl<C: BuildContext> ResolverContext<'_, C> {
    /// Replaces a wheel that `requirement` names by a link with a name that uv accepts, if it is for the Python 2 of
    /// `target_env`.
    pub(crate) async fn rename_wheel_of(
        &self,
        requirement: &mut UnresolvedRequirement,
        target_env: &TargetEnvironment,
    ) -> Result<()> {
        if !target_env.target.python_version.starts_with("2.") {
            return Ok(());
        }
        match requirement {
            UnresolvedRequirement::Named(Requirement { source, .. }) => {
                let (path, url) = match &*source {
                    RequirementSource::Path {
                        install_path, url, ..
                    } => (Some(install_path.to_path_buf()), url.clone()),
                    RequirementSource::Url { url, .. } => (None, url.clone()),
                    _ => return Ok(()),
                };
                if let Some((install_path, url)) = self.renamed(path, &url, target_env).await? {
                    *source = RequirementSource::Path {
                        install_path: install_path.into(),
                        ext: DistExtension::Wheel,
                        url,
                    };
                }
            }
            UnresolvedRequirement::Unnamed(unnamed) => {
                let path = match &unnamed.url.parsed_url {
                    ParsedUrl::Path(path) => Some(path.install_path.to_path_buf()),
                    ParsedUrl::Archive(_) => None,
                    _ => return Ok(()),
                };
                let url = unnamed.url.verbatim.clone();
                if let Some((install_path, url)) = self.renamed(path, &url, target_env).await? {
                    unnamed.url.parsed_url = ParsedUrl::Path(ParsedPathUrl {
                        url: url.to_url(),
                        install_path: install_path.into(),
                        ext: DistExtension::Wheel,
                    });
                    unnamed.url.verbatim = url;
                }
            }
        }
        Ok(())
    }

    /// Returns the link to the wheel at `path`, or else at `url`, if the wheel is for the target.
    async fn renamed(
        &self,
        path: Option<PathBuf>,
        url: &VerbatimUrl,
        target_env: &TargetEnvironment,
    ) -> Result<Option<(PathBuf, VerbatimUrl)>> {
        let original = url.to_url();
        let Some((filename, renamed)) = renamed_wheel(&original) else {
            return Ok(None);
        };
        if !target_env.compatibility(&filename).is_compatible() {
            return Ok(None);
        }
        let path = match path {
            Some(path) => path,
            None => match self.fetched_wheel(&filename.name, url).await? {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        let failed = || format!("{filename} cannot be used");
        let bucket = self.state.cache.bucket(CacheBucket::Wheels);
        let digest = Sha256::of(original.as_str().as_bytes()).to_string();
        let directory = bucket.join("python2").join(&digest[..16]);
        fs_err::create_dir_all(&directory).context(Kind::Fetch, failed)?;
        let link = directory.join(renamed);
        link_to(&path, &link).context(Kind::Fetch, failed)?;
        let mut known = VerbatimUrl::from_absolute_path(&link)
            .context(Kind::Fetch, failed)?
            .to_url();
        known.set_fragment(original.fragment());
        self.state
            .distributions
            .add_renamed_wheel(link.clone(), original);
        Ok(Some((link, VerbatimUrl::from_url(known))))
    }

    async fn fetched_wheel(
        &self,
        name: &PackageName,
        url: &VerbatimUrl,
    ) -> Result<Option<PathBuf>> {
        let location = url.to_url();
        let dist = Dist::from_http_url(
            name.clone(),
            url.clone(),
            location,
            None,
            DistExtension::Wheel,
        );
        let dist = dist.context(Kind::Input, || format!("{} is not a wheel", url.to_url()))?;
        let distribution = self
            .state
            .distributions
            .distribution(&dist, None, Vec::new())?;
        self.artifacts.archive(&distribution).await
    }
}

/// Returns the name of the wheel at `url`, and the same with `abi3` among its ABI tags.
fn renamed_wheel(url: &DisplaySafeUrl) -> Option<(WheelFilename, String)> {
    let segment = url.path_segments()?.next_back()?;
    let name = percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .ok()?;
    let filename = WheelFilename::from_str(&name).ok()?;
    let (start, platform) = name.rsplit_once('-')?;
    Some((filename, format!("{start}.abi3-{platform}")))
}

fn link_to(path: &Path, link: &Path) -> std::io::Result<()> {
    match symlink(path, link) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs_err::remove_file(link)?;
            symlink(path, link)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_stable_abi_to_tags() {
        let url = DisplaySafeUrl::parse("https://host/a%2B1-1.0-py2-none-any.whl").unwrap();
        assert!(renamed_wheel(&url).is_none());
        for (name, expected) in [
            ("a-1.0-py2-none-any.whl", "a-1.0-py2-none.abi3-any.whl"),
            (
                "a-1.0-1-cp27-cp27mu-linux_x86_64.whl",
                "a-1.0-1-cp27-cp27mu.abi3-linux_x86_64.whl",
            ),
        ] {
            let url = DisplaySafeUrl::parse(&format!("https://host/{name}#sha256=0")).unwrap();
            let (filename, renamed) = renamed_wheel(&url).unwrap();
            assert_eq!(
                (filename.to_string().as_str(), renamed.as_str()),
                (name, expected)
            );
            assert!(WheelFilename::from_str(&renamed).is_ok());
        }
    }
}
