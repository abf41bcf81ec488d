//! Credentials of registries, read from the files and helpers of docker and podman. They are not stored anywhere.

use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use fs_err::File;
use oci_spec::distribution::Reference;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

/// The key of Docker Hub in credential files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The text that a credential helper prints if it has no credential for a registry.
const NOT_FOUND: &str = "not found";

/// The files that are searched for credentials.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A file that the user names. It must exist, and no other file is searched.
    pub auth_file: Option<PathBuf>,
    /// The files of podman and docker in search order. Missing files are skipped.
    pub default_files: Vec<PathBuf>,
}

/// A credential for one registry.
#[derive(Clone)]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token (OAuth 2).
    Identity(String),
}

impl Credentials {
    /// Finds the credential of the repository of `reference`, or that of its registry.
    ///
    /// # Errors
    /// [`Kind::Input`] if a file cannot be read or a credential helper fails.
    pub fn find(&self, reference: &Reference) -> Result<Option<Credential>> {
        if let Some(path) = &self.auth_file {
            return look_up(path, &lookup_keys(reference));
        }
        for path in self.default_files.iter().filter(|path| path.is_file()) {
            if let Some(credential) = look_up(path, &lookup_keys(reference))? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Returns the keys under which a credential may be stored, the most specific first (containers-auth.json(5)).
fn lookup_keys(reference: &Reference) -> Vec<String> {
    let mut path = format!("{}/{}", reference.registry(), reference.repository());
    let mut keys = vec![path.clone()];
    while let Some((shorter, _)) = path.rsplit_once('/') {
        path = shorter.to_owned();
        keys.push(path.clone());
    }
    if reference.registry() == "docker.io" {
        keys.push(DOCKER_HUB.to_owned());
    }
    keys
}

fn look_up(path: &std::path::Path, keys: &[String]) -> Result<Option<Credential>> {
    let failed = || format!("failed to read the credentials in {}", path.display());
    for key in keys {
        let file = File::open(path).context(Kind::Input, failed)?;
        match get_credential_from_reader(std::io::BufReader::new(file), key) {
            Ok(DockerCredential::IdentityToken(token)) => {
                return Ok(Some(Credential::Identity(token)));
            }
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(Credential::Password { user, password }));
            }
            // The protocol of helpers has no status for a missing credential but this text on standard output.
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::ConfigNotFound,
            ) => {}
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains(NOT_FOUND) => {}
            Err(error) => return Err(helper_error(&error, path, key)),
        }
    }
    Ok(None)
}

/// Creates the error of a failed lookup without the output of the helper, which may contain secrets.
fn helper_error(error: &CredentialRetrievalError, path: &std::path::Path, key: &str) -> Error {
    let what = match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => {
            format!("`{helper}` failed for `{key}`")
        }
        CredentialRetrievalError::HelperCommunicationError => {
            format!("failed to run the credential helper for `{key}`")
        }
        other => other.to_string(),
    };
    let message = format!(
        "failed to read the credentials in {}: {what}",
        path.display()
    );
    Error::new(Kind::Input, message).with_hint(
        "Log in again with `docker login` or `podman login`, or pass another file with --authfile.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, image: &str) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        fs_err::write(&path, file).unwrap();
        let credentials = Credentials {
            auth_file: None,
            default_files: vec![directory.path().join("absent.json"), path],
        };
        let credential = credentials.find(&image.parse().unwrap()).unwrap()?;
        Some(match credential {
            Credential::Password { user, password } => format!("{user}:{password}"),
            Credential::Identity(token) => token,
        })
    }

    #[test]
    fn selects_most_specific_credential() {
        // `me:secret` and `you:hidden`.
        let file = r#"{"auths": {
            "host:5000": {"auth": "bWU6c2VjcmV0"},
            "host:5000/acme": {"auth": "eW91OmhpZGRlbg=="},
            "https://index.docker.io/v1/": {"identitytoken": "token", "auth": ""}
        }}"#;
        let of = |image| found(file, image);
        assert_eq!(of("host:5000/acme/wheels").as_deref(), Some("you:hidden"));
        assert_eq!(of("host:5000/other").as_deref(), Some("me:secret"));
        assert_eq!(of("wheels").as_deref(), Some("token"));
        assert_eq!(of("elsewhere.example/wheels"), None);
    }

    #[test]
    fn given_credential_file_must_exist() {
        let credentials = Credentials {
            auth_file: Some("/nowhere/auth.json".into()),
            default_files: Vec::new(),
        };
        let error = credentials
            .find(&"host/a".parse().unwrap())
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/auth.json"));
    }
}
