//! Reads a `pylock.toml` with arbitrary text: it succeeds or returns an error, and the result can be written.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wheelhouse_types::pylock;

fuzz_target!(|text: &str| {
    let base = Path::new("/wheelhouse");
    let _ = pylock::summarize(text, base);
    let lock = pylock::read(
        text,
        base,
        &mut |wheels| (!wheels.is_empty()).then_some(0),
        &mut |_| true,
    );
    if let Ok(lock) = lock {
        let written = pylock::write(&lock, base);
        let again = pylock::read(
            &written,
            base,
            &mut |wheels| (!wheels.is_empty()).then_some(0),
            &mut |_| true,
        );
        assert_eq!(again.expect("what is written can be read"), lock);
    }
});
