//! Checks the limits of core metadata with arbitrary bytes, and parses what is within them in a short time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wheelhouse_archive::metadata::values;
use wheelhouse_types::{limits, requirement};

fuzz_target!(|bytes: &[u8]| {
    if limits::metadata(bytes).is_err() {
        return;
    }
    let text = String::from_utf8_lossy(bytes);
    for requirement in values(&text, "Requires-Dist") {
        let _ = requirement::parse(&requirement);
        let _ = requirement::named(&requirement);
    }
});
