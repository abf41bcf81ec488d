//! The provenance of a built wheel: an in-toto statement (version 1) with the predicate SLSA provenance (version 1).
//!
//! The statement has no credentials, because [`wheelhouse_types::provenance`] has none.

use serde_json::{Map, Value, json};
use wheelhouse_types::manifest::Wheel;
use wheelhouse_types::provenance::{BuildRun, InputFile};
use wheelhouse_types::{LockedCrate, Sha256, upload_time};

/// The `_type` of a statement.
pub const STATEMENT_SCHEMA: &str = "https://in-toto.io/Statement/v1";

/// The `predicateType` of a statement.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// The `buildType` of a statement, whose documentation defines the parameters.
pub const BUILD_TYPE: &str = "https://github.com/wheelhouse-rs/wheelhouse/blob/main/docs/reference/provenance.md#build-type-v1";

/// The `id` of the builder.
const BUILDER: &str = "https://github.com/wheelhouse-rs/wheelhouse";

/// Returns the statement about the build `run` of `wheel`, or `None` if the inputs of the build were not recorded.
#[must_use]
pub fn statement(wheel: &Wheel, run: &BuildRun) -> Option<Value> {
    let built = wheel.built.as_ref()?;
    let inputs = built.inputs.as_ref()?;
    let requirements = inputs.requirements.iter();
    let dependencies: Vec<Value> = std::iter::once(source(wheel, inputs.sdist.as_ref()))
        .chain(requirements.map(|file| dependency(file, "build requirement")))
        .chain(inputs.crates.iter().map(crate_dependency))
        .chain(nested_crates(&inputs.requirements))
        .collect();
    let mut parameters = json!({
        "backend": inputs.backend,
        "python": built.python,
        "platform": run.platform,
        "compilers": run.compilers,
        "hook": "build_wheel",
        "sandbox": run.sandbox,
    });
    if inputs.shared_environment {
        parameters["shared-environment"] = json!(true);
    }
    let mut metadata = Map::new();
    for (name, time) in [("startedOn", run.started), ("finishedOn", run.finished)] {
        if let Some(time) = time.and_then(upload_time::to_text) {
            metadata.insert(name.to_owned(), json!(time));
        }
    }
    let (name, version) = run
        .generator
        .split_once(' ')
        .unwrap_or((&run.generator, ""));
    Some(json!({
        "_type": STATEMENT_SCHEMA,
        "subject": [{"name": wheel.filename, "digest": {"sha256": wheel.sha256.to_string()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "package": format!("{}=={}", wheel.name, wheel.version),
                    "source": wheel.source,
                    "config-settings": inputs.settings,
                    "environment": inputs.environment,
                },
                "internalParameters": parameters,
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {name: version}},
                "metadata": metadata,
            },
        },
    }))
}

/// Returns the file name and the digest that a statement is about.
#[must_use]
pub fn subject(statement: &Value) -> Option<(&str, Sha256)> {
    let is_statement = statement["_type"] == STATEMENT_SCHEMA;
    let [subject] = &statement["subject"].as_array()?[..] else {
        return None;
    };
    let sha256 = subject["digest"]["sha256"].as_str()?.parse().ok()?;
    let name = subject["name"].as_str()?;
    is_statement.then_some((name, sha256))
}

/// Describes the source of `wheel`: an sdist, a commit or a tree.
fn source(wheel: &Wheel, sdist: Option<&InputFile>) -> Value {
    if let Some(sdist) = sdist {
        return dependency(sdist, "source");
    }
    let mut source = json!({"uri": uri(&wheel.source), "annotations": {"role": "source"}});
    let commit = wheel
        .source
        .strip_prefix("git+")
        .and_then(|rest| Some(rest.rsplit_once('@')?.1));
    if let Some(commit) = commit {
        source["digest"] = json!({"gitCommit": commit});
    } else {
        source["name"] = json!(wheel.name);
    }
    source
}

fn dependency(file: &InputFile, role: &str) -> Value {
    let mut annotations = json!({"role": role});
    if let Some(sha256) = &file.built_from {
        annotations["built-from"] = json!(format!("sha256:{sha256}"));
    }
    json!({
        "name": file.filename,
        "uri": uri(&file.source),
        "digest": {"sha256": file.sha256.to_string()},
        "annotations": annotations,
    })
}

fn crate_dependency(locked: &LockedCrate) -> Value {
    let mut digest = Map::new();
    if let Some(sha256) = &locked.sha256 {
        digest.insert("sha256".to_owned(), json!(sha256.to_string()));
    }
    let mut uri = format!("pkg:cargo/{}@{}", locked.name, locked.version);
    if locked.is_git() {
        uri.clone_from(&locked.source);
        if let Some((_, commit)) = locked.source.rsplit_once('#') {
            digest.insert("gitCommit".to_owned(), json!(commit));
        }
    }
    json!({
        "name": locked.filename(),
        "uri": uri,
        "digest": digest,
        "annotations": {"role": "crate", "registry": locked.source},
    })
}

