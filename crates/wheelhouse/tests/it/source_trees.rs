//! Local source trees and Git repositories: never modified, and built again after changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::services::{self, GitDaemon};
use crate::support::{Index, Sandbox, Sdist, Wheel, process, python_literal, sha256, tree};

/// Writes a source tree whose build backend appends to `ran` on each build and leaves files in the tree that it
/// builds.
fn write_tree(sandbox: &Sandbox, directory: &Path) {
    let ran = python_literal(&sandbox.path("ran"));
    let script = format!(
        "with open({ran}, 'a') as file: file.write('x')\n\
         os.makedirs('build/lib')\nos.makedirs('local.egg-info')\nopen('local.c', 'w').close()"
    );
    Sdist::new("local", "1.0")
        .script(&script)
        .write_tree(directory);
    std::fs::write(directory.join("module.py"), "ONE = 1\n").unwrap();
    // The backend also provides metadata without a build, which leaves a file in the tree as well.
    let backend = std::fs::read_to_string(directory.join("backend.py")).unwrap();
    std::fs::write(directory.join("backend.py"), backend + PREPARE).unwrap();
}

const PREPARE: &str = "

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    open('prepared.py', 'w').close()
    name = 'local-1.0.dist-info'
    os.makedirs(os.path.join(metadata_directory, name))
    with io.open('PKG-INFO') as source, io.open(os.path.join(metadata_directory, name, 'METADATA'), 'w') as file:
        file.write(source.read())
    return name
";

fn builds(sandbox: &Sandbox) -> usize {
    std::fs::read(sandbox.path("ran")).map_or(0, |marks| marks.len())
}

fn file_url(path: &Path) -> String {
    url::Url::from_file_path(path).unwrap().to_string()
}

#[test]
fn does_not_modify_tree_and_rebuilds_changed_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let project = sandbox.path("project");
    write_tree(&sandbox, &project);
    let before = tree::read(&project);
    sandbox.build(&index, &["./project"]).assert_success();
    tree::assert_same(&tree::read(&project), &before);
    assert_eq!(tree::wheels(&sandbox.out()), ["local-1.0-py3-none-any.whl"]);
    assert_eq!(builds(&sandbox), 1);
    let wheel = std::fs::read(sandbox.out().join("local-1.0-py3-none-any.whl")).unwrap();
    assert!(
        !wheel.windows(11).any(|window| window == b"prepared.py"),
        "the build got a tree with litter"
    );
    for round in 0..2 {
        if round == 1 {
            std::fs::remove_dir_all(sandbox.out()).unwrap();
        }
        sandbox.build(&index, &["./project"]).assert_success();
        assert_eq!(builds(&sandbox), 1, "an unchanged tree was built again");
    }
    std::fs::write(project.join("module.py"), "TWO = 2\n").unwrap();
    sandbox.build(&index, &["./project"]).assert_success();
    assert_eq!(builds(&sandbox), 2);
    let wheel = std::fs::read(sandbox.out().join("local-1.0-py3-none-any.whl")).unwrap();
    assert!(
        wheel.windows(7).any(|window| window == b"TWO = 2"),
        "the wheel is the old one"
    );
}

#[test]
fn tree_edited_during_run_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let project = sandbox.path("project");
    write_tree(&sandbox, &project);
    let (edited, module) = (sandbox.path("edited"), project.join("module.py"));
    let (mark, quoted) = (python_literal(&edited), python_literal(&module));
    let edit = format!(
        "    if not os.path.exists({mark}):\n        open({mark}, 'w').close()\n        \
         with open({quoted}, 'w') as file: file.write('TWO = 2\\n')\n    open('prepared.py'"
    );
    let backend = std::fs::read_to_string(project.join("backend.py")).unwrap();
    let backend = backend.replace("    open('prepared.py'", &edit);
    std::fs::write(project.join("backend.py"), backend).unwrap();
    let run = sandbox.build(&index, &["./project"]);
    run.assert_exit(5)
        .assert_error_names(&["/project changed", "hint:"]);
    for content in ["TWO = 2", "ONE = 1"] {
        std::fs::write(&module, format!("{content}\n")).unwrap();
        sandbox.build(&index, &["./project"]).assert_success();
        let wheel = std::fs::read(sandbox.out().join("local-1.0-py3-none-any.whl")).unwrap();
        assert!(
            wheel.windows(7).any(|window| window == content.as_bytes()),
            "the wheel is not of the tree with {content}"
        );
    }
}

