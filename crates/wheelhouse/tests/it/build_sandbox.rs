//! Build backends that try to leave their sandbox, with each mechanism of the kernel.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::support::sandbox::build_arguments;
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, process, python_literal, tree};

/// Defines `attempt(name, action)`, which prints whether the action succeeded.
const ATTEMPT: &str = "\
import ctypes, errno, socket
def attempt(name, action):
    try:
        action()
        print('ATTEMPT', name, 'succeeded')
    except (OSError, IndexError) as error:
        print('ATTEMPT', name, 'failed', error)
library = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if library.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
def connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    socket.socket(family).connect(address)
";

/// The restrictions of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Machine {
    /// Namespaces are permitted.
    Namespaces,
    /// Only Landlock and seccomp are permitted, as in a restricted container.
    Restricted,
    /// Namespaces are permitted, and modes of files apply to the user even if that is root.
    Ordinary,
}

const MACHINES: [Machine; 2] = [Machine::Namespaces, Machine::Restricted];

/// Builds `gamma`, whose backend runs `script`.
fn build(sandbox: &Sandbox, machine: Machine, script: &str, options: &[&str]) -> RunResult {
    let index = Index::start();
    let script = format!("{ATTEMPT}{script}");
    index.add_sdist(&Sdist::new("gamma", "1.0").static_metadata().script(&script));
    build_from(&index, sandbox, machine, "gamma", options)
}

/// Builds `package` from `index`.
fn build_from(
    index: &Index,
    sandbox: &Sandbox,
    machine: Machine,
    package: &str,
    options: &[&str],
) -> RunResult {
    let program = env!("CARGO_BIN_EXE_wheelhouse");
    let mut command = match machine {
        Machine::Namespaces => sandbox.command(program),
        Machine::Restricted => {
            let mut command = sandbox.command("unshare");
            let limit = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
            command.args([
                "--user",
                "--map-root-user",
                "sh",
                "-c",
                limit,
                "sh",
                program,
            ]);
            command
        }
        Machine::Ordinary => {
            let mut command = sandbox.command("setpriv");
            command.args(["--bounding-set", "-all", program]);
            command
        }
    };
    command
        .args(build_arguments(index, &sandbox.out(), &sandbox.cache()))
        .args([package, "-v"])
        .args(options);
    sandbox.spawn(command).finish()
}

/// Returns whether each attempt of the backend succeeded, by its name.
fn attempts(run: &RunResult) -> BTreeMap<String, bool> {
    let lines = run.stderr.lines();
    let attempts =
        lines.filter_map(|line| line.split_once("| ATTEMPT ").map(|(_, attempt)| attempt));
    let attempts = attempts.map(|attempt| {
        let mut words = attempt.split(' ');
        let name = words.next().unwrap().to_owned();
        (name, words.next() == Some("succeeded"))
    });
    attempts.collect()
}

