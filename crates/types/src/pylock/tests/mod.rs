//! The format of locks, locks of other tools, and errors of invalid ones.

mod properties;
mod universal;

use std::path::Path;

use super::{read, write, write_with_files};
use crate::lock::{Build, Lock, Package, Pin};
use crate::{
    Artifact, ArtifactLocation, Hashes, Listing, LockedCrate, Origin, PackageName, ProjectStatus,
    Result, Sha256, Source, StatusMarker,
};

const BASE: &str = "/srv/application";

fn base() -> &'static Path {
    Path::new(BASE)
}

/// Reads the lock for a target that accepts the first wheel and every package.
fn read_first(text: &str) -> Result<Lock> {
    read(text, base(), &mut |_| Some(0), &mut |_| true)
}

fn error_of(text: &str) -> String {
    read_first(text).unwrap_err().display_chain()
}

fn name(text: &str) -> PackageName {
    text.parse().unwrap()
}

fn artifact(filename: &str, location: ArtifactLocation) -> Artifact {
    Artifact {
        filename: filename.to_owned(),
        location,
        size: Some(63_152),
        hashes: Hashes::sha256_only(Sha256::of(filename.as_bytes())),
        listing: Listing {
            uploaded: Some(1_737_804_610_164),
            ..Listing::default()
        },
        project_status: None,
        subdirectory: None,
    }
}

fn at(url: &str) -> ArtifactLocation {
    ArtifactLocation::Url(url.parse().unwrap())
}

fn package(named: &str, version: &str, origin: Origin, source: Source) -> Package {
    Package {
        name: name(named),
        version: version.parse().unwrap(),
        origin,
        source,
        requires_python: Some(">=3.10".to_owned()),
        dependencies: Vec::new(),
        required_hashes: Vec::new(),
    }
}

/// Returns a lock with one package of each kind.
fn representative() -> Lock {
    Lock {
        request: "5f2b".to_owned(),
        files: std::collections::BTreeMap::new(),
        environment: "sys_platform == 'linux' and python_full_version == '3.11.7'".to_owned(),
        requires_python: Some(">=3.11".to_owned()),
        packages: [from_index(), direct(), local()].concat(),
        builds: vec![Build {
            name: name("docutils"),
            version: "0.1".parse().unwrap(),
            requires: vec!["setuptools >= 40.8.0".to_owned()],
            closure: vec![Pin {
                requirement: "setuptools==82.0.1".to_owned(),
                hashes: vec!["sha256:ab".to_owned()],
            }],
            crates: vec![
                locked_crate(
                    "itoa",
                    crate::locked_crate::CRATES_IO,
                    Some(Sha256::of(b"itoa")),
                ),
                locked_crate("salsa", "git+https://example.org/salsa?rev=0a#0a", None),
            ],
        }],
    }
}

fn locked_crate(name: &str, source: &str, sha256: Option<Sha256>) -> LockedCrate {
    LockedCrate {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        source: source.to_owned(),
        sha256,
    }
}

fn from_index() -> Vec<Package> {
    let index = |url: &str| Origin::Index {
        url: url.to_owned(),
    };
    let filename = "asgiref-3.8.1-py3-none-any.whl";
    let wheel = artifact(filename, at(&format!("https://files.example/a/{filename}")));
    let wheel = Source::Wheel(wheel);
    let mut first = package("asgiref", "3.8.1", index("https://pypi.org/simple"), wheel);
    first.dependencies = vec![name("confuse"), name("docutils")];
    let old = at("https://example.com/docutils-0.1.tar.bz2");
    let old = Source::Sdist(artifact("docutils-0.1.tar.bz2", old));
    let last = package("docutils", "0.1", index("https://example.com/simple"), old);
    vec![first, with_secrets(), last]
}

fn with_secrets() -> Package {
    let location = at("https://user:secret@example.com/b/confuse-2.0.tar.gz#sha256=ab");
    let mut sdist = artifact("confuse-2.0.tar.gz", location);
    sdist.listing.uploaded = Some(951_782_400_000);
    let origin = Origin::Index {
        url: "https://user:secret@example.com/simple".to_owned(),
    };
    Package {
        requires_python: Some(">=2.7.*".to_owned()),
        required_hashes: vec!["sha256:ab".to_owned(), "sha512:cd".to_owned()],
        ..package("confuse", "2.0", origin, Source::Sdist(sdist))
    }
}

fn direct() -> Vec<Package> {
    let mut archive = artifact("v1.zip", at("https://example.com/download?file=v1.zip"));
    archive.subdirectory = Some("python/project".into());
    let git = Source::Git {
        repository: "ssh://git@example.com/git.git".parse().unwrap(),
        requested: Some("main".to_owned()),
        commit: "b1287070d1e701642e1cfb3b20fd524e1ed488a1".to_owned(),
        subdirectory: Some("python".into()),
    };
    vec![
        package("elsewhere", "1", Origin::Direct, Source::Sdist(archive)),
        package("git", "0.3.dev1", Origin::Direct, git),
    ]
}

