use super::super::testing::{WHEEL_NAME, WheelSample, zip};
use super::*;

fn check(bytes: &[u8]) -> Result<Vec<String>> {
    check_within(bytes, &Limits::default())
}

fn check_within(bytes: &[u8], limits: &Limits) -> Result<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs_err::write(&path, bytes).unwrap();
    let differences = verify_contents(&path, WHEEL_NAME, limits)?;
    Ok(differences.iter().map(ToString::to_string).collect())
}

#[test]
fn valid_wheel_matches_its_record() {
    assert_eq!(check(&WheelSample::new().bytes()).unwrap(), [""; 0]);
}

#[test]
fn reports_every_mismatch() {
    let mut sample = WheelSample::new();
    sample.set("same_size.py", "one");
    sample.set("unlisted.py", "");
    sample.set("weak.py", "");
    let record = sample
        .record()
        .replace("unlisted.py", "absent.py")
        .replace("weak.py,sha256", "weak.py,md5");
    sample.set("example-1.0.dist-info/RECORD", record);
    sample.set("example.py", "longer than before\n");
    sample.set("same_size.py", "two");
    let mut differences = check(&zip(&sample.files)).unwrap();
    differences.sort();
    assert_eq!(
        differences,
        [
            "RECORD does not list unlisted.py",
            "RECORD has no SHA-2 digest of weak.py",
            "RECORD lists absent.py, which is missing",
            "example.py does not have the size that RECORD states",
            "same_size.py does not have the digest that RECORD states",
        ]
    );
}

#[test]
fn detects_corrupt_payload() {
    let sample = WheelSample::new();
    let mut bytes = sample.bytes();
    let start = bytes
        .windows(10)
        .position(|window| window == b"example.py")
        .unwrap()
        + 10;
    bytes[start + 1] ^= 0xff;
    assert!(check(&bytes).is_err());
}

#[test]
fn does_not_unpack_decompression_bomb() {
    let mut sample = WheelSample::new();
    sample.set("zeros", vec![0; 4 << 20]);
    let limits = Limits {
        entries: 10,
        bytes: 1 << 30,
        ratio: 10,
        ratio_floor: 1 << 20,
    };
    let error = check_within(&sample.bytes(), &limits).unwrap_err();
    assert!(
        error
            .display_chain()
            .contains("beyond the limit at `zeros`"),
        "{}",
        error.display_chain()
    );
}
