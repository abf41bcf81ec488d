//! The options of connections to registries.

use std::path::PathBuf;
use std::time::Duration;

use wheelhouse_types::retry::RetryNotices;

use super::credentials::Credentials;

/// The options of connections to registries.
#[derive(Clone, Debug)]
pub struct Access {
    /// The files that are searched for credentials.
    pub credentials: Credentials,
    /// A PEM file of certificates to trust instead of those of the system.
    pub certificates: Option<PathBuf>,
    /// Allows plain HTTP and untrusted certificates.
    pub insecure: bool,
    /// The time for which a server may be silent.
    pub timeout: Duration,
    /// The maximum number of retries of a request.
    pub retries: u32,
    /// Reports retries to the user.
    pub notices: RetryNotices,
    /// The URL of the proxy, if one is configured.
    pub proxy: Option<String>,
    /// Rejects all requests.
    pub offline: bool,
}
