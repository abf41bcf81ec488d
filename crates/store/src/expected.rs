//! Digests of what passes through the store: computed while the bytes go by, and compared with
//! what somebody published or demanded.
//!
//! Never opens a file, and never decides whether an unchecked file is good enough: see
//! [`Expected::is_checked`].

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use sha2::digest::DynDigest;
use wheelhouse_types::{Error, Hashes, Kind, Result, Sha256};

/// A digest algorithm, besides SHA-256, that indexes and requirements use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Finds the algorithm that `hashlib` calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "md5" => Some(Self::Md5),
            "sha1" => Some(Self::Sha1),
            "sha224" => Some(Self::Sha224),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn hasher(self) -> Box<dyn DynDigest + Send + Sync> {
        match self {
            Self::Md5 => Box::new(md5::Md5::default()),
            Self::Sha1 => Box::new(sha1::Sha1::default()),
            Self::Sha224 => Box::new(sha2::Sha224::default()),
            Self::Sha256 => Box::new(sha2::Sha256::default()),
            Self::Sha384 => Box::new(sha2::Sha384::default()),
            Self::Sha512 => Box::new(sha2::Sha512::default()),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

/// Digests bytes as they go by: always with SHA-256, with other algorithms on demand.
pub struct Digester {
    sha256: sha2::Sha256,
    others: Vec<(Algorithm, Box<dyn DynDigest + Send + Sync>)>,
}

impl Digester {
    /// Starts a digest that has seen no bytes; `algorithms` are computed besides SHA-256.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let others: BTreeSet<_> = algorithms.into_iter().collect();
        Self {
            sha256: sha2::Sha256::default(),
            others: others
                .into_iter()
                .filter(|algorithm| *algorithm != Algorithm::Sha256)
                .map(|algorithm| (algorithm, algorithm.hasher()))
                .collect(),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for (_, hasher) in &mut self.others {
            hasher.update(bytes);
        }
    }

    /// Takes in all that `reader` reads, and ends. Returns how many bytes that were, too.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn read(mut self, reader: &mut impl Read) -> io::Result<(Digests, u64)> {
        let mut length = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok((self.finish(), length)),
                Ok(count) => {
                    self.update(&buffer[..count]);
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the digest.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: Sha256::finish(self.sha256),
            others: self
                .others
                .into_iter()
                .map(|(algorithm, hasher)| (algorithm, hex::encode(hasher.finalize())))
                .collect(),
        }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Digester").finish_non_exhaustive()
    }
}

/// The digests of one sequence of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub sha256: Sha256,
    /// Lower-case hexadecimal digits of the others that were asked for.
    others: Vec<(Algorithm, String)>,
}

impl Digests {
    /// Returns the digest by `algorithm` in lower-case hexadecimal, if it was computed.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<String> {
        if algorithm == Algorithm::Sha256 {
            return Some(self.sha256.to_string());
        }
        let mut others = self.others.iter();
        let (_, digits) = others.find(|(other, _)| *other == algorithm)?;
        Some(digits.clone())
    }
}

/// What a file has to be: the name by which messages call it, and the digests and the size that
/// it must have.
#[derive(Clone, Debug)]
pub struct Expected {
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
        match Algorithm::named(algorithm) {
            Some(known) => self.known.push((known, digits.to_ascii_lowercase())),
            None => self.unknown.push(algorithm.to_owned()),
        }
    }

    fn is_hopeless(&self) -> bool {
        self.known.is_empty() && !self.unknown.is_empty()
    }
}

impl Expected {
    /// Expects any bytes: nothing is known about the file called `name`.
    pub fn anything(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: None,
            published: Checksums::default(),
            required: Checksums::default(),
        }
    }

    /// Expects the bytes whose SHA-256 is `sha256`.
    pub fn sha256(name: impl Into<String>, sha256: Sha256) -> Self {
        Self::anything(name).published(&Hashes::sha256_only(sha256))
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
        let known = self.published.known.iter().chain(&self.required.known);
        Digester::new(known.map(|(algorithm, _)| *algorithm))
    }

    /// Checks what came: its `digests`, computed by [`Expected::digester`], and its `length` in
    /// bytes.
    ///
    /// # Errors
    /// Fails if a digest or the size is another one; the message names the file and both values.
    pub fn check(&self, digests: &Digests, length: u64) -> Result<()> {
        self.check_size(length)?;
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
        let (digests, length) = self.digester().read(reader)?;
        Ok(self.check(&digests, length).is_ok())
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
