use std::io::Cursor;

use proptest::prelude::*;

use super::super::testing::{WHEEL_NAME, WheelSample, zip};
use super::*;
use crate::{inspect, verify_contents};

const TIME: i64 = 1_600_000_000;

/// A directory with one wheel.
struct Case {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Case {
    fn new(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(WHEEL_NAME);
        fs_err::write(&path, bytes).unwrap();
        Self {
            path,
            _directory: directory,
        }
    }

    fn canonicalize(&self) -> Result<Vec<String>> {
        let differences = canonicalize(&self.path, WHEEL_NAME, TIME, &Limits::default())?;
        Ok(differences.iter().map(ToString::to_string).collect())
    }

    fn bytes(&self) -> Vec<u8> {
        fs_err::read(&self.path).unwrap()
    }
}

fn canonical(bytes: &[u8]) -> Vec<u8> {
    let case = Case::new(bytes);
    case.canonicalize().unwrap();
    assert!(
        inspect(&case.path, WHEEL_NAME)
            .unwrap()
            .irregularities
            .is_empty()
    );
    let differences = verify_contents(&case.path, WHEEL_NAME, &Limits::default()).unwrap();
    assert!(differences.is_empty(), "{differences:?}");
    case.bytes()
}

/// Returns the names and contents of a zip file in its order.
fn contents(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.name().unwrap().into_owned(), content)
        })
        .collect()
}

fn names(bytes: &[u8]) -> Vec<String> {
    contents(bytes).into_iter().map(|(name, _)| name).collect()
}

/// Writes `files` as another build backend could.
fn written_otherwise(files: &[(String, Vec<u8>)], mode: u32, year: u16) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::from_date_and_time(year, 5, 6, 7, 8, 10).unwrap())
        .unix_permissions(mode);
    writer
        .add_directory("example-1.0.dist-info", options)
        .unwrap();
    for (name, content) in files.iter().rev() {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.set_comment("built on Friday").unwrap();
    writer.finish().unwrap().into_inner()
}

fn with_record(mut sample: WheelSample) -> Vec<(String, Vec<u8>)> {
    let record = sample.record();
    sample.set("example-1.0.dist-info/RECORD", record);
    sample.files
}

#[test]
fn bytes_do_not_depend_on_order_time_mode_and_compression() {
    let mut sample = WheelSample::new();
    sample.set("example.data/scripts/run", "#!python\n");
    sample.set("a, \"b\".txt", "x".repeat(10_000));
    let files = with_record(sample);
    let first = canonical(&zip(&files));
    assert_eq!(first, canonical(&written_otherwise(&files, 0o600, 2021)));
    assert_eq!(first, canonical(&written_otherwise(&files, 0o664, 1999)));
    assert_eq!(
        names(&first),
        [
            "a, \"b\".txt",
            "example.data/scripts/run",
            "example.py",
            "example-1.0.dist-info/METADATA",
            "example-1.0.dist-info/WHEEL",
            "example-1.0.dist-info/RECORD",
        ]
    );
    let mut archive = zip::ZipArchive::new(Cursor::new(&first[..])).unwrap();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).unwrap();
        assert_eq!(entry.unix_mode(), Some(0o100_644));
        assert_eq!(entry.last_modified().unwrap().year(), 2020);
        assert_eq!(entry.compression(), CompressionMethod::Deflated);
        assert!(entry.extra_data().unwrap_or_default().is_empty());
    }
}

#[test]
fn keeps_executable_bit() {
    let files = with_record(WheelSample::new());
    let bytes = canonical(&written_otherwise(&files, 0o700, 2021));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    assert_eq!(archive.by_index(0).unwrap().unix_mode(), Some(0o100_755));
}

#[test]
fn repairs_record_and_reports_its_faults() {
    let mut sample = WheelSample::new();
    sample.set("unlisted.py", "");
    let record = sample.record().replace("unlisted.py", "absent.py");
    sample.set("example-1.0.dist-info/RECORD", record);
    let case = Case::new(&zip(&sample.files));
    let mut differences = case.canonicalize().unwrap();
    differences.sort();
    assert_eq!(
        differences,
        [
            "RECORD does not list unlisted.py",
            "RECORD lists absent.py, which is missing"
        ]
    );
    assert_eq!(case.canonicalize().unwrap(), [""; 0]);
}

