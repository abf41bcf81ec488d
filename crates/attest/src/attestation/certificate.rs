//! The certificate of an attestation, which the authority of Sigstore (Fulcio) issues for the identity of a publisher.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::aws_lc_rs::{
    ECDSA_P256_SHA256, ECDSA_P384_SHA384, ED25519, RSA_PKCS1_2048_8192_SHA256,
};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_parser::asn1_rs::{FromDer as _, Utf8String};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

use super::der;
use super::error::AttestationError;
use super::trust_root::{Authority, TrustRoot};

/// The largest certificate (bytes). Those of Fulcio have about 2 KiB.
const LARGEST: usize = 32 << 10;

/// The content of the object identifier of signing code, 1.3.6.1.5.5.7.3.3, in DER.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// The object identifier of the extension with certificate timestamps (RFC 6962), in DER.
const TIMESTAMPS: &[u8] = &[
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02,
];

/// The tag of the extensions within a certificate.
const EXTENSIONS: u8 = 0xa3;

/// The start of the object identifiers of Fulcio's extensions
/// (<https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>).
const CLAIMS: &str = "1.3.6.1.4.1.57264.1";

/// The algorithms of the key of a certificate.
const SIGNING: [&dyn SignatureVerificationAlgorithm; 4] = [
    ECDSA_P256_SHA256,
    ECDSA_P384_SHA384,
    ED25519,
    RSA_PKCS1_2048_8192_SHA256,
];

/// The identity of a publisher, as the authority certifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The URI of the workflow or service, or the address of a person or account.
    pub subject: String,
    /// The URL of the provider that has authenticated it.
    pub issuer: String,
    /// The URL of the repository with the workflow.
    pub repository: Option<String>,
    /// The commit that the workflow ran for.
    pub commit: Option<String>,
    /// The branch or tag that the workflow ran for.
    pub reference: Option<String>,
    /// The URL of the file with the workflow, which ends with `@` and the reference or commit.
    pub workflow: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.workflow.as_ref().unwrap_or(&self.subject);
        write!(
            formatter,
            "{} of {}",
            subject.escape_debug(),
            self.issuer.escape_debug()
        )?;
        match &self.environment {
            Some(environment) => write!(formatter, " in {}", environment.escape_debug()),
            None => Ok(()),
        }
    }
}

