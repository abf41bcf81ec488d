//! `build --platform`: wheels for an older system than the host.

use crate::support::{Index, Sandbox, Sdist, Wheel, tree};

const OLDER: &str = "alpha-1.0-py3-none-manylinux_2_17_x86_64.whl";
const NEWER: &str = "alpha-2.0-py3-none-manylinux_2_34_x86_64.whl";

fn index() -> Index {
    let index = Index::start();
    for filename in [OLDER, NEWER] {
        let mut parts = filename.trim_end_matches(".whl").splitn(3, '-');
        let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
        index.add(&Wheel::new(name, version).tag(parts.next().unwrap()));
    }
    index
}

#[test]
#[cfg_attr(not(target_env = "gnu"), ignore = "requires glibc 2.34 or newer")]
fn selects_wheels_for_older_system() {
    let (index, sandbox) = (index(), Sandbox::new());
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [NEWER]);
    let warned = run
        .stderr
        .lines()
        .find(|line| line.starts_with("warning: "));
    let warned = warned.unwrap_or_default();
    assert!(
        warned.contains(NEWER) && warned.contains("glibc 2.34"),
        "{}",
        run.stderr
    );
    for platform in ["linux", "manylinux_2_28_x86_64", "manylinux2014_x86_64"] {
        let run = sandbox.build(&index, &["alpha", "--platform", platform]);
        run.assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [OLDER], "{platform}");
        assert!(!run.stderr.contains("glibc"), "{}", run.stderr);
    }
    let run = sandbox.build(
        &index,
        &["alpha", "--platform", "manylinux2014_x86_64", "--json"],
    );
    assert!(run.stdout.contains("\"kept\":true"), "{}", run.stdout);
    let run = sandbox.build(&index, &["alpha==2", "--platform", "linux"]);
    run.assert_exit(3);
    sandbox.wheelhouse(&["verify", "out"]).assert_success();
}

#[test]
#[cfg_attr(not(target_env = "gnu"), ignore = "requires glibc")]
fn incompatible_built_wheel_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let binary = "filename = make_wheel(wheel_directory)\n\
                  with zipfile.ZipFile(os.path.join(wheel_directory, filename), 'a') as wheel:\n    \
                  wheel.write(os.path.realpath(sys.executable), 'beta.so')\n\
                  return filename";
    let sdist = |name| Sdist::new(name, "1.0").static_metadata().platform_wheel();
    index.add_sdist(&sdist("beta").script(binary));
    index.add_sdist(&sdist("gamma").script("pass"));
    sandbox.build(&index, &["beta"]).assert_success();
    let old = ["--platform", "manylinux_2_5_x86_64"];
    let run = sandbox.build(&index, &[&["beta"], &old[..]].concat());
    run.assert_exit(5).assert_error_names(&[
        "beta-1.0-py3-none-linux_",
        "needs glibc 2.",
        "--only-binary",
    ]);
    // The cached wheel is not built again.
    assert!(!run.stderr.contains("Building beta"), "{}", run.stderr);
    sandbox
        .build(&index, &[&["gamma"], &old[..]].concat())
        .assert_success();
}

#[test]
fn rejects_other_systems() {
    let (index, sandbox) = (index(), Sandbox::new());
    for platform in ["windows", "alpine", "macos", "manylinux_2_99_x86_64"] {
        sandbox
            .build(&index, &["alpha", "--platform", platform])
            .assert_exit(2)
            .assert_error_names(&["cannot be built on", "wheelhouse download"]);
    }
    sandbox
        .build(&index, &["alpha", "--platform", "beos"])
        .assert_exit(2)
        .assert_error_names(&["`beos`"]);
}
