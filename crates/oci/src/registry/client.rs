//! One repository of a registry, and how requests to it are sent.
//!
//! Responsible for authentication, retry and the wording of refusals. Never knows what an image is.

use std::sync::Arc;
use std::time::Duration;

use oci_spec::distribution::Reference;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;
use wheelhouse_types::{Error, Kind, Result};

use super::Access;
use super::auth::{Challenge, TokenRequest, challenge};
use super::credentials::Credential;
use super::http::{FailedRequest, base, client, is_loopback, read_body, token_client};
use wheelhouse_fs::interruption::blocking;

/// How much of a refusal is read, in bytes.
const LARGEST_REFUSAL: u64 = 64 << 10;

/// A repository of a registry.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<RegistryInner>,
}

struct RegistryInner {
    client: Client,
    /// `https://host/`
    base: Url,
    reference: Reference,
    credential: Option<Credential>,
    scopes: Vec<String>,
    /// The value of the header, once a challenge was answered.
    authorization: Mutex<Option<HeaderValue>>,
    access: Access,
    kind: Kind,
}

/// What is done with a repository.
#[derive(Clone, Debug)]
pub enum Purpose {
    Pull,
    /// With the repositories that blobs are mounted from.
    Push {
        from: Vec<String>,
    },
}

impl Registry {
    /// Opens the repository of `reference`.
    ///
    /// # Errors
    /// [`Kind::Input`] for credentials or certificates that cannot be read; else the registry
    /// cannot be reached.
    pub async fn open(reference: &Reference, access: &Access, purpose: Purpose) -> Result<Self> {
        let kind = match purpose {
            Purpose::Pull => Kind::Fetch,
            Purpose::Push { .. } => Kind::Publish,
        };
        if access.offline {
            let message = format!("docker://{reference} cannot be reached with --offline");
            return Err(Error::new(kind, message));
        }
        let client = client(access)?;
        let base = base(&client, reference.resolve_registry(), access, kind).await?;
        let (credentials, of) = (access.credentials.clone(), reference.clone());
        // Somebody's program may be asked.
        let credential = blocking(move || credentials.find(&of)).await?;
        Ok(Self {
            shared: Arc::new(RegistryInner {
                client,
                base,
                credential,
                scopes: scopes(reference.repository(), &purpose),
                reference: reference.clone(),
                authorization: Mutex::default(),
                access: access.clone(),
                kind,
            }),
        })
    }

    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.shared.reference
    }

    /// What failures of this use of the registry are.
    pub(super) fn kind(&self) -> Kind {
        self.shared.kind
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The URL of `path` in the repository, `blobs/sha256:...`.
    pub(super) fn url(&self, path: &str) -> Url {
        let repository = self.shared.reference.repository();
        let url = self.shared.base.join(&format!("v2/{repository}/{path}"));
        url.expect("names of repositories are parts of URLs")
    }

    /// Where a `ImageLocation` of the registry leads.
    pub(super) fn location_url(&self, response: &Response) -> Result<Url> {
        let location = response.headers().get(reqwest::header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let url = location.and_then(|location| response.url().join(location).ok());
        url.ok_or_else(|| self.error("the registry does not say where to upload"))
    }

    pub(super) fn error(&self, message: &str) -> Error {
        Error::new(
            self.kind(),
            format!("docker://{}: {message}", self.shared.reference),
        )
    }

    /// Sends the request that `make` makes until it is answered, with authentication, and as often
    /// as retry goes.
    pub(super) async fn send(&self, make: impl Fn() -> RequestBuilder) -> Result<Response> {
        let mut failures = 0;
        loop {
            let failed = match FailedRequest::classify(self.send_authorized(&make).await?) {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            failures += 1;
            self.pause(*failed, failures).await?;
        }
    }

    /// Waits before the next try, when `failed` was the last of so many `failures`.
    ///
    /// # Errors
    /// What failed, when there is no other try.
    pub(super) async fn pause(&self, failed: FailedRequest, failures: u32) -> Result<()> {
        let paused = failed.pause(failures, &self.shared.access).await;
        paused.map_err(|(message, hint)| {
            let error = self.error(&message);
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })
    }

    /// The time for which the registry may be silent.
    pub(super) fn timeout(&self) -> Duration {
        self.shared.access.timeout
    }

    /// Sends a request once; a second time if it has to be authenticated first.
    pub(super) async fn send_authorized(
        &self,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<Result<Response, reqwest::Error>> {
        let known = self.shared.authorization.lock().await.clone();
        let response = match self.authorized(make(), known.as_ref()).await {
            // Nobody whom the registry redirects to may ask for its credentials.
            Ok(response)
                if response.status() == StatusCode::UNAUTHORIZED && self.is_own(response.url()) =>
            {
                response
            }
            other => return Ok(other),
        };
        let Some(challenge) = challenge(response.headers()) else {
            return Ok(Ok(response));
        };
        let fresh = self.answer(challenge, known.as_ref()).await?;
        Ok(self.authorized(make(), fresh.as_ref()).await)
    }

    async fn authorized(
        &self,
        request: RequestBuilder,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, reqwest::Error> {
        let mut request = request.build()?;
        // A registry may send an upload elsewhere; its credentials stay here.
        if let Some(authorization) = authorization
            && self.is_own(request.url())
        {
            request
                .headers_mut()
                .insert(AUTHORIZATION, authorization.clone());
        }
        self.shared.client.execute(request).await
    }

    /// Whether `url` is at the registry itself.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.shared.base.origin()
    }

    /// Answers a challenge, unless another request has done so since `refused` was tried.
    async fn answer(
        &self,
        challenge: Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let mut authorization = self.shared.authorization.lock().await;
        if authorization.as_ref() != refused {
            return Ok(authorization.clone());
        }
        let value = match challenge {
            Challenge::Basic => match &self.shared.credential {
                Some(Credential::Password { user, password }) => basic(user, password),
                _ => return Ok(None),
            },
            Challenge::Bearer { realm, service } => {
                format!("Bearer {}", self.token(&realm, service).await?)
            }
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| self.error("the credential cannot be sent"))?;
        value.set_sensitive(true);
        *authorization = Some(value.clone());
        Ok(Some(value))
    }

    async fn token(&self, realm: &str, service: Option<String>) -> Result<String> {
        let access = &self.shared.access;
        let may_be_plain = |realm: &Url| access.insecure || is_loopback(realm);
        let realm = Url::parse(realm).ok();
        let realm = realm.filter(|realm| match realm.scheme() {
            "http" => self.shared.base.scheme() == "http" && may_be_plain(realm),
            scheme => scheme == "https",
        });
        let realm = realm.ok_or_else(|| self.error("it wants tokens from a server without TLS"))?;
        let request = TokenRequest {
            client: &token_client(access)?,
            timeout: access.timeout,
            realm,
            service,
            scopes: &self.shared.scopes,
            credential: self.shared.credential.as_ref(),
        };
        request.send(self.kind()).await
    }

    /// The response if it is a success, else the refusal in words.
    pub(super) async fn ensure_success(&self, response: Response, what: &str) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = read_body(response, LARGEST_REFUSAL, self.timeout()).await;
        let said = said.unwrap_or_default();
        let error = self.error(&format!("{what} was refused: {status}{}", reason(&said)));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => error.with_hint(format!(
                "Log in with `docker login {0}`, `podman login {0}` or `skopeo login {0}`, or name a file of credentials with --authfile.",
                self.shared.reference.registry()
            )),
            StatusCode::NOT_FOUND => error.with_hint("Check the name and the tag of the image."),
            _ => error,
        })
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

fn scopes(repository: &str, purpose: &Purpose) -> Vec<String> {
    match purpose {
        Purpose::Pull => vec![format!("repository:{repository}:pull")],
        Purpose::Push { from } => {
            let own = format!("repository:{repository}:pull,push");
            let from = from.iter().map(|from| format!("repository:{from}:pull"));
            std::iter::once(own).chain(from).collect()
        }
    }
}

/// What a registry says of a refusal (OCI distribution specification, error codes).
fn reason(said: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(said).unwrap_or_default();
    let first = &said["errors"][0];
    let text = first["message"].as_str().filter(|text| !text.is_empty());
    match text.or(first["code"].as_str()) {
        Some(text) => format!(
            " ({})",
            wheelhouse_archive::safe_path::escape_for_display(text)
        ),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_contains_message_of_registry() {
        let said = br#"{"errors": [{"code": "DENIED", "message": "not yours"}]}"#;
        assert_eq!(reason(said), " (not yours)");
        assert_eq!(reason(b"<html>"), "");
    }
}
