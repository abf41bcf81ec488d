//! Digests of what passes through the store: computed while the bytes go by, and compared with
//! what somebody published or demanded.
//!
//! Never opens a file, and never decides whether an unchecked file is good enough: see
//! [`ExpectedFile::is_checked`].

use std::io::{self, Read};

use wheelhouse_fs::digest::{Algorithm, Digester, Digests, digest_with};
use wheelhouse_types::{Error, Hashes, Kind, Result, Sha256};

/// What a file has to be: the name by which messages call it, and the digests and the size that
/// it must have.
#[derive(Clone, Debug)]
pub struct ExpectedFile {
    name: String,
    size: Option<u64>,
    /// All of those with a known algorithm must match.
    published: Checksums,
    /// One of them must match.
    required: Checksums,
}

/// Digests from outside, and the names of algorithms that nobody here can compute.
#[derive(Clone, Debug, Default)]
struct Checksums {
    known: Vec<(Algorithm, String)>,
    unknown: Vec<String>,
}

impl Checksums {
    fn add(&mut self, algorithm: &str, digits: &str) {
        match Algorithm::from_name(algorithm) {
            Some(known) => self.known.push((known, digits.to_ascii_lowercase())),
            None => self.unknown.push(algorithm.to_owned()),
        }
    }

    fn is_hopeless(&self) -> bool {
        self.known.is_empty() && !self.unknown.is_empty()
    }
}

impl ExpectedFile {
    /// Expects any bytes: nothing is known about the file called `name`.
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

    /// Expects all digests of `hashes`, as an index publishes them. Algorithms that are unknown
    /// here are left out, unless there are no others: then the check fails.
    #[must_use]
    pub fn published(mut self, hashes: &Hashes) -> Self {
        for (algorithm, digits) in &hashes.0 {
            self.published.add(algorithm, digits);
        }
        self
    }

    /// Expects one of `hashes`, each `algorithm:hex` as in `--hash`; none expects nothing.
    #[must_use]
    pub fn required(mut self, hashes: &[String]) -> Self {
        for hash in hashes {
            let (algorithm, digits) = hash.split_once([':', '=']).unwrap_or((hash, ""));
            self.required.add(algorithm, digits);
        }
        self
    }

    /// Expects `size` bytes, if that is known.
    #[must_use]
    pub fn size(mut self, size: Option<u64>) -> Self {
        self.size = size;
        self
    }

    /// The name by which messages call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether any digest is expected at all.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        let all = [&self.published, &self.required];
        all.iter().any(|sums| !sums.known.is_empty())
    }

    /// Starts a digest with the algorithms that the check will need.
    #[must_use]
    pub fn digester(&self) -> Digester {
        Digester::new(self.algorithms())
    }

    fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        let known = self.published.known.iter().chain(&self.required.known);
        known.map(|(algorithm, _)| *algorithm)
    }

    /// Checks what came: its `digests`, computed by [`ExpectedFile::digester`], and its `length` in
    /// bytes.
    ///
    /// # Errors
    /// Fails if a digest or the size is another one; the message names the file and both values.
    pub fn check(&self, digests: &Digests) -> Result<()> {
        self.check_size(digests.length)?;
        for sums in [&self.published, &self.required] {
            if sums.is_hopeless() {
                return Err(self.unknown(&sums.unknown));
            }
        }
        for (algorithm, digits) in &self.published.known {
            let actual = digests.get(*algorithm).unwrap_or_default();
            if actual != *digits {
                return Err(self.mismatch(*algorithm, &actual, &format!("instead of `{digits}`")));
            }
        }
        self.check_required(digests)
    }

    /// Whether what `reader` reads would pass the check.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn is_met_by(&self, reader: &mut impl Read) -> io::Result<bool> {
        let digests = digest_with(reader, self.algorithms())?;
        Ok(self.check(&digests).is_ok())
    }

    fn check_required(&self, digests: &Digests) -> Result<()> {
        let mut known = self.required.known.iter();
        let Some((algorithm, _)) = self.required.known.first() else {
            return Ok(());
        };
        if known.any(|(known, digits)| digests.get(*known).as_ref() == Some(digits)) {
            return Ok(());
        }
        let wanted = self.required.known.iter();
        let wanted: Vec<_> = wanted
            .map(|(name, digits)| format!("{name}:{digits}"))
            .collect();
        let wanted = format!(
            "which is none of those required (`{}`)",
            wanted.join("`, `")
        );
        let actual = digests.get(*algorithm).unwrap_or_default();
        Err(self.mismatch(*algorithm, &actual, &wanted))
    }

    /// Refuses more bytes than expected while they still arrive.
    pub(super) fn check_not_longer(&self, length: u64) -> Result<()> {
        match self.size {
            Some(size) if length > size => Err(self.wrong_size("more than the expected", size)),
            _ => Ok(()),
        }
    }

    fn check_size(&self, length: u64) -> Result<()> {
        match self.size {
            Some(size) if length != size => {
                Err(self.wrong_size(&format!("{length} bytes instead of"), size))
            }
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, what: &str, size: u64) -> Error {
        let message = format!("`{}` has {what} {size} bytes", self.name);
        Error::new(Kind::Fetch, message).with_hint(CHANGED)
    }

    fn mismatch(&self, algorithm: Algorithm, actual: &str, wanted: &str) -> Error {
        let message = format!("`{}` has the {algorithm} `{actual}` {wanted}", self.name);
        Error::new(Kind::Fetch, message).with_hint(CHANGED)
    }

    fn unknown(&self, algorithms: &[String]) -> Error {
        let names = algorithms.join("`, `");
        let message = format!(
            "`{}` cannot be checked: its digests are of unknown algorithms (`{names}`)",
            self.name
        );
        let hint = "Digests may be sha256, sha384, sha512, sha224, sha1 or md5.";
        Error::new(Kind::Fetch, message).with_hint(hint)
    }
}

const CHANGED: &str = "The file was damaged or replaced on its way, or is another one than when \
    its digest was noted; if that is intended, update the lock or the `--hash`.";
