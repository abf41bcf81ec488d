//! Files next to local source trees: builds may read them, and never modify them.

use super::{git, wheel_contains};
use crate::support::{Index, Sandbox, Sdist, tree};

/// Copies the text of a file next to the tree into the wheel.
const READS_VERSION: &str =
    "with open('beside.py', 'w') as file: file.write('TEXT = %r' % open('../VERSION').read())";

#[test]
fn build_reads_file_next_to_its_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Sdist::new("alpha", "1.0").script(READS_VERSION);
    alpha.write_tree(&sandbox.path("repo/alpha"));
    sandbox.write("repo/VERSION", "first");
    let before = tree::read(&sandbox.path("repo"));
    let build = |arguments: &[&str]| {
        let arguments = [&["./repo/alpha"], arguments].concat();
        let run = sandbox.build(&index, &arguments);
        run.assert_success();
        run
    };
    build(&[]);
    assert!(wheel_contains(&sandbox, &alpha.wheel_filename(), "first"));
    assert!(tree::read(&sandbox.path("repo")) == before);
    // The first build recorded the files that it read.
    assert!(!build(&["--frozen"]).stderr.contains("Building"));
    assert!(!build(&["--upgrade"]).stderr.contains("Building"));

    sandbox.write("repo/VERSION", "second");
    assert!(build(&[]).stderr.contains("Building"));
    assert!(wheel_contains(&sandbox, &alpha.wheel_filename(), "second"));
    sandbox.write("repo/OTHER", "is not read");
    assert!(!build(&[]).stderr.contains("Building"));
    // The first wheel is still cached.
    sandbox.write("repo/VERSION", "first");
    assert!(!build(&[]).stderr.contains("Building"));
    assert!(wheel_contains(&sandbox, &alpha.wheel_filename(), "first"));
}

#[test]
fn build_reads_enclosing_git_repository() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Sdist::new("alpha", "1.0").script(
        "text = subprocess.check_output(['git', 'describe', '--tags', '--dirty']).decode()\n\
         with open('beside.py', 'w') as file: file.write('TEXT = %r' % text)",
    );
    alpha.write_tree(&sandbox.path("repo/packages/alpha"));
    sandbox.write("repo/core/core.c", "int x;");
    let root = sandbox.path("repo");
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message=x"],
        &["tag", "v1.2.3"],
    ] {
        git(&sandbox, &root, arguments);
    }
    let build = || {
        let run = sandbox.build(&index, &["./repo/packages/alpha"]);
        run.assert_success();
        run
    };
    build();
    assert!(wheel_contains(
        &sandbox,
        &alpha.wheel_filename(),
        "'v1.2.3\\n'"
    ));
    assert!(!build().stderr.contains("Building"));
    sandbox.write("repo/core/core.c", "int y;");
    build();
    assert!(wheel_contains(
        &sandbox,
        &alpha.wheel_filename(),
        "v1.2.3-dirty"
    ));
}

#[test]
fn tree_requires_sibling_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    Sdist::new("beta", "1.0").write_tree(&sandbox.path("repo/beta"));
    let alpha = Sdist::new("alpha", "1.0").script(
        "import pathlib\n\
         url = pathlib.Path(os.path.abspath('../beta')).as_uri()\n\
         with open('PKG-INFO', 'a') as file: file.write('Requires-Dist: beta @ %s\\n' % url)",
    );
    alpha.write_tree(&sandbox.path("repo/alpha"));
    let run = sandbox.build(&index, &["./repo/alpha"]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
    let lock = std::fs::read_to_string(sandbox.out().join("pylock.toml")).unwrap();
    assert!(lock.contains("repo/beta"), "{lock}");
    assert!(!lock.contains("cache"), "{lock}");
}

#[test]
fn error_names_original_path_next_to_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Sdist::new("alpha", "1.0").script("open(os.path.abspath('../MISSING'))");
    alpha.write_tree(&sandbox.path("repo/alpha"));
    let run = sandbox.build(&index, &["./repo/alpha"]);
    let missing = sandbox.path("repo/MISSING").display().to_string();
    run.assert_exit(5).assert_error_names(&[&missing]);
}

#[test]
fn copies_large_data_for_in_place_backend() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Sdist::new("alpha", "1.0")
        .script("assert os.path.realpath('data.bin') == os.path.abspath('data.bin')");
    let root = sandbox.path("alpha");
    alpha.write_tree(&root);
    let project = "[project]\nname = \"alpha\"\nversion = \"1.0\"\n";
    let pyproject = std::fs::read_to_string(root.join("pyproject.toml")).unwrap();
    std::fs::write(root.join("pyproject.toml"), pyproject + project).unwrap();
    let data = std::fs::File::create(root.join("data.bin")).unwrap();
    data.set_len(16 << 20).unwrap();
    sandbox.build(&index, &["./alpha"]).assert_success();
}
