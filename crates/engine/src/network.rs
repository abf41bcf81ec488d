//! The HTTP clients and index locations that a request describes.

use std::path::Path;
use std::str::FromStr;

use serde_json::json;
use url::Url;
use uv_client::{BaseClientBuilder, Certificates, Connectivity};
use uv_configuration::{KeyringProviderType, TrustedHost};
use uv_distribution_types::{Index, IndexCacheControl, IndexLocations, IndexUrl, PYPI_URL};
use wheelhouse_model::error::Context as _;
use wheelhouse_model::redact::redacted;
use wheelhouse_model::request::{IndexStrategy, Indexes, Network};
use wheelhouse_model::{Error, Kind, Result};

/// The client that `network` describes, before it is told about indexes.
pub(crate) fn client_builder(network: &Network) -> Result<BaseClientBuilder<'static>> {
    let mut builder = BaseClientBuilder::default()
        .connectivity(if network.offline {
            Connectivity::Offline
        } else {
            Connectivity::Online
        })
        .with_system_certs(true)
        .retries(uv_retries(network.retries))
        .read_timeout(network.timeout)
        .connect_timeout(network.timeout.min(std::time::Duration::from_secs(15)))
        .keyring(if network.keyring {
            KeyringProviderType::Subprocess
        } else {
            KeyringProviderType::Disabled
        })
        .allow_insecure_host(trusted_hosts(&network.trusted_hosts)?);
    if let Some(path) = &network.certificate {
        builder = builder.custom_certificates(certificates(path)?);
    }
    if let Some(path) = &network.client_certificate {
        check_identity(path)?;
    }
    if let Some(proxy) = &network.proxy {
        let proxy = reqwest::Proxy::all(proxy).context(Kind::Input, || {
            format!("the proxy `{}` is no URL", redacted(proxy))
        })?;
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

/// How often uv tries again in the time that `retries` take us, or pip: it waits for two seconds, four
/// and so on between them.
fn uv_retries(retries: u32) -> u32 {
    retries.min(1).max(retries.saturating_sub(2))
}

fn trusted_hosts(hosts: &[String]) -> Result<Vec<TrustedHost>> {
    hosts
        .iter()
        .map(|host| {
            TrustedHost::from_str(host).context(Kind::Input, || {
                format!("the trusted host `{host}` is no host")
            })
        })
        .collect()
}

fn certificates(path: &Path) -> Result<Certificates> {
    Certificates::from_file(path).map_err(|error| {
        Error::new(
            Kind::Input,
            format!("failed to read the certificates in {}", path.display()),
        )
        .with_hint("Name a file of certificates in PEM format with --cert.")
        .caused_by(error)
    })
}

/// Checks that `path` has a certificate and its key; uv, which presents them, goes on without in
/// silence where it cannot read them.
fn check_identity(path: &Path) -> Result<()> {
    let failed = || {
        let path = path.display();
        format!("failed to read the client certificate in {path}")
    };
    let hint = "Name a file with a certificate and its key in PEM format with --client-cert.";
    fs_err::read(path)
        .context(Kind::Input, failed)
        .and_then(|bytes| reqwest::Identity::from_pem(&bytes).context(Kind::Input, failed))
        .map(drop)
        .map_err(|error| error.with_hint(hint))
}

/// The indexes and `--find-links` places of `indexes`, as uv wants them; with `refresh`, no page is
/// taken from the cache without asking.
pub(crate) fn locations(indexes: &Indexes, refresh: bool) -> Result<IndexLocations> {
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
        let mut index = if position == 0 {
            Index::from_index_url(url)
        } else {
            Index::from_extra_index_url(url)
        };
        index.cache_control = cache_control(index.url()).filter(|_| !refresh);
        if !indexes.ignored_error_codes.is_empty() {
            // uv's type can only be read, not made.
            index.ignore_error_codes =
                serde_json::from_value(json!(indexes.ignored_error_codes)).ok();
        }
        simple.push(index);
    }
    let images = indexes.images.iter();
    let unpacked = images.flat_map(|image| &image.wheelhouses);
    let unpacked = unpacked.map(|wheelhouse| wheelhouse.directory.display().to_string());
    let places = indexes.find_links.iter().cloned().chain(unpacked);
    let flat = places
        .map(|location| parse(&location).map(Index::from_find_links))
        .collect::<Result<Vec<_>>>()?;
    Ok(IndexLocations::new(simple, flat, indexes.no_index))
}

/// How long `PyPI` lets its answers be kept, by its own headers, which some proxies drop: pages for ten
/// minutes, files for ever. Other indexes are taken at their word.
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
    // uv takes what follows `#` in a path for a fragment.
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

/// uv's name for `strategy`.
pub(crate) fn strategy(strategy: IndexStrategy) -> uv_configuration::IndexStrategy {
    match strategy {
        IndexStrategy::BestMatch => uv_configuration::IndexStrategy::UnsafeBestMatch,
        IndexStrategy::FirstIndex => uv_configuration::IndexStrategy::FirstIndex,
        IndexStrategy::FirstMatch => uv_configuration::IndexStrategy::UnsafeFirstMatch,
    }
}
