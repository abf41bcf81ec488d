//! Real programs of the world of containers, as Debian has them.
//!
//! Tests that use them are ignored without the feature `test-containers`, or `test-tools` for openssl.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::process::eventually;

/// Where a program is, if it is there.
pub(crate) fn part(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/bin".into(), "/usr/sbin".into()]);
    directories
        .map(|directory| directory.join(name))
        .filter(|path| !path.starts_with("/usr/local"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run ./test"))
}

/// Runs a program to a good end, and returns what it wrote.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    )
}

/// A process that ends with its owner.
pub(crate) struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // SIGTERM, so that it takes down what it has set up.
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The reference implementation of a registry, on loopback.
pub(crate) struct Registry {
    _service: Service,
    pub(crate) port: u16,
    log: PathBuf,
}

/// What a registry wants of its clients.
#[derive(Default)]
pub(crate) struct Terms<'a> {
    /// A file of users as `htpasswd` writes it.
    pub(crate) users: Option<&'a Path>,
    /// Certificate and key.
    pub(crate) tls: Option<(&'a Path, &'a Path)>,
}

impl Registry {
    /// Starts an empty registry, that has its files in `directory`.
    pub(crate) fn start(directory: &Path, terms: &Terms<'_>) -> Self {
        let program = part("docker-registry");
        std::fs::create_dir_all(directory).unwrap();
        let port = free_port();
        let configuration = directory.join("config.yml");
        std::fs::write(
            &configuration,
            registry_configuration(directory, port, terms),
        )
        .unwrap();
        let log = directory.join("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        eventually("the registry", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            _service: Service(child),
            port,
            log,
        }
    }

    /// The host as it is named in images.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many requests with this method have a path with this in it.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let request = format!("\"{method} /v2/");
        let requests = log.lines().filter_map(|line| line.split_once(&request));
        requests.filter(|(_, rest)| rest.contains(path)).count()
    }
}

fn registry_configuration(directory: &Path, port: u16, terms: &Terms<'_>) -> String {
    let data = directory.join("data");
    let mut configuration = serde_json::json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": data}},
        "http": {"addr": format!("127.0.0.1:{port}")},
    });
    if let Some(users) = terms.users {
        configuration["auth"] = serde_json::json!({"htpasswd": {"realm": "test", "path": users}});
    }
    if let Some((certificate, key)) = terms.tls {
        configuration["http"]["tls"] = serde_json::json!({"certificate": certificate, "key": key});
    }
    // JSON is YAML, too.
    configuration.to_string()
}

/// Git's own server, for every repository below a directory.
pub(crate) struct GitDaemon {
    _service: Service,
    port: u16,
}

impl GitDaemon {
    pub(crate) fn start(directory: &Path) -> Self {
        let git = part("git");
        let programs = run(Command::new(git).arg("--exec-path"));
        let program = Path::new(programs.trim()).join("git-daemon");
        let port = free_port();
        let child = Command::new(program)
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", directory.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the daemon of Git", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            _service: Service(child),
            port,
        }
    }

    /// The URL of the repository `name`, without `git+`.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A docker daemon of its own, that leaves the network of the machine alone.
pub(crate) struct Docker {
    _service: Service,
    pub(crate) socket: PathBuf,
}

impl Docker {
    pub(crate) fn start(directory: &Path) -> Self {
        let program = part("dockerd");
        std::fs::create_dir_all(directory).unwrap();
        let socket = directory.join("docker.sock");
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(program)
            .args([
                "--iptables=false",
                "--ip-forward=false",
                "--ip-masq=false",
                "--bridge=none",
            ])
            .args([
                "--default-ulimit",
                "nofile=20000:20000",
                "--storage-driver=overlay2",
            ])
            .arg(format!("--host=unix://{}", socket.display()))
            .arg(format!("--data-root={}", directory.join("data").display()))
            .arg(format!("--exec-root={}", directory.join("exec").display()))
            .arg(format!("--pidfile={}", directory.join("pid").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        eventually("docker", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Self {
            _service: Service(child),
            socket,
        }
    }

    /// `docker` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(part("docker"));
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_BUILDKIT", "0")
            .args(arguments);
        command
    }
}

/// Makes an authority and a certificate of it for this machine: the files of the authority, of the
/// certificate and of its key.
pub(crate) fn certificates(directory: &Path) -> [PathBuf; 3] {
    let openssl = part("openssl");
    let file = |name: &str| directory.join(name);
    let [authority, authority_key] = ["authority.pem", "authority.key"].map(file);
    let [certificate, key, request, extensions] =
        ["server.pem", "server.key", "server.csr", "server.ext"].map(file);
    let subject = b"subjectAltName=DNS:localhost,IP:127.0.0.1\n";
    std::fs::File::create(&extensions)
        .unwrap()
        .write_all(subject)
        .unwrap();
    let make = |arguments: &[&str], paths: &[(&str, &Path)]| {
        let mut command = Command::new(&openssl);
        command.args(arguments);
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        run(&mut command);
    };
    let new = ["req", "-newkey", "rsa:2048", "-nodes"];
    make(
        &[
            &new[..],
            &["-x509", "-days", "2", "-subj", "/CN=test authority"],
        ]
        .concat(),
        &[("-keyout", &authority_key), ("-out", &authority)],
    );
    make(
        &[&new[..], &["-subj", "/CN=localhost"]].concat(),
        &[("-keyout", &key), ("-out", &request)],
    );
    make(
        &["x509", "-req", "-days", "2", "-CAcreateserial"],
        &[
            ("-in", &request),
            ("-CA", &authority),
            ("-CAkey", &authority_key),
            ("-extfile", &extensions),
            ("-out", &certificate),
        ],
    );
    [authority, certificate, key]
}