#[test]
fn output_inside_tree_does_not_cause_rebuild() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let project = sandbox.path("project");
    write_tree(&sandbox, &project);
    let (out, cache) = (project.join("wheelhouse"), sandbox.cache());
    for _ in 0..2 {
        sandbox
            .start_into(&index, &out, &cache, &["./project"])
            .finish()
            .assert_success();
        assert_eq!(builds(&sandbox), 1);
    }
    assert_eq!(tree::wheels(&out), ["local-1.0-py3-none-any.whl"]);
}

#[test]
fn reads_changed_local_file_again() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let path = sandbox.path("alpha-1.0-py3-none-any.whl");
    for content in ["one", "two"] {
        let wheel = Wheel::new("alpha", "1.0").file("x.py", content).bytes();
        std::fs::write(&path, &wheel).unwrap();
        sandbox
            .build(&index, &["./alpha-1.0-py3-none-any.whl"])
            .assert_success();
        assert_eq!(
            std::fs::read(sandbox.out().join("alpha-1.0-py3-none-any.whl")).unwrap(),
            wheel
        );
    }
    let sdist = Sdist::new("gamma", "1.0");
    std::fs::write(sandbox.path(&sdist.filename()), sdist.bytes()).unwrap();
    sandbox
        .build(&index, &["./gamma-1.0.tar.gz"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [sdist.wheel_filename()]);
}

/// Runs `git` in `repository` and returns its output.
fn git(sandbox: &Sandbox, repository: &Path, arguments: &[&str]) -> String {
    let mut command: Command = sandbox.command("git");
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    command
        .arg("-C")
        .arg(repository)
        .args(identity)
        .args(arguments);
    services::run(&mut command).trim().to_owned()
}

/// Commits everything in `repository`.
fn commit(sandbox: &Sandbox, repository: &Path) {
    let git = |arguments: &[&str]| git(sandbox, repository, arguments);
    if !repository.join(".git").exists() {
        git(&["init", "--quiet", "--initial-branch", "main"]);
    }
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "Change"]);
}

fn repository(sandbox: &Sandbox) -> PathBuf {
    let repository = sandbox.path("repository");
    write_tree(sandbox, &repository);
    commit(sandbox, &repository);
    repository
}

#[test]
fn builds_commit_once() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let repository = repository(&sandbox);
    let before = tree::read(&repository);
    let requirement = format!("local @ git+{}@main", file_url(&repository));
    for _ in 0..2 {
        sandbox.build(&index, &[&requirement]).assert_success();
        assert_eq!(builds(&sandbox), 1);
        let wheel = std::fs::read(sandbox.out().join("local-1.0-py3-none-any.whl")).unwrap();
        assert!(
            !wheel.windows(11).any(|window| window == b"prepared.py"),
            "the build got a tree with litter"
        );
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    tree::assert_same(&tree::read(&repository), &before);
    std::fs::write(repository.join("module.py"), "TWO = 2\n").unwrap();
    commit(&sandbox, &repository);
    sandbox.build(&index, &[&requirement]).assert_success();
    assert_eq!(builds(&sandbox), 2);
    let wheel = std::fs::read(sandbox.out().join("local-1.0-py3-none-any.whl")).unwrap();
    assert!(
        wheel.windows(7).any(|window| window == b"TWO = 2"),
        "the wheel is the old one"
    );
}

