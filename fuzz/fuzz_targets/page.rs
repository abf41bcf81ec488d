//! Reads an index page with arbitrary bytes, as HTML and as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wheelhouse_engine::fuzzing;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_json, bytes) = input;
    fuzzing::page(is_json, bytes);
});
