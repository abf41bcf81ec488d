//! Directories as values.

use std::collections::BTreeMap;
use std::path::Path;

use wheelhouse_types::manifest::PREVIOUS_NAME;

/// Reads the files below `directory` by relative path, without following links. The previous manifest of a wheelhouse, which
/// depends on the runs before, is left out, and so are the times of builds.
pub(crate) fn read(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        let name = entry
            .path()
            .strip_prefix(directory)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if entry.file_name() == PREVIOUS_NAME {
            continue;
        }
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let bytes = without_times(&name, &bytes).unwrap_or(bytes);
            files.insert(name, bytes);
        } else if entry.path_is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap();
            files.insert(name, format!("-> {}", target.display()).into_bytes());
        } else if !name.is_empty() {
            files.insert(format!("{name}/"), Vec::new());
        }
    }
    files
}

/// Returns the provenance in the file `name` without the times of the build.
fn without_times(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    if !name.ends_with(".provenance.json") {
        return None;
    }
    let mut statement: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let details = statement["predicate"]["runDetails"].as_object_mut()?;
    details.remove("metadata")?;
    Some(statement.to_string().into_bytes())
}

/// Returns the filenames of the wheels in `directory`.
pub(crate) fn wheels(directory: &Path) -> Vec<String> {
    let names = read(directory).into_keys();
    names
        .filter(|name| {
            Path::new(name).extension().is_some_and(|end| end == "whl") && !name.contains('/')
        })
        .collect()
}

/// Returns the names of temporary files and directories at any depth below `directory`.
pub(crate) fn temporary(directory: &Path) -> Vec<String> {
    let is_temporary = |part: &str| part.starts_with(".tmp") || part.starts_with(".wheelhouse-");
    let names = read(directory).into_keys();
    names
        .filter(|name| name.split('/').any(is_temporary))
        .collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for (name, content) in read(from) {
        if name.ends_with('/') {
            std::fs::create_dir_all(to.join(name)).unwrap();
        } else {
            let path = to.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
}

/// Checks that two directories are equal and shows the differences.
#[track_caller]
pub(crate) fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing: Vec<String> = names
        .into_iter()
        .filter(|name| left.get(*name) != right.get(*name))
        .map(|name| {
            let shown = |files: &BTreeMap<String, Vec<u8>>| match files.get(name) {
                None => "absent".to_owned(),
                Some(bytes) if bytes.len() < 3000 => String::from_utf8_lossy(bytes).into_owned(),
                Some(bytes) => format!("{} bytes", bytes.len()),
            };
            format!("{name}:\n{}\n---\n{}", shown(left), shown(right))
        })
        .collect();
    assert!(
        differing.is_empty(),
        "the directories differ:\n{}",
        differing.join("\n")
    );
}
