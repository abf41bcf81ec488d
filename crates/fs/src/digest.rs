//! Digests of files and streams: the one loop that reads, counts and hashes.
//!
//! SHA-256 is always computed, because the store and the manifests identify files by it. The other algorithms are computed
//! only where an index, a requirement or a lock states a digest of that kind.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use sha2::digest::DynDigest;
use wheelhouse_types::Sha256;

/// The size of one read, in bytes.
const CHUNK: usize = 256 << 10;

/// A digest algorithm that indexes and requirements use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5, which old indexes publish.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256, which is always computed.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Returns the algorithm that Python's `hashlib` calls `name`, or `None` if it is not supported.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
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

/// Computes digests of a sequence of bytes: SHA-256, and further algorithms on request.
#[derive(Default)]
pub struct Digester {
    sha256: sha2::Sha256,
    others: Vec<(Algorithm, Box<dyn DynDigest + Send + Sync>)>,
    length: u64,
}

impl Digester {
    /// Creates a digester that computes `algorithms` in addition to SHA-256.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let algorithms: BTreeSet<_> = algorithms.into_iter().collect();
        Self {
            others: algorithms
                .into_iter()
                .filter(|algorithm| *algorithm != Algorithm::Sha256)
                .map(|algorithm| (algorithm, algorithm.hasher()))
                .collect(),
            ..Self::default()
        }
    }

    /// Adds `bytes` to the digests.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for (_, hasher) in &mut self.others {
            hasher.update(bytes);
        }
        self.length += bytes.len() as u64;
    }

    /// Adds everything that `reader` returns until its end.
    ///
    /// # Errors
    /// Returns the first error of `reader`, except [`io::ErrorKind::Interrupted`], after which the read is repeated.
    pub fn update_from(&mut self, reader: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the number of bytes that were added.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the digests of all added bytes.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: Sha256::finish(self.sha256),
            length: self.length,
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
        formatter
            .debug_struct("Digester")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// The digests and the length of one sequence of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The SHA-256.
    pub sha256: Sha256,
    /// The number of bytes.
    pub length: u64,
    /// The digests by further algorithms, in lower-case hexadecimal.
    others: Vec<(Algorithm, String)>,
}

impl Digests {
    /// Returns the digest by `algorithm` in lower-case hexadecimal, or `None` if it was not computed.
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

/// Reads `reader` to its end and returns the digests of its bytes: SHA-256 and `algorithms`.
///
/// # Errors
/// Returns the first error of `reader`.
pub fn digest_with(
    reader: &mut impl Read,
    algorithms: impl IntoIterator<Item = Algorithm>,
) -> io::Result<Digests> {
    let mut digester = Digester::new(algorithms);
    digester.update_from(reader)?;
    Ok(digester.finish())
}

/// Reads `reader` to its end and returns the SHA-256 and the number of its bytes.
///
/// # Errors
/// Returns the first error of `reader`.
pub fn sha256(reader: &mut impl Read) -> io::Result<(Sha256, u64)> {
    let digests = digest_with(reader, [])?;
    Ok((digests.sha256, digests.length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MD5 of `wheel`, as computed by `hashlib`.
    const MD5: &str = "5eda0ea98768e91b815fa6667e4f0178";

    #[test]
    fn computes_sha256_always_and_others_on_request() {
        let mut digester = Digester::new([Algorithm::Md5, Algorithm::Sha256, Algorithm::Md5]);
        digester.update(b"wh");
        digester.update_from(&mut b"eel".as_slice()).unwrap();
        assert_eq!(digester.length(), 5);
        let digests = digester.finish();
        assert_eq!((digests.sha256, digests.length), (Sha256::of(b"wheel"), 5));
        assert_eq!(digests.get(Algorithm::Md5).as_deref(), Some(MD5));
        assert_eq!(
            digests.get(Algorithm::Sha256),
            Some(digests.sha256.to_string())
        );
        assert_eq!(digests.get(Algorithm::Sha1), None);
    }

    #[test]
    fn names_algorithms_as_hashlib_does() {
        for name in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] {
            assert_eq!(Algorithm::from_name(name).unwrap().to_string(), name);
        }
        assert_eq!(Algorithm::from_name("shake_128"), None);
    }
}