#[test]
fn supports_git_protocol_in_requirements_and_locks() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let repository = repository(&sandbox);
    let daemon = GitDaemon::start(&sandbox.path(""));
    // A submodule next to the repository, with a relative URL.
    let module = sandbox.path("module");
    std::fs::create_dir(&module).unwrap();
    std::fs::write(module.join("part.py"), "").unwrap();
    commit(&sandbox, &module);
    let part = git(&sandbox, &module, &["rev-parse", "HEAD"]);
    let modules = "[submodule \"part\"]\npath = part\nurl = ../module\n";
    std::fs::write(repository.join(".gitmodules"), modules).unwrap();
    let cached = format!("160000,{part},part");
    git(
        &sandbox,
        &repository,
        &["update-index", "--add", "--cacheinfo", &cached],
    );
    git(&sandbox, &repository, &["add", ".gitmodules"]);
    git(&sandbox, &repository, &["commit", "--quiet", "-m", "Part"]);
    let commit = git(&sandbox, &repository, &["rev-parse", "HEAD"]);
    let url = daemon.url("repository");
    let outer = sandbox.path("outer");
    Sdist::new("outer", "1.0").write_tree(&outer);
    let metadata = std::fs::read_to_string(outer.join("PKG-INFO")).unwrap();
    let required = format!("Requires-Dist: local @ git+{url}@main\n");
    std::fs::write(outer.join("PKG-INFO"), metadata + &required).unwrap();

    let lines = [
        format!("git+{url}@main#egg=local"),
        format!("-e git+{url}@{commit}#egg=local"),
        format!("local @ git+{url}"),
        "./outer".to_owned(),
    ];
    let locks = [
        (
            "pylock.toml",
            format!(
                "lock-version = '1.0'\ncreated-by = 'hand'\n[[packages]]\nname = 'local'\n\
                 vcs = {{ type = 'git', url = '{url}', commit-id = '{commit}' }}\n"
            ),
        ),
        (
            "poetry.lock",
            format!(
                "[[package]]\nname = 'local'\nversion = '1.0'\noptional = false\ngroups = ['main']\nfiles = []\n\
                 [package.source]\ntype = 'git'\nurl = '{url}'\nreference = 'main'\nresolved_reference = '{commit}'\n\
                 [metadata]\nlock-version = '2.1'\npython-versions = '>=3.6'\ncontent-hash = '00'\n"
            ),
        ),
        (
            "Pipfile.lock",
            format!(
                r#"{{"_meta": {{"hash": {{"sha256": "00"}}, "pipfile-spec": 6, "sources": []}},
                     "default": {{"local": {{"git": "{url}", "ref": "{commit}"}}}}, "develop": {{}}}}"#
            ),
        ),
    ];
    let in_files = lines.iter().map(|line| ("requirements.txt", line));
    for (name, text) in in_files.chain(locks.iter().map(|(name, text)| (*name, text))) {
        sandbox.write(name, text);
        let _ = std::fs::remove_dir_all(sandbox.cache());
        let _ = std::fs::remove_dir_all(sandbox.out());
        sandbox.build(&index, &["-r", name]).assert_success();
        let wheels = tree::wheels(&sandbox.out());
        assert!(wheels.contains(&"local-1.0-py3-none-any.whl".to_owned()));
        let read = |name: &str| std::fs::read_to_string(sandbox.out().join(name)).unwrap();
        assert!(read("pylock.toml").contains(&url), "{text}");
        let source = format!("git+{url}@{commit}");
        assert!(read("wheelhouse.json").contains(&source), "{text}");
    }
    let lock = sandbox.out().join("pylock.toml");
    std::fs::remove_dir_all(sandbox.cache()).unwrap();
    sandbox
        .build(&index, &["--lock", lock.to_str().unwrap(), "-o", "again"])
        .assert_success();
    // `git://` requires a network.
    std::fs::remove_dir_all(sandbox.cache()).unwrap();
    let line = format!("local @ git+{url}");
    sandbox
        .build(&index, &[&line, "--offline", "-o", "never"])
        .assert_exit(4)
        .assert_error_names(&[&url]);
    drop(daemon);
    sandbox
        .build(&index, &[&line, "-o", "never"])
        .assert_exit(4)
        .assert_error_names(&[&url]);
}

