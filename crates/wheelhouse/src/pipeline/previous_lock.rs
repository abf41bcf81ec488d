//! Reads the lock that an earlier run left in the output, and identifies the request that it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::requirement::{self, Named};
use wheelhouse_types::{
    Error, Kind, Lock, PackageName, Request, Result, Sha256, Source, Version, pylock,
};

use super::local_trees::{TreeReader, TreeState};
use super::lock_policy::LockPolicy;
use wheelhouse_fs::input;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::Store;

/// Reads the lock at `path` in `output`, unless `policy` ignores it.
///
/// The output may come from a checkout or from another machine, so its lock could name any files. A lock that `store` has no
/// record of therefore never answers a request: its versions are preferred, and the indexes are asked for their files. With
/// `--frozen` the user asks for exactly this lock, so it is trusted.
///
/// # Errors
/// When the lock cannot be read, or `policy` requires it and it is not valid.
pub(super) fn read(
    store: &Store,
    output: &Path,
    path: &Path,
    policy: &LockPolicy,
    warn: impl Fn(String),
) -> Result<Option<Lock>> {
    if *policy == LockPolicy::Upgrade {
        return Ok(None);
    }
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let message = format!("{} cannot be the output", output.display());
            return Err(Error::new(Kind::Publish, message)
                .with_hint("Name another directory with --output.")
                .caused_by(error));
        }
        Err(error) => {
            return Err(Error::new(Kind::Input, "failed to read the lock")
                .with_hint("Move it away, or name another directory with --output.")
                .caused_by(error));
        }
    };
    match pylock::read(&text, output, &mut |_| Some(0), &mut |_| true) {
        Ok(lock) if *policy == LockPolicy::Frozen || store.has_lock(text.as_bytes()) => {
            Ok(Some(lock))
        }
        Ok(lock) => {
            warn(format!(
                "{} was not written with this cache: its versions are preferred, and their files are looked up again",
                path.display()
            ));
            let request = String::new();
            Ok(Some(Lock { request, ..lock }))
        }
        Err(error) if *policy == LockPolicy::Frozen => {
            Err(error).context(Kind::Input, || format!("{} is not valid", path.display()))
        }
        Err(error) => {
            warn(format!(
                "{} is not valid and is replaced: {}",
                path.display(),
                error.display_chain()
            ));
            Ok(None)
        }
    }
}

/// Returns the versions that the lock at `path` in `output` pins, or `None` without a valid lock.
pub(super) fn versions(output: &Path, path: &Path) -> Option<Vec<(PackageName, Version)>> {
    let text = read_text(path).ok()?;
    pylock::summarize(&text, output).ok().map(|it| it.versions)
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(input::read_regular(path)?).map_err(io::Error::other)
}

/// Returns the error of a run with `--frozen` whose request the lock at `path` does not answer.
pub(super) fn not_frozen(path: &Path, exists: bool) -> Error {
    let path = path.display();
    let message = if exists {
        format!("{path}, the lock of the output, was made for other requirements")
    } else {
        format!("{path}, the lock of the output, does not exist")
    };
    Error::new(Kind::Resolution, message).with_hint(
        "Run once without --frozen, which repeats an earlier build. Versions from `wheelhouse lock` are used in any case.",
    )
}

/// Returns the packages that the last resolution of the same request chose, so that their index pages
/// are requested at once.
pub(super) fn package_hints(store: &Store, fingerprint: &str) -> Vec<PackageName> {
    let text = fs_err::read_to_string(hints_path(store, fingerprint)).unwrap_or_default();
    text.lines().filter_map(|name| name.parse().ok()).collect()
}

/// Saves the packages of `lock` for [`package_hints`].
pub(super) fn save_package_hints(store: &Store, fingerprint: &str, lock: &Lock) {
    let names = lock.packages.iter().map(|package| package.name.to_string());
    let names: Vec<String> = names.collect();
    let path = hints_path(store, fingerprint);
    // Without hints the next run is only slower.
    let _ = path.parent().map(fs_err::create_dir_all);
    let _ = fs_err::write(path, names.join("\n"));
}

fn hints_path(store: &Store, fingerprint: &str) -> PathBuf {
    store.root().join("expected-v1").join(fingerprint)
}

/// Returns the digest that a lock records of the request with this `fingerprint`.
///
/// It includes the digests of the local trees that the lock pins: dependencies of local trees may be
/// local trees, too, which the request does not name.
pub(super) fn lock_digest(fingerprint: &str, trees: &BTreeSet<Option<Sha256>>) -> String {
    if trees.is_empty() {
        return fingerprint.to_owned();
    }
    Sha256::of(format!("{fingerprint} {trees:?}").as_bytes()).to_string()
}

