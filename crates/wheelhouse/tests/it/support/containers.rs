//! Containers: buildah with separate storage, base images from Debian packages, and the build contract of S2I.
//!
//! It never uses the storage of the user.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A configuration for hosts without systemd and with a low limit of file descriptors.
const CONFIGURATION: &str = "\
[containers]
default_ulimits = [\"nofile=20000:20000\", \"nproc=16384:16384\"]
[engine]
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
runtime = \"runc\"
";

/// A user that no image declares, in the group in which clusters run images.
pub(crate) const ANY_USER: &str = "1234567:0";

/// buildah with an image that imitates sclorg's Python builder. Its storage is kept for other tests.
pub(crate) struct Buildah {
    /// The version of the only Python in that image.
    python: &'static str,
    configuration: TempDir,
    /// Below the target directory; kept, because creating the base image takes a minute.
    storage: PathBuf,
}

/// The network that a command may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    None,
    Host,
}

impl Network {
    /// Returns the options of `buildah run` and `buildah build`. With a network, the container sees the certificates
    /// of the host.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::None => &["--network", "none"],
            Self::Host => &[
                "--network",
                "host",
                "--volume",
                "/etc/ssl/certs:/etc/ssl/certs:ro",
            ],
        }
    }
}

/// Returns the variables that configure the index of this host, which every build requires.
pub(crate) fn index_variables() -> impl Iterator<Item = (String, String)> {
    let own = [
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
    ];
    let own = own
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let certificates = ["PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"].map(str::to_owned);
    own.chain([certificates.into()])
}

impl Buildah {
    /// Creates the base image with Python 3.11, which most tests use.
    ///
    /// Tests that call it are ignored without the feature `test-containers`.
    pub(crate) fn find() -> Self {
        Self::with_python("3.11")
    }

    /// Creates the base image with another Python: 2.7, 3.11 or 3.13.
    pub(crate) fn with_python(python: &'static str) -> Self {
        let configuration = tempfile::Builder::new()
            .prefix("containers-")
            .tempdir()
            .unwrap();
        let storage = target().join("test-images");
        std::fs::create_dir_all(&storage).unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(configuration.path().join(name), text).unwrap();
        write("containers.conf", CONFIGURATION);
        let root = storage.join("storage").display().to_string();
        // The run state belongs to this storage and must not survive a reboot.
        let running = &super::sha256(root.as_bytes())[..12];
        write(
            "storage.conf",
            &format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = \"{root}\"\nrunroot = \"/run/wheelhouse-test-{running}\"\n",
            ),
        );
        let buildah = Self {
            python,
            configuration,
            storage,
        };
        buildah.make_base();
        buildah
    }

    /// Creates the base image, unless another test has done so.
    fn make_base(&self) {
        let lock = File::create(self.storage.join(format!("lock-{}", self.python))).unwrap();
        lock.lock().unwrap();
        let mut command = self.command(repository().join("tests/images/base"));
        command.args([self.python, &self.base()]).arg(&self.storage);
        succeed(&mut command);
    }

    /// Returns the name of the base image.
    pub(crate) fn base(&self) -> String {
        format!("localhost/python{}-builder", self.python)
    }

    /// Returns the path of a tar archive of the base image.
    pub(crate) fn base_archive(&self) -> PathBuf {
        let entries = std::fs::read_dir(&self.storage).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let begin = format!("{}-", self.python);
        let archive = paths.find(|path| {
            let name = path.file_name().and_then(OsStr::to_str);
            name.is_some_and(|name| name.starts_with(&begin))
                && path.extension().is_some_and(|ending| ending == "tar")
        });
        archive.expect("the archive of the base image is kept")
    }

    /// Returns a command that uses this storage and its configuration.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(
            "CONTAINERS_CONF",
            self.configuration.path().join("containers.conf"),
        );
        command.env(
            "CONTAINERS_STORAGE_CONF",
            self.configuration.path().join("storage.conf"),
        );
        command
            .env("BUILDAH_RUNTIME", "runc")
            .env("BUILDAH_ISOLATION", "oci");
        command
    }

    pub(crate) fn buildah<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command("buildah");
        command.args(arguments);
        command
    }

    /// Builds `image` from the Dockerfile in `context`, on the base image.
    pub(crate) fn build(&self, context: &Path, image: &str) {
        let mut command = self.buildah([
            "build",
            "--quiet",
            "--network",
            "none",
            "--format",
            "docker",
        ]);
        command
            .args(["--from", &self.base(), "--tag", image])
            .arg(context);
        succeed(&mut command);
    }

    pub(crate) fn remove(&self, image: &str) {
        let _ = self.buildah(["rmi", "--force", image]).output();
    }

    /// Returns what the Go template prints for `image`.
    pub(crate) fn inspect(&self, image: &str, template: &str) -> String {
        let mut command = self.buildah(["inspect", "--type", "image", "--format", template, image]);
        succeed(&mut command)
    }

    pub(crate) fn container<'a>(&'a self, image: &str) -> Container<'a> {
        let name = succeed(&mut self.buildah(["from", "--pull-never", image]));
        Container {
            buildah: self,
            name,
            user: None,
            read_only: None,
        }
    }
}