#[test]
fn constraint_may_name_repository_by_egg_fragment() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("local", "2.0"));
    let line = format!("git+{}#egg=local\n", file_url(&repository(&sandbox)));
    sandbox.write("constraints.txt", &line);
    let run = sandbox.build(&index, &["local", "-c", "constraints.txt"]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["local-1.0-py3-none-any.whl"]);
    sandbox.write("constraints.txt", &line.replace("#egg=local", ""));
    let run = sandbox.build(&index, &["local", "-c", "constraints.txt"]);
    run.assert_exit(2)
        .assert_error_names(&["constraints.txt:1"]);
}

#[test]
fn upgrade_fetches_moved_branch() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let repository = repository(&sandbox);
    let requirement = format!("local @ git+{}@main", file_url(&repository));
    sandbox.build(&index, &[&requirement]).assert_success();
    std::fs::write(repository.join("module.py"), "TWO = 2\n").unwrap();
    commit(&sandbox, &repository);
    sandbox
        .build(&index, &[&requirement, "--upgrade"])
        .assert_success();
    assert_eq!(builds(&sandbox), 2);
}

#[test]
fn missing_repository_or_reference_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let nowhere = format!("local @ git+{}", file_url(&sandbox.path("nowhere")));
    let run = sandbox.build(&index, &[&nowhere]);
    run.assert_exit(4).assert_error_names(&["nowhere"]);
    let repository = repository(&sandbox);
    let unknown = format!("local @ git+{}@no-such-branch", file_url(&repository));
    let run = sandbox.build(&index, &[&unknown]);
    run.assert_exit(4).assert_error_names(&["no-such-branch"]);
}

#[test]
fn missing_path_is_an_error_with_file_and_line() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("other", "1.0"));
    for missing in [
        "./nothing-here",
        "alpha @ ./nothing-here",
        "alpha @ file:nothing-here",
        "alpha @ file:///nothing-here-1.0.tar.gz",
    ] {
        sandbox.write("requirements.txt", &format!("other\n{missing}\n"));
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_exit(2)
            .assert_error_names(&[missing, "requirements.txt:2"]);
        let elsewhere = format!("other\n{missing} ; python_version < '2'\n");
        sandbox.write("requirements.txt", &elsewhere);
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_success();
    }
}

#[test]
fn build_failure_names_original_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let broken = Sdist::new("broken", "1.0").script("raise SystemExit('no')");
    broken.write_tree(&sandbox.path("project"));
    let run = sandbox.build(&index, &["./project"]);
    run.assert_exit(5).assert_error_names(&["/project"]);
    assert!(!run.error().contains("/trees/"), "{}", run.stderr);
}

/// Writes a source tree that requires another one by path, like packages of one repository.
fn write_part(directory: &Path, name: &str, requires: Option<&Path>) {
    Sdist::new(name, "1.0").write_tree(directory);
    if let Some(required) = requires {
        let metadata = std::fs::read_to_string(directory.join("PKG-INFO")).unwrap();
        let required = format!("Requires-Dist: lower @ {}\n", file_url(required));
        std::fs::write(directory.join("PKG-INFO"), metadata + &required).unwrap();
    }
}

