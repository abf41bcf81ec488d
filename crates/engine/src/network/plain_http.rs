//! Servers without TLS, whose responses can be changed in transit.
//!
//! As for pip, an index over plain HTTP must be on this machine or one of the `--trusted-host` hosts. In addition, a page
//! or file served over HTTPS may not lead to another server without TLS, neither by a link nor by a redirect, and a file
//! without a digest may not come from one.

use std::str::FromStr as _;
use std::sync::Arc;

use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next};
use url::{Host, Url};
use uv_configuration::TrustedHost;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind, Result};

use super::redirect::redirect_target;
use crate::error::EngineError;

/// The `--trusted-host` hosts and the rule for all others.
#[derive(Clone, Default)]
pub(crate) struct PlainHttp {
    trusted_hosts: Arc<[TrustedHost]>,
}

impl PlainHttp {
    pub(crate) fn new(trusted_hosts: Vec<TrustedHost>) -> Self {
        Self {
            trusted_hosts: trusted_hosts.into(),
        }
    }

    /// Returns whether the host of `url` is one of the `--trusted-host` hosts.
    pub(crate) fn is_trusted(&self, url: &Url) -> bool {
        self.trusted_hosts.iter().any(|host| host.matches(url))
    }

    /// Returns whether the response of `url` can be changed in transit.
    pub(crate) fn is_exposed(&self, url: &Url) -> bool {
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        url.scheme() == "http" && !is_loopback && !self.is_trusted(url)
    }

    /// Returns an error if `url`, the location of a `subject`, is exposed.
    pub(crate) fn check(&self, subject: &str, url: &Url) -> Result<()> {
        if !self.is_exposed(url) {
            return Ok(());
        }
        let message = format!(
            "{subject} {} is at plain HTTP, and its host is not trusted",
            redacted(url.as_str())
        );
        Err(Error::new(Kind::Fetch, message).with_hint(trust_hint(url)))
    }
}

/// Returns a hint for the untrusted server of `url`.
fn trust_hint(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    format!("Use https, or pass --trusted-host {host} if the network up to there is yours.")
}

/// A middleware that rejects redirects from HTTPS to servers without TLS.
pub(crate) struct SecureRedirects(pub(crate) PlainHttp);

#[async_trait::async_trait]
impl Middleware for SecureRedirects {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let url = request.url().clone();
        let response = next.run(request, extensions).await?;
        if url.scheme() != "https" || !response.status().is_redirection() {
            return Ok(response);
        }
        let target = redirect_target(&response);
        let Some(target) = target.filter(|target| self.0.is_exposed(target)) else {
            return Ok(response);
        };
        let message = format!(
            "{} redirects to {}, which is at plain HTTP",
            redacted(url.as_str()),
            redacted(target.as_str())
        );
        let error = Error::new(Kind::Fetch, message).with_hint(trust_hint(&target));
        Err(reqwest_middleware::Error::middleware(EngineError::new(
            error,
        )))
    }
}

/// Parses the values of `--trusted-host`.
///
/// # Errors
/// A value that is not a host.
pub(crate) fn trusted_hosts(hosts: &[String]) -> Result<Vec<TrustedHost>> {
    hosts
        .iter()
        .map(|host| {
            TrustedHost::from_str(host).map_err(|_| {
                let host = host
                    .rsplit_once('@')
                    .map_or(host.as_str(), |(_, host)| host);
                let message = format!("`{host}` is not a valid host for --trusted-host");
                Error::new(Kind::Input, message).with_hint("Give HOST or HOST:PORT.")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposes_other_hosts_without_tls() {
        let trusted = ["mirror.example:8080", "trusted.example"];
        let trusted = trusted.map(|host| host.parse().unwrap());
        let rule = PlainHttp::new(trusted.into());
        let is_exposed = |url: &str| rule.is_exposed(&Url::parse(url).unwrap());
        for url in [
            "http://index.example/simple/",
            "http://mirror.example/simple/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://[::2]/",
        ] {
            assert!(is_exposed(url), "{url}");
        }
        for url in [
            "https://index.example/simple/",
            "http://mirror.example:8080/simple/",
            "http://trusted.example/",
            "http://trusted.example:81/",
            "http://localhost:3141/",
            "http://127.0.0.53/",
            "http://[::1]:8080/",
            "file:///srv/simple",
        ] {
            assert!(!is_exposed(url), "{url}");
        }
    }
}