/// A container, removed on drop.
pub(crate) struct Container<'a> {
    buildah: &'a Buildah,
    name: String,
    user: Option<&'static str>,
    /// A read-only replacement for a directory.
    read_only: Option<(&'static str, TempDir)>,
}

impl Container<'_> {
    /// Runs further commands as an arbitrary user in group 0, like clusters.
    pub(crate) fn for_any_user(self) -> Self {
        self.for_user(ANY_USER)
    }

    /// Runs further commands as `user`, with its group.
    pub(crate) fn for_user(mut self, user: &'static str) -> Self {
        self.user = Some(user);
        self
    }

    /// Mounts the container and returns the path of its root.
    pub(crate) fn mount(&self) -> PathBuf {
        succeed(&mut self.buildah.buildah(["mount", &self.name])).into()
    }

    /// Makes `directory` read-only for further commands.
    pub(crate) fn with_read_only(mut self, directory: &'static str) -> Self {
        self.read_only = Some((directory, tempfile::tempdir().unwrap()));
        self
    }

    /// Copies the contents of `source` into `directory`, owned by the user of the image.
    pub(crate) fn upload(&self, source: &Path, directory: &str) {
        let owner = self.user.unwrap_or("1001:0");
        let mut command = self
            .buildah
            .buildah(["copy", "--quiet", "--chown", owner, &self.name]);
        succeed(command.arg(source).arg(directory));
    }

    /// Runs `script` with bash and `variables` and returns its output.
    pub(crate) fn bash(
        &self,
        script: &str,
        variables: &[(&str, &str)],
        network: Network,
    ) -> Output {
        self.command(script, variables, network).output().unwrap()
    }

    /// Returns a command that runs `script` with bash and `variables`.
    pub(crate) fn command(
        &self,
        script: &str,
        variables: &[(&str, &str)],
        network: Network,
    ) -> Command {
        let mut command = self.buildah.buildah(["run"]);
        command.args(network.arguments());
        let given = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        for (name, value) in index_variables().chain(given) {
            command.args(["--env", &format!("{name}={value}")]);
        }
        if let Some((inside, outside)) = &self.read_only {
            let volume = format!("{}:{inside}:ro", outside.path().display());
            command.args(["-v", &volume]);
        }
        command.args(self.user.iter().flat_map(|user| ["--user", user]));
        command.args([&self.name, "--", "bash", "-c", script]);
        command
    }

    /// Saves the artifacts for the next build like the S2I tool.
    pub(crate) fn artifacts(&self) -> TempDir {
        let output = self.bash("exec /opt/app-root/s2i/save-artifacts", &[], Network::None);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            output_text(&output)
        );
        let directory = tempfile::tempdir().unwrap();
        let mut tar = tar::Archive::new(&*output.stdout);
        tar.unpack(directory.path()).unwrap();
        directory
    }

    /// Commits the container to an image that runs `script` by default.
    pub(crate) fn commit(&self, script: &str, image: &str) {
        succeed(
            &mut self
                .buildah
                .buildah(["config", "--cmd", script, &self.name]),
        );
        succeed(
            &mut self
                .buildah
                .buildah(["commit", "--quiet", "--format", "docker", &self.name, image]),
        );
    }

    /// Sets the labels that the build requested.
    pub(crate) fn apply_labels(&self) {
        let metadata = self.bash("cat /tmp/.s2i/image_metadata.json", &[], Network::None);
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        for label in metadata["labels"].as_array().unwrap() {
            for (key, value) in label.as_object().unwrap() {
                let label = format!("{key}={}", value.as_str().unwrap());
                succeed(
                    &mut self
                        .buildah
                        .buildah(["config", "--label", &label, &self.name]),
                );
            }
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.buildah.buildah(["rm", &self.name]).output();
    }
}

/// Runs `command` successfully, and returns its output without the final line break.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        output_text(&output)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// Returns both output streams as one text.
pub(crate) fn output_text(output: &Output) -> String {
    let texts =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    texts.join("")
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the target directory, which contains the program.
pub(crate) fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_wheelhouse"));
    program.parent().unwrap().parent().unwrap().to_owned()
}
