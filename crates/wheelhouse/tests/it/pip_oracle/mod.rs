//! Compares the parsing of requirements files and configuration with pip's own. Requires the test Python, but no
//! network.

mod configuration;
mod requirements;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wheelhouse_config::{FileOptions, FileSource, LocalReader};

use crate::support::test_python;

/// Reads cases from the directories named in `cases.json` and prints how pip parses each.
const ORACLE: &str = include_str!("oracle.py");

/// Files, variables in order, and the first file to read.
#[derive(Debug, Clone, Default)]
struct Case {
    files: Vec<(String, Vec<u8>)>,
    environment: Vec<(String, String)>,
    file: String,
    constraint: bool,
}

impl Case {
    fn text(content: &str) -> Self {
        Self::files(&[("r.txt", content)])
    }

    fn files(files: &[(&str, &str)]) -> Self {
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
            .collect();
        let file = files
            .first()
            .map(|(name, _)| name.clone())
            .unwrap_or_default();
        Self {
            files,
            file,
            ..Self::default()
        }
    }

    fn bytes(content: &[u8]) -> Self {
        let mut case = Self::text("");
        case.files[0].1 = content.to_vec();
        case
    }

    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment.extend(variables.iter().map(owned));
        self
    }

    /// Returns the variables with the directory of the case in place of `{directory}`.
    fn variables(&self, directory: &Path) -> Vec<(String, String)> {
        let directory = directory.to_str().unwrap();
        self.environment
            .iter()
            .map(|(name, value)| (name.clone(), value.replace("{directory}", directory)))
            .collect()
    }

    fn write(&self, directory: &Path) {
        for (name, content) in &self.files {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
}

/// Runs pip on the cases, each in its own directory.
fn run_pip(kind: &str, cases: &[Case], root: &Path) -> Vec<Value> {
    let mut asked = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let directory = root.join(index.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        case.write(&directory);
        asked.push(json!({
            "kind": kind,
            "directory": directory,
            "environment": case.variables(&directory),
            "file": case.file,
            "constraint": case.constraint,
        }));
    }
    std::fs::write(root.join("cases.json"), json!(asked).to_string()).unwrap();
    let mut python = Command::new(test_python());
    python
        .args(["-c", ORACLE])
        .current_dir(root)
        .env("LC_ALL", "C.UTF-8");
    let output = python.output().expect("Python can be run");
    let answer = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}\n{errors}"))
}

/// Compares our result with pip's case by case and shows the first differences.
fn compare(kind: &str, cases: &[Case], ours: impl Fn(&Case, &Path) -> Result<Value, String>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let expected = run_pip(kind, cases, &root);
    let mut differences = String::new();
    let (mut count, mut read) = (0, 0);
    for (index, (case, answer)) in cases.iter().zip(expected).enumerate() {
        let own = ours(case, &root.join(index.to_string()));
        let agrees = match &own {
            Ok(value) => *value == answer,
            Err(_) => answer.get("error").is_some(),
        };
        count += usize::from(!agrees);
        read += usize::from(own.is_ok());
        if !agrees && count <= 5 {
            let files: Vec<_> = (case.files.iter())
                .map(|(name, content)| (name, String::from_utf8_lossy(content)))
                .collect();
            let variables = &case.environment;
            writeln!(
                differences,
                "{files:?} {variables:?}\n  pip:  {answer}\n  ours: {own:?}"
            )
            .unwrap();
        }
    }
    let total = cases.len();
    assert!(
        5 * read >= total,
        "only {read} of {total} cases can be read, which proves little"
    );
    assert!(
        count == 0,
        "{count} differences, among them:\n{differences}"
    );
}

/// Reads files as if the process were in a directory.
struct InDirectory<'a>(&'a Path);

impl wheelhouse_config::ReadSource for InDirectory<'_> {
    fn read(&self, source: &FileSource) -> std::io::Result<Vec<u8>> {
        LocalReader.read(source)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.join(path).exists()
    }
}

fn options_value(options: &FileOptions, default_index: Option<&str>) -> Value {
    let default_index = default_index.filter(|_| !options.no_index);
    let index_urls: Vec<_> = (options.index_url.as_deref().or(default_index).into_iter())
        .chain(options.extra_index_urls.iter().map(String::as_str))
        .collect();
    json!({
        "index_urls": index_urls,
        "no_index": options.no_index,
        "find_links": options.find_links,
        "formats": {
            "no_binary": options.format_control.no_binary(),
            "only_binary": options.format_control.only_binary(),
        },
        "releases": {
            "all_releases": options.release_control.all_releases(),
            "only_final": options.release_control.only_final(),
        },
        "prefer_binary": options.prefer_binary,
        "trusted_hosts": options.trusted_hosts.iter().collect::<BTreeSet<_>>(),
        "require_hashes": options.require_hashes,
        "no_require_hashes": options.no_require_hashes,
        "features": options.features,
    })
}

/// A deterministic random number generator.
struct Generator(u64);

impl Generator {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let index = usize::try_from(self.0 >> 33).unwrap() % from.len();
        from[index]
    }

    fn text(&mut self, pieces: &[&str], maximum: usize) -> String {
        let lengths: Vec<String> = (0..=maximum).map(|length| length.to_string()).collect();
        let lengths: Vec<&str> = lengths.iter().map(String::as_str).collect();
        let length: usize = self.pick(&lengths).parse().unwrap();
        (0..length).map(|_| self.pick(pieces)).collect()
    }
}
