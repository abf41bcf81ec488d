//! The entry of an attestation in a transparency log (Rekor, version 1).
//!
//! The log states the time of an entry in its promise ("signed entry timestamp"), and that the entry is part of it in a
//! Merkle tree (RFC 9162, section 2.1.3.2) whose root it signs in a checkpoint.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use wheelhouse_types::Sha256;

use super::encoding::{Base64Bytes, Number};
use super::error::AttestationError;
use super::trust_root::{Log, LogId, TrustRoot};

/// The kind of entry that is supported: a DSSE envelope.
const KIND: (&str, &str) = ("dsse", "0.0.1");

/// An entry, as the log returned it when the attestation was made.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogEntry {
    log_index: Number,
    log_id: LogId,
    kind_version: KindVersion,
    integrated_time: Number,
    inclusion_promise: Option<InclusionPromise>,
    inclusion_proof: Option<InclusionProof>,
    canonicalized_body: Base64Bytes,
}

#[derive(Deserialize)]
struct KindVersion {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionPromise {
    signed_entry_timestamp: Base64Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionProof {
    /// The position in the tree, which is only a part of the log.
    log_index: Number,
    tree_size: Number,
    root_hash: Base64Bytes,
    #[serde(default)]
    hashes: Vec<Base64Bytes>,
    checkpoint: CheckpointText,
}

#[derive(Deserialize)]
struct CheckpointText {
    envelope: String,
}

/// The contents of an entry of the kind `dsse`.
#[derive(Deserialize)]
struct EntryBody {
    kind: String,
    spec: EntrySpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntrySpec {
    payload_hash: PayloadHash,
    signatures: Vec<EntrySignature>,
}

#[derive(Deserialize)]
struct PayloadHash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
struct EntrySignature {
    signature: Base64Bytes,
    /// The certificate, in PEM.
    verifier: Base64Bytes,
}

impl LogEntry {
    /// Returns the time at which a log of `root` has recorded the entry.
    pub(super) fn verify(&self, root: &TrustRoot) -> Result<Timestamp, AttestationError> {
        let found = (&*self.kind_version.kind, &*self.kind_version.version);
        if found != KIND {
            let kind: String = found.0.escape_debug().take(50).collect();
            let version: String = found.1.escape_debug().take(50).collect();
            return Err(AttestationError::UnsupportedEntry(format!(
                "{kind} {version}"
            )));
        }
        let time = Timestamp::from_second(self.integrated_time.0)
            .map_err(|_| AttestationError::EntryTimestamp)?;
        let log = root.log(&self.log_id.key_id.0, time);
        let log = log.ok_or(AttestationError::UnknownLog)?;
        let promise = self.inclusion_promise.as_ref();
        let promise = promise.ok_or(AttestationError::EntryTimestamp)?;
        if !log.has_signed(&self.promised(), &promise.signed_entry_timestamp.0) {
            return Err(AttestationError::EntryTimestamp);
        }
        let proof = self.inclusion_proof.as_ref();
        let proof = proof.ok_or(AttestationError::NoInclusionProof)?;
        proof.verify(&self.canonicalized_body.0, log)?;
        Ok(time)
    }

    /// Returns what the log has signed with its promise: canonical JSON (RFC 8785).
    fn promised(&self) -> Vec<u8> {
        let body = STANDARD.encode(&self.canonicalized_body.0);
        let (time, index) = (self.integrated_time.0, self.log_index.0);
        let log = hex::encode(&self.log_id.key_id.0);
        format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{log}","logIndex":{index}}}"#)
            .into_bytes()
    }

