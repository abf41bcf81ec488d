//! Makes attestations with keys of its own, and the trust root that confirms them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wheelhouse_types::Sha256;

use crate::attestation::der::{SEQUENCE, element};
use crate::dsse::{STATEMENT_TYPE, pre_authentication_encoding};

/// 2025-01-01T00:00:00Z.
pub(super) const TIME: i64 = 1_735_689_600;

/// The period in which the certificate is valid, as `UTCTime`: ten minutes around [`TIME`].
const VALIDITY: [&[u8]; 2] = [b"241231235500Z", b"250101000500Z"];

const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const ALTERNATIVE_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
const CERTIFICATE_TIMESTAMPS: &[u8] = &[
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02,
];
/// 1.3.6.1.4.1.57264.1; one more byte follows.
const CLAIMS: &[u8] = &[
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01,
];
/// 1.3.6.1.5.5.7.3; one more byte follows.
const PURPOSES: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
/// The last byte of the purpose of signing code.
pub(super) const CODE_SIGNING: u8 = 3;
/// The last byte of the purpose of authenticating a server.
pub(super) const SERVER: u8 = 1;

/// A key of an authority, a log, or a publisher.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }

    fn public(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    fn id(&self) -> Vec<u8> {
        hash(&self.public())
    }
}

/// The keys of an instance of Sigstore, and its certificates.
pub(super) struct Instance {
    root: Vec<u8>,
    intermediate: Vec<u8>,
    authority: Key,
    pub(super) log: Key,
    pub(super) certificate_log: Key,
}

impl Instance {
    pub(super) fn new() -> Self {
        let (root_key, authority) = (Key::new(), Key::new());
        let extensions = [
            extension(BASIC_CONSTRAINTS, &element(SEQUENCE, &[0x01, 0x01, 0xff])),
            extension(KEY_USAGE, &[0x03, 0x02, 0x02, 0x04]),
            extension(
                EXTENDED_KEY_USAGE,
                &element(SEQUENCE, &purpose(CODE_SIGNING)),
            ),
        ]
        .concat();
        let certificate = |subject: &str, key: &Key| {
            let fields = fields("root", &name(subject), key, &extensions);
            certificate(&fields, &root_key)
        };
        Self {
            root: certificate("root", &root_key),
            intermediate: certificate("intermediate", &authority),
            authority,
            log: Key::new(),
            certificate_log: Key::new(),
        }
    }

    /// Returns the trust root of this instance.
    pub(super) fn trust_root(&self) -> Value {
        let log = |key: &Key| {
            json!({
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.public()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": "2024-01-01T00:00:00Z"},
                },
                "logId": {"keyId": STANDARD.encode(key.id())},
            })
        };
        let certificates = [&self.intermediate, &self.root]
            .map(|certificate| json!({"rawBytes": STANDARD.encode(certificate)}));
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log)],
            "certificateAuthorities": [{
                "uri": "https://authority.example",
                "certChain": {"certificates": certificates},
                "validFor": {"start": "2024-01-01T00:00:00Z"},
            }],
            "ctlogs": [log(&self.certificate_log)],
        })
    }
}

/// The parts of an attestation, which a test may change before they are signed.
pub(super) struct Forgery {
    /// The tag and the text of the name in the certificate.
    pub(super) subjects: Vec<(u8, String)>,
    pub(super) purpose: u8,
    /// Fulcio's extensions by number.
    pub(super) claims: Vec<(u8, String)>,
    pub(super) statement: String,
    /// The time at which the log recorded the entry.
    pub(super) time: i64,
    /// Changes the entry before the log signs it.
    pub(super) edit_body: fn(&mut Value),
    /// Signs instead of the publisher.
    pub(super) signer: Option<Key>,
    /// Records the certificate instead of the certificate log of the instance.
    pub(super) certificate_log: Option<Key>,
}

/// The tags of names in a certificate.
pub(super) const EMAIL: u8 = 0x81;
pub(super) const URI: u8 = 0x86;

pub(super) const FILENAME: &str = "alpha-1.0-py3-none-any.whl";

/// Returns the digest of the file that attestations are about.
pub(super) fn sha256() -> Sha256 {
    Sha256::of(b"alpha")
}

pub(super) fn statement(filename: &str, sha256: &str, predicate_type: &str) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": filename, "digest": {"sha256": sha256}}],
        "predicateType": predicate_type,
        "predicate": null,
    })
    .to_string()
}

pub(super) const PUBLISH: &str = "https://docs.pypi.org/attestations/publish/v1";

impl Default for Forgery {
    /// A publication by a workflow of GitHub.
    fn default() -> Self {
        let workflow = "https://github.com/acme/alpha/.github/workflows/release.yml@refs/tags/1.0";
        let claims = [
            (8, "https://token.actions.githubusercontent.com"),
            (12, "https://github.com/acme/alpha"),
            (13, "0123456789abcdef0123456789abcdef01234567"),
            (14, "refs/tags/1.0"),
            (18, workflow),
            (23, "pypi"),
        ];
        Self {
            subjects: vec![(URI, workflow.to_owned())],
            purpose: CODE_SIGNING,
            claims: claims
                .map(|(number, text)| (number, text.to_owned()))
                .into(),
            statement: statement(FILENAME, &sha256().to_string(), PUBLISH),
            time: TIME,
            edit_body: |_| {},
            signer: None,
            certificate_log: None,
        }
    }
}

impl Forgery {
    /// Replaces a claim.
    pub(super) fn claim(mut self, number: u8, text: &str) -> Self {
        self.claims.retain(|(known, _)| *known != number);
        self.claims.push((number, text.to_owned()));
        self
    }

