use super::*;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(files: &[&str]) -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for file in files {
            let path = place.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        let directory = fs::canonicalize(self.directory.path()).unwrap();
        directory.join(name)
    }

    fn view(&self, tree: &str) -> SurroundingsView {
        let store = self.path("store");
        fs::create_dir_all(&store).unwrap();
        let view =
            SurroundingsView::create(&self.path(tree), &store, &[self.path("repo/out")]).unwrap();
        fs::create_dir_all(&view.root).unwrap();
        view
    }

    fn git(&self, place: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(place)
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", self.path("none"))
            .output()
            .expect("git is installed");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Creates a repository with a tag, in which `tree` is one of two directories.
    fn repository() -> Self {
        let place = Self::new(&["repo/packages/tree/a.py", "repo/core/core.c"]);
        let root = place.path("repo");
        for arguments in [
            &["init", "--quiet"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--message=x"],
            &["tag", "v1.2.3"],
        ] {
            place.git(&root, arguments);
        }
        place
    }
}

#[test]
fn shows_files_next_to_tree() {
    let place = Place::new(&[
        "repo/tree/a.py",
        "repo/VERSION",
        "repo/src/core.c",
        "repo/out/a-1.0-py3-none-any.whl",
        "repo/target/debug/x",
        "far",
    ]);
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n";
    fs::write(place.path("repo/target/CACHEDIR.TAG"), tag).unwrap();
    let view = place.view("repo/tree");
    assert!(view.root.ends_with("repo/tree"));
    assert_eq!(view.accessed(), [] as [PathBuf; 0]);
    let beside = |name: &str| view.root.parent().unwrap().join(name);
    assert!(!fs::exists(beside("out")).unwrap(), "the output");
    assert!(!fs::exists(beside("target")).unwrap(), "a cache");
    let listed: Vec<_> = fs::read_dir(beside("")).unwrap().collect();
    assert_eq!(listed.len(), 3);
    assert_eq!(
        view.accessed(),
        [] as [PathBuf; 0],
        "listing follows no link"
    );

    let core = fs::read_to_string(view.root.join("../src/core.c")).unwrap();
    assert_eq!(core, "repo/src/core.c");
    assert_eq!(view.accessed(), [place.path("repo/src")]);
    assert!(fs::exists(view.root.join("../../far")).unwrap());
    assert_eq!(view.accessed(), [place.path("far"), place.path("repo/src")]);
}

#[test]
fn messages_name_original_paths() {
    let place = Place::new(&["repo/tree/a.py"]);
    let view = place.view("repo/tree");
    let text = format!("{}: no such file", view.root.join("../VERSION").display());
    let original = place.path("repo/tree/../VERSION");
    let expected = format!("{}: no such file", original.display());
    assert_eq!(view.with_originals(&text), expected);
}

#[test]
fn does_not_show_directory_with_too_many_entries() {
    let place = Place::new(&["repo/tree/a.py"]);
    for number in 0..MAX_ENTRIES {
        fs::write(place.path("repo").join(number.to_string()), "").unwrap();
    }
    let view = place.view("repo/tree");
    assert_eq!(view.root, place.path("store/source"));
}

#[test]
fn shows_enclosing_repository() {
    let place = Place::repository();
    let describe =
        |view: &SurroundingsView| place.git(&view.root, &["describe", "--tags", "--dirty"]);
    let view = place.view("repo/packages/tree");
    assert_eq!(view.accessed(), [] as [PathBuf; 0]);
    assert_eq!(describe(&view), "v1.2.3");
    assert_eq!(view.accessed(), [place.path("repo/.git")]);

    let state = || digest(&place.path("repo/.git"), &[], &mut KnownFiles::default());
    let clean = state();
    // With the same length and time as the file in the index.
    fs::write(place.path("repo/core/core.c"), "repo/core/core.x").unwrap();
    assert_ne!(state(), clean);
    fs::remove_dir_all(place.path("store")).unwrap();
    assert_eq!(describe(&place.view("repo/packages/tree")), "v1.2.3-dirty");
    place.git(&place.path("repo"), &["checkout", "--quiet", "core"]);
    assert_eq!(state(), clean);
    place.git(&place.path("repo"), &["tag", "v2.0"]);
    assert_ne!(state(), clean);
}

#[test]
fn does_not_show_directory_for_files_of_all_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new(&[
        "shared/repo/tree/a.py",
        "shared/repo/VERSION",
        "shared/other",
    ]);
    let shared = place.path("shared");
    fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let view = place.view("shared/repo/tree");
    assert_eq!(view.shown, place.path("shared/repo"));
    assert!(view.root.join("../VERSION").exists());
    assert!(!view.root.join("../../other").exists());
}