    /// Checks that the entry is about this certificate in DER, this signature and this statement.
    pub(super) fn check_contents(
        &self,
        certificate: &[u8],
        signature: &[u8],
        statement: &[u8],
    ) -> Result<(), AttestationError> {
        let body: EntryBody = serde_json::from_slice(&self.canonicalized_body.0)
            .map_err(|_| AttestationError::EntryMismatch("something else"))?;
        let [recorded] = &body.spec.signatures[..] else {
            return Err(AttestationError::EntryMismatch("several signatures"));
        };
        let verifier = pem::parse(&recorded.verifier.0);
        let checks = [
            (body.kind == KIND.0, "something else"),
            (body.spec.payload_hash.is_of(statement), "another statement"),
            (recorded.signature.0 == signature, "another signature"),
            (
                verifier.is_ok_and(|pem| pem.contents() == certificate),
                "another certificate",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(AttestationError::EntryMismatch(what)),
            None => Ok(()),
        }
    }
}

impl PayloadHash {
    fn is_of(&self, payload: &[u8]) -> bool {
        self.algorithm == "sha256" && self.value == Sha256::of(payload).to_string()
    }
}

impl InclusionProof {
    /// Checks that `log` has signed a tree with the entry `body`.
    fn verify(&self, body: &[u8], log: &Log) -> Result<(), AttestationError> {
        let number = |number: Number| u64::try_from(number.0).ok();
        let (index, size) = (number(self.log_index), number(self.tree_size));
        let (Some(index), Some(size)) = (index, size) else {
            return Err(AttestationError::InclusionProof);
        };
        let hashes: Option<Vec<[u8; 32]>> = self
            .hashes
            .iter()
            .map(|hash| hash.0.as_slice().try_into().ok())
            .collect();
        let root = hashes.and_then(|hashes| merkle_root(leaf_hash(body), index, size, &hashes));
        let root = root.filter(|root| root[..] == self.root_hash.0);
        let root = root.ok_or(AttestationError::InclusionProof)?;
        let checkpoint = Checkpoint::parse(&self.checkpoint.envelope);
        let is_signed = checkpoint.is_some_and(|checkpoint| {
            checkpoint.size == size && checkpoint.root == root && checkpoint.is_signed_by(log)
        });
        is_signed.then_some(()).ok_or(AttestationError::Checkpoint)
    }
}

/// A signed state of a log (<https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md>).
struct Checkpoint<'a> {
    size: u64,
    root: Vec<u8>,
    signed: &'a str,
    /// The lines with signatures.
    signatures: &'a str,
}

impl<'a> Checkpoint<'a> {
    fn parse(envelope: &'a str) -> Option<Self> {
        let (text, signatures) = envelope.rsplit_once("\n\n")?;
        // The line feed after the last line of the text is signed.
        let signed = &envelope[..=text.len()];
        let mut lines = text.lines().skip(1);
        Some(Self {
            size: lines.next()?.parse().ok()?,
            root: STANDARD.decode(lines.next()?).ok()?,
            signed,
            signatures,
        })
    }

    /// Returns whether one of the signatures is by `log`; others are of witnesses.
    fn is_signed_by(&self, log: &Log) -> bool {
        self.signatures.lines().any(|line| {
            let signature = line.strip_prefix("\u{2014} ");
            let signature = signature.and_then(|line| line.split_once(' '));
            let bytes = signature.and_then(|(_, bytes)| STANDARD.decode(bytes).ok());
            bytes.is_some_and(|bytes| {
                let parts = bytes.split_at_checked(4);
                parts.is_some_and(|(hint, signature)| {
                    log.has_hint(hint) && log.has_signed(self.signed.as_bytes(), signature)
                })
            })
        })
    }
}

/// Returns the hash of a leaf of the tree.
fn leaf_hash(body: &[u8]) -> [u8; 32] {
    hash(&[&[0], body])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let digest = digest(&SHA256, &parts.concat());
    digest.as_ref().try_into().expect("it has 32 bytes")
}

/// Returns the root of the tree with `size` leaves that has the leaf at `index`, if `path` is the path from there
/// (RFC 9162, section 2.1.3.2).
fn merkle_root(leaf: [u8; 32], index: u64, size: u64, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut node = index;
    let mut root = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            root = hash(&[&[1], sibling, &root]);
            while node.is_multiple_of(2) && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            root = hash(&[&[1], &root, sibling]);
        }
        node /= 2;
        last /= 2;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the root of the tree of `leaves`, and the path of the leaf at `index`, by the definition (RFC 9162,
    /// section 2.1.1 and 2.1.3.1).
    fn tree(leaves: &[[u8; 32]], index: usize) -> ([u8; 32], Vec<[u8; 32]>) {
        if let [leaf] = leaves {
            return (*leaf, Vec::new());
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let is_left = index < middle;
        let (left_root, left_path) = tree(left, if is_left { index } else { 0 });
        let (right_root, right_path) = tree(right, if is_left { 0 } else { index - middle });
        let (mut path, sibling) = if is_left {
            (left_path, right_root)
        } else {
            (right_path, left_root)
        };
        path.push(sibling);
        (hash(&[&[1], &left_root, &right_root]), path)
    }

    #[test]
    fn follows_paths_of_all_small_trees() {
        for size in 1..20_u8 {
            let leaves: Vec<_> = (0..size).map(|leaf| leaf_hash(&[leaf])).collect();
            for index in 0..size {
                let (root, path) = tree(&leaves, index.into());
                let leaf = leaves[usize::from(index)];
                let (index, size) = (u64::from(index), u64::from(size));
                assert_eq!(merkle_root(leaf, index, size, &path), Some(root));
                assert_ne!(
                    merkle_root(leaf_hash(&[99]), index, size, &path),
                    Some(root)
                );
                assert_eq!(merkle_root(leaf, size, size, &path), None);
                let longer = [&path[..], &[leaf]].concat();
                assert_eq!(merkle_root(leaf, index, size, &longer), None);
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(merkle_root(leaf, index, size, shorter), None);
                }
            }
        }
        assert_eq!(merkle_root(leaf_hash(b""), 0, 0, &[]), None);
    }
}
