//! Requests to one repository of a registry: authentication, retries and error messages.

use std::sync::Arc;
use std::time::Duration;

use oci_spec::distribution::Reference;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;
use wheelhouse_archive::safe_path::escape_for_display;
use wheelhouse_types::{Error, Kind, Result};

use super::access::Access;
use super::auth::{Challenge, TokenRequest, challenge, login_hint};
use super::credentials::Credential;
use super::http::{FailedRequest, base_url, client, is_loopback, read_body, token_client};
use wheelhouse_fs::interruption::blocking;

/// The maximum size of an error response, in bytes.
const MAX_ERROR_RESPONSE: u64 = 64 << 10;

/// A client for a repository of a registry.
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
    /// The value of the `Authorization` header after the first challenge.
    authorization: Mutex<Option<HeaderValue>>,
    access: Access,
    kind: Kind,
}

/// The access to a repository that a client requests.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// Reading.
    Pull,
    /// Writing, and reading other repositories.
    Push {
        /// The repositories from which blobs are mounted.
        from: Vec<String>,
    },
    /// Reading and deleting.
    Delete,
}

impl Registry {
    /// Opens the repository of `reference`.
    ///
    /// # Errors
    /// [`Kind::Input`] if credentials or certificates cannot be read; [`Kind::Fetch`] or [`Kind::Publish`] if the registry
    /// cannot be reached.
    pub async fn open(reference: &Reference, access: &Access, purpose: Purpose) -> Result<Self> {
        let kind = match purpose {
            Purpose::Pull => Kind::Fetch,
            Purpose::Push { .. } | Purpose::Delete => Kind::Publish,
        };
        if access.offline {
            let message = format!("docker://{reference} cannot be reached with --offline");
            return Err(Error::new(kind, message));
        }
        let client = client(access)?;
        let base = base_url(&client, reference.resolve_registry(), access, kind).await?;
        let (credentials, searched) = (access.credentials.clone(), reference.clone());
        // This may run a credential helper.
        let credential = blocking(move || credentials.find(&searched)).await?;
        tracing::debug!(
            registry = reference.registry(),
            repository = reference.repository(),
            scheme = base.scheme(),
            has_credential = credential.is_some(),
            "opened a repository"
        );
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

    /// Returns the reference that this client was opened with.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.shared.reference
    }

    /// Returns the kind of errors for the purpose of this client.
    pub(super) fn kind(&self) -> Kind {
        self.shared.kind
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Returns the URL of `path` in the repository, such as `blobs/sha256:...`.
    pub(super) fn url(&self, path: &str) -> Url {
        let repository = self.shared.reference.repository();
        let url = self.shared.base.join(&format!("v2/{repository}/{path}"));
        url.expect("a repository name is a valid URL path")
    }

    /// Resolves the `Location` header of a response.
    pub(super) fn location_url(&self, response: &Response) -> Result<Url> {
        response
            .headers()
            .get(reqwest::header::LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| response.url().join(location).ok())
            .ok_or_else(|| self.error("the registry returned no upload location"))
    }

    pub(super) fn error(&self, message: &str) -> Error {
        Error::new(
            self.kind(),
            format!("docker://{}: {message}", self.shared.reference),
        )
    }

    /// Sends the request that `make` creates, with authentication and retries.
    pub(super) async fn send(&self, make: impl Fn() -> RequestBuilder) -> Result<Response> {
        let mut failures = 0;
        loop {
            let failed = match FailedRequest::classify(self.send_once(&make, failures + 1).await?) {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            failures += 1;
            self.pause(*failed, failures).await?;
        }
    }

    /// Waits before the next attempt, after `failures` failures, of which `failed` is the last.
    ///
    /// # Errors
    /// Returns the failure if the request must not be retried.
    pub(super) async fn pause(&self, failed: FailedRequest, failures: u32) -> Result<()> {
        failed
            .pause(failures, &self.shared.access)
            .await
            .map_err(|(message, hint)| {
                let error = self.error(&message);
                match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            })
    }

    /// Returns the time for which the registry may be silent.
    pub(super) fn timeout(&self) -> Duration {
        self.shared.access.timeout
    }

    /// Sends a request once, or a second time if the registry requests authentication. `attempt` is the number of this
    /// attempt.
    pub(super) async fn send_once(
        &self,
        make: impl Fn() -> RequestBuilder,
        attempt: u32,
    ) -> Result<Result<Response, reqwest::Error>> {
        let cached = self.shared.authorization.lock().await.clone();
        let response = match self.execute(make(), cached.as_ref(), attempt).await {
            // The target of a redirect must not receive the credentials of the registry.
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
        let authorization = self.authenticate(challenge, cached.as_ref()).await?;
        Ok(self.execute(make(), authorization.as_ref(), attempt).await)
    }

    async fn execute(
        &self,
        request: RequestBuilder,
        authorization: Option<&HeaderValue>,
        attempt: u32,
    ) -> Result<Response, reqwest::Error> {
        let mut request = request.build()?;
        // An upload location may be on another host, which must not receive the credentials.
        if let Some(authorization) = authorization
            && self.is_own(request.url())
        {
            request
                .headers_mut()
                .insert(AUTHORIZATION, authorization.clone());
        }
        // The path on another host, and every query, may contain secrets.
        let path = if self.is_own(request.url()) {
            request.url().path().to_owned()
        } else {
            String::new()
        };
        let (method, host) = (
            request.method().clone(),
            request.url().host_str().map(ToOwned::to_owned),
        );
        let result = self.shared.client.execute(request).await;
        let status = result
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16());
        tracing::debug!(%method, host, path, attempt, status, "sent a request");
        result
    }

    /// Returns whether `url` belongs to the registry itself.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.shared.base.origin()
    }

    /// Answers a challenge unless another request has replaced the `rejected` authorization meanwhile.
    async fn authenticate(
        &self,
        challenge: Challenge,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let mut authorization = self.shared.authorization.lock().await;
        if authorization.as_ref() != rejected {
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
            .map_err(|_| self.error("the credential is not a valid header value"))?;
        value.set_sensitive(true);
        *authorization = Some(value.clone());
        Ok(Some(value))
    }

    async fn token(&self, realm: &str, service: Option<String>) -> Result<String> {
        let access = &self.shared.access;
        let may_be_plain = |realm: &Url| access.insecure || is_loopback(realm);
        let realm = Url::parse(realm)
            .ok()
            .filter(|realm| match realm.scheme() {
                "http" => self.shared.base.scheme() == "http" && may_be_plain(realm),
                scheme => scheme == "https",
            })
            .ok_or_else(|| self.error("the registry requests a token from a server without TLS"))?;
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

    /// Returns the response if its status is a success. `what` names the requested object in the error.
    pub(super) async fn ensure_success(&self, response: Response, what: &str) -> Result<Response> {
        let accepted = self.accepted(response).await;
        accepted.map_err(|rejection| self.rejected(what, &rejection))
    }

    /// Returns the response if its status is a success, and reads it otherwise.
    pub(super) async fn accepted(&self, response: Response) -> Result<Response, Rejection> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = response.url().clone();
        let body = read_body(response, MAX_ERROR_RESPONSE, self.timeout()).await;
        Err(Rejection {
            status,
            url,
            errors: ErrorResponse::parse(&body.unwrap_or_default()),
        })
    }

    /// Creates the error for a rejected request. `what` names the requested object.
    pub(super) fn rejected(&self, what: &str, rejection: &Rejection) -> Error {
        let error = self.error(&rejection.message(what));
        match rejection.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                error.with_hint(login_hint(Some(self.shared.reference.registry())))
            }
            StatusCode::NOT_FOUND => error.with_hint("Check the name and the tag of the image."),
            StatusCode::PAYLOAD_TOO_LARGE => {
                error.caused_by(FileTooLarge).with_hint(SIZE_LIMIT_HINT)
            }
            _ => error,
        }
    }
}

