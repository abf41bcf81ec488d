//! The settings of the HTTP clients and the index locations of a request.

use std::path::Path;
use std::time::Duration;

use http::header::ACCEPT;
use reqwest::Request;
use serde_json::json;
use url::Url;
use uv_client::{BaseClientBuilder, Certificates, Connectivity};
use uv_configuration::KeyringProviderType;
use uv_distribution_types::{
    ExcludeNewerOverride, Index, IndexCacheControl, IndexLocations, IndexUrl, PYPI_URL,
};
use wheelhouse_transport::tls;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{IndexStrategy, Indexes, Network};
use wheelhouse_types::{Error, Kind, Result};

use super::plain_http::{self, PlainHttp};

/// Returns the builder of a client with the settings of `network`, without indexes.
pub(crate) fn client_builder(network: &Network) -> Result<BaseClientBuilder<'static>> {
    let mut builder = BaseClientBuilder::default()
        .connectivity(if network.offline {
            Connectivity::Offline
        } else {
            Connectivity::Online
        })
        .with_system_certs(true)
        .retries(network.retries)
        // The middleware `Retries` waits.
        .no_retry_delay(true)
        .read_timeout(network.timeout)
        .connect_timeout(connect_timeout(network))
        .keyring(if network.keyring {
            KeyringProviderType::Subprocess
        } else {
            KeyringProviderType::Disabled
        })
        .allow_insecure_host(plain_http::trusted_hosts(&network.trusted_hosts)?);
    if let Some(path) = &network.client_certificate {
        // uv presents it, but silently ignores a file that it cannot read.
        identity(path)?;
    }
    // uv has a second client for trusted hosts, but uses a custom one for all hosts.
    builder = if network.trusted_hosts.is_empty() {
        let client = client(network, Certification::Checked)?;
        builder.custom_client(client.build().context(Kind::Input, no_client)?)
    } else if let Some(path) = &network.certificate {
        builder.custom_certificates(certificates(path)?)
    } else {
        builder
    };
    if let Some(proxy) = proxy(network)? {
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

/// The certificates that a client accepts.
#[derive(Clone, Copy, PartialEq)]
enum Certification {
    Checked,
    Any,
}

/// Clients that do not decode responses: some servers send `Content-Encoding` for a `.tar.gz` as published.
pub(crate) struct UndecodedHttpClients {
    pub(crate) checking: reqwest::Client,
    /// For the trusted hosts.
    pub(crate) trusting: Option<reqwest::Client>,
}

impl UndecodedHttpClients {
    pub(crate) fn open(network: &Network) -> Result<Self> {
        let trusting = !network.trusted_hosts.is_empty();
        let trusting = trusting.then(|| undecoded_client(network, Certification::Any));
        Ok(Self {
            checking: undecoded_client(network, Certification::Checked)?,
            trusting: trusting.transpose()?,
        })
    }
}

fn undecoded_client(network: &Network, certification: Certification) -> Result<reqwest::Client> {
    let builder = client(network, certification)?;
    let builder = builder.no_gzip().no_deflate().no_brotli().no_zstd();
    builder.build().context(Kind::Input, no_client)
}

fn no_client() -> String {
    "failed to set up the HTTP client".to_owned()
}

/// Returns the builder of a client as uv creates it. uv follows redirects itself.
fn client(network: &Network, certification: Certification) -> Result<reqwest::ClientBuilder> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_rustls()
        .http1_title_case_headers()
        .user_agent(concat!("wheelhouse/", env!("CARGO_PKG_VERSION")))
        .read_timeout(network.timeout)
        .pool_max_idle_per_host(20)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout(network));
    let own = network.client_certificate.as_deref();
    builder = match (certification, own) {
        (Certification::Checked, _) => {
            builder.tls_backend_preconfigured(tls(network.certificate.as_deref(), own)?)
        }
        (Certification::Any, Some(path)) => builder
            .danger_accept_invalid_certs(true)
            .identity(identity(path)?),
        (Certification::Any, None) => builder.danger_accept_invalid_certs(true),
    };
    if let Some(proxy) = proxy(network)? {
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

/// The kind of page that a request is for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum PageKind {
    /// A package's page of an index.
    Index,
    /// A `--find-links` page.
    FindLinks,
}

impl PageKind {
    /// Returns the kind of page that uv asks for with `request`, judged by its `Accept` header.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let accept = request.headers().get(ACCEPT)?.to_str().ok()?;
        if accept.contains(JSON_PAGE) {
            Some(Self::Index)
        } else {
            (accept == "text/html").then_some(Self::FindLinks)
        }
    }
}

/// The content type of index pages as JSON (PEP 691).
pub(crate) const JSON_PAGE: &str = "application/vnd.pypi.simple.v1+json";

