//! Inspects a wheel with arbitrary bytes: it succeeds or returns an error.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use wheelhouse_archive::{Limits, inspect, verify_contents};

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
});
