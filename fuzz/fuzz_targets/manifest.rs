//! A `wheelhouse.json` of any bytes is read, or refused with an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wheelhouse_types::Manifest;

fuzz_target!(|bytes: &[u8]| {
    let _ = Manifest::parse(bytes);
});
