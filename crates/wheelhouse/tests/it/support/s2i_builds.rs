//! Builds like those of the S2I tool, and their inputs.
//!
//! It asserts nothing about an image.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::containers::{ANY_USER, Buildah, Container, Network, output_text, repository, succeed};
use super::python::blog;

/// Returns a checkout for upload: the files that an image build requires, and the program under test in its `dist/`.
pub(crate) fn checkout() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (repository(), directory.path());
    let names = [
        "Dockerfile",
        ".dockerignore",
        ".s2iignore",
        "Cargo.toml",
        "s2i",
        ".s2i",
    ];
    for name in names {
        succeed(Command::new("cp").arg("-a").arg(from.join(name)).arg(to));
    }
    let (version, architecture) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let name = format!("wheelhouse-{version}-{architecture}-linux-gnu");
    let program = to.join(&name).join("wheelhouse");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::create_dir(to.join("dist")).unwrap();
    succeed(
        Command::new("strip")
            .arg("-o")
            .arg(&program)
            .arg(env!("CARGO_BIN_EXE_wheelhouse")),
    );
    let archive = to.join("dist").join(format!("{name}.tar.gz"));
    succeed(
        Command::new("tar")
            .arg("-C")
            .arg(to)
            .args(["-I", "gzip -1", "-cf"])
            .arg(archive)
            .arg(&name),
    );
    std::fs::remove_dir_all(to.join(name)).unwrap();
    directory
}

/// The scripts that a source may contain.
pub(crate) const SCRIPTS: [&str; 3] = ["assemble", "run", "save-artifacts"];

/// Writes what the S2I tool uploads of `source` to `upload`: its files without ignored ones in `src`, and its scripts
/// in `scripts`. Returns which of the scripts exist.
pub(crate) fn prepare_upload(source: &Path, upload: &Path) -> [bool; 3] {
    let (files, scripts) = (upload.join("src"), upload.join("scripts"));
    for directory in [&files, &scripts] {
        std::fs::create_dir_all(directory).unwrap();
    }
    succeed(
        Command::new("cp")
            .arg("-a")
            .arg(source.join("."))
            .arg(&files),
    );
    std::fs::set_permissions(&files, Permissions::from_mode(0o755)).unwrap();
    let patterns = std::fs::read_to_string(files.join(".s2iignore")).unwrap_or_default();
    for pattern in patterns.lines().filter(|line| !line.starts_with('#')) {
        let remove = format!("rm -rf -- {pattern}");
        succeed(
            Command::new("bash")
                .args(["-c", &remove])
                .current_dir(&files),
        );
    }
    SCRIPTS.map(|name| {
        let own = files.join(".s2i/bin").join(name);
        let provided = own.is_file();
        if provided {
            let script = scripts.join(name);
            std::fs::rename(own, &script).unwrap();
            std::fs::set_permissions(script, Permissions::from_mode(0o755)).unwrap();
        }
        provided
    })
}

/// A build like that of the S2I tool with docker: one user unpacks a tar of the upload and runs `assemble`.
#[derive(Clone, Copy)]
pub(crate) struct Build<'a> {
    pub(crate) buildah: &'a Buildah,
    pub(crate) builder: &'a str,
    pub(crate) source: &'a Path,
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) network: Network,
    pub(crate) artifacts: Option<&'a Path>,
    /// `--assemble-user`, with its group.
    pub(crate) user: &'static str,
}

impl<'a> Build<'a> {
    pub(crate) fn new(buildah: &'a Buildah, builder: &'a str, source: &'a Path) -> Self {
        Self {
            buildah,
            builder,
            source,
            variables: &[],
            network: Network::Host,
            artifacts: None,
            user: ANY_USER,
        }
    }

    /// Runs `assemble` in a container, and returns the container and the output.
    pub(crate) fn assemble(&self) -> (Container<'a>, std::process::Output) {
        let upload = tempfile::tempdir().unwrap();
        prepare_upload(self.source, upload.path());
        let mut directories = vec!["scripts", "src"];
        if let Some(artifacts) = self.artifacts {
            let copy = upload.path().join("artifacts");
            succeed(Command::new("cp").arg("-a").arg(artifacts).arg(copy));
            directories.push("artifacts");
        }
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(upload.path())
            .arg("-cf")
            .arg(upload.path().join("tar"));
        succeed(tar.args(directories));
        let container = self.buildah.container(self.builder).for_user(self.user);
        let script = format!("tar -C /tmp -xf - && exec {}", self.script("assemble"));
        let mut command = container.command(&script, self.variables, self.network);
        command.stdin(File::open(upload.path().join("tar")).unwrap());
        let output = command.output().unwrap();
        (container, output)
    }

    fn script(&self, name: &str) -> String {
        if self.source.join(".s2i/bin").join(name).is_file() {
            return format!("/tmp/scripts/{name}");
        }
        let label = "{{index .OCIv1.Config.Labels \"io.openshift.s2i.scripts-url\"}}";
        let url = self.buildah.inspect(self.builder, label);
        format!("{}/{name}", url.strip_prefix("image://").unwrap())
    }

    #[track_caller]
    pub(crate) fn image(&self, name: &str) -> String {
        let (container, output) = self.assemble();
        let text = output_text(&output);
        assert!(output.status.success(), "{text}");
        container.commit(&self.script("run"), name);
        text
    }
}

/// Returns a copy of the source of the example application.
pub(crate) fn blog_source() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(blog().join("."))
        .arg(directory.path())
        .status();
    assert!(copied.unwrap().success());
    directory
}

/// Returns a script that starts `run` in the background, waits for it, and runs `python`.
pub(crate) fn with_server(run: &str, path: &str, python: &str) -> String {
    format!(
        "{run} & server=$!; python - <<'END'\n\
         import time\n\
         try:\n    from urllib.request import urlopen\n\
         except ImportError:\n    from urllib2 import urlopen\n\
         def get(path):\n    return urlopen('http://127.0.0.1:8080' + path, timeout=5).read().decode()\n\
         for _ in range(200):\n    try:\n        get('{path}')\n        break\n    except IOError:\n        time.sleep(0.1)\n\
         {python}\nEND\n\
         code=$?; kill -TERM $server; wait $server; echo \"ended with $?\"; exit $code"
    )
}
