use std::io::Cursor;

use proptest::prelude::*;

use super::super::testing::{METADATA, WHEEL, WHEEL_NAME, WheelSample, patched, zip};
use super::*;

fn inspect(bytes: Vec<u8>) -> Result<WheelInspection> {
    inspect_reader(Cursor::new(bytes), WHEEL_NAME)
}

fn rejection(bytes: Vec<u8>) -> String {
    let error = inspect(bytes).expect_err("the wheel is refused");
    assert_eq!(error.kind(), Kind::Fetch);
    let sentence = error.display_chain();
    assert!(
        sentence.starts_with("example-1.0-py3-none-any.whl is not a valid wheel: "),
        "{sentence}"
    );
    sentence
}

#[test]
fn inspects_valid_wheel() {
    let wheel = inspect(WheelSample::new().bytes()).unwrap();
    assert_eq!(wheel.name.as_str(), "example");
    assert_eq!(wheel.version.to_string(), "1.0");
    assert_eq!(wheel.requires_python.as_deref(), Some(">=3.8"));
    assert_eq!(wheel.metadata, METADATA.as_bytes());
    assert!(
        wheel.irregularities.is_empty(),
        "{:?}",
        wheel.irregularities
    );
}

#[test]
fn compares_normalized_names_and_versions() {
    let mut sample = WheelSample::new();
    sample.set(
        "example-1.0.dist-info/METADATA",
        METADATA.replace("1.0", "1.0.0"),
    );
    assert!(inspect(sample.bytes()).is_ok());
    sample.set(
        "example-1.0.dist-info/METADATA",
        METADATA.replace("1.0", "1.1"),
    );
    assert!(rejection(sample.bytes()).contains("its METADATA has version 1.1"));
    sample.set(
        "example-1.0.dist-info/METADATA",
        METADATA.replace("Example", "other"),
    );
    assert!(rejection(sample.bytes()).contains("its METADATA is that of other"));
}

#[test]
fn rejects_archives_that_are_not_wheels() {
    assert!(rejection(b"<html>not found</html>".to_vec()).contains("it is not a zip file"));
    assert!(rejection(Vec::new()).contains("it is not a zip file"));
    let whole = WheelSample::new().bytes();
    assert!(rejection(whole[..whole.len() - 40].to_vec()).contains("it is not a zip file"));
    let sample = WheelSample::new().without("example-1.0.dist-info/METADATA");
    assert!(rejection(sample.bytes()).contains("it has no example-1.0.dist-info/METADATA"));
    assert!(rejection(zip(&WheelSample::new().files)).contains("RECORD"));
    let mut sample = WheelSample::new();
    sample.set("other-1.0.dist-info/METADATA", METADATA);
    assert!(rejection(sample.bytes()).contains("exactly one dist-info"));
    let mut sample = WheelSample::new();
    sample.set("example-1.0.dist-info/WHEEL", WHEEL.replace("1.0", "2.0"));
    assert!(rejection(sample.bytes()).contains("Wheel-Version 2.0"));
    assert!(inspect_reader(Cursor::new(whole), "example.whl").is_err());
}

#[test]
fn rejects_malicious_entries() {
    for name in [
        "../evil.py",
        "/etc/passwd",
        "a/../../b",
        "C:/evil",
        "..\\evil.py",
        "\\evil",
    ] {
        let mut sample = WheelSample::new();
        let stand_in = "x".repeat(name.len());
        sample.set(&stand_in, "evil");
        let bytes = patched(sample.bytes(), stand_in.as_bytes(), name.as_bytes());
        let sentence = rejection(bytes);
        assert!(sentence.contains("entry `"), "{sentence}");
    }
}

#[test]
fn rejects_scripts_outside_of_environment() {
    let with = |text: &str| {
        let mut sample = WheelSample::new();
        sample.set("example-1.0.dist-info/entry_points.txt", text);
        sample.bytes()
    };
    for section in ["console_scripts", "gui_scripts", " console_scripts "] {
        for name in ["../evil", "/bin/ls", "a/b", "..", ".", "a\\b", "C:evil", ""] {
            let text = format!("[{section}]\nfine = example:f\n  {name} = example:f\n");
            let sentence = rejection(with(&text));
            assert!(sentence.contains("is not a file name"), "{sentence}");
        }
    }
    let fine = "[plugins]\n../x = example\n[console_scripts]\n# ../x = y\n; ../x = y\n\
        my-tool.py = example:f [extra]\nother tool = example:f\n[x]\na/b = c\n";
    assert!(inspect(with(fine)).is_ok());
}

#[test]
fn rejects_links_and_duplicates() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer
        .add_symlink("example.py", "/etc/passwd", options)
        .unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert!(rejection(bytes).contains("is neither a file nor a directory"));
    let mut sample = WheelSample::new();
    sample.set("exbmple.py", "");
    assert!(rejection(patched(sample.bytes(), b"exbmple.py", b"example.py")).contains("same name"));
    let mut sample = WheelSample::new();
    sample.set("./example.py", "");
    assert!(rejection(sample.bytes()).contains("exists twice"));
}

#[test]
fn inspects_decompression_bomb_without_unpacking() {
    let mut sample = WheelSample::new();
    let bomb = format!("{METADATA}{}", " ".repeat(17 << 20));
    sample.set("example-1.0.dist-info/METADATA", bomb);
    let bytes = sample.bytes();
    assert!(bytes.len() < 1 << 20);
    assert!(rejection(bytes).contains("exceeds its size limit"));
}

#[test]
fn warns_about_defects_that_pip_accepts() {
    let mut sample = WheelSample::new();
    sample.set("example-1.0.dist-info/WHEEL", WHEEL.replace("py3", "py2"));
    let record = sample.record().replace("example.py", "exemple.py");
    sample.set("example-1.0.dist-info/RECORD", record);
    let wheel = inspect(zip(&sample.files)).unwrap();
    let irregularities: Vec<_> = wheel
        .irregularities
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        irregularities,
        [
            "RECORD does not list example.py",
            "RECORD lists exemple.py, which is missing",
            "WHEEL has other tags than the file name: py2-none-any",
        ]
    );
}

#[test]
fn accepts_compressed_tags_and_signatures() {
    let mut sample = WheelSample::new();
    sample.set(
        "example-1.0.dist-info/WHEEL",
        format!("{WHEEL}Tag: py2-none-any\n"),
    );
    let record = sample.record();
    sample.set("example-1.0.dist-info/RECORD", record);
    sample.set("example-1.0.dist-info/RECORD.jws", "{}");
    let wheel = inspect_reader(
        Cursor::new(zip(&sample.files)),
        "example-1.0-py2.py3-none-any.whl",
    );
    assert!(wheel.unwrap().irregularities.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn corrupt_wheel_never_panics(position in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = WheelSample::new().bytes();
        let at = position.index(bytes.len());
        bytes[at] = byte;
        let _ = inspect(bytes.clone());
        bytes.truncate(cut.index(bytes.len()));
        let _ = inspect(bytes);
    }
}