#[test]
fn source_tree_may_require_another_by_path() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let (lower, upper) = (sandbox.path("lower"), sandbox.path("upper"));
    write_part(&lower, "lower", None);
    write_part(&upper, "upper", Some(&lower));
    let before = tree::read(&lower);
    let url = file_url(&lower);
    sandbox.write("constraints.txt", &format!("lower @ {url}\n"));
    for arguments in [
        &["./upper"][..],
        &["./upper", "./lower"],
        &["./lower", "./upper"],
        &["./upper", &format!("lower @ {url}")],
        &["./upper", "lower", "-c", "constraints.txt"],
        &["./upper", "--override", "constraints.txt"],
    ] {
        sandbox.build(&index, arguments).assert_success();
        let wheels = ["lower-1.0-py3-none-any.whl", "upper-1.0-py3-none-any.whl"];
        assert_eq!(tree::wheels(&sandbox.out()), wheels, "{arguments:?}");
        tree::assert_same(&tree::read(&lower), &before);
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    // The required tree does not exist elsewhere, so the wheelhouse is not complete by itself.
    sandbox.build(&index, &["./upper"]).assert_success();
    let mut verify = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    verify.args(["verify", "out"]);
    let run = sandbox.spawn(verify).finish();
    run.assert_exit(6);
    assert!(run.stdout.contains("/lower is not part"), "{}", run.stdout);
}

#[test]
fn rebuilds_changed_tree_of_named_requirement() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let project = sandbox.path("project");
    let url = file_url(&project);
    for (version, requirement) in [
        ("1.0", format!("local@{url}")),
        ("2.0", format!("local@{url}")),
        ("3.0", format!("local @{url}")),
        ("4.0", format!("local @{url}")),
    ] {
        let local = Sdist::new("local", version);
        local.write_tree(&project);
        sandbox.build(&index, &[&requirement]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [local.wheel_filename()]);
    }
}

#[test]
fn rebuilds_changed_tree_required_by_another() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let (lower, upper) = (sandbox.path("lower"), sandbox.path("upper"));
    write_part(&lower, "lower", None);
    write_part(&upper, "upper", Some(&lower));
    sandbox.build(&index, &["./upper"]).assert_success();
    let frozen = sandbox.build(&index, &["./upper", "--frozen"]);
    frozen.assert_success();
    Sdist::new("lower", "2.0").write_tree(&lower);
    let metadata = std::fs::read_to_string(lower.join("PKG-INFO")).unwrap();
    std::fs::write(lower.join("PKG-INFO"), metadata + "Requires-Dist: alpha\n").unwrap();
    sandbox.build(&index, &["./upper"]).assert_success();
    let wheels = ["alpha-1.0", "lower-2.0", "upper-1.0"].map(|it| format!("{it}-py3-none-any.whl"));
    assert_eq!(tree::wheels(&sandbox.out()), wheels);
}

#[test]
fn supports_fragments_of_file_urls() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let sdist = Sdist::new("gamma", "1.0");
    std::fs::write(sandbox.path(&sdist.filename()), sdist.bytes()).unwrap();
    sdist.write_tree(&sandbox.path("project/python"));
    let (file, project) = (
        file_url(&sandbox.path(&sdist.filename())),
        file_url(&sandbox.path("project")),
    );
    let digest = sha256(&sdist.bytes());
    for requirement in [
        format!("{file}#egg=gamma"),
        format!("{file}#egg=gamma&sha256={digest} ; python_version > '2'"),
        format!("{project}#subdirectory=python"),
        format!("{project}#egg=gamma&subdirectory=python"),
        format!("gamma @ {project}#subdirectory=python"),
    ] {
        sandbox.build(&index, &[&requirement]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [sdist.wheel_filename()]);
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    for (requirement, exit, words) in [
        (format!("{file}#sha256={}", "0".repeat(64)), 4, "gamma"),
        (format!("{file}#subdirectory=python"), 2, "unpack it"),
        (
            format!("{project}#subdirectory=../other"),
            2,
            "out of the tree",
        ),
    ] {
        let run = sandbox.build(&index, &[&requirement]);
        run.assert_exit(exit).assert_error_names(&[words]);
    }
}

