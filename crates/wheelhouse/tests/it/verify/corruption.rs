//! Corrupt wheelhouses: `verify` reports every kind of corruption.

use std::fs;
use std::path::Path;

use super::{ALPHA, BETA, change_manifest, look, replace, replace_wheel, wheelhouse};
use crate::support::{Sandbox, Sdist, Wheel, tree};

/// A name, a change that corrupts a wheelhouse, and the expected messages.
type Corruption = (&'static str, fn(&Sandbox), &'static [&'static str]);

const WHEEL_CORRUPTIONS: [Corruption; 7] = [
    (
        "removed",
        |it| fs::remove_file(it.out().join(BETA)).unwrap(),
        &[
            "beta-2.0-py3-none-any.whl is missing",
            "beta is missing: ",
            "alpha 1.0 requires `beta>=2`",
        ],
    ),
    (
        "swapped",
        |it| {
            fs::copy(it.out().join(ALPHA), it.out().join(BETA)).unwrap();
        },
        &[
            "beta-2.0-py3-none-any.whl has the bytes of alpha-1.0-py3-none-any.whl",
            "is not that of beta",
        ],
    ),
    (
        "truncated",
        |it| halve(&it.out().join(BETA)),
        &[
            "beta-2.0-py3-none-any.whl has ",
            "beta-2.0-py3-none-any.whl is not a valid wheel",
        ],
    ),
    (
        "other bytes of the same size",
        |it| {
            let mut bytes = fs::read(it.out().join(BETA)).unwrap();
            bytes[40] ^= 1;
            fs::write(it.out().join(BETA), bytes).unwrap();
        },
        &["beta-2.0-py3-none-any.whl has the SHA-256 "],
    ),
    (
        "for another platform",
        |it| {
            let bytes = fs::read(it.out().join(BETA)).unwrap();
            replace_wheel(it, BETA, "beta-2.0-cp39-cp39-win_amd64.whl", &bytes);
        },
        &[
            "beta-2.0-cp39-cp39-win_amd64.whl is for another platform",
            "beta is missing",
        ],
    ),
    (
        "RECORD corrupted",
        |it| {
            let record = "beta.py,sha256=AAAA,16\nbeta-2.0.dist-info/METADATA,,\n\
                          beta-2.0.dist-info/WHEEL,,\nbeta-2.0.dist-info/RECORD,,\n";
            let wheel = Wheel::new("beta", "2.0").record(record);
            replace_wheel(it, BETA, BETA, &wheel.bytes());
        },
        &[
            "beta-2.0-py3-none-any.whl is damaged: beta.py does not have the digest that RECORD states",
        ],
    ),
    (
        "a pipe in its place",
        |it| {
            fs::remove_file(it.out().join(BETA)).unwrap();
            let made = std::process::Command::new("mkfifo")
                .arg(it.out().join(BETA))
                .status();
            assert!(made.unwrap().success());
        },
        &["beta-2.0-py3-none-any.whl cannot be read"],
    ),
];

/// A URL outside of the directory.
const ELSEWHERE: &str = "https://host.invalid/";

const OTHER_CORRUPTIONS: [Corruption; 11] = [
    (
        "an added wheel",
        |it| {
            let wheel = Wheel::new("gamma", "1.0");
            fs::write(it.out().join(wheel.filename()), wheel.bytes()).unwrap();
        },
        &[
            "gamma-1.0-py3-none-any.whl is not in wheelhouse.json",
            "hint: Move it away",
        ],
    ),
    (
        "an added source distribution",
        |it| {
            let sdist = Sdist::new("gamma", "1.0");
            fs::write(it.out().join(sdist.filename()), sdist.bytes()).unwrap();
        },
        &["gamma-1.0.tar.gz is not in wheelhouse.json"],
    ),
    (
        "metadata changed",
        |it| {
            let file = it.out().join(format!("{ALPHA}.metadata"));
            replace(&file, "beta>=2", "beta>=1");
        },
        &["alpha-1.0-py3-none-any.whl.metadata differs from the METADATA in"],
    ),
    (
        "a page changed",
        |it| {
            replace(
                &it.out().join("simple/beta/index.html"),
                "#sha256=",
                "#sha256=0",
            );
        },
        &["simple/beta/index.html has a different SHA-256 for beta-2.0-py3-none-any.whl"],
    ),
    (
        "a page that leads elsewhere",
        |it| {
            replace(
                &it.out().join("simple/beta/index.html"),
                "../../",
                ELSEWHERE,
            );
        },
        &[
            "simple/beta/index.html does not list beta-2.0-py3-none-any.whl",
            "simple/beta/index.html links to `https://host.invalid/beta-2.0-py3-none-any.whl`",
        ],
    ),
    (
        "a page in JSON that leads elsewhere",
        |it| {
            replace(
                &it.out().join("simple/beta/index.json"),
                "../../",
                ELSEWHERE,
            );
        },
        &["simple/beta/index.json links to `https://host.invalid/beta-2.0-py3-none-any.whl`"],
    ),
    (
        "an added link without a digest",
        |it| {
            let page = it.out().join("simple/beta/index.html");
            let link = format!("<a href=\"{ELSEWHERE}beta-9.0-py3-none-any.whl\">beta</a></body>");
            replace(&page, "</body>", &link);
        },
        &["simple/beta/index.html links to `https://host.invalid/beta-9.0-py3-none-any.whl`"],
    ),
    (
        "a page removed",
        |it| fs::remove_file(it.out().join("simple/beta/index.json")).unwrap(),
        &["simple/beta/index.json is missing"],
    ),
    (
        "the manifest truncated",
        |it| halve(&it.out().join("wheelhouse.json")),
        &["wheelhouse.json is damaged: "],
    ),
    (
        "the lock changed",
        |it| replace(&it.out().join("pylock.toml"), "2.0", "3.0"),
        &[
            "pylock.toml pins beta 3.0",
            "beta is present as 2.0, but the lock requires `beta==3.0`",
        ],
    ),
    (
        "a manifest that points elsewhere",
        |it| {
            change_manifest(it, |manifest| {
                manifest["files"][0] = "../../etc/passwd".into();
            });
        },
        &["wheelhouse.json lists `../../etc/passwd`, which is outside the directory"],
    ),
];

fn halve(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Applies each corruption to a valid wheelhouse and checks the report.
fn assert_reported(corruptions: &[Corruption]) {
    let sandbox = wheelhouse();
    look(&sandbox).assert_success();
    let good = sandbox.path("good");
    fs::rename(sandbox.out(), &good).unwrap();
    for (name, corrupt, words) in corruptions {
        tree::copy(&good, &sandbox.out());
        corrupt(&sandbox);
        let run = look(&sandbox);
        let (code, text) = (run.status.code(), &run.stdout);
        assert_eq!(code, Some(6), "{name}: {text}\n{}", run.stderr);
        for word in *words {
            assert!(text.contains(word), "{name}: `{word}` is not in:\n{text}");
        }
        fs::remove_dir_all(sandbox.out()).unwrap();
    }
}

#[test]
fn reports_corrupt_wheels() {
    assert_reported(&WHEEL_CORRUPTIONS);
}

#[test]
fn reports_corrupt_files_beside_wheels() {
    assert_reported(&OTHER_CORRUPTIONS);
}
