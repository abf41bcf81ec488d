//! Builds from the lockfiles of other tools: exactly the files that they name.

use crate::support::{Behavior, Index, Sandbox, Sdist, Wheel, sha256, tree};

/// Returns an index with two versions of `alpha`, which requires `beta`, and with `gamma`.
fn index() -> Index {
    let index = Index::start();
    for version in ["1.0", "2.0"] {
        index.add(&alpha(version));
    }
    for name in ["beta", "gamma"] {
        index.add(&Wheel::new(name, "1.0"));
    }
    index
}

fn alpha(version: &str) -> Wheel {
    Wheel::new("alpha", version).requires("beta")
}

fn digest(wheel: &Wheel) -> String {
    sha256(&wheel.bytes())
}

fn alpha_digest() -> String {
    digest(&alpha("1.0"))
}

fn gamma_digest() -> String {
    digest(&Wheel::new("gamma", "1.0"))
}

const ALPHA: &str = "alpha-1.0-py3-none-any.whl";
const GAMMA: &str = "gamma-1.0-py3-none-any.whl";

const PROJECT: &str = "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.6'\n\
     dependencies = ['alpha', \"delta; sys_platform == 'never'\"]\n[dependency-groups]\ndev = ['gamma']\n";

/// Returns a `uv.lock` without `beta`, which `alpha` requires: a lock is complete by definition.
fn uv_lock(index: &Index) -> String {
    let entry = |name: &str, digest: &str| {
        format!(
            "[[package]]\nname = '{name}'\nversion = '1.0'\nsource = {{ registry = '{}' }}\n\
             wheels = [{{ url = '{}', hash = 'sha256:{digest}' }}]\n",
            index.url(),
            index.file_url(&format!("{name}-1.0-py3-none-any.whl")),
        )
    };
    format!(
        "version = 1\nrevision = 3\nrequires-python = '>=3.6'\n\
         [[package]]\nname = 'app'\nversion = '1'\nsource = {{ virtual = '.' }}\n\
         dependencies = [{{ name = 'alpha' }}, {{ name = 'delta', marker = \"sys_platform == 'never'\" }}]\n\
         [package.dev-dependencies]\ndev = [{{ name = 'gamma' }}]\n\
         [package.metadata]\n\
         requires-dist = [{{ name = 'alpha' }}, {{ name = 'delta', marker = \"sys_platform == 'never'\" }}]\n\
         [package.metadata.requires-dev]\ndev = [{{ name = 'gamma' }}]\n{}{}{}",
        entry("alpha", &alpha_digest()),
        entry("delta", &"0".repeat(64)),
        entry("gamma", &gamma_digest()),
    )
}

#[test]
fn builds_exactly_uv_lock() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.write("app/uv.lock", &uv_lock(&index));
    sandbox.write("app/pyproject.toml", PROJECT);
    sandbox
        .build(&index, &["--lock", "app/uv.lock"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA]);
    sandbox
        .build(&index, &["-r", "app/uv.lock", "--group", "dev"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA, GAMMA]);
}

#[test]
fn prefers_lock_of_application_to_its_project() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.write("app/uv.lock", &uv_lock(&index));
    sandbox.write("app/pyproject.toml", PROJECT);
    let run = sandbox.build(&index, &["--source", "app"]);
    run.assert_success();
    assert!(run.stderr.contains("From app/uv.lock"), "{}", run.stderr);
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA]);
    sandbox.write("app/requirements.txt", "gamma\n");
    sandbox.build(&index, &["--source", "app"]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [GAMMA]);
}

#[test]
fn rejects_outdated_uv_lock_and_names_entry() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.write("app/uv.lock", &uv_lock(&index));
    sandbox.write(
        "app/pyproject.toml",
        &PROJECT.replace("'alpha'", "'alpha>=1'"),
    );
    let run = sandbox.build(&index, &["--lock", "app/uv.lock"]);
    let words = [
        "app/uv.lock",
        "outdated",
        "requires-dist lacks `alpha>=1`",
        "uv lock",
    ];
    run.assert_exit(2).assert_error_names(&words);
}

#[test]
fn rejects_file_with_another_digest_than_locked() {
    let (index, sandbox) = (index(), Sandbox::new());
    let lock = uv_lock(&index).replace(&alpha_digest(), &"f".repeat(64));
    sandbox.write("uv.lock", &lock);
    let run = sandbox.build(&index, &["--lock", "uv.lock"]);
    assert!(!run.status.success(), "{}", run.stderr);
    run.assert_error_names(&["alpha"]);
}

