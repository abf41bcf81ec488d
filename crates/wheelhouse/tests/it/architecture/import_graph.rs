//! The imports between the modules of a crate, as its `use` declarations and paths state them.
//!
//! An import of an item that a parent module re-exports counts as an import of the parent, so a file that
//! imports from its own parent is part of a cycle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// The path of a module in its crate, without `crate`.
type Module = Vec<String>;

/// The imports of each module of a crate.
pub(super) struct ImportGraph(BTreeMap<Module, BTreeSet<Module>>);

impl ImportGraph {
    /// Reads the modules of the crate whose sources are at `root`, without unit tests and comments.
    pub(super) fn read(root: &Path) -> Self {
        let sources: BTreeMap<Module, String> = super::sources(root)
            .into_iter()
            .map(|(path, code)| {
                let path = path.strip_prefix(root).unwrap().with_extension("");
                let mut module: Module = path
                    .iter()
                    .map(|part| part.to_str().unwrap().to_owned())
                    .collect();
                module.pop_if(|last| last == "mod" || last == "lib");
                (module, code)
            })
            .collect();
        let imports = sources.iter().map(|(module, code)| {
            let modules = imported_paths(code)
                .into_iter()
                .filter_map(|path| resolve(module, &path, &sources))
                .filter(|imported| imported != module);
            (module.clone(), modules.collect())
        });
        Self(imports.collect())
    }

    /// Leaves out imports from the module that a module is part of, which often declares what its parts share.
    pub(super) fn without_parents(mut self) -> Self {
        for (module, imported) in &mut self.0 {
            imported.retain(|imported| !module.starts_with(imported));
        }
        self
    }

    /// Returns a shortest cycle of imports through each module below `parent` that is part of one.
    pub(super) fn cycles(&self, parent: &[&str]) -> Vec<String> {
        let modules = self.0.keys();
        modules
            .filter(|module| {
                module.len() >= parent.len()
                    && module.iter().zip(parent).all(|(part, name)| part == name)
            })
            .filter_map(|module| self.cycle(module))
            .collect()
    }

    fn cycle(&self, start: &Module) -> Option<String> {
        let mut queue = VecDeque::from([vec![start]]);
        let mut visited = BTreeSet::new();
        while let Some(path) = queue.pop_front() {
            for imported in &self.0[*path.last()?] {
                if imported == start {
                    let names = path.iter().chain([&start]).map(|module| module.join("::"));
                    return Some(names.collect::<Vec<_>>().join(" -> "));
                }
                if visited.insert(imported) {
                    queue.push_back([&path[..], &[imported]].concat());
                }
            }
        }
        None
    }
}

/// Returns the paths in `use` declarations, and other paths that start with a keyword.
fn imported_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let words = line.trim_start().trim_start_matches("pub");
        let words = words
            .trim_start_matches("(crate)")
            .trim_start_matches("(super)");
        let Some(tree) = words.trim_start().strip_prefix("use ") else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            tree.extend(lines.next());
        }
        expand(tree.trim_end_matches(';'), &mut paths);
    }
    let is_path = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    // A visibility is not an import.
    let rest = rest.replace("pub(in crate", "pub(in ");
    let words = rest.split(|letter: char| !is_path(letter));
    let keywords = ["crate::", "super::", "self::"];
    let qualified = words.filter(|word| keywords.iter().any(|start| word.starts_with(start)));
    paths.extend(qualified.map(str::to_owned));
    paths
}

/// Expands `a::{b, c::{d, e}}` to `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str, paths: &mut Vec<String>) {
    let Some((prefix, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        paths.push(path.trim().to_owned());
        return;
    };
    let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
    let (mut depth, mut start) = (0, 0);
    for (position, letter) in list.char_indices().chain([(list.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = list[start..position].trim();
                if !item.is_empty() {
                    expand(&format!("{}{item}", prefix.trim()), paths);
                }
                start = position + 1;
            }
            _ => {}
        }
    }
}

/// Returns the module that `path` in `module` refers to, or the module that declares the item.
fn resolve(module: &Module, path: &str, modules: &BTreeMap<Module, String>) -> Option<Module> {
    let mut base = module.clone();
    let mut parts = path.split("::").map(str::trim).peekable();
    match *parts.peek()? {
        "crate" => {
            base.clear();
            parts.next();
        }
        "self" => {
            parts.next();
        }
        "super" => {
            while parts.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        first => {
            base.push(first.to_owned());
            if !modules.contains_key(&base) {
                return None;
            }
            base.pop();
        }
    }
    base.extend(parts.filter(|part| *part != "self").map(str::to_owned));
    while !modules.contains_key(&base) {
        base.pop()?;
    }
    Some(base)
}

#[test]
fn expands_nested_imports() {
    let mut paths = Vec::new();
    expand("a::{self, b as c, d::{e, f},\n}", &mut paths);
    assert_eq!(paths, ["a::self", "a::b", "a::d::e", "a::d::f"]);
}

#[test]
fn finds_cycles_through_parents_and_paths() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, code: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, code).unwrap();
    };
    write("lib.rs", "mod a;");
    write("a/mod.rs", "mod b;\nmod c;\npub use b::B;");
    write("a/b.rs", "use super::super::a::c::C;");
    write("a/c.rs", "fn c() -> crate::a::d::D {}");
    write("a/d.rs", "// use super::B;\nuse std::fs;");
    let cycles = || ImportGraph::read(directory.path()).cycles(&["a"]);
    assert_eq!(cycles(), Vec::<String>::new());
    write("a/d.rs", "use super::B;");
    assert_eq!(cycles().len(), 4, "{:?}", cycles());
    assert_eq!(cycles()[0], "a -> a::b -> a::c -> a::d -> a");
    let between_parts = || {
        ImportGraph::read(directory.path())
            .without_parents()
            .cycles(&[])
    };
    assert_eq!(between_parts(), Vec::<String>::new());
    write("a/d.rs", "use super::c::C;");
    assert_eq!(
        between_parts(),
        ["a::c -> a::d -> a::c", "a::d -> a::c -> a::d"]
    );
}
