//! The HTTP clients and index locations that a request describes.

use std::path::Path;
use std::str::FromStr;

use uv_client::{BaseClientBuilder, Certificates, Connectivity};
use uv_configuration::{KeyringProviderType, TrustedHost};
use uv_distribution_types::{Index, IndexLocations, IndexUrl};
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
        .retries(network.retries)
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
    if let Some(proxy) = &network.proxy {
        let proxy = reqwest::Proxy::all(proxy)
            .context(Kind::Input, || format!("the proxy `{}` is no URL", redacted(proxy)))?;
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

fn trusted_hosts(hosts: &[String]) -> Result<Vec<TrustedHost>> {
    hosts
        .iter()
        .map(|host| {
            TrustedHost::from_str(host)
                .context(Kind::Input, || format!("the trusted host `{host}` is no host"))
        })
        .collect()
}

fn certificates(path: &Path) -> Result<Certificates> {
    Certificates::from_file(path).map_err(|error| {
        Error::new(
            Kind::Input,
            format!("failed to read the certificates in {}", path.display()),
        )
        .with_hint("Name a file of certificates in PEM format with --cert or PIP_CERT.")
        .caused_by(error)
    })
}

/// The indexes and `--find-links` places of `indexes`, as uv wants them.
pub(crate) fn locations(indexes: &Indexes) -> Result<IndexLocations> {
    let mut simple = Vec::new();
    for (position, url) in indexes.urls.iter().enumerate() {
        let url = parse(url.as_str())?;
        simple.push(if position == 0 {
            Index::from_index_url(url)
        } else {
            Index::from_extra_index_url(url)
        });
    }
    // uv gives earlier extra indexes priority over the main one; pip has no order at all.
    let main_index_last = usize::from(simple.len() > 1);
    simple.rotate_left(main_index_last);
    let flat = indexes
        .find_links
        .iter()
        .map(|location| parse(location).map(Index::from_find_links))
        .collect::<Result<Vec<_>>>()?;
    Ok(IndexLocations::new(simple, flat, indexes.no_index))
}

fn parse(location: &str) -> Result<IndexUrl> {
    IndexUrl::parse(location, None).context(Kind::Input, || {
        format!("the index `{}` is neither a URL nor a path", redacted(location))
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