#[test]
fn checks_digests_of_lock_with_source_tree() {
    let (index, sandbox) = (index(), Sandbox::new());
    Sdist::new("local", "1.0").write_tree(&sandbox.path("app"));
    let registry = format!("registry = '{}'", index.url());
    let (start, gamma) = uv_lock(&index).rsplit_once("[[package]]").map_or_else(
        || panic!("no package"),
        |(start, gamma)| (start.to_owned(), gamma.to_owned()),
    );
    let gamma = gamma.replace(&registry, &format!("url = '{}'", index.file_url(GAMMA)));
    let tree = format!("{start}[[package]]{gamma}")
        .replace(
            "name = 'app'\nversion = '1'\nsource = { virtual",
            "name = 'local'\nversion = '1.0'\nsource = { editable",
        )
        .replace(
            "[{ name = 'alpha' },",
            "[{ name = 'alpha' }, { name = 'gamma' },",
        );
    let built = [ALPHA, GAMMA, "local-1.0-py3-none-any.whl"];
    sandbox.write("app/uv.lock", &tree);
    let lock = ["--lock", "app/uv.lock"];
    sandbox.build(&index, &lock).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), built);
    for digest in [alpha_digest(), gamma_digest()] {
        sandbox.write("app/uv.lock", &tree.replace(&digest, &"f".repeat(64)));
        let run = sandbox.build(&index, &lock);
        assert!(!run.status.success(), "{}", run.stderr);
    }
}

#[test]
fn builds_poetry_lock() {
    let (index, sandbox) = (index(), Sandbox::new());
    let entry = |name: &str, digest: &str, rest: &str| {
        format!(
            "[[package]]\nname = '{name}'\nversion = '1.0'\noptional = false\n{rest}\n\
             files = [{{ file = '{name}-1.0-py3-none-any.whl', hash = 'sha256:{digest}' }}]\n"
        )
    };
    let lock = format!(
        "{}{}[metadata]\nlock-version = '2.1'\npython-versions = '>=3.6'\ncontent-hash = '00'\n",
        entry("alpha", &alpha_digest(), "groups = ['main']"),
        entry("gamma", &gamma_digest(), "groups = ['dev']"),
    );
    sandbox.write("app/poetry.lock", &lock);
    sandbox
        .build(&index, &["--lock", "app/poetry.lock"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA]);
    sandbox
        .build(&index, &["--lock", "app/poetry.lock", "--group", "dev"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA, GAMMA]);
    sandbox.write("app/pyproject.toml", PROJECT);
    let run = sandbox.build(&index, &["--source", "app"]);
    run.assert_exit(2).assert_error_names(&[
        "app/poetry.lock",
        "metadata.content-hash",
        "poetry lock",
    ]);
}

#[test]
fn former_urls_of_pypi_mean_the_main_index() {
    let (index, mut sandbox) = (index(), Sandbox::new());
    // A proxy that does not exist makes all other servers unreachable.
    sandbox.set("HTTP_PROXY", "http://127.0.0.1:9");
    sandbox.set("HTTPS_PROXY", "http://127.0.0.1:9");
    sandbox.set("NO_PROXY", "127.0.0.1");
    let digest = alpha_digest();
    for pypi in [
        "https://pypi.python.org/simple",
        "http://pypi.python.org/simple/",
        "https://pypi.python.org/pypi",
    ] {
        let pipfile = format!(
            r#"{{"_meta": {{"hash": {{"sha256": "00"}}, "pipfile-spec": 6,
                 "sources": [{{"name": "pypi", "url": "{pypi}", "verify_ssl": true}}]}},
                "default": {{"alpha": {{"hashes": ["sha256:{digest}"], "version": "==1.0", "index": "pypi"}}}},
                "develop": {{}}}}"#
        );
        let poetry = format!(
            "[[package]]\nname = 'alpha'\nversion = '1.0'\noptional = false\ngroups = ['main']\n\
             files = [{{ file = '{ALPHA}', hash = 'sha256:{digest}' }}]\n\
             [package.source]\ntype = 'legacy'\nurl = '{pypi}'\nreference = 'old'\n\
             [metadata]\nlock-version = '2.1'\npython-versions = '>=3.6'\ncontent-hash = '00'\n"
        );
        let pylock = format!(
            "lock-version = '1.0'\ncreated-by = 'hand'\n[[packages]]\nname = 'alpha'\nversion = '1.0'\n\
             index = '{pypi}'\n\
             wheels = [{{ url = 'https://files.example/{ALPHA}', hashes = {{ sha256 = '{digest}' }} }}]\n"
        );
        let uv = uv_lock(&index).replace(&index.url(), pypi);
        for (name, text) in [
            ("Pipfile.lock", pipfile),
            ("poetry.lock", poetry),
            ("pylock.toml", pylock),
            ("uv.lock", uv),
        ] {
            sandbox.write(name, &text);
            let _ = std::fs::remove_dir_all(sandbox.out());
            sandbox
                .build(&index, &["--lock", name, "--retries", "0"])
                .assert_success();
            assert_eq!(tree::wheels(&sandbox.out()), [ALPHA], "{name} {pypi}");
        }
    }
}

