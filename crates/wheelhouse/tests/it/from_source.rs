//! `--from-source` and `--from-source-except`: which packages are built, build requirements included.

use serde_json::Value;

use crate::support::{Index, Member, Sandbox, Sdist, Wheel};

/// An index with `app`, whose build requires `tool`, both as a wheel and as an sdist.
fn index() -> Index {
    let index = Index::start();
    index.add_sdist(&Sdist::new("app", "1.0").requires("tool"));
    index.add(&Wheel::new("app", "1.0"));
    index.add_sdist(&Sdist::new("tool", "1.0"));
    index.add(&Wheel::new("tool", "1.0"));
    index
}

/// Returns how the wheel of `app` was built.
fn built(sandbox: &Sandbox) -> Value {
    let bytes = std::fs::read(sandbox.out().join("wheelhouse.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    manifest["wheels"][0]["built"].clone()
}

#[test]
fn builds_build_requirements_from_source() {
    let (sandbox, index) = (Sandbox::new(), index());
    let result = sandbox.build(&index, &["app", "--from-source"]);
    result.assert_success();
    let tool = &built(&sandbox)["inputs"]["requirements"][0];
    assert_eq!(tool["filename"], "tool-1.0-py3-none-any.whl");
    assert!(tool["built-from"].is_string(), "{tool}");
}

#[test]
fn excepted_packages_are_wheels() {
    let (sandbox, index) = (Sandbox::new(), index());
    let result = sandbox.build(&index, &["app", "--from-source-except", "tool"]);
    result.assert_success();
    let tool = &built(&sandbox)["inputs"]["requirements"][0];
    assert!(tool["built-from"].is_null(), "{tool}");
    // An excepted package of the set itself.
    let sandbox = Sandbox::new();
    let result = sandbox.build(&index, &["app", "--from-source-except", "app"]);
    result.assert_success();
    assert!(built(&sandbox).is_null());
}

#[test]
fn names_package_without_sdist_and_what_requires_it() {
    let (sandbox, index) = (Sandbox::new(), index());
    index.add(&Wheel::new("binary", "1.0"));
    index.add_sdist(&Sdist::new("outer", "1.0").requires("binary"));
    let result = sandbox.build(&index, &["outer", "--from-source"]);
    result.assert_error_names(&["outer", "binary", "source distribution"]);
    let metadata = "Metadata-Version: 2.1\nName: inner\nVersion: 1.0\nRequires-Dist: binary\n";
    index.add_sdist(
        &Sdist::new("inner", "1.0").member(Member::file("inner-1.0/PKG-INFO", metadata)),
    );
    let result = sandbox.build(&index, &["inner", "--from-source"]);
    result.assert_error_names(&["inner", "binary", "source distribution"]);
}