#[track_caller]
fn assert_attempts(run: &RunResult, count: usize, succeed: bool) {
    let attempts = attempts(run);
    assert_eq!(attempts.len(), count, "{}", run.stderr);
    for (name, succeeded) in attempts {
        assert_eq!(succeeded, succeed, "{name}: {}", run.stderr);
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn refuses_network() {
    for machine in MACHINES {
        let (outside, sandbox) = (Index::start(), Sandbox::new());
        let port = outside.port();
        let service = sandbox.path("service");
        let _listener = UnixListener::bind(&service).unwrap();
        let script = format!(
            "attempt('tcp', lambda: connect(('127.0.0.1', {port})))\n\
             attempt('elsewhere', lambda: connect(('192.0.2.1', 80)))\n\
             attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53)))\n\
             attempt('tcp6', lambda: socket.create_connection(('::1', {port}), 5))\n\
             attempt('name', lambda: socket.getaddrinfo('example.org', 443))\n\
             attempt('unix', lambda: connect({service}))\n\
             attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW))\n\
             attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))\n\
             attempt('io_uring', lambda: call(425, 4, ctypes.create_string_buffer(256)))",
            service = python_literal(&service),
        );
        let run = build(&sandbox, machine, &script, &["--sandbox", "require"]);
        run.assert_success();
        assert_attempts(&run, 9, false);
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn shows_only_files_of_system_and_build() {
    for machine in MACHINES {
        let mut sandbox = Sandbox::new();
        sandbox.set("DEPLOY_TOKEN", "t0p");
        let home = sandbox.path("home");
        let key = sandbox.write("home/.ssh/id_ed25519", "t0p");
        let other = sandbox.write("project/.env", "t0p");
        let script = format!(
            "home, key, other, cache = {}, {}, {}, {}\n\
             for path in (key, other, '/etc/shadow', '/proc/{}/environ'):\n    \
                 attempt('read' + path, lambda: open(path).read()[0])\n\
             for path in (home, cache):\n    attempt('list' + path, lambda: os.listdir(path)[0])\n\
             for path in ('/etc/x', '/usr/x', '/x', home + '/x', cache + '/x', sys.base_prefix + '/x', '/proc/sys/kernel/core_pattern'):\n    \
                 attempt('write' + path, lambda: open(path, 'w').write('x'))\n\
             if 'DEPLOY_TOKEN' in os.environ: print('ATTEMPT token succeeded')",
            python_literal(&home),
            python_literal(&key),
            python_literal(&other),
            python_literal(&sandbox.cache()),
            std::process::id(),
        );
        let before = tree::read(&home);
        let run = build(&sandbox, machine, &script, &["--sandbox", "require"]);
        run.assert_success();
        assert_attempts(&run, 13, false);
        tree::assert_same(&tree::read(&home), &before);
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn lets_backend_write_its_own_directories() {
    for machine in MACHINES {
        let sandbox = Sandbox::new();
        let script = "\
            attempt('tree', lambda: open('x', 'w').write('x'))\n\
            attempt('home', lambda: open(os.path.expanduser('~/x'), 'w').write('x'))\n\
            attempt('temporary', lambda: __import__('tempfile').NamedTemporaryFile().write(b'x'))\n\
            attempt('null', lambda: open('/dev/null', 'w').write('x'))\n\
            attempt('processes', lambda: subprocess.check_call(['sh', '-c', 'true']))\n\
            pair = socket.socketpair()\n\
            attempt('pair', lambda: pair[0].send(b'x'))";
        let run = build(&sandbox, machine, script, &["--sandbox", "require"]);
        run.assert_success();
        assert_attempts(&run, 6, true);
    }
}

/// Returns whether the filesystem of `sandbox` may have layers, as `mount` finds out.
fn may_have_layers(sandbox: &Sandbox) -> bool {
    let mut command = sandbox.command("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
    let mount = "mkdir lower upper work layered\n\
                 options=lowerdir=lower,upperdir=upper,workdir=work,userxattr,volatile\n\
                 mount -t overlay -o $options overlay layered";
    command.arg(mount).current_dir(sandbox.path(""));
    sandbox.spawn(command).finish().status.success()
}

/// Hooks see their own changes, and none of other builds.
#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn changes_of_build_requirements_stay_in_their_build() {
    let script = format!(
        "{ATTEMPT}\
         import tool\n\
         root = os.path.dirname(tool.__file__)\n\
         def path(name): return os.path.join(root, name)\n\
         def read():\n    \
             text = open(path('api.py')).read()\n    \
             if text != 'good = 1': raise OSError(text)\n\
         attempt('read', read)\n\
         attempt('bytecode', lambda: open(tool.__cached__).close())\n\
         attempt('edit', lambda: open(path('api.py'), 'r+').write('evil'))\n\
         attempt('mode', lambda: os.chmod(path('__init__.py'), 0o755))\n\
         attempt('remove', lambda: os.remove(path('other.py')))\n\
         attempt('replace', lambda: os.mkdir(path('other.py')))\n\
         attempt('rename', lambda: os.rename(path('moved.py'), path('new.py')))\n\
         attempt('add', lambda: open(path('other.py/x'), 'w').write('evil'))\n\
         attempt('list', lambda: os.listdir(path('other.py'))[0])\n\
         print('LAYERS', os.path.ismount(os.path.dirname(root)))"
    );
    for machine in MACHINES {
        let (index, sandbox) = (Index::start(), Sandbox::new());
        let tool = Wheel::new("tool", "1.0").file("tool/__init__.py", "");
        let tool = tool.file("tool/api.py", "good = 1");
        index.add(&tool.file("tool/other.py", "").file("tool/moved.py", ""));
        let has_layers = machine == Machine::Namespaces && may_have_layers(&sandbox);
        for package in ["gamma", "delta"] {
            let source = Sdist::new(package, "1.0").requires("tool");
            index.add_sdist(&source.static_metadata().script(&script));
            let options = ["--sandbox", "require"];
            let run = build_from(&index, &sandbox, machine, package, &options);
            run.assert_success();
            assert_attempts(&run, 9, true);
            let line = if has_layers {
                "LAYERS True"
            } else {
                "LAYERS False"
            };
            assert!(run.stderr.contains(line), "{line}: {}", run.stderr);
        }
    }
}

/// A backend puts links in place of its environment before it reports a requirement, which is installed there.
#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn installs_no_requirement_through_links() {
    for machine in MACHINES {
        for part in ["environment", "environment/lib", "site-packages"] {
            let (index, sandbox) = (Index::start(), Sandbox::new());
            let home = sandbox.path("home");
            index.add(&Wheel::new("tool", "1.0"));
            let source = Sdist::new("gamma", "1.0").static_metadata().reports("tool");
            index.add_sdist(&source.report_script(&format!(
                "site = sysconfig.get_path('purelib')\n\
                 root = os.path.dirname(os.path.dirname(os.path.dirname(site)))\n\
                 parts = {{'environment': root, 'environment/lib': os.path.join(root, 'lib')}}\n\
                 place = parts.get('{part}', site)\n\
                 os.rename(place, place + '-before')\n\
                 os.symlink({home}, place)",
                home = python_literal(&home)
            )));
            let before = tree::read(&home);
            let _ = build_from(
                &index,
                &sandbox,
                machine,
                "gamma",
                &["--sandbox", "require"],
            );
            tree::assert_same(&tree::read(&home), &before);
        }
    }
}

/// More build requirements than the kernel takes as layers.
#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn backend_may_have_many_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let names: Vec<String> = (0..80).map(|number| format!("tool{number}")).collect();
    let mut source = Sdist::new("gamma", "1.0").static_metadata();
    for name in &names {
        index.add(&Wheel::new(name, "1.0"));
        source = source.requires(name);
    }
    let script =
        format!("{ATTEMPT}attempt('import', lambda: [__import__(name) for name in {names:?}])");
    index.add_sdist(&source.script(&script));
    let run = build_from(&index, &sandbox, Machine::Namespaces, "gamma", &[]);
    run.assert_success();
    assert_attempts(&run, 1, true);
}

/// Go's module cache, for example, has directories that their owner may not change.
#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn directories_without_rights_are_removed() {
    let sandbox = Sandbox::new();
    let script = "\
        for directory in ('.', os.path.expanduser('~'), os.environ['TMPDIR']):\n    \
            path = os.path.join(directory, 'a/b')\n    \
            attempt('make', lambda: os.makedirs(path))\n    \
            open(os.path.join(path, 'c'), 'w').close()\n    \
            os.chmod(path, 0o500)\n    \
            os.chmod(os.path.dirname(path), 0)\n\
        sys.exit(1)";
    for _ in 0..2 {
        let run = build(&sandbox, Machine::Ordinary, script, &[]);
        run.assert_exit(5);
        assert_attempts(&run, 1, true);
        for directory in ["builds", "uv/builds-v0"] {
            let entries = std::fs::read_dir(sandbox.cache().join(directory)).unwrap();
            assert_eq!(entries.count(), 0, "{directory}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn refuses_system_calls_and_signals() {
    // A process outside of the sandbox, of the same user.
    let outside = process::Sleeper::start();
    for machine in MACHINES {
        let sandbox = Sandbox::new();
        let script = format!(
            "attempt('ptrace', lambda: call(101, 16, {id}, 0, 0))\n\
             attempt('signal', lambda: os.kill({id}, 15))\n\
             attempt('unshare', lambda: call(272, 0x10000000))\n\
             attempt('clone', lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0))\n\
             attempt('mount', lambda: call(165, b'none', b'/tmp', b'tmpfs', 0, 0))\n\
             attempt('keys', lambda: call(250, 0, -3, 0))\n\
             attempt('x32', lambda: call(0x40000000 + 39))\n\
             attempt('terminal', lambda: __import__('fcntl').ioctl(1, 0x5412, b'x'))",
            id = outside.id()
        );
        let run = build(&sandbox, machine, &script, &["--sandbox", "require"]);
        run.assert_success();
        assert_attempts(&run, 8, false);
        assert!(outside.is_alive(), "{machine:?}");
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn no_process_survives() {
    for machine in MACHINES {
        for (end, code) in [("", 0), ("\nsys.exit(1)", 5), ("\ntime.sleep(600)", 5)] {
            let sandbox = Sandbox::new();
            // The number identifies the processes of this test.
            let mark = format!("6{}", std::process::id());
            let script = format!(
                "subprocess.Popen(['sleep', '{mark}'])\n\
                 subprocess.Popen(['sleep', '{mark}'], start_new_session=True, env={{}})\n\
                 if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: os.execvp('sleep', ['sleep', '{mark}'])\n    os._exit(0)\n\
                 time.sleep(0.2){end}"
            );
            let run = build(&sandbox, machine, &script, &["--build-timeout", "3"]);
            run.assert_exit(code);
            assert!(run.took < Duration::from_secs(30), "took {:?}", run.took);
            assert_eq!(process::with_argument(&mark), 0, "{machine:?} {end}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn bounds_processes_and_files() {
    let sandbox = Sandbox::new();
    let script = "\
        def bomb():\n    while True:\n        if os.fork() == 0: time.sleep(600)\n\
        attempt('processes', bomb)\n\
        import signal\n\
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
        file = open('large', 'wb')\n\
        attempt('file', lambda: file.truncate(1 << 40))";
    let run = build(&sandbox, Machine::Namespaces, script, &[]);
    run.assert_success();
    assert_attempts(&run, 2, false);
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn build_that_needs_network_names_host_and_option() {
    let script =
        "import urllib.request\nurllib.request.urlopen('https://files.example.org/model.bin')";
    for machine in MACHINES {
        let run = build(&Sandbox::new(), machine, script, &[]);
        run.assert_exit(5).assert_error_names(&[
            "gamma==1.0",
            "files.example.org",
            "no network access",
            "--allow-network gamma",
        ]);
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn exceptions_apply_to_named_package() {
    for machine in MACHINES {
        let (outside, sandbox) = (Index::start(), Sandbox::new());
        let port = outside.port();
        let written = sandbox.path("written");
        std::fs::create_dir(&written).unwrap();
        let allowed = format!("gamma:{}", written.display());
        let file = sandbox.write("data/file", "x");
        let data = sandbox.path("data").display().to_string();
        let script = format!(
            "attempt('tcp', lambda: connect(('127.0.0.1', {port})))\n\
             attempt('write', lambda: open({}, 'w').write('x'))\n\
             attempt('read', lambda: open({}).read())\n\
             if os.environ.get('MODEL') == 'small': print('ATTEMPT variable succeeded')",
            python_literal(&written.join("x")),
            python_literal(&file),
        );
        let options = [
            "--allow-network",
            "gamma",
            "--allow-write",
            &allowed,
            "--allow-read",
            &data,
            "--build-env",
            "MODEL=small",
        ];
        let run = build(&sandbox, machine, &script, &options);
        run.assert_success();
        assert_attempts(&run, 4, true);
        let run = build(
            &Sandbox::new(),
            machine,
            &script,
            &["--allow-network", "delta"],
        );
        assert_attempts(&run, 3, false);
    }
}

#[test]
#[cfg_attr(not(feature = "test-namespaces"), ignore = "requires namespaces")]
fn manifest_records_what_was_enforced() {
    let enforced = |options: &[&str]| {
        let sandbox = Sandbox::new();
        build(&sandbox, Machine::Namespaces, "pass", options).assert_success();
        let manifest = std::fs::read(sandbox.out().join("wheelhouse.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["wheels"][0]["built"]["sandbox"].to_string()
    };
    assert_eq!(
        enforced(&[]),
        r#"["network","files","processes","system-calls"]"#
    );
    assert_eq!(
        enforced(&["--allow-network", "gamma"]),
        r#"["files","processes","system-calls"]"#
    );
    assert_eq!(enforced(&["--sandbox", "off"]), "null");
}
