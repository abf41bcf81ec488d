//! The provenance of built wheels.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Index, Sandbox, Sdist, Wheel, services, sha256, test_python, tree};

const STATEMENT: &str = "alpha-1.0-py3-none-any.whl.provenance.json";

/// Returns an index with an sdist of `alpha`, whose build requires a wheel and another sdist.
fn index() -> (Index, Sdist) {
    let index = Index::start();
    let alpha = Sdist::new("alpha", "1.0").static_metadata();
    let alpha = alpha.requires("tool").requires("helper");
    index.add_sdist(&alpha);
    index.add(&Wheel::new("tool", "2.0"));
    index.add_sdist(&Sdist::new("helper", "3.0").static_metadata());
    (index, alpha)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn describes_the_build_of_a_wheel() {
    let ((index, alpha), mut sandbox) = (index(), Sandbox::new());
    sandbox.set("CFLAGS", "-O1");
    sandbox.set("PIP_INDEX_URL", index.url_for("me", "pa55word-of-index"));
    let settings = ["-C", "plain=yes", "-C", "api-token=s3cret-of-setting"];
    let arguments = [&["alpha"], &settings[..]].concat();
    sandbox.build(&index, &arguments).assert_success();
    let wheel = fs::read(sandbox.out().join("alpha-1.0-py3-none-any.whl")).unwrap();
    let text = fs::read_to_string(sandbox.out().join(STATEMENT)).unwrap();
    let statement: Value = serde_json::from_str(&text).unwrap();
    let subject =
        json!([{"name": "alpha-1.0-py3-none-any.whl", "digest": {"sha256": sha256(&wheel)}}]);
    assert_eq!(statement["subject"], subject);
    let definition = &statement["predicate"]["buildDefinition"];
    let parameters = &definition["externalParameters"];
    assert_eq!(parameters["environment"]["CFLAGS"], "-O1");
    assert_eq!(parameters["config-settings"]["plain"], "yes");
    assert_eq!(parameters["config-settings"]["api-token"], "****");
    assert_eq!(definition["internalParameters"]["backend"], "backend");
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    let names: Vec<_> = dependencies
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "alpha-1.0.tar.gz",
            "helper-3.0-py3-none-any.whl",
            "tool-2.0-py3-none-any.whl"
        ]
    );
    assert_eq!(dependencies[0]["digest"]["sha256"], sha256(&alpha.bytes()));
    assert_eq!(dependencies[0]["uri"], index.file_url("alpha-1.0.tar.gz"));
    let helper = Sdist::new("helper", "3.0").static_metadata().bytes();
    let built_from = format!("sha256:{}", sha256(&helper));
    assert_eq!(dependencies[1]["annotations"]["built-from"], built_from);
    let metadata = &statement["predicate"]["runDetails"]["metadata"];
    assert!(
        metadata["startedOn"].as_str() < metadata["finishedOn"].as_str(),
        "{metadata}"
    );
    let manifest = fs::read_to_string(sandbox.out().join("wheelhouse.json")).unwrap();
    assert!(manifest.contains("tool-2.0-py3-none-any.whl"));
    for secret in ["pa55word-of-index", "s3cret-of-setting"] {
        assert!(
            !text.contains(secret) && !manifest.contains(secret),
            "{text}"
        );
    }
}

#[test]
fn reused_wheel_keeps_its_provenance() {
    let ((index, _), sandbox) = (index(), Sandbox::new());
    let statement = |out: &str| {
        let out = sandbox.path(out);
        let run = sandbox.start_into(&index, &out, &sandbox.cache(), &["alpha"]);
        run.finish().assert_success();
        (
            fs::read(out.join(STATEMENT)).unwrap(),
            fs::read(out.join("wheelhouse.json")).unwrap(),
        )
    };
    assert_eq!(statement("one"), statement("two"));
}

#[test]
fn fixed_time_makes_the_whole_output_reproducible() {
    let ((index, _), mut sandbox) = (index(), Sandbox::new());
    sandbox.set("SOURCE_DATE_EPOCH", "1700000000");
    let outputs = ["one", "two"].map(|name| {
        let (out, cache) = (sandbox.path(name), sandbox.path(&format!("cache-{name}")));
        let run = sandbox.start_into(&index, &out, &cache, &["alpha"]);
        run.finish().assert_success();
        fs::read(out.join(STATEMENT)).unwrap()
    });
    assert_eq!(outputs[0], outputs[1]);
    tree::assert_same(
        &tree::read(&sandbox.path("one")),
        &tree::read(&sandbox.path("two")),
    );
}

#[test]
fn fetched_wheel_has_no_provenance() {
    let ((index, _), sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["tool"]).assert_success();
    let files = tree::read(&sandbox.out());
    assert!(files.contains_key("tool-2.0-py3-none-any.whl.metadata"));
    assert!(!files.keys().any(|name| name.ends_with(".provenance.json")));
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn library_of_in_toto_reads_statement() {
    let ((index, _), sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    let script = "import json, sys\n\
        from google.protobuf.json_format import ParseDict\n\
        from in_toto_attestation.predicates.provenance.v1 import provenance_pb2\n\
        from in_toto_attestation.v1 import statement_pb2\n\
        from in_toto_attestation.v1.statement import Statement\n\
        document = json.load(open(sys.argv[1]))\n\
        Statement.copy_from_pb(ParseDict(document, statement_pb2.Statement())).validate()\n\
        predicate = ParseDict(document['predicate'], provenance_pb2.Provenance())\n\
        assert predicate.build_definition.build_type and predicate.run_details.builder.id\n\
        del document['subject'][0]['digest']\n\
        try:\n    \
            Statement.copy_from_pb(ParseDict(document, statement_pb2.Statement())).validate()\n\
        except ValueError:\n    \
            sys.exit()\n\
        sys.exit('it finds nothing')";
    let statement = sandbox.out().join(STATEMENT);
    assert_eq!(read(&statement)["_type"], "https://in-toto.io/Statement/v1");
    services::run(
        Command::new(test_python())
            .args(["-c", script])
            .arg(statement),
    );
}