/// Serves the directory given as argument with basic authentication and writes its port to a file.
const PROTECTED: &str = r#"
import base64, functools, http.server, os, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        expected = 'Basic ' + base64.b64encode(b'some body:pass/word').decode()
        if self.headers.get('Authorization') == expected:
            return super().do_GET()
        self.send_response(401)
        self.send_header('WWW-Authenticate', 'Basic realm="x"')
        self.send_header('Content-Length', '0')
        self.end_headers()

handler = functools.partial(Handler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
with open('port.new', 'w') as file: file.write(str(server.server_address[1]))
os.rename('port.new', 'port')
server.serve_forever()
"#;

#[test]
fn does_not_pass_credentials_in_git_arguments() {
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    let module = sandbox.path("module");
    std::fs::create_dir(&module).unwrap();
    std::fs::write(module.join("part.py"), "PART = 1\n").unwrap();
    commit(&sandbox, &module);
    let repository = repository(&sandbox);
    std::fs::write(
        repository.join(".gitmodules"),
        "[submodule \"part\"]\n\tpath = part\n\turl = ../module.git\n",
    )
    .unwrap();
    let part = git(&sandbox, &module, &["rev-parse", "HEAD"]);
    let entry = format!("160000,{part},part");
    git(
        &sandbox,
        &repository,
        &["update-index", "--add", "--cacheinfo", &entry],
    );
    commit(&sandbox, &repository);
    for name in ["module", "repository"] {
        let bare = sandbox.path("served").join(format!("{name}.git"));
        let bare = bare.to_str().unwrap();
        git(
            &sandbox,
            &sandbox.path(name),
            &["clone", "--quiet", "--bare", ".", bare],
        );
        git(&sandbox, Path::new(bare), &["update-server-info"]);
    }
    let mut server = sandbox.command("python3");
    server.args(["-c", PROTECTED]).arg(sandbox.path("served"));
    let mut server = sandbox.spawn(server);
    process::eventually("the port", || sandbox.path("port").exists());
    let port = std::fs::read_to_string(sandbox.path("port")).unwrap();
    let trace = sandbox.path("trace");
    sandbox.set("GIT_TRACE", &trace);
    // The credential helper must not replace the credentials of the URL.
    sandbox.write(
        "home/.gitconfig",
        "[credential]\n\thelper = \"!echo username=other; echo password=other; :\"\n",
    );
    let url = format!("git+http://some%20body:pass%2Fword@127.0.0.1:{port}/repository.git");
    sandbox
        .build(&index, &[&format!("local @ {url}")])
        .assert_success();
    // A dumb HTTP server does not support shallow clones; git reports this only after authentication.
    sandbox
        .build(&index, &["--source", &url])
        .assert_exit(4)
        .assert_error_names(&["shallow"]);
    server.kill();
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(
        trace.contains("fetch") && trace.contains("submodule"),
        "{trace}"
    );
    for secret in ["pass/word", "pass%2Fword"] {
        assert!(!trace.contains(secret), "{trace}");
    }
}

/// Models git's credential cache daemon and ssh's connection multiplexing.
#[test]
fn daemon_started_by_git_survives_build_hooks() {
    use std::os::unix::fs::PermissionsExt as _;
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    let requirement = format!("local @ git+{}@main", file_url(&repository(&sandbox)));
    let ids = sandbox.path("ids");
    let script = format!(
        "#!/bin/sh\nif [ ! -e {0} ]; then setsid sleep 600 >/dev/null 2>&1 & echo $! >{0}; fi\n\
         PATH=${{PATH#*:}} exec git \"$@\"\n",
        ids.display()
    );
    let program = sandbox.write("bin/git", &script);
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", sandbox.path("bin").display());
    sandbox.set("PATH", path);
    sandbox.build(&index, &[&requirement]).assert_success();
    let ids = process::ids(&ids);
    assert!(process::is_alive(ids[0]), "it was ended");
    for id in ids {
        let id = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
}
