//! Source distributions with Rust crates: fetched from a registry, verified, and built by cargo without a network.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Behavior, Index, Member, RunResult, Sandbox, Sdist, sha256};
use wheelhouse_archive::testing::archives::{gzip, tar};

/// Compiles the program and writes its output into the wheel.
const SCRIPT: &str = r#"
for command in (["cargo", "build"], ["cargo", "run"]):
    output = subprocess.check_output(command)
with io.open("answer.py", "w") as file:
    file.write("ANSWER = %r\n" % output.decode())
"#;

const MANIFEST: &str = "[package]\nname = \"rusty\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\
                        [dependencies]\nleaf = \"1\"\n";

/// A registry with the crate `leaf`, in the same server as an index.
struct Registry<'a> {
    index: &'a Index,
    crate_file: Vec<u8>,
}

impl<'a> Registry<'a> {
    fn start(index: &'a Index) -> Self {
        let members = [
            (
                "Cargo.toml",
                "[package]\nname = \"leaf\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
            ),
            ("src/lib.rs", "pub fn answer() -> u32 { 42 }\n"),
        ];
        let members =
            members.map(|(name, content)| Member::file(&format!("leaf-1.0.0/{name}"), content));
        Self::with_crate(index, gzip(&tar(&members)))
    }

    fn with_crate(index: &'a Index, crate_file: Vec<u8>) -> Self {
        let registry = Self { index, crate_file };
        registry.configure(false);
        let line = json!({
            "name": "leaf", "vers": "1.0.0", "deps": [], "features": {}, "yanked": false,
            "cksum": registry.digest(),
        });
        let line = format!("{line}\n").into_bytes();
        index.always("/crates/le/af/leaf", Behavior::Body("text/plain", line));
        let body = Behavior::Body("application/gzip", registry.crate_file.clone());
        index.always("/dl/leaf/1.0.0.crate", body);
        registry
    }

    fn configure(&self, auth_required: bool) {
        let base = self.index.url().replace("/simple/", "");
        let dl = format!("{base}/dl/{{crate}}/{{version}}.crate");
        let config = json!({ "dl": dl, "auth-required": auth_required }).to_string();
        let body = Behavior::Body("application/json", config.into_bytes());
        self.index.always("/crates/config.json", body);
    }

    fn digest(&self) -> String {
        sha256(&self.crate_file)
    }

    /// Returns the `Cargo.lock` of the source.
    fn lock(&self) -> String {
        format!(
            "version = 3\n\n[[package]]\nname = \"leaf\"\nversion = \"1.0.0\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n\n\
             [[package]]\nname = \"rusty\"\nversion = \"1.0.0\"\ndependencies = [\n \"leaf\",\n]\n",
            self.digest()
        )
    }

    /// Returns a directory whose configuration of cargo replaces crates.io by the registry.
    fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::new();
        let mirror = self.index.url().replace("/simple/", "/crates/");
        sandbox.write(
            "home/.cargo/config.toml",
            &format!(
                "[source.crates-io]\nreplace-with = \"mirror\"\n\
                 [registries.mirror]\nindex = \"sparse+{mirror}\"\n"
            ),
        );
        // The toolchain itself: the programs of rustup look for it in the home directory.
        let toolchain = Path::new(env!("CARGO")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(toolchain.to_owned()).chain(std::env::split_paths(&path));
        sandbox.set("PATH", std::env::join_paths(path).unwrap());
        sandbox
    }
}

/// Returns a source distribution that compiles a program, with these further files.
fn rusty(files: &[(&str, &str)]) -> Sdist {
    let all = [
        ("rust/Cargo.toml", MANIFEST),
        (
            "rust/src/main.rs",
            "fn main() { print!(\"{}\", leaf::answer()); }\n",
        ),
    ];
    let script = format!(
        "os.chdir(\"rust\"){SCRIPT}os.chdir(\"..\")\nos.rename(\"rust/answer.py\", \"answer.py\")"
    );
    let mut sdist = Sdist::new("rusty", "1.0").script(&script);
    for (name, content) in all.iter().chain(files) {
        sdist = sdist.member(Member::file(&format!("rusty-1.0/{name}"), content));
    }
    sdist
}

