//! Unpacks a source distribution with arbitrary bytes: it stays inside its directory, or returns an error.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use wheelhouse_archive::{Limits, static_metadata, unpack};

fuzz_target!(|input: (bool, &[u8])| {
    let (is_zip, bytes) = input;
    let directory = tempfile::tempdir().expect("there is room");
    let archive = directory.path().join("archive");
    fs::write(&archive, bytes).expect("there is room");
    let filename = if is_zip {
        "alpha-1.0.zip"
    } else {
        "alpha-1.0.tar"
    };
    let limits = Limits {
        entries: 100,
        bytes: 1 << 20,
        ..Limits::default()
    };
    if let Ok(sdist) = unpack(&archive, filename, &directory.path().join("into"), &limits) {
        let _ = static_metadata(&sdist.root);
    }
    let outside = fs::read_dir(directory.path()).expect("it is there").count();
    assert!(outside <= 2, "something was written outside");
});
