//! Inspects an image archive with arbitrary bytes: it succeeds or returns an error.
#![no_main]

use std::io::{Seek as _, Write as _};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use wheelhouse_oci::inspect;
use wheelhouse_oci::transport::archive::{ArchiveFormat, ArchiveReader};
use wheelhouse_oci::transport::find_image;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_layout, bytes) = input;
    let mut file = tempfile::tempfile().expect("there is room");
    file.write_all(bytes).expect("there is room");
    file.rewind().expect("it is a file");
    let form = if is_layout {
        ArchiveFormat::Layout(None)
    } else {
        ArchiveFormat::Docker(None)
    };
    let source = ArchiveReader::read(file, "archive".to_owned(), form);
    let image = source.and_then(|source| find_image(Arc::new(source), None));
    if let Ok(image) = image {
        let _ = inspect::inspect_image(&image, None);
    }
});