fn manifest(sandbox: &Sandbox) -> Value {
    let bytes = std::fs::read(sandbox.out().join("wheelhouse.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Asserts that the wheel has the output of the program.
fn assert_built(sandbox: &Sandbox, result: &RunResult) {
    result.assert_success();
    let file = std::fs::File::open(sandbox.out().join("rusty-1.0-py3-none-any.whl")).unwrap();
    let mut wheel = zip::ZipArchive::new(file).unwrap();
    let answer = std::io::read_to_string(wheel.by_name("answer.py").unwrap()).unwrap();
    assert_eq!(answer, "ANSWER = '42'\n");
}

/// Builds with nothing but the directory `packages`, and another cache.
#[track_caller]
fn assert_downloads_suffice(sandbox: &Sandbox, index: &Index) {
    index.forget_requests();
    let arguments = [
        "build",
        "--no-index",
        "--find-links",
        "packages",
        "--cache-dir",
        "other",
        "-o",
        "out",
        "rusty",
    ];
    assert_built(sandbox, &sandbox.wheelhouse(&arguments));
    assert_eq!(index.requests("").len(), 0);
}

#[test]
fn builds_with_crates_of_a_configured_registry() {
    let index = Index::start();
    let registry = Registry::start(&index);
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &registry.lock())]));
    let sandbox = registry.sandbox();
    assert_built(&sandbox, &sandbox.build(&index, &["rusty"]));
    assert_eq!(index.requests("/dl/leaf/1.0.0.crate").len(), 1);
    // cargo itself would have read the index.
    assert_eq!(index.requests("/crates/le/af/leaf").len(), 0);
    let crates = &manifest(&sandbox)["wheels"][0]["built"]["inputs"]["crates"];
    assert_eq!(crates[0]["name"], "leaf");
    assert_eq!(crates[0]["sha256"], registry.digest());
    // The next build finds the crate in the cache, and restores what a hook has changed there.
    index.add_sdist(
        &rusty(&[("rust/Cargo.lock", &registry.lock())]).script(&format!(
            "# changed\nos.chdir(\"rust\"){SCRIPT}os.chdir(\"..\")\nos.rename(\"rust/answer.py\", \"answer.py\")"
        )),
    );
    let unpacked = sandbox.cache().join("crates-v1").join(registry.digest());
    std::fs::write(
        unpacked.join("src/lib.rs"),
        "pub fn answer() -> u32 { 666 }\n",
    )
    .unwrap();
    assert_built(&sandbox, &sandbox.build(&index, &["rusty"]));
    assert_eq!(index.requests("/dl/leaf/1.0.0.crate").len(), 1);
}

#[test]
fn records_crates_of_build_requirements() {
    let index = Index::start();
    let registry = Registry::start(&index);
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &registry.lock())]));
    index.add_sdist(&Sdist::new("outer", "1.0").reports("rusty"));
    let sandbox = registry.sandbox();
    sandbox.build(&index, &["outer"]).assert_success();
    let inputs = &manifest(&sandbox)["wheels"][0]["built"]["inputs"];
    assert_eq!(inputs.get("crates"), None);
    let required = inputs["requirements"].as_array().unwrap().iter();
    let mut required =
        required.filter(|file| file["source"].as_str().unwrap().contains("rusty-1.0"));
    let crates = &required.next().unwrap()["crates"];
    assert_eq!(crates[0]["name"], "leaf");
    assert_eq!(crates[0]["sha256"], registry.digest());
    let statement = std::fs::read(
        sandbox
            .out()
            .join("outer-1.0-py3-none-any.whl.provenance.json"),
    );
    let statement: Value = serde_json::from_slice(&statement.unwrap()).unwrap();
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let mut dependencies = dependencies.as_array().unwrap().iter();
    let leaf = dependencies
        .find(|one| one["annotations"]["role"] == "crate")
        .unwrap();
    assert_eq!(leaf["digest"]["sha256"], registry.digest());
    assert_eq!(
        leaf["annotations"]["built-into"],
        "rusty-1.0-py3-none-any.whl"
    );
    let (url, cache) = (index.url(), sandbox.cache());
    let options = [
        "lock",
        "--index-url",
        &url,
        "--cache-dir",
        cache.to_str().unwrap(),
    ];
    let lock = sandbox.wheelhouse(&[&options[..], &["-o", "pylock.toml", "outer"]].concat());
    lock.assert_success();
    let lock = std::fs::read_to_string(sandbox.path("pylock.toml")).unwrap();
    assert!(lock.contains(&registry.digest()), "{lock}");
}

