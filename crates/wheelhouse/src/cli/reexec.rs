//! Replaces the process with itself if environment variables must change.
//!
//! uv reads `SSL_CLIENT_CERT` and the proxy variables, and Git reads `GIT_SSL_CAINFO`, from the
//! environment of the process, which cannot be changed safely once threads run. The new process has
//! the same command line and the changed variables, and continues because nothing is left to change.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use wheelhouse_types::{Error, Kind, Result};

use wheelhouse_config::{Environment, Settings};

const CLIENT_CERTIFICATE: &str = "SSL_CLIENT_CERT";
const CERTIFICATE_FOR_GIT: &str = "GIT_SSL_CAINFO";
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// A variable to set, or to unset.
type Change = (String, Option<OsString>);

/// Continues if the variables match `settings`; otherwise replaces the process.
pub(crate) fn with_variables_of(settings: &Settings, environment: &Environment) -> Result<()> {
    with(changes(settings, environment))
}

/// Continues if all of `variables` are set, to any value; otherwise replaces the process, with the
/// missing ones set.
pub(crate) fn with_missing(
    variables: Vec<(String, String)>,
    environment: &Environment,
) -> Result<()> {
    let missing = variables
        .into_iter()
        .filter(|(name, _)| environment.get(name).is_none());
    with(
        missing
            .map(|(name, value)| (name, Some(value.into())))
            .collect(),
    )
}

fn with(changes: Vec<Change>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let failed = |error: io::Error| {
        Error::new(Kind::Input, "failed to start again with other variables").caused_by(error)
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(std::env::args_os().skip(1));
    for (name, value) in changes {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Err(failed(command.exec()))
}

fn changes(settings: &Settings, environment: &Environment) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(certificate) = &settings.client_certificate
        && environment.get(CLIENT_CERTIFICATE) != certificate.to_str()
    {
        let certificate = certificate.clone().into_os_string();
        changes.push((CLIENT_CERTIFICATE.to_owned(), Some(certificate)));
    }
    if let Some(certificate) = &settings.certificate
        && environment.get(CERTIFICATE_FOR_GIT).is_none()
    {
        let certificate = certificate.clone().into_os_string();
        changes.push((CERTIFICATE_FOR_GIT.to_owned(), Some(certificate)));
    }
    if settings.no_proxy_env {
        let set = PROXIES
            .into_iter()
            .filter(|name| environment.get(name).is_some());
        changes.extend(set.map(|name| (name.to_owned(), None)));
    }
    changes
}
