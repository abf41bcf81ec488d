//! Authentication at registries: challenges and token requests.

use std::time::Duration;

use http_auth::parser::ChallengeParser;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;
use wheelhouse_transport::Unreachable;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::credentials::Credential;
use super::http::{read_body, unreached};

/// The maximum size of the response of a token server, in bytes.
const MAX_TOKEN_RESPONSE: u64 = 1 << 20;

/// An authentication scheme that a registry requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// Parses the challenge of a response. Bearer tokens are preferred over basic authentication.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(reqwest::header::WWW_AUTHENTICATE);
    let mut basic = None;
    for value in values.iter().filter_map(|value| value.to_str().ok()) {
        for challenge in ChallengeParser::new(value).filter_map(Result::ok) {
            let parameter = |name: &str| {
                let found = challenge
                    .params
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let service = parameter("service");
                return Some(Challenge::Bearer {
                    realm: parameter("realm")?,
                    service,
                });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
}

/// Parses the body of a response to a token request. It may contain no token.
pub(super) fn parse_token(body: &[u8]) -> serde_json::Result<Option<String>> {
    let response: TokenResponse = serde_json::from_slice(body)?;
    Ok(response.token.or(response.access_token))
}

/// A request for a token with `scopes`.
pub(super) struct TokenRequest<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scopes: &'a [String],
    pub(super) credential: Option<&'a Credential>,
    /// The time for which the server may be silent.
    pub(super) timeout: Duration,
}

/// The hint for rejected credentials.
pub(super) fn login_hint(registry: Option<&str>) -> String {
    let host = registry.map_or(String::new(), |registry| format!(" {registry}"));
    format!(
        "Log in with `docker login{host}`, `podman login{host}` or `skopeo login{host}`, or pass a credentials file with --authfile."
    )
}

impl TokenRequest<'_> {
    pub(super) async fn send(self, kind: Kind) -> Result<String> {
        let realm = self.realm.clone();
        let failed = || format!("failed to get a token from {realm}");
        let sent = self.request().send().await;
        let response = sent.map_err(|error| unreached(kind, &Unreachable::new(&realm, &error)))?;
        let status = response.status();
        tracing::debug!(
            host = realm.host_str(),
            status = status.as_u16(),
            "requested a token"
        );
        if !status.is_success() {
            let error = Error::new(kind, format!("{}: {status}", failed()));
            return Err(if status == 401 || status == 403 {
                error.with_hint(login_hint(None))
            } else {
                error
            });
        }
        let bytes = read_body(response, MAX_TOKEN_RESPONSE, self.timeout)
            .await
            .map_err(std::io::Error::from)
            .context(kind, failed)?;
        let token = parse_token(&bytes).context(kind, failed)?;
        token.ok_or_else(|| {
            Error::new(
                kind,
                format!("{}: the response contains no token", failed()),
            )
        })
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let scopes = self.scopes.iter().map(|scope| ("scope", scope.as_str()));
        let service = self
            .service
            .iter()
            .map(|service| ("service", service.as_str()));
        if let Some(Credential::Identity(token)) = self.credential {
            let scope = self.scopes.join(" ");
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", "wheelhouse"),
                ("scope", &scope),
            ];
            let form: Vec<_> = form.into_iter().chain(service).collect();
            return self.client.post(self.realm.clone()).form(&form);
        }
        let query: Vec<_> = service.chain(scopes).collect();
        let request = self.client.get(self.realm.clone()).query(&query);
        match self.credential {
            Some(Credential::Password { user, password }) => {
                request.basic_auth(user, Some(password))
            }
            _ => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        let value = reqwest::header::HeaderValue::from_static(value);
        headers.insert(reqwest::header::WWW_AUTHENTICATE, value);
        challenge(&headers)
    }

    #[test]
    fn parses_challenges() {
        assert_eq!(read("Basic realm=\"x\""), Some(Challenge::Basic));
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("a, b".to_owned()),
        };
        let text =
            "Basic realm=\"x\", Bearer realm=\"https://auth.example/token\",service=\"a, b\"";
        assert_eq!(read(text), Some(bearer));
        assert_eq!(read("Negotiate"), None);
    }
}
