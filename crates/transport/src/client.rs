//! HTTP clients for indexes and registries, with the certificates, proxies and redirects that users expect.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::tls;

/// The options of an HTTP client.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions<'a> {
    /// The time to wait for a connection.
    pub connect_timeout: Duration,
    /// The time to wait for the next part of a response.
    pub read_timeout: Duration,
    /// A PEM file with the certificates to trust instead of those of the system.
    pub certificates: Option<&'a Path>,
    /// True to accept all certificates.
    pub insecure: bool,
    /// The URL of a proxy, instead of those of environment variables.
    pub proxy: Option<&'a str>,
}

impl ClientOptions<'_> {
    /// Creates a client that follows redirects by the policy `redirects`, after `configure` has completed it. Bodies are
    /// not decoded: the digest of a file is that of its bytes as stored.
    ///
    /// # Errors
    /// [`Kind::Input`] if the certificates cannot be read or the proxy is not valid.
    pub fn client(
        &self,
        redirects: redirect::Policy,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client> {
        let mut builder = Client::builder()
            .user_agent(concat!("wheelhouse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .redirect(redirects)
            .no_brotli()
            .no_deflate()
            .no_gzip()
            .no_zstd();
        builder = if self.insecure {
            builder.tls_danger_accept_invalid_certs(true)
        } else {
            builder.tls_backend_preconfigured(tls(self.certificates, None)?)
        };
        if let Some(proxy) = self.proxy {
            let proxy = reqwest::Proxy::all(proxy)
                .context(Kind::Input, || "the proxy is not a valid URL".to_owned())?;
            builder = builder.proxy(proxy);
        }
        configure(builder)
            .build()
            .context(Kind::Input, || "failed to create an HTTP client".to_owned())
    }
}

/// Follows up to `limit` redirects, except from a server with TLS to one without. For other hosts, reqwest removes
/// credentials from the request.
#[must_use]
pub fn secure_redirects(limit: usize) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > limit {
            attempt.error("the server redirects too often")
        } else if secure && attempt.url().scheme() != "https" {
            attempt.error("the server redirects to a server without TLS")
        } else {
            attempt.follow()
        }
    })
}
