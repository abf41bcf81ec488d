//! What the tests stand on: an index that can misbehave, makers of wheels and source distributions,
//! and a runner for the binary. Never asserts anything about the program itself.

pub(crate) mod builder_image;
pub(crate) mod containers;
pub(crate) mod fake_registry;
pub(crate) mod http_response;
pub(crate) mod index;
pub(crate) mod mounts;
pub(crate) mod openshift;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod s2i_builds;
pub(crate) mod sandbox;
pub(crate) mod sdist;
pub(crate) mod services;
pub(crate) mod tree;
pub(crate) mod wheel;

pub(crate) use index::{Behaviour, Index};
pub(crate) use sandbox::{Finished, Sandbox};
pub(crate) use sdist::Sdist;
pub(crate) use wheel::Wheel;
pub(crate) use wheelhouse_archive::testing::archives::Member;

use sha2::Digest as _;

/// The Python that `./test` made, with the newest pip, packaging, uv and virtualenv. Without it a
/// test says so and proves nothing, which `CI=true` does not allow.
pub(crate) fn test_python() -> Option<std::path::PathBuf> {
    let python = std::env::var_os("WHEELHOUSE_TEST_PYTHON").map(std::path::PathBuf::from);
    if python.is_none() {
        proved_nothing("WHEELHOUSE_TEST_PYTHON is not set: run ./test");
    }
    python
}

/// Says that a test proves nothing for lack of something, which is an error with `CI=true`. Never true.
#[expect(
    clippy::print_stderr,
    reason = "a test that proved nothing must not look as if it had"
)]
pub(crate) fn proved_nothing(reason: &str) -> bool {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "{reason}");
    eprintln!("proved nothing: {reason}");
    false
}

/// The path as a literal of Python.
pub(crate) fn literal(path: &std::path::Path) -> String {
    format!("{:?}", path.to_str().expect("paths of tests are text"))
}

/// The digest of `bytes` in lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

/// Bytes that look random, the same each time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1);
    (0..length)
        .map(|_| random.next().to_le_bytes()[7])
        .collect()
}

/// A generator of numbers that are random enough for tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
