//! `s2i/install`, which turns a Python image into a builder: where the program comes from, in which order, and the
//! errors. All programs that the script calls are replaced; tests with containers are in `builder`.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::Wheel;
use crate::support::containers::{output_text, repository, succeed};
use crate::support::python::pythons;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commands that the script uses besides Python, a compiler and curl.
const COMMANDS: [&str; 20] = [
    "bash", "basename", "chmod", "cut", "grep", "gzip", "head", "id", "install", "mkdir", "mktemp",
    "paste", "rm", "sed", "sh", "sort", "tail", "tar", "uname", "cp",
];

/// A replacement for the program: records its arguments, and exits with `$CODE` in `s2i tools`.
const PROGRAM: &str = "#!/bin/sh\n\
    [ \"$1\" != --version ] || { echo wheelhouse 0; exit; }\n\
    echo \"$@\" >>\"$NOTES\"\n\
    exit ${CODE:-0}\n";

/// A replacement for cargo: records its arguments and "compiles" the replacement for the program.
const CARGO: &str = "#!/bin/sh\n\
    [ \"$1\" != --version ] || { echo 'cargo VERSION (0123456 2026-01-01)'; exit; }\n\
    echo \"cargo $@ offline=$CARGO_NET_OFFLINE home=${CARGO_HOME##*/} in ${PWD##*/}\" >>\"$NOTES\"\n\
    mkdir -p \"$CARGO_TARGET_DIR/release\" \"$CARGO_HOME/registry\"\n\
    cp \"$BUILT\" \"$CARGO_TARGET_DIR/release/wheelhouse\"\n";

/// A replacement for curl: downloads an installer of Rust, which installs the cargo in `$FETCHED`.
const CURL: &str = "#!/bin/sh\n\
    echo \"curl $@\" | sed 's, /[^ ]*, FILE,' >>\"$NOTES\"\n\
    for file; do :; done\n\
    [ -e \"$FETCHED\" ] || { echo 'curl: (6) Could not resolve host: sh.rustup.rs' >&2; exit 6; }\n\
    echo 'echo \"rustup-init $@\" >>\"$NOTES\"; mkdir -p \"$CARGO_HOME/bin\"; cp \"$FETCHED\" \"$CARGO_HOME/bin/cargo\"' >\"$file\"\n";

/// A checkout, the root of an image and its commands.
struct FakeImage {
    directory: TempDir,
    variables: BTreeMap<&'static str, String>,
}

