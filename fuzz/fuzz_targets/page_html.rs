//! Reads an index page with arbitrary bytes as HTML: it succeeds or returns an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wheelhouse_engine::fuzzing;

fuzz_target!(|bytes: &[u8]| fuzzing::page(false, bytes));
