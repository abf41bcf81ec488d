//! The rules of ARCHITECTURE.md that the compiler does not enforce.

use std::path::{Path, PathBuf};

/// Each room with the rooms that it may name.
const ROOMS: [(&str, &[&str]); 9] = [
    (
        "cli",
        &[
            "config", "verify", "s2i", "execute", "oci", "store", "archive", "publish",
        ],
    ),
    ("s2i", &["config", "store", "archive", "publish"]),
    ("verify", &["execute", "store", "archive", "publish"]),
    ("execute", &["store", "archive", "publish"]),
    ("oci", &["config", "store", "archive", "publish"]),
    ("config", &[]),
    ("publish", &["archive"]),
    ("archive", &[]),
    ("store", &[]),
];

/// The rooms that may name the engine.
const ENGINE_USERS: [&str; 3] = ["cli", "verify", "execute"];

/// uv crates of plain values, which `types` may name.
const VALUE_CRATES: [&str; 4] = [
    "uv-distribution-filename",
    "uv-normalize",
    "uv-pep440",
    "uv-pep508",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The code of every source file below `directory`, without comments and without its unit tests.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    walkdir::WalkDir::new(directory)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "tests"))
        .filter(|path| path.file_name().is_some_and(|name| name != "tests.rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            (path, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    for (room, allowed) in ROOMS {
        for (path, code) in sources(&crates().join("wheelhouse/src").join(room)) {
            for (other, _) in ROOMS {
                let named = code.contains(&format!("crate::{other}"));
                let may = other == room || allowed.contains(&other);
                assert!(may || !named, "{} names {other}", path.display());
            }
            let engine = code.contains("wheelhouse_engine");
            assert!(
                !engine || ENGINE_USERS.contains(&room),
                "{} names the engine",
                path.display()
            );
        }
    }
}

#[test]
fn every_room_is_listed() {
    for entry in std::fs::read_dir(crates().join("wheelhouse/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_file = Path::new(&name).extension().is_some();
        assert!(
            is_file || ROOMS.iter().any(|(room, _)| *room == name),
            "{name} is no listed room"
        );
    }
}

#[test]
fn only_the_engine_names_uv() {
    for (name, allowed) in [("types", &VALUE_CRATES[..]), ("wheelhouse", &[])] {
        let manifest = std::fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
        for line in manifest.lines().filter(|line| line.starts_with("uv-")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            assert!(
                allowed.contains(&dependency),
                "{name} depends on {dependency}"
            );
        }
    }
}

#[test]
fn only_the_command_line_prints_reads_the_environment_or_exits() {
    let forbidden = [
        "println!",
        "eprintln!",
        "print!(",
        "process::exit",
        "env::var",
        "env::args",
    ];
    for directory in ["types/src", "transport/src", "engine/src", "wheelhouse/src"] {
        for (path, code) in sources(&crates().join(directory)) {
            let program = crates().join("wheelhouse/src");
            if path.starts_with(program.join("cli")) || path == program.join("main.rs") {
                continue;
            }
            for word in forbidden {
                assert!(!code.contains(word), "{} has {word}", path.display());
            }
        }
    }
}

#[test]
fn types_have_no_input_or_output() {
    let forbidden = [
        "std::fs",
        "fs_err",
        "std::net",
        "tokio",
        "SystemTime",
        "Instant::now",
        "async ",
    ];
    for (path, code) in sources(&crates().join("types/src")) {
        for word in forbidden {
            assert!(!code.contains(word), "{} has {word}", path.display());
        }
    }
}
