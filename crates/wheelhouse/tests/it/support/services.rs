//! Container tools, registries, daemons and certificates from the packages of Debian.
//!
//! Tests that use them are ignored without the feature `test-containers`, or `test-tools` for openssl.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::process::eventually;

/// Returns the path of a program of the distribution.
pub(crate) fn program_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/bin".into(), "/usr/sbin".into()]);
    directories
        .map(|directory| directory.join(name))
        .filter(|path| !path.starts_with("/usr/local"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run ./test"))
}

/// Runs a program successfully and returns its output.
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

/// A process that is terminated on drop.
pub(crate) struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // SIGTERM lets the process clean up.
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

/// The access control of a registry.
#[derive(Default)]
pub(crate) struct RegistryOptions<'a> {
    /// An htpasswd file.
    pub(crate) users: Option<&'a Path>,
    /// The paths of the certificate and its key.
    pub(crate) tls: Option<(&'a Path, &'a Path)>,
    /// Allows the deletion of manifests.
    pub(crate) deletion: bool,
}

impl Registry {
    /// Starts an empty registry with its files in `directory`.
    pub(crate) fn start(directory: &Path, terms: &RegistryOptions<'_>) -> Self {
        let program = program_path("docker-registry");
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

    /// Returns the host in image references.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Counts the requests with this method and this part of their path.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let request = format!("\"{method} /v2/");
        let requests = log.lines().filter_map(|line| line.split_once(&request));
        requests.filter(|(_, rest)| rest.contains(path)).count()
    }
}

fn registry_configuration(directory: &Path, port: u16, terms: &RegistryOptions<'_>) -> String {
    let data = directory.join("data");
    let mut configuration = serde_json::json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": data}},
        "http": {"addr": format!("127.0.0.1:{port}")},
    });
    if let Some(users) = terms.users {
        configuration["auth"] = serde_json::json!({"htpasswd": {"realm": "test", "path": users}});
    }
    if terms.deletion {
        configuration["storage"]["delete"] = serde_json::json!({"enabled": true});
    }
    if let Some((certificate, key)) = terms.tls {
        configuration["http"]["tls"] = serde_json::json!({"certificate": certificate, "key": key});
    }
    // YAML is a superset of JSON.
    configuration.to_string()
}

/// `git daemon`, for all repositories below a directory.
pub(crate) struct GitDaemon {
    _service: Service,
    port: u16,
}

impl GitDaemon {
    pub(crate) fn start(directory: &Path) -> Self {
        let git = program_path("git");
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

    /// Returns the URL of the repository `name`, without `git+`.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A separate docker daemon that does not modify the network of the host.
pub(crate) struct Docker {
    _service: Service,
    pub(crate) socket: PathBuf,
}

impl Docker {
    pub(crate) fn start(directory: &Path) -> Self {
        let program = program_path("dockerd");
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

    /// Returns a command of `docker` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program_path("docker"));
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_BUILDKIT", "0")
            .args(arguments);
        command
    }
}

/// Creates a certificate authority and a server certificate for this host. Returns the paths of the authority, the
/// certificate and its key.
pub(crate) fn certificates(directory: &Path) -> [PathBuf; 3] {
    let openssl = program_path("openssl");
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

/// Apache with `WebDAV` (`mod_dav`), on loopback.
pub(crate) struct WebDav {
    _service: Service,
    pub(crate) port: u16,
}

impl WebDav {
    /// Starts a server of `directory`, which is created.
    pub(crate) fn start(directory: &Path) -> Self {
        let program = program_path("apache2");
        let files = directory.join("files");
        std::fs::create_dir_all(&files).unwrap();
        // Apache serves as another user than root.
        for path in directory
            .ancestors()
            .take_while(|path| *path != Path::new("/tmp"))
        {
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755));
        }
        for path in [directory, &files] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let port = free_port();
        let modules = ["mpm_event", "authz_core", "dav", "dav_fs"].map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        let (root, modules) = (directory.display(), modules.concat());
        let configuration = directory.join("httpd.conf");
        std::fs::write(
            &configuration,
            format!(
                "{modules}ServerRoot {root}\nPidFile {root}/pid\nErrorLog {root}/log\nListen 127.0.0.1:{port}\n\
                 ServerName localhost\nUser www-data\nGroup www-data\nDocumentRoot {root}/files\nDAVLockDB {root}/lock\n\
                 <Directory {root}/files>\nDav On\nRequire all granted\n</Directory>\n"
            ),
        )
        .unwrap();
        let child = Command::new(program)
            .args(["-D", "FOREGROUND", "-f"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("Apache", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self {
            _service: Service(child),
            port,
        }
    }
}

/// A server of S3's protocol, moto, with an empty bucket.
pub(crate) struct S3 {
    _service: Service,
    pub(crate) port: u16,
}

impl S3 {
    /// Starts the server `program`, `moto_server`, with the bucket `bucket`.
    pub(crate) fn start(program: &Path, bucket: &str) -> Self {
        let port = free_port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("moto", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let response = std::io::read_to_string(stream).unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        Self {
            _service: Service(child),
            port,
        }
    }
}