fn local() -> Vec<Package> {
    let filename = "local-1.0-cp311-cp311-linux_x86_64.whl";
    let path = ArtifactLocation::Path(base().join("wheels").join(filename));
    let origin = Origin::FindLinks {
        location: format!("{BASE}/wheels"),
    };
    let tree = Source::Tree {
        path: "/srv/library".into(),
    };
    vec![
        package(
            "local",
            "1.0",
            origin,
            Source::Wheel(artifact(filename, path)),
        ),
        package("tree", "2.0", Origin::Direct, tree),
    ]
}

#[test]
fn writes_representative_lock() {
    insta::assert_snapshot!(write(&representative(), base()));
}

#[test]
fn writes_files_next_to_lock() {
    let lock = representative();
    let files = lock.packages.iter().map(|package| {
        let filename = format!("{}-{}-py3-none-any.whl", package.name, package.version);
        let location = ArtifactLocation::Path(base().join(&filename));
        (package.name.clone(), artifact(&filename, location))
    });
    let text = write_with_files(&lock, &files.collect(), base());
    assert!(!text.contains("secret"));
    assert!(
        text.contains("path = \"git-0.3.dev1-py3-none-any.whl\""),
        "{text}"
    );
    assert!(
        text.contains("[packages.tool.wheelhouse.source.vcs]"),
        "{text}"
    );
}

#[test]
fn keeps_what_an_index_says_of_a_file() {
    let mut wheel = artifact(
        "a-1-py3-none-any.whl",
        at("https://host/a-1-py3-none-any.whl"),
    );
    wheel.listing.provenance = Some("https://host/a.provenance".to_owned());
    wheel.project_status = Some(ProjectStatus {
        status: StatusMarker::Archived,
        reason: Some("moved".to_owned()),
    });
    let index = Origin::Index {
        url: "https://host/simple".to_owned(),
    };
    let lock = Lock {
        packages: vec![package("a", "1", index, Source::Wheel(wheel))],
        ..Lock::default()
    };
    let text = write(&lock, base());
    assert_eq!(read_first(&text).unwrap().packages, lock.packages, "{text}");
}

#[test]
fn does_not_write_credentials() {
    assert!(!write(&representative(), base()).contains("secret"));
}

#[test]
fn reads_urls_of_files_without_fragments() {
    // Found by fuzzing: the lock that was read differed from the one that was written and read again.
    for url in [
        "https://h/alpha-1.0-py3-none-any.whl",
        "docker-saemon:a:latest",
    ] {
        let lock = format!(
            "lock-version = \"1.0\"\ncreated-by = \"a\"\n[[packages]]\nname = \"alpha\"\nversion = \"1.0\"\n\
             [[packages.wheels]]\nname = \"alpha-1.0-py3-none-any.whl\"\nurl = \"{url}#alpha\"\nhashes = {{ md5 = \"0\" }}\n"
        );
        let lock = read_first(&lock).unwrap();
        let artifact = lock.packages[0].source.artifact().unwrap();
        assert_eq!(artifact.location, at(url));
        assert_eq!(read_first(&write(&lock, base())).unwrap(), lock);
    }
}

#[test]
fn empty_lock_round_trips() {
    let text = write(&Lock::default(), base());
    assert_eq!(
        text,
        "lock-version = \"1.0\"\ncreated-by = \"wheelhouse\"\npackages = []\n"
    );
    assert_eq!(read_first(&text).unwrap(), Lock::default());
}

#[test]
fn lock_may_move_with_its_directory() {
    let text = write(&representative(), base());
    let moved = read(
        &text,
        Path::new("/srv/application"),
        &mut |_| Some(0),
        &mut |_| true,
    );
    let moved = moved.unwrap().packages.pop().unwrap();
    assert_eq!(
        moved.source,
        Source::Tree {
            path: "/srv/library".into()
        }
    );
}

const PIP: &str = include_str!("pylock.pip.toml");
const UV: &str = include_str!("pylock.uv.toml");
const GROUPS: &str = include_str!("pylock.groups.toml");

#[test]
fn reads_lock_of_pip() {
    let lock = read_first(PIP).unwrap();
    let [iniconfig, six] = lock.packages.as_slice() else {
        panic!("{lock:?}");
    };
    let pypi = Origin::Index {
        url: "https://pypi.org/simple".to_owned(),
    };
    assert_eq!(
        (&iniconfig.origin, iniconfig.version.to_string()),
        (&pypi, "2.3.1".to_owned())
    );
    // pip records no version for an archive, but its filename contains one.
    assert_eq!(
        (&six.origin, six.version.to_string()),
        (&Origin::Direct, "1.16.0".to_owned())
    );
    assert!(matches!(&six.source, Source::Wheel(wheel) if wheel.hashes.sha256().is_some()));
}

