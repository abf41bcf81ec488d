use std::process::Command;

use super::*;

struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for file in files {
            tree.write(file, file);
        }
        tree
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn digest(&self) -> Sha256 {
        digest(&self.root(), &[], &mut KnownFiles::default()).unwrap()
    }

    /// Copies the tree and returns the path of the copy.
    fn copy(&self) -> PathBuf {
        let into = self.directory.path().join("copy");
        let _ = fs::remove_dir_all(&into);
        let copied = copy(
            &self.root(),
            &into,
            &[],
            LargeFiles::Link,
            &mut KnownFiles::default(),
        )
        .unwrap();
        assert_eq!(copied.digest, self.digest());
        into
    }

    fn git(&self, place: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(place)
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", self.directory.path().join("none"))
            .output()
            .expect("git is installed");
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {talk}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[test]
fn digest_depends_on_files_that_builds_see() {
    let tree = Tree::new(&["pyproject.toml", "a/b.py"]);
    let mut seen = vec![tree.digest()];
    let mut changed = |what: &str| {
        let digest = tree.digest();
        assert!(!seen.contains(&digest), "{what}");
        seen.push(digest);
    };
    tree.write("a/b.py", "other");
    changed("content");
    tree.write("a/c.py", "");
    changed("a new file");
    fs::rename(tree.root().join("a"), tree.root().join("d")).unwrap();
    changed("a name");
    fs::create_dir(tree.root().join("empty")).unwrap();
    changed("an empty directory");
    let file = std::fs::File::open(tree.root().join("d/c.py")).unwrap();
    set_mode(&file, true).unwrap();
    changed("the executable bit");
    symlink(Path::new("c.py"), &tree.root().join("d/link")).unwrap();
    changed("a link");
}

#[test]
fn digest_ignores_build_artifacts() {
    let tree = Tree::new(&["pyproject.toml", "src/a.py"]);
    let before = tree.digest();
    for file in [
        "src/__pycache__/a.cpython-311.pyc",
        "build/lib/a.py",
        "build/bdist.linux-x86_64/x",
        "dist/a-1.0.tar.gz",
        "a.egg-info/SOURCES.txt",
        "src/a.egg-info/SOURCES.txt",
        ".venv/pyvenv.cfg",
        ".venv/bin/python",
        ".tox/x",
        "wheelhouse/a-1.0-py3-none-any.whl",
    ] {
        tree.write(file, "");
    }
    tree.write(
        ".pytest_cache/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n# x",
    );
    tree.write(
        "wheelhouse/wheelhouse.json",
        "{\n  \"schema\": \"wheelhouse-manifest/1\"",
    );
    let now = std::fs::File::open(tree.root().join("src/a.py")).unwrap();
    now.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(tree.digest(), before);
    let copied: Vec<PathBuf> = names(&tree.copy());
    assert_eq!(
        copied,
        ["pyproject.toml", "src", "src/a.py"].map(PathBuf::from)
    );
}

#[test]
fn keeps_files_that_resemble_build_artifacts() {
    let files = [
        "build/lib/a.py",
        "build/tool.py",
        "dist/data.json",
        "PKG-INFO",
        "a.egg-info/SOURCES.txt",
        "tests/pyvenv.cfg",
        "a/__pycache__/notes.txt",
        "node_modules/x.js",
        "a/lone.pyc",
        "b/wheelhouse.json",
    ];
    let copied = names(&Tree::new(&files).copy());
    for file in files {
        assert!(copied.contains(&PathBuf::from(file)), "{file}");
    }
}

#[test]
fn excludes_output_of_run() {
    let tree = Tree::new(&["a.py"]);
    let before = tree.digest();
    tree.write("out/x.whl", "");
    let output = tree.root().join("out");
    assert_eq!(
        digest(&tree.root(), &[output], &mut KnownFiles::default()).unwrap(),
        before
    );
    assert_ne!(tree.digest(), before);
}

#[test]
fn preserves_only_links_inside_of_tree() {
    let tree = Tree::new(&["a/b.py"]);
    fs::write(tree.directory.path().join("outside"), "outside").unwrap();
    let link = |target: &Path, name: &str| symlink(target, &tree.root().join(name)).unwrap();
    link(Path::new("a/b.py"), "inside");
    link(&tree.root().join("a/b.py"), "a/absolute");
    link(Path::new("../tree/a/b.py"), "around");
    link(Path::new("../outside"), "out");
    link(Path::new("nowhere"), "dangling");
    link(Path::new(".."), "up");
    let copy = tree.copy();
    let target = |name: &str| fs::read_link(copy.join(name)).unwrap();
    assert_eq!(target("inside"), Path::new("a/b.py"));
    assert_eq!(target("a/absolute"), Path::new("../a/b.py"));
    assert_eq!(target("around"), Path::new("a/b.py"));
    assert_eq!(target("dangling"), Path::new("nowhere"));
    assert_eq!(target("up"), Path::new(".."));
    assert!(!copy.join("out").is_symlink());
    assert_eq!(fs::read_to_string(copy.join("out")).unwrap(), "outside");
    let before = tree.digest();
    fs::write(tree.directory.path().join("outside"), "changed").unwrap();
    assert_ne!(tree.digest(), before);
}

#[test]
fn copy_preserves_times_and_executable_bits() {
    let tree = Tree::new(&["a/run.sh"]);
    let file = tree.root().join("a/run.sh");
    set_mode(&std::fs::File::open(&file).unwrap(), true).unwrap();
    let early = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for path in [&file, &tree.root().join("a")] {
        std::fs::File::open(path)
            .unwrap()
            .set_modified(early)
            .unwrap();
    }
    let copy = tree.copy();
    for name in ["a", "a/run.sh"] {
        assert_eq!(
            fs::metadata(copy.join(name)).unwrap().modified().unwrap(),
            early
        );
    }
    assert!(is_executable(&fs::metadata(copy.join("a/run.sh")).unwrap()));
    fs::write(copy.join("a/run.sh"), "changed").unwrap();
    assert_eq!(fs::read_to_string(file).unwrap(), "a/run.sh");
    assert_eq!(
        digest(&tree.root(), &[], &mut KnownFiles::default()).unwrap(),
        tree.digest()
    );
}

#[test]
fn git_describe_is_the_same_in_copy() {
    let tree = Tree::new(&["a.py", "sub/b.py"]);
    let root = tree.root();
    tree.git(&root, &["init", "-q"]);
    tree.git(&root, &["add", "."]);
    tree.git(&root, &["commit", "-qm", "one"]);
    let first = tree.digest();
    tree.git(&root, &["status"]);
    tree.git(&root, &["gc", "-q"]);
    // `gc` moves the references to packed-refs, which may change the digest only once.
    let packed = tree.digest();
    std::fs::File::open(root.join("a.py"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    tree.git(&root, &["status"]);
    assert_eq!(tree.digest(), packed);
    tree.git(&root, &["tag", "-a", "v1.0", "-m", "one"]);
    assert!(![first, packed].contains(&tree.digest()));
    tree.write("a.py", "changed");
    let copy = tree.copy();
    let describe = ["describe", "--tags", "--dirty", "--long"];
    let version = tree.git(&copy, &describe);
    assert!(
        version.starts_with("v1.0-0-g") && version.ends_with("-dirty"),
        "{version}"
    );
    assert_eq!(version, tree.git(&root, &describe));
    assert_eq!(tree.git(&copy, &["ls-files"]), "a.py\nsub/b.py");
    let untracked = tree.digest();
    tree.write("c.py", "");
    let added = tree.digest();
    tree.git(&root, &["add", "c.py"]);
    assert_ne!(untracked, added);
    assert_ne!(added, tree.digest());
}

#[test]
fn linked_worktree_becomes_separate_repository() {
    let tree = Tree::new(&["a.py"]);
    let root = tree.root();
    tree.git(&root, &["init", "-q"]);
    tree.git(&root, &["add", "."]);
    tree.git(&root, &["commit", "-qm", "one"]);
    tree.git(&root, &["tag", "v2.0"]);
    tree.git(&root, &["worktree", "add", "-q", "../linked", "-b", "side"]);
    let linked = tree.directory.path().join("linked");
    let before = digest(&linked, &[], &mut KnownFiles::default()).unwrap();
    let into = tree.directory.path().join("into");
    copy(
        &linked,
        &into,
        &[],
        LargeFiles::Link,
        &mut KnownFiles::default(),
    )
    .unwrap();
    assert_eq!(tree.git(&into, &["describe", "--tags"]), "v2.0");
    assert_eq!(tree.git(&into, &["branch", "--show-current"]), "side");
    assert_eq!(tree.git(&into, &["status", "--porcelain"]), "");
    tree.git(&linked, &["commit", "-q", "--allow-empty", "-m", "two"]);
    assert_ne!(
        digest(&linked, &[], &mut KnownFiles::default()).unwrap(),
        before
    );
}

#[test]
fn submodule_becomes_separate_repository() {
    let tree = Tree::new(&["a.py"]);
    let root = tree.root();
    let other = tree.directory.path().join("other");
    fs::create_dir(&other).unwrap();
    for place in [&root, &other] {
        tree.git(place, &["init", "-q"]);
        tree.git(place, &["commit", "-q", "--allow-empty", "-m", "one"]);
        tree.git(place, &["tag", "v3.0"]);
    }
    tree.git(&root, &["submodule", "--quiet", "add", "../other", "sub"]);
    let into = tree.directory.path().join("into");
    copy(
        &root.join("sub"),
        &into,
        &[],
        LargeFiles::Link,
        &mut KnownFiles::default(),
    )
    .unwrap();
    assert_eq!(tree.git(&into, &["describe", "--tags"]), "v3.0");
    let place = tree.git(&into, &["rev-parse", "--show-toplevel"]);
    assert_eq!(
        fs::canonicalize(place).unwrap(),
        fs::canonicalize(&into).unwrap()
    );
}

fn names(root: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().path().strip_prefix(root).unwrap().to_owned())
        .collect()
}

#[test]
fn links_large_untracked_files() {
    let tree = Tree::new(&["a.py"]);
    for name in ["tracked.bin", "data.bin"] {
        let file = fs::File::create(tree.root().join(name)).unwrap();
        file.set_len(LARGE).unwrap();
    }
    let is_link = |copy: &Path, name: &str| copy.join(name).is_symlink();
    let copy = tree.copy();
    assert!(is_link(&copy, "tracked.bin") && is_link(&copy, "data.bin"));
    assert!(!is_link(&copy, "a.py"));

    tree.git(&tree.root(), &["init", "--quiet"]);
    tree.git(&tree.root(), &["add", "a.py", "tracked.bin"]);
    tree.git(&tree.root(), &["commit", "--quiet", "--message=x"]);
    let copy = tree.copy();
    assert!(!is_link(&copy, "tracked.bin") && is_link(&copy, "data.bin"));
    let changes = ["status", "--porcelain", "--untracked-files=no"];
    assert_eq!(tree.git(&copy, &changes), "");
}
