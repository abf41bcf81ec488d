//! Sets that are resolved separately and share a wheelhouse: conflicting requirements files, tools, and what the
//! installation of an application requires besides its requirements.

use std::path::Path;

use wheelhouse_types::Manifest;

use crate::support::builder_image::BuilderImage;
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, tree};

fn manifest(wheelhouse: &Path) -> Manifest {
    Manifest::parse(&std::fs::read(wheelhouse.join("wheelhouse.json")).unwrap()).unwrap()
}

/// Returns the name of each set and whether it serves only builds and tools.
fn sets(wheelhouse: &Path) -> Vec<(String, bool)> {
    let sets = manifest(wheelhouse).sets.into_iter();
    sets.map(|set| (set.name, set.build_only)).collect()
}

fn verify(sandbox: &Sandbox, wheelhouse: &Path) -> RunResult {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.arg("verify").arg(wheelhouse);
    sandbox.spawn(command).finish()
}

/// Returns an index with two versions of `alpha`, the first of which requires `beta`.
fn index_with_conflict() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0").requires("beta"));
    index.add(&Wheel::new("alpha", "2.0"));
    index.add(&Wheel::new("beta", "1.0"));
    index
}

const FILES: [&str; 5] = ["-r", "a.txt", "-r", "b/b.txt", "--separate"];

#[test]
fn conflicting_files_share_a_wheelhouse() {
    let (index, sandbox) = (index_with_conflict(), Sandbox::new());
    sandbox.write("a.txt", "alpha==1.0\n");
    sandbox.write("b/b.txt", "alpha==2.0\n");
    sandbox
        .build(&index, &FILES[..4])
        .assert_exit(3)
        .assert_error_names(&["alpha", "--separate"]);
    let plan = sandbox.build(&index, &[&FILES[..], &["--dry-run"]].concat());
    assert_eq!(
        plan.assert_success()
            .stdout
            .lines()
            .filter(|line| line.contains("alpha"))
            .count(),
        2,
        "{}",
        plan.stdout
    );
    assert!(plan.stdout.contains("b-b:\n"), "{}", plan.stdout);

    sandbox.build(&index, &FILES).assert_success();
    let expected = ["alpha-1.0", "alpha-2.0", "beta-1.0"];
    let expected = expected.map(|name| format!("{name}-py3-none-any.whl"));
    assert_eq!(tree::wheels(&sandbox.out()), expected);
    assert_eq!(sets(&sandbox.out()), [("b-b".to_owned(), false)]);
    for lock in ["pylock.toml", "pylock.b-b.toml"] {
        assert!(sandbox.out().join(lock).is_file(), "{lock}");
    }
    let verified = verify(&sandbox, &sandbox.out());
    assert!(
        verified.assert_success().stdout.contains("set `b-b`"),
        "{}",
        verified.stdout
    );

    let before = tree::read(&sandbox.out());
    index.forget_requests();
    sandbox.build(&index, &FILES).assert_success();
    tree::assert_same(&tree::read(&sandbox.out()), &before);
    assert_eq!(index.requests("").len(), 0, "both locks are kept");
    sandbox.build(&index, &["-r", "a.txt"]).assert_success();
    assert!(!sandbox.out().join("pylock.b-b.toml").exists());
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
}

#[test]
fn verify_reports_incomplete_set() {
    let (index, sandbox) = (index_with_conflict(), Sandbox::new());
    sandbox.write("a.txt", "alpha==2.0\n");
    sandbox.write("b/b.txt", "alpha==1.0\n");
    sandbox.build(&index, &FILES).assert_success();
    std::fs::remove_file(sandbox.out().join("beta-1.0-py3-none-any.whl")).unwrap();
    let verified = verify(&sandbox, &sandbox.out());
    verified.assert_exit(6);
    assert!(verified.stdout.contains("beta"), "{}", verified.stdout);
    assert!(verified.stdout.contains("set `b-b`"), "{}", verified.stdout);
}

#[test]
fn s2i_build_separates_files_by_variable() {
    let mut image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.index.add(&Wheel::new("alpha", "2.0"));
    image.upload("a.txt", "alpha==1.0\n");
    image.upload("b.txt", "alpha==2.0\n");
    image.sandbox.set("REQUIREMENTS_FILE", "a.txt b.txt");
    image
        .assemble()
        .assert_exit(3)
        .assert_error_names(&["alpha", "WHEELHOUSE_SEPARATE=1"]);
    image.start_container();
    image.upload("a.txt", "alpha==1.0\n");
    image.upload("b.txt", "alpha==2.0\n");
    image.sandbox.set("WHEELHOUSE_SEPARATE", "1");
    image.assemble().assert_success();
    assert_eq!(tree::wheels(&image.wheelhouse()).len(), 2);
}