/// The server does not accept a file of this size (HTTP status 413). It may accept smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not accept a file of this size")]
pub struct FileTooLarge;

/// The hint of [`FileTooLarge`].
pub const SIZE_LIMIT_HINT: &str = "Raise the limit of the server, or of the proxy before it, such as `client_max_body_size` of nginx.";

/// A response that rejects a request.
pub(super) struct Rejection {
    status: StatusCode,
    pub(super) url: Url,
    errors: ErrorResponse,
}

impl Rejection {
    /// Returns whether the registry found another digest than that of the content.
    pub(super) fn is_about_digest(&self) -> bool {
        let mut errors = self.errors.errors.iter();
        errors.any(|error| error.code.as_deref() == Some("DIGEST_INVALID"))
    }

    pub(super) fn message(&self, what: &str) -> String {
        format!(
            "the registry rejected {what}: {}{}",
            self.status,
            self.errors.message()
        )
    }
}

/// The body of a response with an error (OCI distribution specification, error codes).
#[derive(Default, Deserialize)]
pub(super) struct ErrorResponse {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: Option<String>,
    message: Option<String>,
}

impl ErrorResponse {
    /// Parses a body. One that is not valid has no errors.
    pub(super) fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Formats the first error.
    pub(super) fn message(&self) -> String {
        let text = self.errors.first().and_then(|error| {
            let message = error.message.as_deref().filter(|text| !text.is_empty());
            message.or(error.code.as_deref())
        });
        text.map_or_else(String::new, |text| {
            format!(" ({})", escape_for_display(text))
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
        Purpose::Delete => vec![format!("repository:{repository}:pull,delete")],
        Purpose::Push { from } => {
            let own = format!("repository:{repository}:pull,push");
            let from = from.iter().map(|from| format!("repository:{from}:pull"));
            std::iter::once(own).chain(from).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_contains_message_of_registry() {
        let body = br#"{"errors": [{"code": "DENIED", "message": "not yours"}]}"#;
        assert_eq!(ErrorResponse::parse(body).message(), " (not yours)");
        let body = br#"{"errors": [{"code": "DENIED", "message": null}]}"#;
        assert_eq!(ErrorResponse::parse(body).message(), " (DENIED)");
        for body in [
            &b"<html>"[..],
            b"{}",
            br#"{"errors": []}"#,
            br#"{"errors": [{}]}"#,
        ] {
            assert_eq!(ErrorResponse::parse(body).message(), "");
        }
    }
}