/// A certificate that is not verified yet.
pub(super) struct Certificate<'a> {
    der: CertificateDer<'a>,
    parsed: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, AttestationError> {
        if der.len() > LARGEST {
            let message = "it is too large".to_owned();
            return Err(AttestationError::CertificateFormat(message));
        }
        let (rest, parsed) = X509Certificate::from_der(der)
            .map_err(|error| AttestationError::CertificateFormat(error.to_string()))?;
        if !rest.is_empty() {
            let message = "it has trailing data".to_owned();
            return Err(AttestationError::CertificateFormat(message));
        }
        Ok(Self {
            der: CertificateDer::from(der),
            parsed,
        })
    }

    /// Checks that an authority of `root` has issued the certificate for signing code at `time`, and that a certificate log
    /// of `root` has recorded it.
    pub(super) fn verify(&self, root: &TrustRoot, time: Timestamp) -> Result<(), AttestationError> {
        let authorities = root.authorities.iter();
        let authorities: Vec<_> = authorities
            .filter(|authority| authority.period.contains(time))
            .collect();
        let mut failure =
            AttestationError::CertificateChain("no authority is valid at that time".to_owned());
        for authority in authorities {
            match self.issuer_key(authority, time) {
                Ok(issuer) => {
                    let is_recorded = self.is_recorded(root, &issuer);
                    return is_recorded
                        .then_some(())
                        .ok_or(AttestationError::CertificateTimestamp);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Returns the key of the issuer, as `SubjectPublicKeyInfo` in DER, if `authority` confirms the certificate at `time`.
    fn issuer_key(
        &self,
        authority: &Authority,
        time: Timestamp,
    ) -> Result<Vec<u8>, AttestationError> {
        let failed = |error: webpki::Error| AttestationError::CertificateChain(error.to_string());
        let (root, intermediates) = authority.chain.split_last().expect("it is not empty");
        let anchors = [webpki::anchor_from_trusted_cert(root).map_err(failed)?];
        let time = u64::try_from(time.as_second()).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
        let certificate = EndEntityCert::try_from(&self.der).map_err(failed)?;
        let usage = KeyUsage::required(CODE_SIGNING);
        let path = certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                intermediates,
                time,
                usage,
                None,
                None,
            )
            .map_err(failed)?;
        Ok(path.issuer_spki().to_vec())
    }

    /// Returns whether a certificate log of `root` has signed that it recorded the certificate (RFC 6962, section 3.2).
    fn is_recorded(&self, root: &TrustRoot, issuer: &[u8]) -> bool {
        let Some(precertificate) = precertificate(self.parsed.tbs_certificate.as_ref()) else {
            return false;
        };
        let extensions = self.parsed.extensions().iter();
        let timestamps = extensions.filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SCT(timestamps) => Some(timestamps),
            _ => None,
        });
        timestamps.flatten().any(|timestamp| {
            let milliseconds = i64::try_from(timestamp.timestamp).ok();
            let time = milliseconds.and_then(|time| Timestamp::from_millisecond(time).ok());
            let log = time.and_then(|time| root.certificate_log(timestamp.id.key_id, time));
            log.is_some_and(|log| {
                // Version 1, of a certificate, for a precertificate.
                let mut signed = vec![0, 0];
                signed.extend(timestamp.timestamp.to_be_bytes());
                signed.extend([0, 1]);
                signed.extend_from_slice(digest(&SHA256, issuer).as_ref());
                let length = u32::try_from(precertificate.len()).unwrap_or_default();
                signed.extend_from_slice(&length.to_be_bytes()[1..]);
                signed.extend_from_slice(&precertificate);
                let length = u16::try_from(timestamp.extensions.0.len()).unwrap_or_default();
                signed.extend(length.to_be_bytes());
                signed.extend_from_slice(timestamp.extensions.0);
                timestamp.version.0 == 0 && log.has_signed(&signed, timestamp.signature.data)
            })
        })
    }

    /// Returns whether the key of the certificate has signed `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        EndEntityCert::try_from(&self.der).is_ok_and(|certificate| {
            let mut algorithms = SIGNING.into_iter();
            algorithms.any(|algorithm| {
                let verified = certificate.verify_signature(algorithm, message, signature);
                verified.is_ok()
            })
        })
    }

    /// Returns the identity that the certificate is for.
    pub(super) fn identity(&self) -> Result<Identity, AttestationError> {
        let names = self.parsed.subject_alternative_name();
        let names = names.ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let mut subjects = names.filter_map(|name| match name {
            GeneralName::URI(text) | GeneralName::RFC822Name(text) => Some((*text).to_owned()),
            _ => None,
        });
        // Of two names it would not be clear which one is meant.
        let (Some(subject), None) = (subjects.next(), subjects.next()) else {
            return Err(AttestationError::NoIdentity("a single name"));
        };
        let issuer = self.claim(8).or_else(|| self.old_issuer());
        Ok(Identity {
            subject,
            issuer: issuer.ok_or(AttestationError::NoIdentity("the issuer of its identity"))?,
            repository: self.claim(12),
            commit: self.claim(13),
            reference: self.claim(14),
            workflow: self.claim(18),
            environment: self.claim(23),
        })
    }

    /// Returns the text of Fulcio's extension with this number, from 8 on.
    fn claim(&self, number: u8) -> Option<String> {
        let (rest, text) = Utf8String::from_der(self.extension(number)?).ok()?;
        rest.is_empty().then(|| text.string())
    }

    /// Returns the issuer as certificates before 2023 have it: without a tag.
    fn old_issuer(&self) -> Option<String> {
        String::from_utf8(self.extension(1)?.to_vec()).ok()
    }

    fn extension(&self, number: u8) -> Option<&[u8]> {
        let wanted = format!("{CLAIMS}.{number}");
        let mut extensions = self.parsed.extensions().iter();
        let extension = extensions.find(|extension| extension.oid.to_id_string() == wanted);
        extension.map(|extension| extension.value)
    }
}

/// Returns the part of a certificate that is signed as it was before the timestamps were added.
fn precertificate(signed_part: &[u8]) -> Option<Vec<u8>> {
    let fields = der::elements(der::content(signed_part)?)?;
    let fields: Option<Vec<Vec<u8>>> = fields
        .into_iter()
        .map(|field| {
            if field.first() != Some(&EXTENSIONS) {
                return Some(field.to_vec());
            }
            let extensions = der::elements(der::content(der::content(field)?)?)?;
            let kept: Vec<&[u8]> = extensions
                .into_iter()
                .filter(|extension| {
                    let content = der::content(extension);
                    content.is_none_or(|content| !content.starts_with(TIMESTAMPS))
                })
                .collect();
            let list = der::element(der::SEQUENCE, &kept.concat());
            Some(der::element(EXTENSIONS, &list))
        })
        .collect();
    Some(der::element(der::SEQUENCE, &fields?.concat()))
}
