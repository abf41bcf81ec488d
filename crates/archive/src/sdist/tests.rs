use std::io::Write as _;

use proptest::prelude::*;
use tar::EntryType;

use super::super::testing::{Member, gzip, tar, zip};
use super::*;

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

struct Case {
    directory: tempfile::TempDir,
    result: Result<UnpackedSdist>,
}

impl Case {
    fn new(bytes: &[u8], filename: &str) -> Self {
        Self::within(bytes, filename, &Limits::default())
    }

    fn within(bytes: &[u8], filename: &str, limits: &Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive");
        fs::write(&archive, bytes).unwrap();
        let result = unpack(&archive, filename, &directory.path().join("into"), limits);
        Self { directory, result }
    }

    fn tar(members: &[Member]) -> Self {
        Self::new(&gzip(&tar(members)), "example-1.0.tar.gz")
    }

    fn tree(&self) -> PathBuf {
        self.result
            .as_ref()
            .map_err(Error::display_chain)
            .unwrap()
            .root
            .clone()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.tree().join(name)).unwrap()
    }

    fn invalid_entry(&self) -> String {
        let error = self.result.as_ref().expect_err("the archive is refused");
        assert_eq!(error.kind(), Kind::Fetch);
        error.display_chain()
    }

    /// Returns whether no file is outside of the target directory.
    fn is_contained(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.iter().all(|name| name == "archive" || name == "into")
    }
}

fn valid_members() -> Vec<Member> {
    vec![
        Member::directory("example-1.0/"),
        Member::file("example-1.0/PKG-INFO", "Name: example\n"),
        Member {
            mode: 0o4777,
            ..Member::file("example-1.0/configure", "#!/bin/sh\n")
        },
        Member::file("example-1.0/src/a.py", ""),
        Member::link("example-1.0/b.py", "src/a.py"),
        Member::hard_link("example-1.0/c", "example-1.0/configure"),
    ]
}

