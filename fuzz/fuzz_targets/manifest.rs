//! Reads a `wheelhouse.json` with arbitrary bytes: it succeeds or returns an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wheelhouse_types::Manifest;

fuzz_target!(|bytes: &[u8]| {
    let _ = Manifest::parse(bytes);
});
