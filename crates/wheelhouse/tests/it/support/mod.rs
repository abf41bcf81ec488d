//! Support for integration tests: a scriptable index, builders of wheels and sdists, and a runner of the program. It
//! asserts nothing about the program itself.

pub(crate) mod builder_image;
pub(crate) mod containers;
pub(crate) mod fake_registry;
pub(crate) mod fault_proxy;
pub(crate) mod foreign_files;
pub(crate) mod http_response;
pub(crate) mod index;
pub(crate) mod kubernetes;
pub(crate) mod mounts;
pub(crate) mod openshift;
pub(crate) mod process;
pub(crate) mod put_server;
pub(crate) mod python;
pub(crate) mod s2i_builds;
pub(crate) mod sandbox;
pub(crate) mod sdist;
pub(crate) mod services;
pub(crate) mod tree;
pub(crate) mod wheel;

pub(crate) use index::{Behavior, Index};
pub(crate) use sandbox::{RunResult, Sandbox};
pub(crate) use sdist::Sdist;
pub(crate) use wheel::Wheel;
pub(crate) use wheelhouse_archive::testing::archives::Member;

use sha2::Digest as _;

/// Returns the Python of the environment that `./test` creates, with recent versions of pip, packaging, uv and virtualenv.
///
/// Tests that call it are ignored without the feature `test-python`.
pub(crate) fn test_python() -> std::path::PathBuf {
    let python = std::env::var_os("WHEELHOUSE_TEST_PYTHON");
    python
        .expect("WHEELHOUSE_TEST_PYTHON is not set: run ./test")
        .into()
}

/// Returns the path as a Python literal.
pub(crate) fn python_literal(path: &std::path::Path) -> String {
    format!("{:?}", path.to_str().expect("paths of tests are text"))
}

/// Returns the SHA-256 digest of `bytes` in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

/// Returns incompressible bytes, the same for each seed.
pub(crate) fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1);
    (0..length)
        .map(|_| random.next().to_le_bytes()[7])
        .collect()
}

/// A random number generator for tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
