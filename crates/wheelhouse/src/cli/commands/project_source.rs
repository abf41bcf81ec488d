//! The source tree of the application: a directory, or a Git repository that is cloned for this run.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use wheelhouse_engine::git::CommandCredentials;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Error, Kind, Result};

use wheelhouse_fs::scratch::Scratch;

/// A source tree, and its clone if it is a repository.
pub(crate) struct ProjectTree {
    pub(crate) path: PathBuf,
    pub(crate) _clone: Option<Scratch>,
}

/// Finds the tree of `--source`, and clones a repository.
pub(crate) async fn find(source: &str, directory: &Path, offline: bool) -> Result<ProjectTree> {
    let path = directory.join(source);
    if path.is_dir() {
        return Ok(ProjectTree { path, _clone: None });
    }
    let Some(repository) = Repository::parse(source) else {
        let message = format!("the source `{}` is not a directory", mask(source));
        return Err(Error::new(Kind::Input, message)
            .with_hint("Pass a directory or the URL of a Git repository."));
    };
    if offline && !repository.url.starts_with("file://") {
        let message = format!(
            "the source `{}` cannot be cloned with --offline",
            mask(source)
        );
        return Err(Error::new(Kind::Fetch, message));
    }
    let clone = repository.clone().await?;
    let path = clone.path().join(repository.subdirectory);
    if !path.is_dir() {
        let message = format!("the source `{}` has no such subdirectory", mask(source));
        return Err(Error::new(Kind::Input, message));
    }
    Ok(ProjectTree {
        path,
        _clone: Some(clone),
    })
}

/// A repository: `[git+]URL[@REF][#subdirectory=DIR]`.
#[derive(Debug, PartialEq, Eq)]
struct Repository<'a> {
    url: &'a str,
    reference: Option<&'a str>,
    subdirectory: &'a str,
}

impl<'a> Repository<'a> {
    fn parse(source: &'a str) -> Option<Self> {
        let source = source.strip_prefix("git+").unwrap_or(source);
        let (source, fragment) = source.split_once('#').unwrap_or((source, ""));
        // An `@` before the path belongs to the user name.
        let path = match source.split_once("://") {
            Some((scheme, rest)) => scheme.len() + 3 + rest.find('/')?,
            None if source.starts_with("git@") => source.find(':')?,
            None => return None,
        };
        let reference = source[path..].rfind('@').map(|position| path + position);
        let subdirectory = fragment
            .split('&')
            .find_map(|part| part.strip_prefix("subdirectory="));
        Some(Self {
            url: &source[..reference.unwrap_or(source.len())],
            reference: reference.map(|position| &source[position + 1..]),
            subdirectory: subdirectory.unwrap_or_default(),
        })
    }

    /// Fetches a single commit: that of a branch, a tag or a full hash.
    async fn clone(&self) -> Result<Scratch> {
        let directory = Scratch::new()?;
        let reference = self.reference.unwrap_or("HEAD");
        let root = directory.path();
        self.git(root, &["init", "--quiet"]).await?;
        let credentials = self.credentials();
        let url = match &credentials {
            Some(credentials) => credentials.url.as_str(),
            None => self.url,
        };
        let fetch = ["fetch", "--quiet", "--depth", "1", "--", url, reference];
        self.git(root, &fetch).await?;
        self.git(root, &["checkout", "--quiet", "FETCH_HEAD"])
            .await?;
        let submodules = [
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth",
            "1",
        ];
        if root.join(".gitmodules").is_file() {
            self.git(root, &submodules).await?;
        }
        Ok(directory)
    }

    /// Returns the credentials of the URL, which would be visible to all users as an argument.
    fn credentials(&self) -> Option<CommandCredentials> {
        CommandCredentials::of(&self.url.parse().ok()?)
    }

    async fn git(&self, root: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("git");
        command.arg("-C").arg(root);
        if let Some(credentials) = self.credentials() {
            let config = credentials.config.iter();
            command.args(config.flat_map(|config| ["-c", config]));
            command.envs(credentials.variables);
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // A prompt would block a run without a user.
        command.env("GIT_TERMINAL_PROMPT", "0");
        let failed = || format!("failed to clone the source `{}`", mask(self.url));
        let output = command.output().await.context(Kind::Input, || {
            format!("{}: the program `git` cannot be run", failed())
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::new(Kind::Fetch, failed())
            .with_detail(mask(&said))
            .with_hint("Append `@` and a branch, a tag or the full hash of a commit to the URL."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(source: &str) -> Option<(&str, Option<&str>, &str)> {
        let Repository {
            url,
            reference,
            subdirectory,
        } = Repository::parse(source)?;
        Some((url, reference, subdirectory))
    }

    #[test]
    fn repositories_have_references() {
        let https = "https://host/a.git";
        assert_eq!(parsed(https), Some((https, None, "")));
        assert_eq!(
            parsed("git+https://host/a.git@v1"),
            Some((https, Some("v1"), ""))
        );
        assert_eq!(
            parsed("https://u:p@host/a@feature/b#subdirectory=c"),
            Some(("https://u:p@host/a", Some("feature/b"), "c"))
        );
        assert_eq!(
            parsed("git@host:a.git@v1"),
            Some(("git@host:a.git", Some("v1"), ""))
        );
        assert_eq!(
            parsed("ssh://git@host/a.git"),
            Some(("ssh://git@host/a.git", None, ""))
        );
        assert_eq!(parsed("some/directory"), None);
    }
}
