//! The rules of ARCHITECTURE.md that the compiler does not enforce.

mod import_graph;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use import_graph::ImportGraph;

/// The modules of the program, each with those that it may name. Between crates the compiler enforces the direction.
const MODULES: [(&str, &[&str]); 4] = [
    ("cli", &["verify", "s2i", "pipeline"]),
    ("s2i", &[]),
    ("verify", &["pipeline"]),
    ("pipeline", &[]),
];

/// The crates that touch files and processes, besides the program.
const LIBRARIES: [&str; 14] = [
    "archive",
    "attest",
    "cargo",
    "config",
    "engine",
    "farm",
    "fs",
    "oci",
    "publish",
    "sandbox",
    "sbom",
    "shared-cache",
    "store",
    "transport",
];

/// uv crates of plain values, which `types` may name.
const VALUE_CRATES: [&str; 4] = [
    "uv-distribution-filename",
    "uv-normalize",
    "uv-pep440",
    "uv-pep508",
];

/// Types that are one thing in two layers: in a verification and on the pages for people, and on a server and on its pages.
const IN_TWO_LAYERS: [&str; 4] = ["CheckCount", "CheckOutcome", "Finding", "Wheelhouse"];

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
fn modules_of_the_program_depend_one_way() {
    for (module, allowed) in MODULES {
        for (path, code) in sources(&crates().join("wheelhouse/src").join(module)) {
            for (other, _) in MODULES {
                let named = code.contains(&format!("crate::{other}"));
                let may = other == module || allowed.contains(&other);
                assert!(may || !named, "{} names {other}", path.display());
            }
            let engine = code.contains("wheelhouse_engine");
            assert!(
                !engine || module != "s2i",
                "{} names the engine",
                path.display()
            );
        }
    }
}

#[test]
fn pipeline_and_verification_have_no_import_cycles() {
    let graph = ImportGraph::read(&crates().join("wheelhouse/src"));
    for module in ["pipeline", "verify"] {
        assert_eq!(graph.cycles(&[module]), Vec::<String>::new());
    }
}

#[test]
fn files_of_a_crate_form_no_cycle() {
    for entry in std::fs::read_dir(crates()).unwrap() {
        let sources = entry.unwrap().path().join("src");
        let graph = ImportGraph::read(&sources).without_parents();
        assert_eq!(
            graph.cycles(&[]),
            Vec::<String>::new(),
            "{}",
            sources.display()
        );
    }
}

/// Returns the name of the type that `line` declares for other modules.
fn declared_type(line: &str) -> Option<&str> {
    let declaration = line.trim_start().strip_prefix("pub")?;
    let declaration = match declaration.strip_prefix('(') {
        Some(scoped) => scoped.split_once(") ")?.1,
        None => declaration.trim_start(),
    };
    let (kind, name) = declaration.split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type"].contains(&kind);
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    is_type.then(|| name.split(|character| !is_word(character)).next().unwrap())
}

#[test]
fn names_of_types_are_unique() {
    let mut types: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(crates()).unwrap() {
        for (path, code) in sources(&entry.unwrap().path().join("src")) {
            for name in code.lines().filter_map(declared_type) {
                types
                    .entry(name.to_owned())
                    .or_default()
                    .insert(path.clone());
            }
        }
    }
    assert!(types.len() > 500, "only {} types were found", types.len());
    types.retain(|name, files| files.len() > 1 && !IN_TWO_LAYERS.contains(&name.as_str()));
    assert!(types.is_empty(), "{types:#?}");
}

#[test]
fn every_module_is_listed() {
    for entry in std::fs::read_dir(crates().join("wheelhouse/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_file = Path::new(&name).extension().is_some();
        assert!(
            is_file || MODULES.iter().any(|(module, _)| *module == name),
            "{name} is not a listed module"
        );
    }
}

#[test]
fn only_the_engine_names_uv() {
    let others = LIBRARIES.into_iter().filter(|name| *name != "engine");
    let without = others.chain(["wheelhouse"]).map(|name| (name, &[][..]));
    for (name, allowed) in without.chain([("types", &VALUE_CRATES[..])]) {
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
    for name in LIBRARIES.into_iter().chain(["types", "wheelhouse"]) {
        for (path, code) in sources(&crates().join(name).join("src")) {
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

/// Returns the first path components after `crate::` in `code`.
fn named_modules(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        rest.split(|character| !is_word(character)).next().unwrap()
    })
}

/// Builds and resolutions require each other (PEP 517), but only `dispatch` names both.
#[test]
fn modules_of_the_engine_form_no_cycle() {
    let root = crates().join("engine/src");
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in sources(&root) {
        let relative = path.strip_prefix(&root).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        assert!(
            relative.iter().count() > 2 || !code.contains("super::super::"),
            "{} names another module by `super`",
            path.display()
        );
        let others = named_modules(&code).filter(|other| *other != module);
        let others = others.map(ToOwned::to_owned);
        modules.entry(module.clone()).or_default().extend(others);
    }
    for (module, others) in &modules {
        for other in others {
            assert!(
                modules.contains_key(other),
                "{module} names `crate::{other}`, which is not a module"
            );
        }
    }
    let names_both =
        |others: &BTreeSet<String>| others.contains("resolve") && others.contains("build");
    for module in modules.keys() {
        let may = ["dispatch", "engine", "state"].contains(&module.as_str());
        assert!(
            may || !names_both(&modules[module]),
            "{module} names build and resolve"
        );
    }
    // A module without others is removed, until none is left or each that is left is part of a cycle or leads to one.
    while let Some(leaf) = modules
        .iter()
        .find(|(_, others)| others.is_empty())
        .map(|(module, _)| module.clone())
    {
        modules.remove(&leaf);
        for others in modules.values_mut() {
            others.remove(&leaf);
        }
    }
    assert!(
        modules.is_empty(),
        "these modules form a cycle: {modules:?}"
    );
}