#[test]
fn builds_pipfile_lock_from_its_index() {
    let (index, sandbox, other) = (index(), Sandbox::new(), Index::start());
    let lock = format!(
        r#"{{"_meta": {{"hash": {{"sha256": "00"}}, "pipfile-spec": 6,
             "sources": [{{"name": "main", "url": "{}", "verify_ssl": true}}]}},
            "default": {{"alpha": {{"hashes": ["sha256:{}"], "version": "==1.0", "index": "main"}}}},
            "develop": {{"gamma": {{"hashes": ["sha256:{}"], "version": "==1.0"}}}}}}"#,
        index.url(),
        alpha_digest(),
        gamma_digest(),
    );
    sandbox.write("app/Pipfile.lock", &lock);
    sandbox
        .build(&other, &["-r", "app/Pipfile.lock", "--group", "dev"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA, GAMMA]);
    sandbox.write("app/Pipfile", "[packages]\nalpha = '*'\n");
    let run = sandbox.build(&index, &["-r", "app/Pipfile.lock"]);
    run.assert_exit(2).assert_error_names(&[
        "app/Pipfile.lock",
        "_meta.hash.sha256",
        "pipenv lock",
    ]);
}

#[test]
fn builds_pylock_of_any_tool() {
    let (index, sandbox) = (index(), Sandbox::new());
    let lock = format!(
        "lock-version = '1.0'\ncreated-by = 'hand'\nextras = ['more']\n\
         [[packages]]\nname = 'alpha'\nversion = '1.0'\nindex = '{}'\n\
         wheels = [{{ url = '{}', hashes = {{ sha256 = '{}' }} }}]\n\
         [[packages]]\nname = 'gamma'\nversion = '1.0'\nmarker = \"'more' in extras\"\n\
         wheels = [{{ url = '{}', hashes = {{ sha256 = '{}' }} }}]\n",
        index.url(),
        index.file_url(ALPHA),
        alpha_digest(),
        index.file_url(GAMMA),
        gamma_digest(),
    );
    sandbox.write("pylock.app.toml", &lock);
    sandbox
        .build(&index, &["-r", "pylock.app.toml"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA]);
    sandbox
        .build(&index, &["-r", "pylock.app.toml", "--extra", "more"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA, GAMMA]);
    let own = sandbox.out().join("pylock.toml");
    let (again, cache) = (sandbox.path("again"), sandbox.path("other-cache"));
    let own = own.to_str().unwrap();
    let run = sandbox
        .start_into(&index, &again, &cache, &["--lock", own])
        .finish();
    run.assert_success();
    assert_eq!(tree::wheels(&again), [ALPHA, GAMMA]);
}

#[test]
fn rejects_lock_for_another_python() {
    let (index, sandbox) = (index(), Sandbox::new());
    let lock = uv_lock(&index).replace("'>=3.6'", "'>=3.99'");
    sandbox.write("uv.lock", &lock);
    let run = sandbox.build(&index, &["--lock", "uv.lock"]);
    run.assert_exit(2).assert_error_names(&[
        "`uv.lock` does not support CPython",
        ">=3.99",
        "--python",
    ]);
}

#[test]
fn rejects_lock_combined_with_requirements() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.write("uv.lock", &uv_lock(&index));
    let run = sandbox.build(&index, &["-r", "uv.lock", "gamma"]);
    run.assert_exit(2)
        .assert_error_names(&["`uv.lock`", "`gamma`", "a lock is complete"]);
    let run = sandbox.build(&index, &["--lock", "nowhere.lock"]);
    run.assert_exit(2)
        .assert_error_names(&["the lock `nowhere.lock` does not exist"]);
}

