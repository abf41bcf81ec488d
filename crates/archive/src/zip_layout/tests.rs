use std::io::{Cursor, Write as _};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// Returns a zip file with two entries, written with `options`.
fn written(options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["first.py", "second.py"] {
        writer.start_file(name, options).unwrap();
        writer.write_all(name.repeat(20).as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn valid_zip() -> Vec<u8> {
    written(SimpleFileOptions::default())
}

fn check_bytes(bytes: &[u8]) -> Result<()> {
    check(&mut Cursor::new(bytes))
}

#[track_caller]
fn assert_refused(bytes: &[u8], why: &str) {
    let error = check_bytes(bytes).unwrap_err();
    assert!(error.display_chain().contains(why), "{error}");
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    let mut windows = bytes.windows(what.len());
    windows.position(|window| window == what).unwrap()
}

#[test]
fn accepts_output_of_common_writers() {
    check_bytes(&valid_zip()).unwrap();
    check_bytes(&written(SimpleFileOptions::default().large_file(true))).unwrap();
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    check_bytes(&written(stored)).unwrap();
    let empty = ZipWriter::new(Cursor::new(Vec::new())).finish().unwrap();
    check_bytes(&empty.into_inner()).unwrap();
    let mut stream = ZipWriter::new_stream(Vec::new());
    stream.start_file("first.py", stored).unwrap();
    stream.write_all(b"text").unwrap();
    stream.start_file("empty.py", stored).unwrap();
    check_bytes(&stream.finish().unwrap().into_inner()).unwrap();
    let mut commented = ZipWriter::new(Cursor::new(Vec::new()));
    commented.set_comment("a comment").unwrap();
    check_bytes(&commented.finish().unwrap().into_inner()).unwrap();
}

#[test]
fn rejects_data_before_between_or_after_entries() {
    let bytes = valid_zip();
    let second = find(&bytes[4..], LOCAL) + 4;
    let directory = find(&bytes, CENTRAL);
    assert_refused(&[&bytes[..], b"tail"].concat(), "does not end");
    assert_refused(
        &[b"#!/bin/sh\n", &bytes[..]].concat(),
        "not where it states",
    );
    for at in [second, directory] {
        let with_gap = [&bytes[..at], b"hidden", &bytes[at..]].concat();
        assert_refused(&with_gap, "not where it states");
    }
}

#[test]
fn rejects_end_record_inside_comment() {
    let other = valid_zip();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.set_raw_comment(other.into_boxed_slice()).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_refused(&bytes, "not where it states");
}

#[test]
fn rejects_header_that_contradicts_directory() {
    let bytes = valid_zip();
    // Offsets in the header, and the expected message.
    for (at, why) in [
        (6, "another method"),
        (8, "another method"),
        (14, "another checksum"),
        (18, "another size"),
        (22, "another size"),
        (LOCAL_LENGTH, "another name"),
        (0, "no header"),
    ] {
        let mut patched = bytes.clone();
        patched[at] ^= 1;
        assert_refused(&patched, why);
    }
    // Offsets in the central directory.
    let directory = find(&bytes, CENTRAL);
    for at in [10, 16, 20, 24, 42, CENTRAL_LENGTH] {
        let mut patched = bytes.clone();
        patched[directory + at] ^= 1;
        assert!(check_bytes(&patched).is_err(), "{at}");
    }
}

#[test]
fn rejects_wrong_number_of_entries() {
    let mut bytes = valid_zip();
    let end = bytes.len() - END_LENGTH;
    bytes[end + 10] = 1;
    assert_refused(&bytes, "not have the stated number of entries");
}

#[test]
fn rejects_corrupt_files() {
    let bytes = valid_zip();
    for length in 0..bytes.len() {
        assert!(check_bytes(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        let mut patched = bytes.clone();
        patched[at] = !patched[at];
        // The check must not panic.
        let _ = check_bytes(&patched);
    }
}
