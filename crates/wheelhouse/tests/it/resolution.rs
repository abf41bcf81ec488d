//! Recorded real-world requirements resolve to the versions that pip selects, in every order of their lines.
//!
//! `resolution.jsonl` has the metadata that the program requests for some sets of `bench/sets/bounded.jsonl`:
//! versions and their requirements, without files. `bench/resolution record` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::support::{Index, Sandbox};

#[derive(Deserialize)]
struct RecordedSet {
    name: String,
    python: String,
    requirements: Vec<String>,
    /// The versions that pip selects, as `alpha==1.0 beta==2.0`.
    #[serde(rename = "answer")]
    resolved: String,
    /// The requirements of each version of each package.
    packages: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl RecordedSet {
    fn index(&self) -> Index {
        let index = Index::start();
        for (name, versions) in &self.packages {
            for (version, requires) in versions {
                let filename = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
                let mut metadata =
                    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
                for requirement in requires {
                    let _ = writeln!(metadata, "Requires-Dist: {requirement}");
                }
                let bytes = filename.clone().into_bytes();
                index.add_bytes(&filename, bytes, Some(metadata));
            }
        }
        index
    }
}

/// Returns the versions that the program selects, as `alpha==1.0 beta==2.0`.
fn resolve(sandbox: &Sandbox, index: &Index, python: &str, requirements: &[&str]) -> String {
    let target = format!("{python}-linux");
    let options = ["--dry-run", "--json", "--no-bootstrap", "--target", &target];
    let run = sandbox.download(index, &[&options[..], requirements].concat());
    run.assert_success();
    let plan: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let steps = plan["targets"][0]["steps"].as_array().unwrap().iter();
    let mut versions: Vec<String> = steps
        .map(|step| {
            let text = |field: &str| step[field].as_str().unwrap().to_owned();
            format!("{}=={}", text("name"), text("version"))
        })
        .collect();
    versions.sort();
    versions.join(" ")
}

#[test]
fn resolves_recorded_sets_like_pip_in_every_order() {
    for line in include_str!("resolution.jsonl").lines() {
        let recorded: RecordedSet = serde_json::from_str(line).unwrap();
        let (index, sandbox) = (recorded.index(), Sandbox::new());
        let mut requirements: Vec<&str> =
            recorded.requirements.iter().map(String::as_str).collect();
        for order in ["as written", "reversed", "sorted"] {
            let resolve = resolve(&sandbox, &index, &recorded.python, &requirements);
            assert_eq!(resolve, recorded.resolved, "{}, {order}", recorded.name);
            if order == "as written" {
                requirements.reverse();
            } else {
                requirements.sort_unstable();
            }
        }
    }
}
