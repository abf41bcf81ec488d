//! Git repositories as requirements.

use std::path::{Path, PathBuf};

use super::{LOCAL, builds, file_url, git, wheel_contains, write_tree};
use crate::support::services::GitDaemon;
use crate::support::{Index, Sandbox, Sdist, Wheel, process, tree};

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
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let repository = repository(&sandbox);
    let before = tree::read(&repository);
    let requirement = format!("local @ git+{}@main", file_url(&repository));
    for _ in 0..2 {
        sandbox.build(&index, &[&requirement]).assert_success();
        assert_eq!(builds(&sandbox), 1);
        assert!(
            !wheel_contains(&sandbox, LOCAL, "prepared.py"),
            "the build got a tree with litter"
        );
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    tree::assert_same(&tree::read(&repository), &before);
    std::fs::write(repository.join("module.py"), "TWO = 2\n").unwrap();
    commit(&sandbox, &repository);
    sandbox.build(&index, &[&requirement]).assert_success();
    assert_eq!(builds(&sandbox), 2);
    assert!(
        wheel_contains(&sandbox, LOCAL, "TWO = 2"),
        "the wheel is the old one"
    );
}

#[test]
fn supports_git_protocol_in_requirements_and_locks() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
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
        assert!(wheels.contains(&LOCAL.to_owned()));
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
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    index.add(&Wheel::new("local", "2.0"));
    let line = format!("git+{}#egg=local\n", file_url(&repository(&sandbox)));
    sandbox.write("constraints.txt", &line);
    let run = sandbox.build(&index, &["local", "-c", "constraints.txt"]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [LOCAL]);
    sandbox.write("constraints.txt", &line.replace("#egg=local", ""));
    let run = sandbox.build(&index, &["local", "-c", "constraints.txt"]);
    run.assert_exit(2)
        .assert_error_names(&["constraints.txt:1"]);
}

#[test]
fn upgrade_fetches_moved_branch() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
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
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let nowhere = format!("local @ git+{}", file_url(&sandbox.path("nowhere")));
    let run = sandbox.build(&index, &[&nowhere]);
    run.assert_exit(4).assert_error_names(&["nowhere"]);
    let repository = repository(&sandbox);
    let unknown = format!("local @ git+{}@no-such-branch", file_url(&repository));
    let run = sandbox.build(&index, &[&unknown]);
    run.assert_exit(4).assert_error_names(&["no-such-branch"]);
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
    let (index, mut sandbox) = (Index::start(), Sandbox::unconfined());
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
    let (index, mut sandbox) = (Index::start(), Sandbox::unconfined());
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