fn proxy(network: &Network) -> Result<Option<reqwest::Proxy>> {
    let proxy = network.proxy.as_ref().map(|proxy| {
        reqwest::Proxy::all(proxy).context(Kind::Input, || {
            format!("the proxy `{}` is not a valid URL", redacted(proxy))
        })
    });
    proxy.transpose()
}

fn connect_timeout(network: &Network) -> Duration {
    network.timeout.min(Duration::from_secs(15))
}

fn certificates(path: &Path) -> Result<Certificates> {
    Certificates::from_file(path).map_err(|error| {
        Error::new(Kind::Input, unreadable(path))
            .with_hint("Name a file of certificates in PEM format with --cert.")
            .caused_by(error)
    })
}

fn unreadable(path: &Path) -> String {
    format!("failed to read the certificates in {}", path.display())
}

/// Reads the certificate and its key in `path`.
fn identity(path: &Path) -> Result<reqwest::Identity> {
    let failed = || {
        let path = path.display();
        format!("failed to read the client certificate in {path}")
    };
    let hint = "Name a file with a certificate and its key in PEM format with --client-cert.";
    fs_err::read(path)
        .context(Kind::Input, failed)
        .and_then(|bytes| reqwest::Identity::from_pem(&bytes).context(Kind::Input, failed))
        .map_err(|error| error.with_hint(hint))
}

/// Converts the indexes and `--find-links` locations for uv. With `refresh`, cached pages are revalidated.
pub(crate) fn locations(
    indexes: &Indexes,
    network: &Network,
    refresh: bool,
) -> Result<IndexLocations> {
    let plain_http = PlainHttp::new(plain_http::trusted_hosts(&network.trusted_hosts)?);
    let mut simple = Vec::new();
    let default = [PYPI_URL.to_string()];
    let named: Vec<String> = indexes.urls.iter().map(ToString::to_string).collect();
    let urls = if named.is_empty() {
        &default[..]
    } else {
        &named[..]
    };
    for (position, url) in urls.iter().enumerate() {
        let url = parse(url)?;
        if !indexes.no_index && !network.offline {
            plain_http.check("the index", url.url())?;
        }
        let mut index = if position == 0 {
            Index::from_index_url(url)
        } else {
            Index::from_extra_index_url(url)
        };
        index.cache_control = cache_control(index.url()).filter(|_| !refresh);
        if !indexes.ignored_error_codes.is_empty() {
            // uv's type has no constructor.
            index.ignore_error_codes =
                serde_json::from_value(json!(indexes.ignored_error_codes)).ok();
        }
        // Local pages have no upload times; pip ignores the limit for them.
        if index.url().url().scheme() == "file" {
            index.exclude_newer = Some(ExcludeNewerOverride::Disabled);
        }
        simple.push(index);
    }
    let images = indexes.images.iter();
    let unpacked = images.flat_map(|image| &image.wheelhouses);
    let unpacked = unpacked.map(|wheelhouse| wheelhouse.directory.display().to_string());
    let places = indexes.find_links.iter().cloned().chain(unpacked);
    let flat = places
        .map(|location| {
            let url = parse(&location)?;
            if !network.offline {
                plain_http.check("the --find-links place", url.url())?;
            }
            Ok(Index::from_find_links(url))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(IndexLocations::new(simple, flat, indexes.no_index))
}

/// Returns the caching headers of `PyPI`, which some proxies drop: ten minutes for pages, no limit for files. For other
/// indexes, their own headers apply.
fn cache_control(url: &IndexUrl) -> Option<IndexCacheControl> {
    if url.url().host_str() != PYPI_URL.host_str() {
        return None;
    }
    serde_json::from_value(json!({
        "api": "max-age=600",
        "files": "max-age=365000000, immutable",
    }))
    .ok()
}

pub(crate) fn parse(location: &str) -> Result<IndexUrl> {
    // uv treats the part of a path after `#` as a fragment.
    let url = (location.starts_with('/') && location.contains('#'))
        .then(|| Url::from_file_path(location).ok())
        .flatten();
    let url = url.map(String::from);
    IndexUrl::parse(url.as_deref().unwrap_or(location), None).context(Kind::Input, || {
        format!(
            "the index `{}` is neither a URL nor a path",
            redacted(location)
        )
    })
}

/// Converts `strategy` for uv.
pub(crate) fn strategy(strategy: IndexStrategy) -> uv_configuration::IndexStrategy {
    match strategy {
        IndexStrategy::BestMatch => uv_configuration::IndexStrategy::UnsafeBestMatch,
        IndexStrategy::FirstIndex => uv_configuration::IndexStrategy::FirstIndex,
        IndexStrategy::FirstMatch => uv_configuration::IndexStrategy::UnsafeFirstMatch,
    }
}
