//! TLS that trusts the certificates of the system, or those in a file, as `--cert` names one.
//!
//! rustls uses the latter as authorities only, and rejects a server that presents one of them itself: the self-signed
//! certificate that `openssl req -x509` creates is an authority, too. pip and curl accept it, so here a certificate of
//! the file is trusted itself, for its names and while it is valid.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

/// Returns the configuration of a client that trusts only the certificates in the file `trusted`, or else those of the
/// system, and presents the one in the file `own`.
///
/// # Errors
/// `Input` if one of the files cannot be read or has no certificate.
pub fn tls(trusted: Option<&Path>, own: Option<&Path>) -> Result<ClientConfig> {
    let verifier = trusted.map(Verifier::read).transpose()?.unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context(Kind::Input, || "failed to set up TLS".to_owned())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut configuration = match own {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unreadable = || {
                let path = path.display();
                format!("failed to read the client certificate in {path}")
            };
            let key = PrivateKeyDer::from_pem_file(path).context(Kind::Input, unreadable)?;
            let chain = certificates(path).context(Kind::Input, unreadable)?;
            builder
                .with_client_auth_cert(chain, key)
                .context(Kind::Input, unreadable)?
        }
    };
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(configuration)
}

fn certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

/// The certificates of the system cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAuthorities(rustls::Error);

/// Returns the authorities that the system trusts. All clients share them, and the first connection with TLS reads them:
/// that takes long enough to matter to a run, and a machine without networks may have none.
fn system_authorities() -> Result<&'static dyn ServerCertVerifier, rustls::Error> {
    static AUTHORITIES: LazyLock<Result<rustls_platform_verifier::Verifier, NoAuthorities>> =
        LazyLock::new(|| {
            let provider = Arc::new(aws_lc_rs::default_provider());
            rustls_platform_verifier::Verifier::new(provider).map_err(NoAuthorities)
        });
    match &*AUTHORITIES {
        Ok(authorities) => Ok(authorities),
        Err(error) => {
            let error = OtherError(Arc::new(error.clone()));
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(
                error,
            )))
        }
    }
}

#[derive(Debug, Default)]
struct Verifier {
    /// `None` for those of the system.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are trusted themselves.
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Trusts the certificates in the file `trusted`.
    fn read(trusted: &Path) -> Result<Self> {
        let unreadable = || format!("failed to read the certificates in {}", trusted.display());
        let hint = "Name a file of certificates in PEM format with --cert.";
        let named = certificates(trusted)
            .context(Kind::Input, unreadable)
            .map_err(|error| error.with_hint(hint))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(named.iter().cloned());
        if roots.is_empty() {
            return Err(Error::new(Kind::Input, unreadable()).with_hint(hint));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .context(Kind::Input, unreadable)?;
        Ok(Self {
            authorities: Some(authorities),
            named,
        })
    }

    fn authorities(&self) -> Result<&dyn ServerCertVerifier, rustls::Error> {
        match &self.authorities {
            Some(authorities) => Ok(&**authorities),
            None => system_authorities(),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.contains(end_entity) {
            check_time(end_entity, now)?;
            let parsed = ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities()?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities()?
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities()?
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let bad = rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Err(bad);
    };
    let validity = parsed.validity();
    let time = |time: ASN1Time| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(time.timestamp()).unwrap_or_default(),
        ))
    };
    let (not_before, not_after) = (time(validity.not_before), time(validity.not_after));
    let reason = if now < not_before {
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        }
    } else if now > not_after {
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        }
    } else {
        return Ok(());
    };
    Err(rustls::Error::InvalidCertificate(reason))
}