#[test]
fn cargo_resolves_sources_without_lock() {
    let index = Index::start();
    let registry = Registry::start(&index);
    let pyproject_word = ("setup.cfg", "# compiled with cargo\n");
    index.add_sdist(&rusty(&[pyproject_word]));
    let sandbox = registry.sandbox();
    assert_built(&sandbox, &sandbox.build(&index, &["rusty"]));
    assert_eq!(index.requests("/crates/le/af/leaf").len(), 1);
}

#[test]
fn rejects_crate_with_another_checksum() {
    let index = Index::start();
    let registry = Registry::start(&index);
    let lock = registry
        .lock()
        .replace(&registry.digest(), &sha256(b"another"));
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &lock)]));
    let sandbox = registry.sandbox();
    let result = sandbox.build(&index, &["rusty"]);
    result.assert_exit(4);
    result.assert_error_names(&["leaf 1.0.0", &registry.digest()]);
}

#[test]
fn rejects_malicious_crate() {
    let index = Index::start();
    let members = [Member::file("leaf-1.0.0/../../../escaped", "x")];
    let registry = Registry::with_crate(&index, gzip(&tar(&members)));
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &registry.lock())]));
    let sandbox = registry.sandbox();
    let result = sandbox.build(&index, &["rusty"]);
    result.assert_exit(4);
    result.assert_error_names(&["leaf-1.0.0.crate", ".."]);
    assert!(!sandbox.cache().join("escaped").exists());
}

#[test]
fn sends_token_only_if_the_registry_requires_one() {
    let index = Index::start();
    let registry = Registry::start(&index);
    registry.configure(true);
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &registry.lock())]));
    let mut sandbox = registry.sandbox();
    let result = sandbox.build(&index, &["rusty"]);
    result.assert_exit(4);
    result.assert_error_names(&["requires a token", "CARGO_REGISTRIES_MIRROR_TOKEN"]);
    sandbox.set(
        "CARGO_REGISTRIES_MIRROR_TOKEN",
        "plain-secret-of-a-registry",
    );
    assert_built(&sandbox, &sandbox.build(&index, &["rusty"]));
    let requests = index.requests("/dl/leaf/1.0.0.crate");
    let sent = requests[0].headers.get("authorization");
    assert_eq!(sent.map(String::as_str), Some("plain-secret-of-a-registry"));
}

#[test]
fn download_brings_crates_for_builds_without_network() {
    let index = Index::start();
    let registry = Registry::start(&index);
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &registry.lock())]));
    let sandbox = registry.sandbox();
    sandbox
        .download(
            &index,
            &["--no-bootstrap", "rusty", "--target", "host,3.12-windows"],
        )
        .assert_success();
    let packages = sandbox.path("packages");
    std::fs::rename(sandbox.out(), &packages).unwrap();
    assert!(packages.join("crates/leaf-1.0.0.crate").is_file());
    let verified = sandbox.wheelhouse(&["verify", "packages", "--no-install"]);
    verified.assert_success();
    assert_downloads_suffice(&sandbox, &index);
    // cargo alone, as pip would start it.
    let project = sandbox.path("project");
    std::fs::create_dir_all(project.join("src")).unwrap();
    std::fs::write(project.join("Cargo.toml"), MANIFEST).unwrap();
    std::fs::write(project.join("Cargo.lock"), registry.lock()).unwrap();
    std::fs::write(
        project.join("src/main.rs"),
        "fn main() { println!(\"{}\", leaf::answer()); }\n",
    )
    .unwrap();
    let mut cargo = sandbox.command(env!("CARGO"));
    cargo
        .args(["run", "--quiet"])
        .current_dir(&project)
        .env("CARGO_HOME", packages.join("crates"))
        .env("CARGO_NET_OFFLINE", "true");
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"42\n");
    std::fs::write(packages.join("crates/leaf-1.0.0.crate"), "changed").unwrap();
    let verified = sandbox.wheelhouse(&["verify", "packages", "--no-install"]);
    verified.assert_exit(6);
    verified.assert_stdout_contains(&["crates/leaf-1.0.0.crate"]);
}