#[test]
fn unpacks_valid_archive() {
    let case = Case::tar(&valid_members());
    assert!(case.tree().ends_with("into/example-1.0"));
    assert_eq!(case.read("PKG-INFO"), "Name: example\n");
    assert_eq!(case.read("c"), "#!/bin/sh\n");
    assert_eq!(
        fs::read_link(case.tree().join("b.py")).unwrap(),
        Path::new("src/a.py")
    );
    let modified = fs::metadata(case.tree().join("PKG-INFO"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(modified, time(1_500_000_000));
    let modified = fs::metadata(case.tree()).unwrap().modified().unwrap();
    assert_eq!(modified, time(1_500_000_000));
}

#[cfg(unix)]
#[test]
fn preserves_only_executable_bit() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::tar(&valid_members());
    let mode = |name: &str| {
        fs::metadata(case.tree().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(mode("configure"), 0o755);
    assert_eq!(mode("PKG-INFO"), 0o644);
}

#[test]
fn supports_every_compression() {
    let plain = tar(&valid_members());
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    for (bytes, name) in [
        (plain.clone(), "example-1.0.tar"),
        (gzip(&plain), "example-1.0.TGZ"),
        (bzip2.finish().unwrap(), "example-1.0.tar.bz2"),
        (
            include_bytes!("example.tar.xz").to_vec(),
            "example-1.0.tar.xz",
        ),
    ] {
        assert_eq!(
            Case::new(&bytes, name).read("PKG-INFO"),
            "Name: example\n",
            "{name}"
        );
    }
    let files = [(
        "example-1.0/PKG-INFO".to_owned(),
        b"Name: example\n".to_vec(),
    )];
    assert_eq!(
        Case::new(&zip(&files), "example-1.0.zip").read("PKG-INFO"),
        "Name: example\n"
    );
    assert!(
        Case::new(&plain, "example.rar")
            .invalid_entry()
            .contains("not in a supported format")
    );
}

#[test]
fn accepts_several_top_level_entries() {
    let case = Case::tar(&[Member::file("a/x", ""), Member::file("setup.py", "")]);
    assert!(case.tree().ends_with("into"));
    let case = Case::tar(&[Member::file("setup.py", "")]);
    assert!(case.tree().ends_with("into"));
    let case = Case::tar(&[Member::file("./a/setup.py", "")]);
    assert!(case.tree().ends_with("into/a"));
}

#[test]
fn rejects_malicious_members() {
    for (members, reason) in [
        (
            vec![Member::file("../evil", "")],
            "leads out of the archive",
        ),
        (
            vec![Member::file("a/../../evil", "")],
            "leads out of the archive",
        ),
        (
            vec![Member::link("a/b", "/etc")],
            "leads out of the archive",
        ),
        (
            vec![Member::link("a/b", "../../evil")],
            "leads out of the archive",
        ),
        (
            vec![Member::link("a/b", "../.."), Member::file("a/b/evil", "")],
            "is both a directory",
        ),
        (
            vec![Member::hard_link("a/b", "../evil")],
            "leads out of the archive",
        ),
        (
            vec![Member::hard_link("a/b", "/etc/passwd")],
            "leads out of the archive",
        ),
        (
            vec![Member::hard_link("a/b", "a/missing")],
            "is a hard link whose target is not an earlier file",
        ),
        (
            vec![Member::special("a/fifo", EntryType::Fifo)],
            "is not a file, a directory or a link",
        ),
        (
            vec![Member::special("a/device", EntryType::Char)],
            "is not a file, a directory or a link",
        ),
        (
            vec![Member::special("a/device", EntryType::Block)],
            "is not a file, a directory or a link",
        ),
        (
            vec![Member::file("a", ""), Member::file("a/b", "")],
            "is both a directory",
        ),
        (
            vec![Member::file("a/b", ""), Member::file("a", "")],
            "is both a directory",
        ),
        (
            vec![Member::link("a/x", "y"), Member::link("a/y", "x")],
            "leads through too many links",
        ),
        // Each link is harmless by itself.
        (
            vec![
                Member::link("a/here", "."),
                Member::link("a/out", "here/../../evil"),
            ],
            "leads out",
        ),
        (
            vec![
                Member::link("a/b/c", ".."),
                Member::link("a/d", "b/c/../../x"),
            ],
            "leads out",
        ),
    ] {
        let case = Case::tar(&members);
        assert!(
            case.invalid_entry().contains(reason),
            "{members:?}: {}",
            case.invalid_entry()
        );
        assert!(case.is_contained());
    }
}

#[test]
fn treats_absolute_path_as_relative() {
    let case = Case::tar(&[Member::file("/a/setup.py", "x")]);
    assert_eq!(case.read("setup.py"), "x");
}

#[test]
fn last_duplicate_wins_without_following_links() {
    let case = Case::tar(&[Member::file("a/x", "one"), Member::file("a/x", "two")]);
    assert_eq!(case.read("x"), "two");
    let members = [
        Member::file("a/kept", "kept"),
        Member::link("a/x", "kept"),
        Member::file("a/x", "written"),
    ];
    let case = Case::tar(&members);
    assert_eq!(case.read("kept"), "kept");
    assert_eq!(case.read("x"), "written");
}

#[test]
fn accepts_long_names_up_to_limit() {
    let long = format!("a/{}", "d/".repeat(80) + "file");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let case = Case::new(&builder.into_inner().unwrap(), "a.tar");
    assert_eq!(case.read(&long[2..]), "x");
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_data(&mut header, "x".repeat(300), &b"x"[..])
        .unwrap();
    let case = Case::new(&builder.into_inner().unwrap(), "a.tar");
    assert!(case.invalid_entry().contains("too long for a file"));
}

#[test]
fn rejects_huge_name_early() {
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + (64 << 20), b'x');
    let case = Case::new(&gzip(&bytes), "a.tar.gz");
    assert!(
        case.invalid_entry()
            .contains("a header exceeds the size limit"),
        "{}",
        case.invalid_entry()
    );
}

#[test]
fn rejects_decompression_bombs() {
    let limits = Limits {
        entries: 100,
        bytes: 1 << 30,
        ratio: 10,
        ratio_floor: 1 << 20,
    };
    let zeros = "\0".repeat(2 << 20);
    let bytes = gzip(&tar(&[Member::file("a/zeros", &zeros)]));
    let case = Case::within(&bytes, "a.tar.gz", &limits);
    assert!(
        case.invalid_entry()
            .contains("exceeds the limits of unpacked archives")
    );
    let files = [("a/zeros".to_owned(), zeros.into_bytes())];
    let case = Case::within(&zip(&files), "a.zip", &limits);
    assert!(
        case.invalid_entry()
            .contains("exceeds the limits of unpacked archives")
    );
    let many: Vec<Member> = (0..101)
        .map(|index| Member::file(&format!("a/{index}"), ""))
        .collect();
    let case = Case::within(&gzip(&tar(&many)), "a.tar.gz", &limits);
    assert!(
        case.invalid_entry()
            .contains("exceeds the limits of unpacked archives")
    );
}

#[test]
fn detects_truncation() {
    let bytes = gzip(&tar(&valid_members()));
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let case = Case::new(&bytes[..length], "a.tar.gz");
        // An empty file is an empty tar archive, which has no source tree.
        assert!(length == 0 || case.result.is_err(), "{length}");
    }
    let plain = tar(&[Member::file("a/b", "x".repeat(2000))]);
    assert!(
        Case::new(&plain[..1500], "a.tar")
            .invalid_entry()
            .contains("truncated")
    );
    let whole = zip(&[("a/b".to_owned(), b"x".to_vec())]);
    assert!(
        Case::new(&whole[..whole.len() - 8], "a.zip")
            .result
            .is_err()
    );
}

/// Returns an entry with an extended header of one record.
fn extended(key: &str, value: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_pax_extensions([(key, value.as_bytes())])
        .unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_mtime(0);
    builder.append_data(&mut header, "a/b", &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn reads_or_rejects_extended_headers() {
    let case = Case::new(&extended("mtime", "1604114409.5"), "a.tar");
    let modified = fs::metadata(case.tree().join("b"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(modified, time(1_604_114_409) + Duration::from_millis(500));
    let case = Case::new(&extended("GNU.sparse.major", "1"), "a.tar");
    assert!(case.invalid_entry().contains("is a sparse file"));
}

#[test]
fn ignores_data_after_archive() {
    let mut bytes = gzip(&tar(&valid_members()));
    bytes.extend_from_slice(&[0; 512]);
    assert!(Case::new(&bytes, "a.tar.gz").result.is_ok());
}

#[test]
fn metadata_is_static_only_if_reliable() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        fs::write(directory.path().join("PKG-INFO"), text).unwrap();
        static_metadata(directory.path()).is_some()
    };
    let base = "Name: a\nVersion: 1\n";
    assert!(check(&format!("Metadata-Version: 2.2\n{base}")));
    assert!(check(&format!(
        "Metadata-Version: 2.4\n{base}Dynamic: License-File\n"
    )));
    assert!(!check(&format!("Metadata-Version: 2.1\n{base}")));
    assert!(!check(&format!(
        "Metadata-Version: 2.2\n{base}Dynamic: requires-dist\n"
    )));
    assert!(!check(&format!("Metadata-Version: 3.0\n{base}")));
    assert!(!check("Metadata-Version: 2.2\nName: a\n"));
}

fn member() -> impl Strategy<Value = Member> {
    let name = "(/|\\./|\\.\\./)?[ab](/[ab]|/\\.\\.|/\\.){0,3}/?";
    (name, name, 0..5_usize).prop_map(|(name, target, kind)| match kind {
        0 | 1 => Member::file(&name, "content"),
        2 => Member::directory(&name),
        3 => Member::link(&name, &target),
        _ => Member::hard_link(&name, &target),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn never_writes_outside_of_target(members in prop::collection::vec(member(), 1..8)) {
        let case = Case::new(&tar(&members), "a.tar");
        prop_assert!(case.is_contained());
        if let Ok(tree) = &case.result {
            let root = fs::canonicalize(case.directory.path().join("into")).unwrap();
            for entry in walkdir::WalkDir::new(&tree.root) {
                if let Ok(real) = fs::canonicalize(entry.unwrap().path()) {
                    prop_assert!(real.starts_with(&root), "{real:?}");
                }
            }
        }
    }

    #[test]
    fn corruption_never_panics(position in any::<prop::sample::Index>(), byte: u8) {
        for (mut bytes, name) in [
            (tar(&valid_members()), "a.tar"),
            (gzip(&tar(&valid_members())), "a.tar.gz"),
            (zip(&[("a/b".to_owned(), b"x".to_vec())]), "a.zip"),
        ] {
            let at = position.index(bytes.len());
            bytes[at] = byte;
            prop_assert!(Case::new(&bytes, name).is_contained());
        }
    }
}