/// Describes the crates of build requirements that were built themselves, and of theirs in turn.
fn nested_crates(requirements: &[InputFile]) -> Vec<Value> {
    let mut dependencies = Vec::new();
    for file in requirements {
        for locked in &file.crates {
            let mut dependency = crate_dependency(locked);
            dependency["annotations"]["built-into"] = json!(file.filename);
            dependencies.push(dependency);
        }
        dependencies.extend(nested_crates(&file.requirements));
    }
    dependencies
}

/// Returns `source` as a URI: a path becomes a URL.
fn uri(source: &str) -> String {
    if source.starts_with('/') {
        format!("file://{source}")
    } else {
        source.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(source: &str, sdist: &Value) -> Wheel {
        let file = |name: &str| {
            json!({
                "filename": name, "sha256": "b".repeat(64), "source": format!("https://host/{name}"),
                "built-from": "c".repeat(64),
            })
        };
        serde_json::from_value(json!({
            "filename": "example-1.0-py3-none-any.whl", "name": "example", "version": "1.0", "sha256": "a".repeat(64),
            "size": 1, "origin": {"kind": "direct"}, "source": source,
            "built": {
                "python": "cpython 3.12.1", "requirements": [],
                "inputs": {
                    "backend": "setuptools.build_meta", "sdist": sdist, "settings": {"a": ["b"]},
                    "environment": {"CFLAGS": "-O2"}, "requirements": [file("tool-1-py3-none-any.whl")],
                },
            },
        }))
        .unwrap()
    }

    #[test]
    fn describes_build_of_sdist() {
        let sdist = json!({
            "filename": "example-1.0.tar.gz", "sha256": "d".repeat(64), "source": "https://host/example-1.0.tar.gz",
        });
        let wheel = wheel("https://host/example-1.0.tar.gz", &sdist);
        let run = BuildRun {
            generator: "wheelhouse 0.1.0".to_owned(),
            started: Some(0),
            finished: Some(1_500),
            platform: "linux_x86_64".to_owned(),
            ..BuildRun::default()
        };
        let statement = statement(&wheel, &run).unwrap();
        let found = subject(&statement).unwrap();
        assert_eq!(found, (wheel.filename.as_str(), wheel.sha256));
        let predicate = &statement["predicate"];
        let definition = &predicate["buildDefinition"];
        assert_eq!(
            definition["externalParameters"]["config-settings"],
            json!({"a": ["b"]})
        );
        let dependencies = &definition["resolvedDependencies"];
        assert_eq!(dependencies[0]["digest"]["sha256"], "d".repeat(64));
        assert_eq!(dependencies[0]["annotations"]["role"], "source");
        assert_eq!(dependencies[1]["name"], "tool-1-py3-none-any.whl");
        let built_from = format!("sha256:{}", "c".repeat(64));
        assert_eq!(dependencies[1]["annotations"]["built-from"], built_from);
        let details = &predicate["runDetails"];
        assert_eq!(
            details["builder"]["version"],
            json!({"wheelhouse": "0.1.0"})
        );
        assert_eq!(
            details["metadata"]["finishedOn"],
            "1970-01-01T00:00:01.500000Z"
        );
    }

    #[test]
    fn lists_crates_with_their_digests() {
        let mut wheel = wheel("/src/example", &Value::Null);
        let crates = json!([
            {"name": "serde", "version": "1.0.1", "sha256": "e".repeat(64),
             "source": "registry+https://github.com/rust-lang/crates.io-index"},
            {"name": "own", "version": "0.1.0", "source": "git+https://host/own?rev=1#0f3c"},
        ]);
        let inputs = wheel.built.as_mut().unwrap().inputs.as_mut().unwrap();
        inputs.crates = serde_json::from_value(crates).unwrap();
        let statement = statement(&wheel, &BuildRun::default()).unwrap();
        let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
        assert_eq!(dependencies[2]["name"], "serde-1.0.1.crate");
        assert_eq!(dependencies[2]["uri"], "pkg:cargo/serde@1.0.1");
        assert_eq!(dependencies[2]["digest"], json!({"sha256": "e".repeat(64)}));
        assert_eq!(dependencies[3]["digest"], json!({"gitCommit": "0f3c"}));
    }

    #[test]
    fn describes_commits_and_trees() {
        let described = |source: &str| {
            let statement = statement(&wheel(source, &Value::Null), &BuildRun::default()).unwrap();
            let definition = &statement["predicate"]["buildDefinition"];
            definition["resolvedDependencies"][0].clone()
        };
        let commit = described("git+https://host/example.git@0f3c");
        assert_eq!(commit["digest"], json!({"gitCommit": "0f3c"}));
        assert_eq!(commit["uri"], "git+https://host/example.git@0f3c");
        let tree = described("/src/example");
        assert_eq!(tree["uri"], "file:///src/example");
        assert_eq!(tree["digest"], Value::Null);
    }

    #[test]
    fn wheel_without_recorded_inputs_has_no_statement() {
        let mut wheel = wheel("/src/example", &Value::Null);
        wheel.built.as_mut().unwrap().inputs = None;
        assert_eq!(statement(&wheel, &BuildRun::default()), None);
        assert_eq!(
            subject(&json!({"_type": STATEMENT_SCHEMA, "subject": []})),
            None
        );
        assert_eq!(subject(&json!({})), None);
    }
}