/// Uploads an application with requirements, a project with a further dependency, and a build backend that requires
/// `tool` and reports `reported`.
fn upload_project(image: &BuilderImage) {
    image.upload("requirements.txt", "alpha\n");
    let project = Sdist::new("app", "1.0")
        .requires("tool")
        .reports("reported");
    for (name, content) in project.files() {
        let project = "[project]\nname = 'app'\nversion = '1.0'\ndependencies = ['gamma']\n";
        let is_project = name == "pyproject.toml";
        let content = if is_project {
            content + project
        } else {
            content
        };
        image.upload(name, &content);
    }
}

#[test]
fn application_installs_without_index() {
    let mut image = BuilderImage::new();
    for name in ["alpha", "gamma", "reported"] {
        image.index.add(&Wheel::new(name, "1.0"));
    }
    image
        .index
        .add(&Wheel::new("tool", "1.0").requires("oftool"));
    image.index.add_sdist(&Sdist::new("oftool", "1.0"));
    for name in ["pip", "setuptools", "wheel", "poetrycore"] {
        image.index.add(&Wheel::new(name, "999.0"));
    }
    upload_project(&image);
    image.sandbox.set("WHEELHOUSE_TOOLS", "poetrycore>=1");
    image.sandbox.set("UPGRADE_PIP_TO_LATEST", "1");
    image.assemble().assert_success();
    let wheels = tree::wheels(&image.wheelhouse());
    let names: Vec<_> = wheels
        .iter()
        .map(|name| name.split('-').next().unwrap())
        .collect();
    let expected = [
        "alpha",
        "gamma",
        "oftool",
        "pip",
        "poetrycore",
        "reported",
        "setuptools",
        "tool",
        "wheel",
    ];
    assert_eq!(names, expected, "and no wheel of the application itself");
    let expected = [
        ("project", false),
        ("build", true),
        ("tools", true),
        ("implied-tools", true),
    ];
    let expected = expected.map(|(name, build_only)| (name.to_owned(), build_only));
    assert_eq!(sets(&image.wheelhouse()), expected);
    verify(&image.sandbox, &image.wheelhouse()).assert_success();

    let before = tree::read(&image.wheelhouse());
    image.start_incremental_container();
    image.index.forget_requests();
    upload_project(&image);
    image.assemble().assert_success();
    let requests = image.index.requests("");
    assert!(requests.is_empty(), "all locks are kept: {requests:?}");
    tree::assert_same(&tree::read(&image.wheelhouse()), &before);
}

#[test]
fn includes_build_closure_of_required_source_tree() {
    let image = BuilderImage::new();
    image.index.add(&Wheel::new("tool", "1.0"));
    image.upload("requirements.txt", "./libs/mine\n");
    for (name, content) in Sdist::new("mine", "1.0").requires("tool").files() {
        image.upload(&format!("libs/mine/{name}"), &content);
    }
    image.assemble().assert_success();
    let expected = ["mine-1.0-py3-none-any.whl", "tool-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&image.wheelhouse()), expected);
    assert_eq!(sets(&image.wheelhouse()), [("build".to_owned(), true)]);
}

#[test]
fn warns_about_missing_build_requirements_and_tools() {
    let mut image = BuilderImage::new();
    for name in ["alpha", "gamma"] {
        image.index.add(&Wheel::new(name, "1.0"));
    }
    upload_project(&image);
    image.sandbox.set("ENABLE_PIPENV", "1");
    let finished = image.assemble();
    finished.assert_success();
    for lacked in [
        "the wheelhouse lacks the build dependencies of the application",
        "the wheelhouse lacks the tools for building the application",
    ] {
        assert!(finished.stderr.contains(lacked), "{}", finished.stderr);
    }
    assert_eq!(tree::wheels(&image.wheelhouse()).len(), 2);

    image.start_container();
    upload_project(&image);
    image.sandbox.set("WHEELHOUSE_TOOLS", "poetrycore");
    image
        .assemble()
        .assert_exit(3)
        .assert_error_names(&["poetrycore"]);
}

#[test]
fn restores_cache_saved_by_custom_script() {
    let mut image = BuilderImage::new();
    image.index.add_sdist(&Sdist::new("compiled", "1.0"));
    image.upload("requirements.txt", "compiled\n");
    image.assemble().assert_success();
    let cache = image.root().join("cache");
    image.start_container();
    // The original script saves the cache with `tar -C /opt/app-root -cf - cache`.
    let artifacts = image.uploads().join("artifacts/cache");
    tree::copy(&cache, &artifacts);
    image.index.forget_requests();
    image.upload("requirements.txt", "compiled\n");
    image.assemble().assert_success();
    assert_eq!(image.index.requests("").len(), 0);
    assert_eq!(
        tree::wheels(&image.wheelhouse()),
        ["compiled-1.0-py3-none-any.whl"]
    );
}
