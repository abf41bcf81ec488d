//! TLS with a certificate that is read again when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::served_file::FileVersion;

/// The time between two checks of the files.
const CHECK: Duration = Duration::from_secs(1);

/// Creates the configuration of a server with the certificate chain and the private key in two PEM files. Offers HTTP/2 and
/// HTTP/1.1 (ALPN), TLS 1.2 and 1.3.
///
/// # Errors
/// [`Kind::Input`] if a file cannot be read, or the key does not belong to the certificate.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = ReloadedCertificate::read(certificate, key, Arc::clone(&provider))?;
    let versions = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context(Kind::Input, || "failed to configure TLS".to_owned())?;
    let mut config = versions
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct ReloadedCertificate {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<CertifiedKey>,
    versions: [Option<FileVersion>; 2],
    checked: Instant,
}

impl ReloadedCertificate {
    fn read(certificate: &Path, key: &Path, provider: Arc<CryptoProvider>) -> Result<Self> {
        let versions = versions(certificate, key);
        let current = read(certificate, key, &provider)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider,
            state: Mutex::new(State {
                current: Arc::new(current),
                versions,
                checked: Instant::now(),
            }),
        })
    }

    /// Returns the certificate, after reading it again if a file has changed. Files that do not fit together, such as when only
    /// one was replaced, leave it as it is.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.checked.elapsed() >= CHECK {
            state.checked = Instant::now();
            let found = versions(&self.certificate, &self.key);
            if found != state.versions {
                match read(&self.certificate, &self.key, &self.provider) {
                    Ok(current) => {
                        tracing::info!("read the TLS certificate again");
                        state.current = Arc::new(current);
                        state.versions = found;
                    }
                    Err(error) => {
                        tracing::warn!(error = %error.display_chain(), "the TLS certificate stays as it was");
                    }
                }
            }
        }
        Arc::clone(&state.current)
    }
}

impl ResolvesServerCert for ReloadedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn versions(certificate: &Path, key: &Path) -> [Option<FileVersion>; 2] {
    [certificate, key].map(|path| FileVersion::of(path).ok().flatten())
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let failed = |path: &Path| format!("failed to read `{}`", path.display());
    let read = |path: &Path| wheelhouse_fs::input::read(path).context(Kind::Input, || failed(path));
    let chain = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.context(Kind::Input, || failed(certificate))?;
    if chain.is_empty() {
        let message = format!(
            "`{}` has no certificate in PEM format",
            certificate.display()
        );
        return Err(Error::new(Kind::Input, message));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).context(Kind::Input, || {
        format!("`{}` has no private key in PEM format", key.display())
    })?;
    CertifiedKey::from_der(chain, private, provider).context(Kind::Input, || {
        format!(
            "the key `{}` does not fit the certificate `{}`",
            key.display(),
            certificate.display()
        )
    })
}
