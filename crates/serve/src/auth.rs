//! Basic authentication (RFC 7617) against an htpasswd file with bcrypt hashes.
//!
//! The file is read again when it changes. Verified passwords are remembered as digests with a random key, because bcrypt
//! takes some 50 ms and installers send their credentials with every request.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use headers::authorization::Basic;
use headers::{Authorization, HeaderMapExt as _};
use sha2::{Digest as _, Sha256};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::served_file::FileVersion;

/// The number of verified passwords that are remembered.
const REMEMBERED: usize = 10_000;

/// The time between two checks of the file.
const CHECK: Duration = Duration::from_secs(1);

/// The name of the user who sent a request, as an extension of the response.
#[derive(Clone, Debug)]
pub(crate) struct AuthenticatedUser(pub(crate) String);

/// The users that may access the server.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    /// Random bytes of this process.
    key: [u8; 32],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hashes: Arc<BTreeMap<String, String>>,
    version: Option<FileVersion>,
    checked: Instant,
    /// Digests of credentials that were verified with these hashes.
    verified: HashSet<[u8; 32]>,
}

impl Users {
    /// Reads the users in the htpasswd file at `path`: lines `NAME:HASH` with bcrypt hashes, as `htpasswd -B` writes them.
    ///
    /// # Errors
    /// [`Kind::Input`] if the file cannot be read, has no users, or has a hash of another kind.
    pub fn read(path: &Path) -> Result<Self> {
        let version = FileVersion::of(path).ok().flatten();
        let hashes = read_hashes(path)?;
        let mut key = [0; 32];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random
            .fill(&mut key)
            .map_err(|_| Error::new(Kind::Input, "failed to get random bytes"))?;
        Ok(Self {
            path: path.to_owned(),
            key,
            state: Mutex::new(State {
                hashes: Arc::new(hashes),
                version,
                checked: Instant::now(),
                verified: HashSet::new(),
            }),
        })
    }

    /// Returns the name of the user whose credentials are in `headers`, or `None` if they are missing or wrong.
    pub(crate) async fn authenticate(self: &Arc<Self>, headers: &HeaderMap) -> Option<String> {
        let credentials = headers.typed_get::<Authorization<Basic>>()?;
        let (name, password) = (credentials.username(), credentials.password());
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update(password);
        let digest: [u8; 32] = digest.finalize().into();
        let hashes = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.refresh(&self.path);
            if state.verified.contains(&digest) {
                return Some(name.to_owned());
            }
            Arc::clone(&state.hashes)
        };
        let (user, password) = (name.to_owned(), password.to_owned());
        let known = Arc::clone(&hashes);
        let verified = tokio::task::spawn_blocking(move || {
            let hash = known.get(&user);
            // An unknown name takes as long as a wrong password.
            let hash = hash.or_else(|| known.values().next())?;
            let is_valid = bcrypt::verify(password, hash).unwrap_or(false);
            (is_valid && known.contains_key(&user)).then_some(user)
        });
        let user = verified.await.ok().flatten()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&state.hashes, &hashes) {
            if state.verified.len() >= REMEMBERED {
                state.verified.clear();
            }
            state.verified.insert(digest);
        }
        Some(user)
    }
}

impl State {
    /// Reads the file again if it has changed. An unusable file leaves the users as they are.
    fn refresh(&mut self, path: &Path) {
        if self.checked.elapsed() < CHECK {
            return;
        }
        self.checked = Instant::now();
        let version = FileVersion::of(path).ok().flatten();
        if version == self.version {
            return;
        }
        match read_hashes(path) {
            Ok(hashes) => {
                tracing::info!(users = hashes.len(), "read the users again");
                self.hashes = Arc::new(hashes);
                self.version = version;
                self.verified.clear();
            }
            Err(error) => {
                tracing::warn!(error = %error.display_chain(), "the users stay as they were");
            }
        }
    }
}

fn read_hashes(path: &Path) -> Result<BTreeMap<String, String>> {
    let failed = || format!("failed to read `{}`", path.display());
    let text = wheelhouse_fs::input::read_to_string(path).context(Kind::Input, failed)?;
    let mut hashes = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = || format!("`{}`, line {}", path.display(), number + 1);
        let Some((name, hash)) = line.split_once(':') else {
            let message = format!("{}: not a line of the form NAME:HASH", place());
            return Err(Error::new(Kind::Input, message));
        };
        if !["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|prefix| hash.starts_with(prefix))
        {
            let message = format!(
                "{}: the password of `{name}` is not hashed with bcrypt",
                place()
            );
            let hint = format!("Create it with `htpasswd -B {} {name}`.", path.display());
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
        hashes.insert(name.to_owned(), hash.to_owned());
    }
    if hashes.is_empty() {
        let message = format!("`{}` has no users", path.display());
        let hint = format!("Add one with `htpasswd -B {} NAME`.", path.display());
        return Err(Error::new(Kind::Input, message).with_hint(hint));
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `htpasswd -nbBC 4 me secret`
    fn file(lines: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        file
    }

    fn basic(name: &str, password: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.typed_insert(Authorization::basic(name, password));
        headers
    }

    #[tokio::test]
    async fn admits_users_with_their_password() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let file = file(&format!("# users\n\nme:{hash}\n"));
        let users = Arc::new(Users::read(file.path()).unwrap());
        for _ in 0..2 {
            let user = users.authenticate(&basic("me", "secret")).await;
            assert_eq!(user.as_deref(), Some("me"));
        }
        for (name, password) in [
            ("me", "wrong"),
            ("you", "secret"),
            ("", ""),
            ("mes", "ecret"),
        ] {
            let user = users.authenticate(&basic(name, password)).await;
            assert_eq!(user, None, "{name}");
        }
        assert_eq!(users.authenticate(&HeaderMap::new()).await, None);
    }

    #[test]
    fn rejects_files_without_bcrypt_hashes() {
        for (lines, expected) in [
            ("", "has no users"),
            ("me", "line 1: not a line of the form NAME:HASH"),
            (
                "\nme:$apr1$x$y",
                "line 2: the password of `me` is not hashed with bcrypt",
            ),
        ] {
            let file = file(lines);
            let error = Users::read(file.path()).unwrap_err();
            assert!(error.display_chain().contains(expected), "{error:?}");
        }
    }
}