impl FakeImage {
    fn new() -> Self {
        let image = Self {
            directory: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
        };
        let checkout = image.path("checkout");
        for name in ["checkout/dist", "root", "bin", "tmp", "home"] {
            std::fs::create_dir_all(image.path(name)).unwrap();
        }
        let from = repository();
        succeed(
            Command::new("cp")
                .arg("-a")
                .arg(from.join("s2i"))
                .arg(&checkout),
        );
        std::fs::copy(from.join("Cargo.toml"), checkout.join("Cargo.toml")).unwrap();
        for name in COMMANDS {
            let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
            let command = places.iter().find(|path| path.exists()).expect(name);
            symlink(command, image.path("bin").join(name)).unwrap();
        }
        image.write("built", PROGRAM);
        image
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, script: &str) {
        let path = self.path(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    /// Writes `script` to `dist/` as the program in an archive.
    fn with_dist(self, script: &str) -> Self {
        let name = format!("wheelhouse-0-{}-linux-gnu", std::env::consts::ARCH);
        std::fs::create_dir(self.path(&name)).unwrap();
        self.write(&format!("{name}/wheelhouse"), script);
        let archive = self.path("checkout/dist").join(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(self.directory.path());
        succeed(tar.arg("-czf").arg(archive).arg(name));
        self
    }

    fn with_compiler(self) -> Self {
        for name in ["cc", "make"] {
            self.write(&format!("bin/{name}"), "#!/bin/sh\n");
        }
        self
    }

    fn with_cargo(self, version: &str) -> Self {
        self.write("bin/cargo", &CARGO.replace("VERSION", version));
        self
    }

    fn with_curl(self) -> Self {
        self.write("bin/curl", CURL);
        self
    }

    fn with_python(self, python: &Path) -> Self {
        symlink(python, self.path("bin/python")).unwrap();
        self
    }

    fn install(&self) -> Output {
        let mut command = Command::new(self.path("checkout/s2i/install"));
        command.env_clear().envs(&self.variables);
        for (name, file) in [
            ("PATH", "bin"),
            ("TMPDIR", "tmp"),
            ("HOME", "home"),
            ("NOTES", "notes"),
            ("BUILT", "built"),
            ("FETCHED", "fetched"),
        ] {
            command.env(name, self.path(file));
        }
        let output = command
            .arg(self.path("checkout"))
            .arg(self.path("root"))
            .output()
            .unwrap();
        assert_eq!(
            std::fs::read_dir(self.path("tmp")).unwrap().count(),
            0,
            "temporary files were left"
        );
        output
    }

    /// Runs the script successfully, and returns its output and the recorded calls, one per line.
    #[track_caller]
    fn install_successfully(&self) -> (String, String) {
        let output = self.install();
        assert!(output.status.success(), "{}", output_text(&output));
        (output_text(&output), self.notes())
    }

    #[track_caller]
    fn install_with_error(&self) -> String {
        let output = self.install();
        assert!(!output.status.success(), "{}", output_text(&output));
        output_text(&output)
    }

    fn notes(&self) -> String {
        let notes = std::fs::read_to_string(self.path("notes")).unwrap_or_default();
        let root = self.path("root").display().to_string();
        notes.replace(&root, "ROOT")
    }
}

fn architecture() -> &'static str {
    std::env::consts::ARCH
}

#[test]
fn installs_program_from_dist_for_any_user_of_group() {
    let image = FakeImage::new()
        .with_dist(PROGRAM)
        .with_compiler()
        .with_cargo("1.95.0");
    let (said, calls) = image.install_successfully();
    assert_eq!(
        said,
        format!(
            "---> Installed wheelhouse 0 from dist/wheelhouse-0-{}-linux-gnu.tar.gz\n",
            architecture()
        )
    );
    assert_eq!(calls, "s2i --root ROOT tools\n");
    for name in [
        "bin/wheelhouse",
        "s2i",
        "s2i/assemble",
        "s2i/run",
        "s2i/save-artifacts",
        "s2i/usage",
        "wheelhouse",
    ] {
        let mode = std::fs::metadata(image.path("root").join(name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o775, "{name}");
    }
}

#[test]
fn does_not_install_program_that_does_not_start() {
    let loader = "#!/bin/sh\n\
        echo \"$0: /lib64/libc.so.6: version \\`GLIBC_2.34' not found\" >&2\nexit 1\n";
    let image = FakeImage::new().with_dist(loader).with("PIP_NO_INDEX", "1");
    let said = image.install_with_error();
    assert!(
        said.contains("it does not start in this image")
            && said.contains("version `GLIBC_2.34' not found"),
        "{said}"
    );
    assert!(!image.path("root/bin/wheelhouse").exists());

    // The script compiles the program instead, and does not install it if that does not start either.
    let image = FakeImage::new()
        .with_dist(loader)
        .with_compiler()
        .with_cargo("1.96.0");
    let (said, _) = image.install_successfully();
    assert!(
        said.contains("---> Installed wheelhouse 0 from the sources"),
        "{said}"
    );
    image.write("built", loader);
    let said = image.install_with_error();
    assert!(said.matches("GLIBC_2.34").count() == 2, "{said}");
}

#[test]
#[cfg_attr(
    not(feature = "test-python2"),
    ignore = "requires Python 2.7, Python 3.6 to 3.9"
)]
fn installs_wheel_from_find_links_with_any_pip() {
    let pythons = pythons();
    // The pip of Python 2.7 predates manylinux2014.
    for (version, python) in [pythons.first_key_value(), pythons.last_key_value()]
        .into_iter()
        .flatten()
    {
        let image = FakeImage::new()
            .with_python(python)
            .with("PIP_FIND_LINKS", "packages")
            .with("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
            .with("PIP_RETRIES", "0");
        let wheel = Wheel::new("python_wheelhouse", VERSION)
            .tag(&format!(
                "py2.py3-none-manylinux_2_17_{0}.manylinux2014_{0}",
                architecture()
            ))
            .file(
                &format!("python_wheelhouse-{VERSION}.data/scripts/wheelhouse"),
                PROGRAM,
            );
        let packages = image.path("checkout/packages");
        std::fs::create_dir(&packages).unwrap();
        std::fs::write(packages.join(wheel.filename()), wheel.bytes()).unwrap();
        let (said, calls) = image.install_successfully();
        assert!(
            said.contains("from the wheel python_wheelhouse-"),
            "{version}: {said}"
        );
        assert_eq!(calls, "s2i --root ROOT tools\n");

        std::fs::remove_file(packages.join(wheel.filename())).unwrap();
        let said = image.install_with_error();
        assert!(
            said.contains("  PIP_FIND_LINKS: ") && said.contains("No matching distribution"),
            "{version}: {said}"
        );
    }
}

#[test]
fn compiles_program_and_downloads_rust() {
    let image = FakeImage::new().with_compiler().with_curl();
    image.write("fetched", &CARGO.replace("VERSION", "1.95.0"));
    let (said, calls) = image.install_successfully();
    let expected = "---> Compiling wheelhouse VERSION with Rust 1.95, which is fetched and removed again; \
        this takes about a quarter of an hour\n\
        ---> Installed wheelhouse 0 from the sources\n";
    assert_eq!(said, expected.replace("VERSION", VERSION));
    let fetched = "curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs -o FILE\n\
        rustup-init -y --quiet --profile minimal --no-modify-path --default-toolchain 1.95\n";
    let compiled = "cargo build --release --locked --package wheelhouse offline= home=cargo in checkout\n\
        s2i --root ROOT tools\n";
    assert_eq!(calls, format!("{fetched}{compiled}"));

    // An installed cargo is used if it is recent enough.
    let image = FakeImage::new().with_compiler().with_cargo("1.100.0");
    assert_eq!(image.install_successfully().1, compiled);
    let image = FakeImage::new()
        .with_compiler()
        .with_curl()
        .with_cargo("1.94.1");
    image.write("fetched", &CARGO.replace("VERSION", "1.95.1"));
    assert_eq!(
        image.install_successfully().1,
        format!("{fetched}{compiled}")
    );

    // Nothing is downloaded without an index.
    let image = FakeImage::new()
        .with_compiler()
        .with_cargo("1.95.0")
        .with("PIP_NO_INDEX", "1");
    assert_eq!(
        image.install_successfully().1,
        compiled.replace("offline=", "offline=true")
    );
}

#[test]
fn error_lists_all_attempts() {
    let none = |last: &str| {
        format!(
            "error: there is no wheelhouse program for this image ({0}):\n  \
               dist/ has no wheelhouse-*-{0}-linux-gnu.tar.gz\n  \
               PIP_FIND_LINKS is not set\n  \
               compiling: {last}\n\
             hint: Run packaging/dist in the checkout and build with the dist/ that it makes, as docs/how-to/s2i.md describes.\n",
            architecture()
        )
    };
    let image = FakeImage::new();
    assert_eq!(
        image.install_with_error(),
        none("the image has no C compiler with make (no cc)")
    );
    let image = FakeImage::new().with_compiler();
    assert_eq!(
        image.install_with_error(),
        none("the image has no Rust 1.95 or newer, and no curl to fetch it")
    );
    let image = FakeImage::new()
        .with_compiler()
        .with_curl()
        .with_cargo("1.80.0")
        .with("PIP_NO_INDEX", "true");
    assert_eq!(
        image.install_with_error(),
        none("the image has no Rust 1.95 or newer, and none is fetched since PIP_NO_INDEX is set")
    );
    assert_eq!(image.notes(), "");
    let image = FakeImage::new()
        .with_compiler()
        .with_curl()
        .with("PIP_NO_INDEX", "0");
    let said = image.install_with_error();
    let last = none("Rust 1.95 could not be fetched from https://sh.rustup.rs, as written above");
    assert!(
        said.contains("curl: (6) Could not resolve host") && said.ends_with(&last),
        "{said}"
    );
}

#[test]
fn ignores_unavailable_tools_but_not_other_failures() {
    let image = FakeImage::new().with_dist(PROGRAM).with("CODE", "4");
    let (said, _) = image.install_successfully();
    assert!(
        said.ends_with(
            "could not be fetched and stay as they are; builds with a network upgrade them\n"
        ),
        "{said}"
    );
    let image = FakeImage::new().with_dist(PROGRAM).with("CODE", "7");
    let said = image.install_with_error();
    assert!(
        said.ends_with("error: `wheelhouse s2i tools` failed with code 7\n"),
        "{said}"
    );
}
