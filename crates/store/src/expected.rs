//! The expectation of a file: the size and the digests that an index, a lock or the user states for it.
//!
//! Does not open files, and does not decide whether a file may lack a digest; see [`ExpectedFile::is_checked`].

use std::io::{self, Read};

use wheelhouse_fs::digest::{Algorithm, Digester, Digests, digest_with};
use wheelhouse_types::{Error, Hashes, Kind, Result, Sha256};

/// The hint for files that do not match: they were damaged or replaced, or the digest was recorded for another file.
const MISMATCH_HINT: &str = "Find out whether the file was damaged or replaced; if the change is intended, update the lock or \
    the `--hash`.";

/// The size and the digests that a file must have, and its name in messages.
#[derive(Clone, Debug)]
pub struct ExpectedFile {
    name: String,
    size: Option<u64>,
    /// All digests of known algorithms must match.
    published: Checksums,
    /// One digest must match.
    required: Checksums,
}

/// Digests that were stated for a file.
#[derive(Clone, Debug, Default)]
struct Checksums {
    known: Vec<(Algorithm, String)>,
    /// The names of the algorithms that are not supported.
    unknown: Vec<String>,
}

impl Checksums {
    fn add(&mut self, algorithm: &str, digits: &str) {
        match Algorithm::from_name(algorithm) {
            Some(known) => self.known.push((known, digits.to_ascii_lowercase())),
            None => self.unknown.push(algorithm.to_owned()),
        }
    }
}

impl ExpectedFile {
    /// Expects any bytes. `name` is the name of the file in messages.
    pub fn any(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: None,
            published: Checksums::default(),
            required: Checksums::default(),
        }
    }

    /// Expects the bytes whose SHA-256 is `sha256`.
    pub fn with_sha256(name: impl Into<String>, sha256: Sha256) -> Self {
        Self::any(name).published(&Hashes::sha256_only(sha256))
    }

    /// Expects all digests of `hashes`, as published by an index. Ignores unknown algorithms unless there are no others, in
    /// which case the check fails.
    #[must_use]
    pub fn published(mut self, hashes: &Hashes) -> Self {
        for (algorithm, digits) in &hashes.0 {
            self.published.add(algorithm, digits);
        }
        self
    }

    /// Expects one of `hashes`, each of the form `algorithm:hex` as in `--hash`. An empty list expects nothing.
    #[must_use]
    pub fn required(mut self, hashes: &[String]) -> Self {
        for hash in hashes {
            let (algorithm, digits) = hash.split_once([':', '=']).unwrap_or((hash, ""));
            self.required.add(algorithm, digits);
        }
        self
    }

    /// Expects `size` bytes, if the size is known.
    #[must_use]
    pub fn size(mut self, size: Option<u64>) -> Self {
        self.size = size;
        self
    }

    /// Returns the name of the file in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether at least one digest is expected.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.algorithms().next().is_some()
    }

    /// Returns a digester for the algorithms that [`ExpectedFile::check`] needs.
    #[must_use]
    pub fn digester(&self) -> Digester {
        Digester::new(self.algorithms())
    }

    fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        let known = self.published.known.iter().chain(&self.required.known);
        known.map(|(algorithm, _)| *algorithm)
    }

    /// Compares a file, of which [`ExpectedFile::digester`] has computed `digests`, with the expectation.
    ///
    /// # Errors
    /// Fails if the size or a digest differs. The message names the file and both values.
    pub fn check(&self, digests: &Digests) -> Result<()> {
        if let Some(size) = self.size.filter(|size| *size != digests.length) {
            let length = digests.length;
            return Err(self.mismatch(&format!("{length} bytes instead of {size} bytes")));
        }
        for Checksums { known, unknown } in [&self.published, &self.required] {
            if known.is_empty() && !unknown.is_empty() {
                let message = format!(
                    "`{}` cannot be verified: its digests use unknown algorithms (`{}`)",
                    self.name,
                    unknown.join("`, `")
                );
                let hint = "Use digests by sha256, sha384, sha512, sha224, sha1 or md5.";
                return Err(Error::new(Kind::Fetch, message).with_hint(hint));
            }
        }
        for (algorithm, digits) in &self.published.known {
            let actual = digests.get(*algorithm).unwrap_or_default();
            if actual != *digits {
                return Err(
                    self.mismatch(&format!("the {algorithm} `{actual}` instead of `{digits}`"))
                );
            }
        }
        let required = &self.required.known;
        let Some((algorithm, _)) = required.first() else {
            return Ok(());
        };
        let is_match = |(algorithm, digits): &(Algorithm, String)| {
            digests.get(*algorithm).as_ref() == Some(digits)
        };
        if required.iter().any(is_match) {
            return Ok(());
        }
        let names: Vec<_> = required
            .iter()
            .map(|(algorithm, digits)| format!("{algorithm}:{digits}"))
            .collect();
        Err(self.mismatch(&format!(
            "the {algorithm} `{}`, which is none of those required (`{}`)",
            digests.get(*algorithm).unwrap_or_default(),
            names.join("`, `")
        )))
    }

    /// Returns whether the bytes of `reader` match the expectation.
    ///
    /// # Errors
    /// The error of `reader`.
    pub fn is_met_by(&self, reader: &mut impl Read) -> io::Result<bool> {
        let digests = digest_with(reader, self.algorithms())?;
        Ok(self.check(&digests).is_ok())
    }

    /// Fails if `length`, the number of bytes so far, exceeds the expected size.
    pub(crate) fn check_not_longer(&self, length: u64) -> Result<()> {
        match self.size {
            Some(size) if length > size => {
                Err(self.mismatch(&format!("more than the expected {size} bytes")))
            }
            _ => Ok(()),
        }
    }

    fn mismatch(&self, difference: &str) -> Error {
        let message = format!("`{}` has {difference}", self.name);
        Error::new(Kind::Fetch, message).with_hint(MISMATCH_HINT)
    }
}
