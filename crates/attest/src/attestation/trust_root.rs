//! The trust root of Sigstore: its authorities, logs and certificate logs (`TrustedRoot` of its protobuf specifications,
//! in JSON).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use thiserror::Error;

use super::encoding::Base64Bytes;

/// The start of the media type, before the version.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";

/// The keys and certificates that attestations are verified with.
#[derive(Clone, Debug)]
pub struct TrustRoot {
    pub(super) authorities: Vec<Authority>,
    logs: Vec<Log>,
    certificate_logs: Vec<Log>,
}

/// The reason why a file is not a trust root. Displays as a fragment without the name of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTrustRoot {
    /// The file has another format.
    #[error("it is not a trust root of Sigstore: {0}")]
    Malformed(String),
    /// A certificate cannot be read.
    #[error("a certificate of {0} cannot be read: {1}")]
    Certificate(String, String),
    /// The trust root lacks what attestations need.
    #[error("it has no {0}")]
    Incomplete(&'static str),
}

/// A certificate authority (Fulcio).
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// The root comes last.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) period: Period,
}

/// A transparency log (Rekor), or a log of certificates.
#[derive(Clone, Debug)]
pub(super) struct Log {
    id: Vec<u8>,
    key: Vec<u8>,
    algorithm: &'static dyn VerificationAlgorithm,
    period: Period,
}

/// The time in which something is trusted, ends included.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Period {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrustedRoot {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<LogInstance>,
    #[serde(default)]
    certificate_authorities: Vec<CertificateAuthority>,
    #[serde(default)]
    ctlogs: Vec<LogInstance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogInstance {
    public_key: PublicKey,
    log_id: LogId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    raw_bytes: Base64Bytes,
    key_details: String,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogId {
    pub(super) key_id: Base64Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CertificateAuthority {
    #[serde(default)]
    uri: String,
    cert_chain: CertificateChain,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
struct CertificateChain {
    certificates: Vec<RawCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    raw_bytes: Base64Bytes,
}

impl TrustRoot {
    /// Parses a trust root, such as the `trusted_root.json` of Sigstore's TUF repository. Logs whose keys are of an unknown
    /// kind are left out: their entries are not accepted.
    ///
    /// # Errors
    /// The reason why it cannot be used for attestations.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidTrustRoot> {
        let root: TrustedRoot = serde_json::from_slice(bytes)
            .map_err(|error| InvalidTrustRoot::Malformed(error.to_string()))?;
        if !root.media_type.starts_with(MEDIA_TYPE) {
            let found: String = root.media_type.escape_debug().take(100).collect();
            let message = format!("its media type is `{found}`");
            return Err(InvalidTrustRoot::Malformed(message));
        }
        let authorities = root.certificate_authorities.into_iter().map(authority);
        let root = Self {
            authorities: authorities.collect::<Result<_, _>>()?,
            logs: root.tlogs.into_iter().filter_map(log).collect(),
            certificate_logs: root.ctlogs.into_iter().filter_map(log).collect(),
        };
        let required = [
            (root.authorities.is_empty(), "certificate authority"),
            (root.logs.is_empty(), "transparency log"),
            (root.certificate_logs.is_empty(), "certificate log"),
        ];
        match required.into_iter().find(|(is_missing, _)| *is_missing) {
            Some((_, what)) => Err(InvalidTrustRoot::Incomplete(what)),
            None => Ok(root),
        }
    }

    /// Returns the transparency log with this identifier that is trusted at `time`.
    pub(super) fn log(&self, id: &[u8], time: Timestamp) -> Option<&Log> {
        find(&self.logs, id, time)
    }

    /// Returns the certificate log with this identifier that is trusted at `time`.
    pub(super) fn certificate_log(&self, id: &[u8], time: Timestamp) -> Option<&Log> {
        find(&self.certificate_logs, id, time)
    }
}

impl Log {
    /// Returns whether the log has signed `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(self.algorithm, &self.key);
        key.verify(message, signature).is_ok()
    }

    /// Returns whether signatures of checkpoints with this hint may be by the log.
    pub(super) fn has_hint(&self, hint: &[u8]) -> bool {
        self.id.get(..4) == Some(hint)
    }
}

impl Period {
    pub(super) fn contains(&self, time: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time <= end)
    }
}

fn find<'a>(logs: &'a [Log], id: &[u8], time: Timestamp) -> Option<&'a Log> {
    let mut logs = logs.iter();
    logs.find(|log| log.id == id && log.period.contains(time))
}

fn authority(authority: CertificateAuthority) -> Result<Authority, InvalidTrustRoot> {
    let certificates = authority.cert_chain.certificates.into_iter();
    let chain: Vec<_> = certificates
        .map(|certificate| CertificateDer::from(certificate.raw_bytes.0))
        .collect();
    for certificate in &chain {
        webpki::anchor_from_trusted_cert(certificate).map_err(|error| {
            let uri = authority.uri.escape_debug().to_string();
            InvalidTrustRoot::Certificate(uri, error.to_string())
        })?;
    }
    if chain.is_empty() {
        return Err(InvalidTrustRoot::Incomplete("certificate of an authority"));
    }
    Ok(Authority {
        chain,
        period: authority.valid_for,
    })
}

fn log(log: LogInstance) -> Option<Log> {
    let algorithm: &'static dyn VerificationAlgorithm = match log.public_key.key_details.as_str() {
        "PKIX_ECDSA_P256_SHA_256" => &ECDSA_P256_SHA256_ASN1,
        "PKIX_ECDSA_P384_SHA_384" => &ECDSA_P384_SHA384_ASN1,
        "PKIX_ED25519" => &ED25519,
        "PKCS1_RSA_PKCS1V5"
        | "PKIX_RSA_PKCS1V5"
        | "PKIX_RSA_PKCS1V15_2048_SHA256"
        | "PKIX_RSA_PKCS1V15_3072_SHA256"
        | "PKIX_RSA_PKCS1V15_4096_SHA256" => &RSA_PKCS1_2048_8192_SHA256,
        _ => return None,
    };
    Some(Log {
        id: log.log_id.key_id.0,
        key: log.public_key.raw_bytes.0,
        algorithm,
        period: log.public_key.valid_for,
    })
}
