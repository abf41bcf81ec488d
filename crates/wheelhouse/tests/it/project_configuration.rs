//! `[tool.wheelhouse]` of a project.

use crate::support::{Index, RunResult, Sandbox, Wheel, tree};

fn index(version: &str) -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", version));
    index.add(&Wheel::new("alpha", "0.5"));
    index
}

fn run(sandbox: &Sandbox, directory: &str, arguments: &[&str]) -> RunResult {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.current_dir(sandbox.path(directory)).args(arguments);
    sandbox.spawn(command).finish()
}

fn project(sandbox: &Sandbox, index: &Index, more: &str) {
    let text = format!(
        "[project]\nname = 'app'\nversion = '1'\ndependencies = ['alpha']\n\
         [tool.wheelhouse]\nindex-url = '{}'\n{more}\n",
        index.url()
    );
    sandbox.write("app/pyproject.toml", &text);
}

#[test]
fn configures_builds_inside_and_of_the_project() {
    let (index, sandbox) = (index("1.0"), Sandbox::new());
    project(&sandbox, &index, "output = 'made'\nconstraints = 'c.txt'");
    sandbox.write("app/c.txt", "alpha<1");
    run(&sandbox, "app", &["build"]).assert_success();
    let wheels = ["alpha-0.5-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.path("app/made")), wheels);
    for named in [["--source", "app"], ["-r", "app/pyproject.toml"]] {
        std::fs::remove_dir_all(sandbox.path("app/made")).unwrap();
        run(&sandbox, "", &[&["build"], &named[..]].concat()).assert_success();
        assert_eq!(tree::wheels(&sandbox.path("app/made")), wheels);
    }
    run(&sandbox, "app", &["lock", "--check"]).assert_exit(3);
    run(&sandbox, "app", &["lock"]).assert_success();
    assert!(sandbox.path("app/pylock.toml").exists());
}

#[test]
fn variables_and_options_override_project() {
    let (index, other, mut sandbox) = (index("1.0"), index("2.0"), Sandbox::new());
    project(&sandbox, &index, "");
    let out = sandbox.out().display().to_string();
    run(&sandbox, "app", &["build", "-o", &out]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
    sandbox.set("PIP_INDEX_URL", other.url());
    run(&sandbox, "app", &["build", "-o", &out, "--upgrade"]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-2.0-py3-none-any.whl"]);
    let url = index.url();
    run(&sandbox, "app", &["build", "-o", &out, "-i", &url, "-U"]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn invalid_project_configuration_is_an_error() {
    let (index, sandbox) = (index("1.0"), Sandbox::new());
    project(&sandbox, &index, "index-urls = 'x'");
    run(&sandbox, "app", &["build"])
        .assert_exit(2)
        .assert_error_names(&[
            "pyproject.toml",
            "tool.wheelhouse.index-urls",
            "`index-url`",
        ]);
    project(&sandbox, &index, "jobs = 'two'");
    run(&sandbox, "app", &["config"])
        .assert_exit(2)
        .assert_error_names(&["tool.wheelhouse.jobs", "an integer of at least 1"]);
    // It does not apply outside of the project.
    run(&sandbox, "", &["config"]).assert_success();
}

#[test]
fn config_shows_origins_and_indexes() {
    let sandbox = Sandbox::new();
    let shown = run(&sandbox, "", &["config", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let pypi = "https://pypi.org/simple";
    assert_eq!(document["indexes"], serde_json::json!([pypi]));
    sandbox.write(
        "app/pyproject.toml",
        "[tool.wheelhouse]\nextra-index-url = 'https://me:secret@host/simple'\nindex-strategy = 'first-index'",
    );
    let shown = run(&sandbox, "app", &["config", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let expected = serde_json::json!(["https://****@host/simple", pypi]);
    assert_eq!(document["indexes"], expected);
    let shown = run(&sandbox, "app", &["config"]).stdout;
    assert!(
        shown.contains("`tool.wheelhouse.index-strategy`"),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
}