#[test]
fn download_brings_crates_of_sources_without_lock() {
    let index = Index::start();
    let registry = Registry::start(&index);
    index.add_sdist(&rusty(&[("setup.cfg", "# compiled with cargo\n")]));
    let sandbox = registry.sandbox();
    sandbox
        .download(&index, &["--no-bootstrap", "rusty"])
        .assert_success();
    let packages = sandbox.path("packages");
    std::fs::rename(sandbox.out(), &packages).unwrap();
    std::fs::remove_dir_all(sandbox.path("home/.cargo")).unwrap();
    assert_downloads_suffice(&sandbox, &index);
    assert!(!packages.join("crates/.package-cache").exists());
}

#[test]
fn names_old_compiler_before_the_build() {
    let index = Index::start();
    let registry = Registry::start(&index);
    let manifest = MANIFEST.replace(
        "[dependencies]",
        "rust-version = \"1.9999\"\n[dependencies]",
    );
    index.add_sdist(
        &rusty(&[("rust/Cargo.lock", &registry.lock())])
            .member(Member::file("rusty-1.0/rust/Cargo.toml", &manifest)),
    );
    let sandbox = registry.sandbox();
    let result = sandbox.build(&index, &["rusty"]);
    result.assert_exit(5);
    result.assert_error_names(&["rusty==1.0", "Rust 1.9999", "rust/Cargo.toml"]);
}

#[test]
fn toolchain_that_is_not_installed_is_replaced_by_the_default() {
    let index = Index::start();
    let registry = Registry::start(&index);
    let file = "[toolchain]\nchannel = \"1.0.0\"\ncomponents = [\"miri\"]\n";
    index.add_sdist(&rusty(&[
        ("rust/Cargo.lock", &registry.lock()),
        ("rust/rust-toolchain.toml", file),
        (
            "rust/build.rs",
            "fn main() { assert_eq!(std::env::var(\"RUSTUP_TOOLCHAIN\").unwrap(), \"stable-arch-os\"); }\n",
        ),
    ]));
    let mut sandbox = registry.sandbox();
    let real = Path::new(env!("CARGO")).with_file_name("rustc");
    let sysroot = sandbox.path("rustup/toolchains/stable-arch-os");
    std::fs::create_dir_all(&sysroot).unwrap();
    // As rustup's: its toolchains are in a directory of their own.
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '--print sysroot' ] && exec echo {}\nexec {} \"$@\"\n",
        sysroot.display(),
        real.display()
    );
    sandbox.write("rustup/bin/rustc", &script);
    let program = sandbox.path("rustup/bin/rustc");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = [&program, &real].map(|program| program.parent().unwrap().to_owned());
    let path = first.into_iter().chain(std::env::split_paths(&path));
    sandbox.set("PATH", std::env::join_paths(path).unwrap());
    let result = sandbox.build(&index, &["rusty"]);
    assert_built(&sandbox, &result);
}

#[test]
fn lock_records_crates() {
    let index = Index::start();
    let registry = Registry::start(&index);
    index.add_sdist(&rusty(&[("rust/Cargo.lock", &registry.lock())]));
    let sandbox = registry.sandbox();
    let url = index.url();
    let cache = sandbox.cache();
    let cache = cache.to_str().unwrap();
    let result = sandbox.wheelhouse(&[
        "lock",
        "--index-url",
        &url,
        "--cache-dir",
        cache,
        "-o",
        "pylock.toml",
        "rusty",
    ]);
    result.assert_success();
    let lock = std::fs::read_to_string(sandbox.path("pylock.toml")).unwrap();
    assert!(lock.contains("[[tool.wheelhouse.builds.crates]]"), "{lock}");
    assert!(lock.contains(&registry.digest()), "{lock}");
}