#[test]
fn removes_bytecode_beside_its_source() {
    let mut sample = WheelSample::new();
    for name in [
        "__pycache__/example.cpython-312.pyc",
        "__pycache__/example.cpython-312.opt-1.pyc",
        "example.pyc",
        "only.pyc",
        "package/__pycache__/only.cpython-312.pyc",
    ] {
        sample.set(name, "bytecode");
    }
    let names = names(&canonical(&sample.bytes()));
    assert_eq!(
        names[..3],
        [
            "example.py",
            "only.pyc",
            "package/__pycache__/only.cpython-312.pyc"
        ]
    );
    assert_eq!(names.len(), 6);
}

#[test]
fn keeps_signed_record_and_its_files() {
    let mut sample = WheelSample::new();
    sample.set("example.pyc", "bytecode");
    let record = sample.record();
    sample.set("example-1.0.dist-info/RECORD.jws", "{}");
    sample.set("example-1.0.dist-info/RECORD", record.clone());
    let bytes = canonical(&zip(&sample.files));
    let contents = contents(&bytes);
    assert_eq!(
        contents.last().unwrap(),
        &(
            "example-1.0.dist-info/RECORD".to_owned(),
            record.into_bytes()
        )
    );
    assert_eq!(contents.len(), sample.files.len());
}

#[test]
fn leaves_invalid_wheel_unchanged() {
    let mut bomb = WheelSample::new();
    bomb.set("zeros", vec![0; 4 << 20]);
    let unsafe_name = {
        let mut sample = WheelSample::new();
        sample.set("../example.py", "");
        sample.bytes()
    };
    let foreign = WheelSample::new()
        .without("example-1.0.dist-info/METADATA")
        .bytes();
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    for bytes in [&bomb.bytes()[..], &unsafe_name, b"not a zip file"] {
        let case = Case::new(bytes);
        canonicalize(&case.path, WHEEL_NAME, TIME, &limits).unwrap_err();
        assert_eq!(case.bytes(), bytes);
    }
    // The inspection before rejects what is not a wheel of the name.
    assert!(inspect(&Case::new(&foreign).path, WHEEL_NAME).is_err());
}

#[test]
fn keeps_wheel_that_would_exceed_ratio() {
    let mut sample = WheelSample::new();
    sample.set("zeros", vec![0; 1 << 20]);
    let bytes = written_otherwise(&with_record(sample), 0o644, 2021);
    let case = Case::new(&bytes);
    let limits = Limits {
        ratio_floor: 1 << 19,
        ..Limits::default()
    };
    canonicalize(&case.path, WHEEL_NAME, TIME, &limits).unwrap();
    assert!(case.bytes() == bytes);
    case.canonicalize().unwrap();
    assert!(case.bytes().len() < 1 << 14);
}

#[test]
fn time_is_within_those_of_zip_files() {
    let year = |seconds| zip_time(seconds).year();
    assert_eq!(year(i64::MIN), 1980);
    assert_eq!(year(TIME), 2020);
    assert_eq!(year(i64::MAX), 2107);
    assert_eq!(zip_time(TIME + 1).second() % 2, 0);
}

proptest! {
    #[test]
    fn canonical_wheel_is_unchanged_and_has_the_same_files(
        files in prop::collection::btree_map("[a-c]/[a-e .,\"é]{1,8}x", prop::collection::vec(any::<u8>(), 0..200), 0..8),
        order in any::<bool>(),
    ) {
        let mut sample = WheelSample::new();
        for (name, content) in files {
            sample.set(&name, content);
        }
        let mut files = with_record(sample);
        if order {
            files.reverse();
        }
        let once = canonical(&zip(&files));
        prop_assert_eq!(&once, &canonical(&once));
        let mut before = files;
        let mut after = contents(&once);
        before.retain(|(name, _)| !name.ends_with("/RECORD"));
        after.retain(|(name, _)| !name.ends_with("/RECORD"));
        before.sort();
        after.sort();
        prop_assert_eq!(before, after);
    }
}