#[test]
fn rejects_source_tree_without_version() {
    let text = "lock-version = '1.0'\n[[packages]]\nname = 'tree'\ndirectory = { path = 'tree' }";
    let error = read_first(text).unwrap_err();
    assert_eq!(
        error.display_chain(),
        "packages[0] \"tree\": version is missing"
    );
    assert!(error.hint().is_some());
}

#[test]
fn reads_lock_of_uv_for_one_target() {
    let read_for = |tag: &str| {
        let mut choose = |names: &[crate::WheelFilename]| {
            names.iter().position(|name| name.to_string().contains(tag))
        };
        read(UV, base(), &mut choose, &mut |_| true)
            .unwrap()
            .packages
    };
    let filename = |packages: &[Package]| packages[0].source.artifact().unwrap().filename.clone();
    assert_eq!(
        filename(&read_for("win32")),
        "markupsafe-3.0.4-cp311-cp311-win32.whl"
    );
    assert_eq!(filename(&read_for("riscv64")), "markupsafe-3.0.4.tar.gz");
    let uploaded = read_for("win32")[0]
        .source
        .artifact()
        .unwrap()
        .listing
        .uploaded;
    assert_eq!(uploaded, Some(1_790_982_288_000));
}

#[test]
fn evaluates_markers_of_groups_and_environments() {
    let linux = marker_environment("linux");
    let lock = read(GROUPS, base(), &mut |_| Some(0), &mut |marker| {
        marker.holds(&linux)
    })
    .unwrap();
    let names: Vec<&str> = lock
        .packages
        .iter()
        .map(|package| package.name.as_ref())
        .collect();
    assert_eq!(names, ["attrs", "cattrs"]);
    assert_eq!(lock.packages[1].dependencies, [name("attrs")]);
    assert_eq!(
        lock.environment,
        "(sys_platform == 'linux') or (sys_platform == 'win32')"
    );
}

fn marker_environment(platform: &str) -> uv_pep508::MarkerEnvironment {
    let builder = uv_pep508::MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: "3.11.7",
        os_name: "posix",
        platform_machine: "x86_64",
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: "3.11.7",
        python_version: "3.11",
        sys_platform: platform,
    };
    builder.try_into().unwrap()
}

#[test]
fn errors_name_entry_and_key() {
    let errors: Vec<String> = [
        "",
        "lock-version = ",
        "lock-version = '2.0'\npackages = []",
        "lock-version = '1.0'",
        "lock-version = '1.0'\npackages = [1]",
        "lock-version = '1.0'\n[[packages]]\n[[packages]]",
    ]
    .map(error_of)
    .into_iter()
    .chain(PACKAGES.map(|keys| {
        error_of(&format!(
            "lock-version = '1.1'\n[[packages]]\nname = 'django'\n{keys}"
        ))
    }))
    .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

/// Invalid entries.
const PACKAGES: [&str; 14] = [
    "",
    "version = 5",
    "marker = 'os_name = 1'\nwheels = []",
    "[packages.sdist]\nurl = 'https://h/django-5.tar.gz'",
    "[packages.sdist]\nurl = 'django-5.tar.gz'\nhashes = {}",
    "[packages.sdist]\nurl = 'https://h/'\nhashes = {}",
    "[packages.sdist]\nhashes = {}",
    "[packages.sdist]\npath = 'django-5.tar.gz'\nsize = -1\nhashes = {}",
    "[packages.sdist]\npath = 'django-5.tar.gz'\nupload-time = 11:30:00\nhashes = {}",
    "[[packages.wheels]]\npath = 'django.whl'\nhashes = { sha256 = 'ab' }",
    "[[packages.wheels]]\npath = 'flask-5-py3-none-any.whl'\nhashes = { sha256 = 1 }",
    "[[packages.wheels]]\npath = 'flask-5-py3-none-any.whl'\nhashes = {}",
    "[packages.vcs]\ntype = 'hg'",
    "[packages.vcs]\ntype = 'git'\n[packages.directory]\npath = '.'",
];

#[test]
fn requires_compatible_wheel_or_sdist() {
    let text = "lock-version = '1.0'\n[[packages]]\nname = 'six'\nversion = '1.16.0'\n\
        [[packages.wheels]]\npath = 'six-1.16.0-py3-none-any.whl'\nhashes = { sha256 = 'ab' }";
    let error = read(text, base(), &mut |_| None, &mut |_| true).unwrap_err();
    let sentence = "packages[0] \"six\": none of its wheels fits the target, and it has no sdist";
    assert_eq!(error.display_chain(), sentence);
}

#[test]
fn rejects_two_applicable_entries_of_one_name() {
    let text = GROUPS.replace("marker", "unknown");
    assert_eq!(
        error_of(&text),
        "packages[1] \"attrs\": another entry of this name applies as well"
    );
}

#[test]
fn ignores_unknown_keys() {
    let text = write(&representative(), base());
    let text = text.replace("[[packages]]\n", "[[packages]]\nunknown = { a = [1] }\n");
    assert_eq!(read_first(&text).unwrap().packages.len(), 7);
}
