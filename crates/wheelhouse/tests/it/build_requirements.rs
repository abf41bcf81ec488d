//! Build requirements: built once, cached like other wheels, and never in a cycle.

use crate::support::{Index, Sandbox, Sdist, Wheel, tree};

/// Returns a script that appends `name` to the notes for each build.
fn script_noting(sandbox: &Sandbox, name: &str) -> String {
    let notes = crate::support::python_literal(&sandbox.path("notes"));
    format!("with open({notes}, 'a') as file: file.write({name:?} + '\\n')")
}

fn notes(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.path("notes")).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn builds_shared_build_requirement_once() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let tool = Sdist::new("tool", "1.0").script(&script_noting(&sandbox, "tool"));
    index.add_sdist(&tool);
    for name in ["alpha", "beta", "gamma"] {
        let script = format!("import tool\n{}", script_noting(&sandbox, name));
        index.add_sdist(&Sdist::new(name, "1.0").requires("tool").script(&script));
    }
    let arguments = ["alpha", "beta", "gamma", "tool"];
    sandbox.build(&index, &arguments).assert_success();
    let mut built = notes(&sandbox);
    built.sort();
    assert_eq!(built, arguments);
    assert_eq!(index.requests("tool-1.0.tar.gz").len(), 1);
    assert_eq!(tree::wheels(&sandbox.out()).len(), 4);
}

#[test]
fn installs_reported_build_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    index.add(&Wheel::new("tool", "1.0"));
    index.add_sdist(&Sdist::new("plugin", "1.0").requires("tool"));
    let script = "import tool, plugin";
    index.add_sdist(
        &Sdist::new("alpha", "1.0")
            .requires("tool")
            .reports("plugin")
            .script(script),
    );
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_eq!(
        tree::wheels(&sandbox.out()),
        ["alpha-1.0-py3-none-any.whl"],
        "build requirements are not part of the wheelhouse"
    );
}

#[test]
fn build_cycle_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    index.add_sdist(&Sdist::new("alpha", "1.0").requires("beta"));
    index.add_sdist(&Sdist::new("beta", "1.0").requires("gamma"));
    index.add_sdist(&Sdist::new("gamma", "1.0").reports("alpha"));
    for wanted in ["alpha", "beta", "gamma"] {
        sandbox
            .build(&index, &[wanted, "--jobs", "1"])
            .assert_exit(5)
            .assert_error_names(&["alpha==1.0", "is required to build itself", "hint:"]);
    }
    index.add(&Wheel::new("beta", "1.0"));
    sandbox.build(&index, &["alpha"]).assert_success();
}

/// Adds `alpha`, which requires `beta` for its build, and `beta`, which requires `alpha` at run time.
fn add_cycle_through_wheel(index: &Index) -> Sdist {
    let alpha = Sdist::new("alpha", "1.0").requires("beta");
    index.add_sdist(&alpha);
    index.add(&Wheel::new("beta", "1.0").requires("alpha"));
    alpha
}

#[test]
fn build_cycle_through_lock_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let alpha = add_cycle_through_wheel(&index);
    let bytes = alpha.bytes();
    let sha256 = crate::support::sha256(&bytes);
    // The lock names the file by the URL of the index, by another URL, or by a path.
    std::fs::write(sandbox.path("alpha-1.0.tar.gz"), &bytes).unwrap();
    let url = index.file_url("alpha-1.0.tar.gz");
    let sources = [
        format!("url = \"{url}\""),
        format!("url = \"{url}?again\""),
        "path = \"alpha-1.0.tar.gz\"".to_owned(),
    ];
    for source in sources {
        let lock = format!(
            "lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"alpha\"\n\
             version = \"1.0\"\nsdist = {{ {source}, hashes = {{ sha256 = \"{sha256}\" }} }}\n"
        );
        sandbox.write("pylock.toml", &lock);
        sandbox
            .build(&index, &["--lock", "pylock.toml"])
            .assert_exit(5)
            .assert_error_names(&[
                "alpha==1.0",
                "is required to build itself (by beta==1.0)",
                "hint:",
            ]);
    }
}

#[test]
fn build_cycle_through_direct_reference_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    add_cycle_through_wheel(&index);
    let reference = format!("alpha @ {}", index.file_url("alpha-1.0.tar.gz"));
    sandbox
        .build(&index, &[&reference])
        .assert_exit(5)
        .assert_error_names(&["is required to build itself", "hint:"]);
}

#[test]
fn missing_build_requirement_is_an_error_with_its_package() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    index.add_sdist(&Sdist::new("alpha", "1.0").requires("nowhere>=2"));
    sandbox
        .build(&index, &["alpha"])
        .assert_exit(5)
        .assert_error_names(&["alpha==1.0", "nowhere"]);
}

#[test]
fn build_may_require_url() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let tool = Sdist::new("tool", "1.0");
    index.add(&Wheel::new("tool", "1.0"));
    index.add_sdist(&tool);
    // Models archive URLs of code hosts.
    index.add_bytes("main", tool.bytes(), None);
    let files = ["tool-1.0-py3-none-any.whl", "tool-1.0.tar.gz", "main"];
    for (number, file) in files.into_iter().enumerate() {
        let name = format!("alpha{number}");
        let requirement = format!("tool @ {}", index.file_url(file));
        let alpha = Sdist::new(&name, "1.0").requires(&requirement);
        index.add_sdist(&alpha.script("import tool"));
        sandbox.build(&index, &[&name]).assert_success();
    }
    assert!(index.requests("/simple/tool/").is_empty());
}