/// Returns a `uv.lock`, a `pylock.toml` and one with an archive, each for `alpha` alone, which state `size`.
fn locks_of_alpha(index: &str, url: &str, size: usize) -> [(&'static str, String); 3] {
    let digest = alpha_digest();
    let pylock = "lock-version = '1.0'\ncreated-by = 'hand'\n[[packages]]\nname = 'alpha'\n";
    let file = format!("url = '{url}', size = {size}, hashes = {{ sha256 = '{digest}' }}");
    [
        (
            "uv.lock",
            format!(
                "version = 1\nrevision = 3\nrequires-python = '>=3.6'\n\
                 [manifest]\nrequirements = [{{ name = 'alpha' }}]\n\
                 [[package]]\nname = 'alpha'\nversion = '1.0'\nsource = {{ registry = '{index}' }}\n\
                 wheels = [{{ url = '{url}', size = {size}, hash = 'sha256:{digest}' }}]\n"
            ),
        ),
        (
            "pylock.toml",
            format!("{pylock}version = '1.0'\nindex = '{index}'\nwheels = [{{ {file} }}]\n"),
        ),
        (
            "pylock.archive.toml",
            format!("{pylock}archive = {{ {file} }}\n"),
        ),
    ]
}

#[test]
fn downloads_unlisted_file_from_url_in_lock() {
    let (place, sandbox) = (index(), Sandbox::new());
    let refusing = Index::start();
    refusing.always("/simple/alpha/", Behavior::Status(401, Vec::new()));
    let unreachable = "http://127.0.0.1:9/simple".to_owned();
    let size = alpha("1.0").bytes().len();
    for asked in [Index::start().url(), refusing.url(), unreachable] {
        for (name, lock) in locks_of_alpha(&asked, &place.file_url(ALPHA), size) {
            let (out, cache) = (sandbox.path("out"), sandbox.path("cache"));
            let _ = (
                std::fs::remove_dir_all(&out),
                std::fs::remove_dir_all(&cache),
            );
            sandbox.write(name, &lock);
            sandbox
                .build(&refusing, &["--lock", name, "--retries", "0"])
                .assert_success();
            assert_eq!(tree::wheels(&out), [ALPHA], "{name} {asked}");
        }
    }
}

#[test]
fn prefers_index_to_url_in_lock() {
    let (mirror, sandbox) = (index(), Sandbox::new());
    let size = alpha("1.0").bytes().len();
    for digest in [alpha_digest(), String::new()] {
        mirror.claim_digest(ALPHA, &digest);
        let locks = locks_of_alpha(
            &mirror.url(),
            "http://127.0.0.1:9/alpha-1.0-py3-none-any.whl",
            size,
        );
        for (name, lock) in &locks[..2] {
            let (out, cache) = (sandbox.path("out"), sandbox.path("cache"));
            let _ = (
                std::fs::remove_dir_all(&out),
                std::fs::remove_dir_all(&cache),
            );
            sandbox.write(name, lock);
            let run = sandbox.build(&mirror, &["--lock", name, "--retries", "0"]);
            run.assert_success();
        }
    }
}

#[test]
fn downloads_locked_sdist_from_page_without_digests() {
    let (index, sandbox) = (index(), Sandbox::new());
    let sdist = Sdist::new("alpha", "1.0");
    index.add_sdist(&sdist);
    let (name, digest) = (sdist.filename(), sha256(&sdist.bytes()));
    for file in [ALPHA, &name] {
        index.claim_digest(file, "");
    }
    let poetry = format!(
        "[[package]]\nname = 'alpha'\nversion = '1.0'\noptional = false\ngroups = ['main']\n\
         files = [{{ file = '{name}', hash = 'sha256:{digest}' }}]\n\
         [metadata]\nlock-version = '2.1'\npython-versions = '>=3.6'\ncontent-hash = '00'\n"
    );
    let pylock = format!(
        "lock-version = '1.0'\ncreated-by = 'hand'\n[[packages]]\nname = 'alpha'\nversion = '1.0'\n\
         sdist = {{ url = 'http://127.0.0.1:9/{name}', hashes = {{ sha256 = '{digest}' }} }}\n"
    );
    for (lock, text) in [("poetry.lock", poetry), ("pylock.toml", pylock)] {
        sandbox.write(lock, &text);
        sandbox.build(&index, &["--lock", lock]).assert_success();
        let manifest = std::fs::read_to_string(sandbox.out().join("wheelhouse.json")).unwrap();
        assert!(manifest.contains(&digest), "{lock}: {manifest}");
    }
}

#[test]
fn rejects_file_with_another_size_than_locked() {
    let (index, sandbox) = (index(), Sandbox::new());
    let size = alpha("1.0").bytes().len() + 1;
    for (name, lock) in locks_of_alpha(&index.url(), &index.file_url(ALPHA), size) {
        sandbox.write(name, &lock);
        let run = sandbox.build(&index, &["--lock", name]);
        run.assert_exit(4)
            .assert_error_names(&["alpha-1.0", &size.to_string()]);
    }
}