    /// Makes the attestation at `instance`.
    pub(super) fn attest(&self, instance: &Instance) -> Value {
        let key = Key::new();
        let certificate = self.certificate(instance, &key);
        let statement = self.statement.as_bytes();
        let signed = pre_authentication_encoding(STATEMENT_TYPE, statement);
        let signature = self.signer.as_ref().unwrap_or(&key).sign(&signed);
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", certificate.clone()));
        let mut body = json!({
            "apiVersion": "0.0.1", "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": "00".repeat(32)},
                "payloadHash": {"algorithm": "sha256", "value": Sha256::of(statement).to_string()},
                "signatures": [{"signature": STANDARD.encode(&signature), "verifier": STANDARD.encode(pem)}],
            },
        });
        (self.edit_body)(&mut body);
        json!({
            "version": 1,
            "verification_material": {
                "certificate": STANDARD.encode(&certificate),
                "transparency_entries": [self.entry(instance, body.to_string().as_bytes())],
            },
            "envelope": {
                "statement": STANDARD.encode(statement), "signature": STANDARD.encode(&signature),
            },
        })
    }

    fn certificate(&self, instance: &Instance, key: &Key) -> Vec<u8> {
        let subjects = self.subjects.iter();
        let subjects: Vec<u8> = subjects
            .flat_map(|(tag, text)| element(*tag, text.as_bytes()))
            .collect();
        let claims = self.claims.iter().flat_map(|(number, text)| {
            let oid = [CLAIMS, &[*number]].concat();
            extension(&oid, &element(0x0c, text.as_bytes()))
        });
        let mut extensions = [
            extension(KEY_USAGE, &[0x03, 0x02, 0x07, 0x80]),
            extension(
                EXTENDED_KEY_USAGE,
                &element(SEQUENCE, &purpose(self.purpose)),
            ),
            extension(ALTERNATIVE_NAME, &element(SEQUENCE, &subjects)),
        ]
        .concat();
        extensions.extend(claims);
        let fields_of = |extensions: &[u8]| {
            let subject = element(SEQUENCE, &[]);
            fields("intermediate", &subject, key, extensions)
        };
        let log = self
            .certificate_log
            .as_ref()
            .unwrap_or(&instance.certificate_log);
        let time = u64::try_from(TIME * 1000).unwrap().to_be_bytes();
        let precertificate = fields_of(&extensions);
        let length = u32::try_from(precertificate.len()).unwrap().to_be_bytes();
        let signed = [
            &[0, 0][..],
            &time,
            &[0, 1],
            &hash(&instance.authority.public()),
            &length[1..],
            &precertificate,
            &[0, 0],
        ];
        let signature = log.sign(&signed.concat());
        let timestamp = [
            &[0][..],
            &log.id(),
            &time,
            &[0, 0],
            &[4, 3],
            &prefixed(&signature),
        ];
        let list = prefixed(&prefixed(&timestamp.concat()));
        extensions.extend(extension(CERTIFICATE_TIMESTAMPS, &element(0x04, &list)));
        certificate(&fields_of(&extensions), &instance.authority)
    }

    /// Records `body` in a tree with one more entry.
    fn entry(&self, instance: &Instance, body: &[u8]) -> Value {
        let (log, id) = (&instance.log, instance.log.id());
        let encoded = STANDARD.encode(body);
        let promised = format!(
            r#"{{"body":"{encoded}","integratedTime":{},"logID":"{}","logIndex":1001}}"#,
            self.time,
            hex::encode(&id)
        );
        let sibling = hash(b"\0another entry");
        let leaf = hash(&[&[0], body].concat());
        let root = STANDARD.encode(hash(&[&[1][..], &sibling, &leaf].concat()));
        let checkpoint = format!("log.example - 1\n2\n{root}\n");
        let signature = [&id[..4], &log.sign(checkpoint.as_bytes())].concat();
        let signature = STANDARD.encode(signature);
        json!({
            "logIndex": "1001",
            "logId": {"keyId": STANDARD.encode(&id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": self.time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": STANDARD.encode(log.sign(promised.as_bytes()))},
            "inclusionProof": {
                "logIndex": "1", "treeSize": "2", "rootHash": root, "hashes": [STANDARD.encode(&sibling)],
                "checkpoint": {"envelope": format!("{checkpoint}\n\u{2014} log.example {signature}\n")},
            },
            "canonicalizedBody": encoded,
        })
    }
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// Returns `bytes` after their length.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length, bytes].concat()
}

fn purpose(last: u8) -> Vec<u8> {
    [PURPOSES, &[last]].concat()
}

fn name(text: &str) -> Vec<u8> {
    let attribute = [COMMON_NAME, &element(0x0c, text.as_bytes())].concat();
    element(SEQUENCE, &element(0x31, &element(SEQUENCE, &attribute)))
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[oid, &element(0x04, value)].concat())
}

/// Returns the part of a certificate that is signed.
fn fields(issuer: &str, subject: &[u8], key: &Key, extensions: &[u8]) -> Vec<u8> {
    let validity = VALIDITY.map(|time| element(0x17, time)).concat();
    let fields = [
        &element(0xa0, &[0x02, 0x01, 0x02])[..],
        &[0x02, 0x01, 0x07],
        &element(SEQUENCE, ECDSA_SHA256),
        &name(issuer),
        &element(SEQUENCE, &validity),
        subject,
        &key.public(),
        &element(0xa3, &element(SEQUENCE, extensions)),
    ];
    element(SEQUENCE, &fields.concat())
}

fn certificate(fields: &[u8], issuer: &Key) -> Vec<u8> {
    let signature = element(0x03, &[&[0][..], &issuer.sign(fields)].concat());
    let parts = [fields, &element(SEQUENCE, ECDSA_SHA256), &signature];
    element(SEQUENCE, &parts.concat())
}
