use super::super::testing::{WHEEL_NAME, WheelSample};
use super::*;

/// Compares two wheels whose module has these contents.
fn compare(one: &[u8], other: &[u8]) -> Vec<WheelDifference> {
    let directory = tempfile::tempdir().unwrap();
    let paths = [one, other].map(|content| {
        let mut sample = WheelSample::new();
        sample.set("example.py", content);
        let path = directory
            .path()
            .join(content.len().to_string() + WHEEL_NAME);
        let path = if path.exists() {
            path.with_extension("2.whl")
        } else {
            path
        };
        fs_err::write(&path, sample.bytes()).unwrap();
        path
    });
    compare_wheels(&paths[0], &paths[1], &Limits::default()).unwrap()
}

fn cause_of(one: &str, other: &str) -> Cause {
    let differences = compare(one.as_bytes(), other.as_bytes());
    let [difference] = &differences[..] else {
        panic!("{differences:?}");
    };
    assert_eq!(difference.file.as_deref(), Some("example.py"));
    difference.cause
}

#[test]
fn equal_wheels_have_no_difference() {
    assert_eq!(compare(b"print()\n", b"print()\n"), []);
}

#[test]
fn recognizes_causes() {
    for (one, other, cause) in [
        (
            "built = '2026-01-02 03:04'",
            "built = '2026-11-26 23:04'",
            Cause::Timestamp,
        ),
        (
            "date: Thu Nov 26 2026",
            "date: Fri Nov  6 2026",
            Cause::Timestamp,
        ),
        ("epoch = 1700000000", "epoch = 1764200000", Cause::Timestamp),
        (
            "flags = '-I/a/b/include -O2'",
            "flags = '-I/tmp/x/include -O2'",
            Cause::Path,
        ),
        ("root: /home/a/b\n", "root: /root/c\n", Cause::Path),
        (
            "alpha\nbeta_\ngamma\n",
            "gamma\nalpha\nbeta_\n",
            Cause::Order,
        ),
        (
            "names = {'a', 'b', 'c'}",
            "names = {'c', 'a', 'b'}",
            Cause::HashSeed,
        ),
        ("jobs = 4", "jobs = 8", Cause::Content),
        ("text", "another text", Cause::Content),
    ] {
        assert_eq!(cause_of(one, other), cause, "{one} {other}");
    }
}

#[test]
fn shows_first_difference_on_one_line() {
    let differences = compare(b"same\nx = '\x1b[31m one'\n", b"same\nx = '\x1b[31m two'\n");
    assert_eq!(
        differences[0].detail.as_deref(),
        Some("`[31m one'` -> `[31m two'`")
    );
}

#[test]
fn names_files_of_one_wheel_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut sample = WheelSample::new();
    let (one, other) = (
        directory.path().join("1.whl"),
        directory.path().join("2.whl"),
    );
    fs_err::write(&one, sample.bytes()).unwrap();
    sample.set("new.py", "");
    fs_err::write(&other, sample.bytes()).unwrap();
    let causes = |one, other| -> Vec<_> {
        let differences = compare_wheels(one, other, &Limits::default()).unwrap();
        let pairs = differences.into_iter();
        pairs.map(|one| (one.file.unwrap(), one.cause)).collect()
    };
    assert_eq!(causes(&one, &other), [("new.py".to_owned(), Cause::Added)]);
    assert_eq!(
        causes(&other, &one),
        [("new.py".to_owned(), Cause::Missing)]
    );
}

#[test]
fn names_sections_of_binaries() {
    let program = fs_err::read(std::env::current_exe().unwrap()).unwrap();
    let elf = Elf::parse(&program).unwrap();
    let range = elf
        .section_headers
        .iter()
        .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(".comment"))
        .and_then(goblin::elf::SectionHeader::file_range)
        .unwrap();
    let mut changed = program.clone();
    changed[range.start] ^= 1;
    let differences = file_differences("example.so", &program, &changed);
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].section.as_deref(), Some(".comment"));
}

#[test]
fn recognizes_time_in_bytecode() {
    let (mut one, mut other) = (vec![7; 40], vec![7; 40]);
    (one[8], other[8]) = (1, 2);
    let differences = file_differences("a.pyc", &one, &other);
    assert_eq!(differences[0].cause, Cause::Timestamp);
    other[30] = 9;
    let differences = file_differences("a.pyc", &one, &other);
    assert_eq!(differences[0].cause, Cause::Content);
}
