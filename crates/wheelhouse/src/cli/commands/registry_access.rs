//! The settings for accessing registries, docker and podman.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wheelhouse_types::retry::RetryNotices;

use crate::cli::args::RegistryOptions;
use crate::cli::process_env::ProcessEnv;
use wheelhouse_config::Settings;
use wheelhouse_oci::registry::{Access, Credentials};

/// The default socket of docker.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Combines the options and the environment for accessing registries.
pub(crate) fn access(
    options: &RegistryOptions,
    settings: &Settings,
    process: &ProcessEnv,
    notices: RetryNotices,
) -> Access {
    let variable = |name| process.environment.get_nonempty(name).map(PathBuf::from);
    let certificates = settings
        .certificate
        .clone()
        .or_else(|| variable("SSL_CERT_FILE"));
    Access {
        credentials: credentials(options, process),
        certificates,
        insecure: options.insecure,
        timeout: settings.timeout,
        retries: settings.retries,
        notices,
        proxy: settings.proxy.clone(),
        offline: settings.offline,
    }
}

/// Returns the variables that configure access to buckets.
pub(crate) fn bucket_variables(process: &ProcessEnv) -> BTreeMap<String, String> {
    let prefixes = ["AWS_", "AZURE_", "GOOGLE_"];
    let is_one = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    process
        .environment
        .iter()
        .filter(|(name, _)| is_one(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the credential file of the options, or those of podman (containers-auth.json(5)) and docker.
fn credentials(options: &RegistryOptions, process: &ProcessEnv) -> Credentials {
    let variable = |name| process.environment.get_nonempty(name).map(PathBuf::from);
    let named = options
        .authfile
        .clone()
        .or_else(|| variable("REGISTRY_AUTH_FILE"));
    let home = variable("HOME");
    let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let runtime =
        variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    let configuration = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let usual = [
        runtime,
        configuration.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ];
    Credentials {
        auth_file: named.map(|path| process.directory.join(path)),
        default_files: usual.into_iter().flatten().collect(),
    }
}

/// Returns the socket of docker or podman. A `DOCKER_HOST` without a socket is returned unchanged and fails when opened.
pub(crate) fn socket(process: &ProcessEnv) -> PathBuf {
    let host = process.environment.get_nonempty("DOCKER_HOST");
    let host = host.unwrap_or(DOCKER_SOCKET);
    host.strip_prefix("unix://").unwrap_or(host).into()
}
