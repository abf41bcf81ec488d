//! Inspects and rewrites a wheel with arbitrary bytes: it succeeds or returns an error.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use wheelhouse_archive::{Limits, canonicalize, inspect, verify_contents};

const FILENAME: &str = "alpha-1.0-py3-none-any.whl";

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("there is room");
    file.write_all(bytes).expect("there is room");
    let _ = inspect(file.path(), FILENAME);
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    let _ = verify_contents(file.path(), FILENAME, &limits);
    if canonicalize(file.path(), FILENAME, 1 << 30, &limits).is_ok() {
        let once = std::fs::read(file.path()).expect("it was written");
        canonicalize(file.path(), FILENAME, 1 << 30, &limits).expect("a canonical wheel is valid");
        let twice = std::fs::read(file.path()).expect("it was written");
        assert!(once == twice, "a canonical wheel has changed");
    }
});
