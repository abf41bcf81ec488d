//! Reads a requirements file with arbitrary bytes: it succeeds or returns an error.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wheelhouse_config::{
    Environment, FileOptions, FileRole, FileSource, ReadContext, read_requirements,
};

fuzz_target!(|bytes: &[u8]| {
    let read = |source: &FileSource| match source {
        FileSource::File(path) if path.ends_with("r.txt") => Ok(bytes.to_vec()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let environment = Environment::default();
    let context = ReadContext {
        working_directory: Path::new("/directory"),
        environment: &environment,
        reader: &read,
    };
    let files = [(
        FileRole::Requirements,
        FileSource::File("/directory/r.txt".into()),
    )];
    let _ = read_requirements(&files, &context, FileOptions::default());
});