/// Digests the local trees and files that requirements name. Returns the digests of their contents by the texts of the
/// requirements, and those of their whole states by path.
pub(super) async fn local_digests(
    request: &Request,
    reader: &TreeReader,
) -> Result<(BTreeMap<String, Sha256>, BTreeMap<PathBuf, Sha256>)> {
    let (mut by_text, mut by_path) = (BTreeMap::new(), BTreeMap::new());
    let lines = [
        &request.requirements,
        &request.constraints,
        &request.overrides,
    ];
    for requirement in lines.into_iter().flatten() {
        let Some(path) = local_path(requirement) else {
            continue;
        };
        let state = if path.is_dir() {
            reader.state(&path).await?
        } else {
            let contents = file_digest(path.clone()).await?;
            TreeState {
                contents,
                whole: contents,
            }
        };
        by_text.insert(requirement.text.clone(), state.contents);
        by_path.insert(path, state.whole);
    }
    Ok((by_text, by_path))
}

/// Returns the paths of the local trees that `lock` pins.
pub(super) fn trees(lock: &Lock) -> Vec<PathBuf> {
    let trees = lock
        .packages
        .iter()
        .filter_map(|package| match &package.source {
            Source::Tree { path } => Some(path.clone()),
            _ => None,
        });
    trees.collect()
}

/// Returns the existing file or directory that `requirement` names.
fn local_path(requirement: &Requirement) -> Option<PathBuf> {
    let (reference, is_named) = reference(&requirement.text);
    let looks_like_path = is_named || reference.contains('/') || reference.starts_with('.');
    let path = match Url::parse(reference) {
        Ok(url) if url.scheme() == "file" => file_of_url(reference, &requirement.base)?,
        Err(_) if looks_like_path => {
            let whole = requirement.base.join(reference);
            let without_extras = reference.rsplit_once('[').map(|(path, _)| path);
            match without_extras {
                Some(path) if !whole.exists() => requirement.base.join(path),
                _ => whole,
            }
        }
        Ok(_) | Err(_) => return None,
    };
    path.exists().then(|| path.components().collect())
}

/// Returns the path or URL in a requirement, and whether a package name precedes it.
fn reference(text: &str) -> (&str, bool) {
    let (text, is_named) = match (requirement::named(text), text.split_once('@')) {
        (Named::Direct(..), Some((_, reference))) => (reference, true),
        _ => (text, false),
    };
    (text.split(" ;").next().unwrap_or(text).trim(), is_named)
}

/// Returns the path of a `file` URL, which may be relative to `base`.
fn file_of_url(url: &str, base: &Path) -> Option<PathBuf> {
    let base = Url::from_directory_path(base).ok();
    let url = Url::options().base_url(base.as_ref()).parse(url).ok()?;
    url.to_file_path().ok()
}

async fn file_digest(path: PathBuf) -> Result<Sha256> {
    blocking(move || {
        let failed = || format!("failed to read {}", path.display());
        let mut file = fs_err::File::open(&path).context(Kind::Input, failed)?;
        let (digest, _) = wheelhouse_fs::digest::sha256(&mut file).context(Kind::Input, failed)?;
        Ok(digest)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_digest_depends_on_local_trees() {
        let digest = |texts: &[&str]| {
            let digests = texts.iter().map(|text| Some(Sha256::of(text.as_bytes())));
            lock_digest("request", &digests.collect())
        };
        assert_eq!(digest(&[]), "request");
        assert_eq!(digest(&["a", "b"]), digest(&["b", "a"]));
        assert_ne!(digest(&["a", "b"]), digest(&["a", "c"]));
    }

    #[test]
    fn recognizes_local_requirements() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("tree")).unwrap();
        let path = |text: &str| {
            local_path(&Requirement {
                text: text.to_owned(),
                base: directory.path().to_owned(),
                ..Requirement::default()
            })
        };
        let tree = Some(directory.path().join("tree"));
        assert_eq!(path("./tree"), tree);
        assert_eq!(path("./tree[extra]"), tree);
        let url = Url::from_directory_path(directory.path().join("tree")).unwrap();
        for text in [
            format!("name @ {url}"),
            format!("name@{url}"),
            format!("name @{url}"),
            format!("name@ {url} ; python_version > '2'"),
            format!("name[extra]@{url}#egg=name"),
            "name @ file:tree".to_owned(),
            "name @ ./tree".to_owned(),
            "name@tree ; python_version > '2'".to_owned(),
        ] {
            assert_eq!(path(&text), tree, "{text}");
        }
        assert_eq!(path("tree"), None);
        assert_eq!(path("https://example.org/x.whl"), None);
        assert_eq!(path("name@https://example.org/x.whl"), None);
        std::fs::create_dir(directory.path().join("at @ tree")).unwrap();
        let tree = Some(directory.path().join("at @ tree"));
        assert_eq!(path("./at @ tree"), tree);
    }
}
