//! Selection of versions: pre-releases, yanked versions, `Requires-Python`, and backtracking.

use crate::support::{Index, Sandbox, Sdist, Wheel, tree};

/// Returns the versions of `alpha` and `beta` that a run with `arguments` and the requirements file `lines` selects.
fn select(arguments: &[&str], lines: &str) -> Result<Vec<String>, i32> {
    let index = Index::start();
    for (name, version) in [("alpha", "1.0"), ("alpha", "2.0rc1"), ("beta", "1.0rc1")] {
        index.add(&Wheel::new(name, version));
    }
    let sandbox = Sandbox::new();
    sandbox.write("requirements.txt", lines);
    let run = sandbox.build(
        &index,
        &[&["-r", "requirements.txt"][..], arguments].concat(),
    );
    match run.status.code() {
        Some(0) => Ok(tree::wheels(&sandbox.out())),
        code => {
            run.assert_error_names(&["beta", "--all-releases beta"]);
            Err(code.unwrap())
        }
    }
}

/// Returns the filenames of wheels.
fn names(wheels: &[&str]) -> Vec<String> {
    let names = wheels
        .iter()
        .map(|wheel| format!("{wheel}-py3-none-any.whl"));
    names.collect()
}

#[test]
fn selects_pre_releases_by_package_name() {
    let both = "alpha\nbeta\n";
    let final_alpha = Ok(names(&["alpha-1.0", "beta-1.0rc1"]));
    let newest = Ok(names(&["alpha-2.0rc1", "beta-1.0rc1"]));
    assert_eq!(select(&[], both), final_alpha, "where nothing else fits");
    assert_eq!(select(&["--pre"], both), newest);
    assert_eq!(select(&["--all-releases", "alpha"], both), newest);
    assert_eq!(select(&["--all-releases", "beta"], both), final_alpha);
    let but_alpha = "--pre\n--only-final alpha\nalpha\nbeta\n";
    assert_eq!(select(&[], but_alpha), final_alpha);
}

#[test]
fn only_final_excludes_pre_releases() {
    assert_eq!(select(&["--only-final", "beta"], "beta\n"), Err(3));
    assert_eq!(select(&["--only-final", "alpha,beta"], "beta\n"), Err(3));
    let but_beta = ["--only-final", ":all:", "--all-releases", "beta"];
    let expected = Ok(names(&["alpha-1.0", "beta-1.0rc1"]));
    assert_eq!(select(&but_beta, "alpha\nbeta\n"), expected);
}

#[test]
fn error_names_version_that_no_index_has() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let run = sandbox.build(&index, &["alpha==99"]);
    run.assert_exit(3)
        .assert_error_names(&["there is no version of alpha==99 "]);
}

/// Returns the wheels that a run for `wanted` selects from an index with `wheels`: name, version and requirements of
/// each.
fn select_from(
    wheels: &[(&str, &str, &[&str])],
    prepare: impl Fn(&Index),
    wanted: &[&str],
) -> Vec<String> {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for (name, version, requires) in wheels {
        let wheel = Wheel::new(name, version);
        index.add(
            &requires
                .iter()
                .fold(wheel, |wheel, line| wheel.requires(line)),
        );
    }
    prepare(&index);
    sandbox.build(&index, wanted).assert_success();
    tree::wheels(&sandbox.out())
}

#[test]
fn specifier_with_pre_release_allows_all_pre_releases_like_pip() {
    let wheels: [(&str, &str, &[&str]); 6] = [
        ("alpha", "1.0", &[]),
        ("alpha", "2.0a1", &[]),
        ("alpha", "2.0", &[]),
        ("alpha", "3.0rc1", &[]),
        ("beta", "1.0", &["alpha>=2.0a1"]),
        (
            "gamma",
            "1.0",
            &["alpha!=2.0a1", "alpha>=3.0a1; python_version < '2'"],
        ),
    ];
    let select = |wanted: &[&str]| select_from(&wheels, |_| (), wanted);
    for (wanted, expected) in [
        ("alpha>=2.0a1", "alpha-3.0rc1"),
        ("alpha<3.0rc2", "alpha-3.0rc1"),
        ("alpha!=2.0a1", "alpha-2.0"),
        ("alpha>=2.0", "alpha-2.0"),
    ] {
        assert_eq!(select(&[wanted]), names(&[expected]), "{wanted}");
    }
    assert_eq!(select(&["beta"]), names(&["alpha-3.0rc1", "beta-1.0"]));
    assert_eq!(select(&["gamma"]), names(&["alpha-2.0", "gamma-1.0"]));
    let only_final = ["--only-final", "alpha", "beta"];
    assert_eq!(select(&only_final), names(&["alpha-2.0", "beta-1.0"]));
}

#[test]
fn skips_version_whose_requires_python_excludes_the_interpreter() {
    let wheels: [(&str, &str, &[&str]); 4] = [
        ("alpha", "1.0", &[]),
        ("alpha", "2.0", &[]),
        ("alpha", "3.0", &[]),
        ("beta", "1.0", &["alpha>=2"]),
    ];
    for specifiers in [">=3.6,<3.7", "!=3.*", "<3", ">=3.99"] {
        let prepare = |index: &Index| {
            for version in ["2.0", "3.0"] {
                index.claim_requires_python(
                    &format!("alpha-{version}-py3-none-any.whl"),
                    specifiers,
                );
            }
        };
        for wanted in [&["alpha"][..], &["alpha", "--no-deps"]] {
            assert_eq!(
                select_from(&wheels, prepare, wanted),
                names(&["alpha-1.0"]),
                "{specifiers} {wanted:?}"
            );
        }
    }
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Wheel::new("alpha", "2.0");
    index.add(&alpha);
    index.claim_requires_python(&alpha.filename(), ">=3.6, <3.7");
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_exit(3)
        .assert_error_names(&["Python >=3.6,<3.7", "--python"]);
    assert!(index.requests("whl.metadata").is_empty());
}

#[test]
fn respects_requires_python_that_only_the_metadata_states() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let metadata = "Metadata-Version: 2.1\nName: alpha\nVersion: 2.0\nRequires-Python: <3.7\n\
        Requires-Dist: nowhere\n";
    let unfit = Wheel::new("alpha", "2.0").metadata(metadata);
    let fit = Wheel::new("alpha", "1.0").requires("nowhere; python_version < '3'");
    let directory = sandbox.path("links");
    std::fs::create_dir(&directory).unwrap();
    for wheel in [fit, unfit] {
        index.add(&wheel);
        std::fs::write(directory.join(wheel.filename()), wheel.bytes()).unwrap();
    }
    let links = ["alpha", "--no-index", "--find-links", "links"];
    for arguments in [&["alpha"][..], &links] {
        for option in [None, Some("--no-deps")] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(option).collect();
            let _ = std::fs::remove_dir_all(sandbox.out());
            sandbox.build(&index, &arguments).assert_success();
            let select = tree::wheels(&sandbox.out());
            assert_eq!(select, names(&["alpha-1.0"]), "{arguments:?}");
        }
    }
    let run = sandbox.build(&index, &["alpha==2.0", "--no-deps"]);
    run.assert_exit(3).assert_error_names(&["alpha", "<3.7"]);
}

#[test]
fn no_deps_ignores_requirements_of_candidates() {
    let wheels: [(&str, &str, &[&str]); 3] = [
        ("alpha", "1.0", &[]),
        ("alpha", "2.0", &["nowhere", "beta>=9; extra == 'more'"]),
        ("beta", "1.0", &["alpha<2"]),
    ];
    let wanted = ["alpha[more]", "beta", "--no-deps"];
    let select = select_from(&wheels, |_| (), &wanted);
    assert_eq!(select, names(&["alpha-2.0", "beta-1.0"]));
}

#[test]
fn selects_yanked_version_only_if_pinned() {
    let wheels: [(&str, &str, &[&str]); 4] = [
        ("alpha", "1.0", &[]),
        ("alpha", "2.0", &[]),
        ("beta", "1.0", &[]),
        ("beta", "2.0", &["alpha==2.0"]),
    ];
    let yank = |index: &Index| index.yank("alpha-2.0-py3-none-any.whl");
    let select = |wanted: &[&str]| select_from(&wheels, yank, wanted);
    assert_eq!(select(&["alpha"]), names(&["alpha-1.0"]));
    assert_eq!(select(&["alpha==2.0"]), names(&["alpha-2.0"]));
    assert_eq!(select(&["beta"]), names(&["alpha-2.0", "beta-2.0"]));
}

#[test]
fn published_index_keeps_yanked_marker() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    index.yank("alpha-1.0-py3-none-any.whl");
    let assert_marked = || {
        let page = sandbox.out().join("simple/alpha/index.html");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(" data-yanked=\""), "{page}");
    };
    sandbox.build(&index, &["alpha==1.0"]).assert_success();
    assert_marked();
    std::fs::remove_dir_all(sandbox.out().join("simple")).unwrap();
    sandbox
        .build(&index, &["alpha==1.0", "--frozen"])
        .assert_success();
    assert_marked();
    std::fs::remove_dir_all(sandbox.out()).unwrap();
    sandbox
        .download(&index, &["alpha==1.0", "--no-bootstrap"])
        .assert_success();
    assert_marked();
}

#[test]
fn conflict_error_names_file_and_line_of_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    index.add(&Wheel::new("beta", "1.0").requires("alpha<2"));
    index.add(&Wheel::new("gamma", "1.0"));
    sandbox.write("requirements.txt", "gamma\n# why\nalpha>=1\nbeta\n");
    sandbox.write("constraints.txt", "alpha>=2\n");
    let run = sandbox.build(&index, &["-r", "requirements.txt", "-c", "constraints.txt"]);
    let lines = [
        "`alpha>=1` in requirements.txt:3",
        "`alpha>=2` in constraints.txt:1",
    ];
    run.assert_exit(3).assert_error_names(&lines);
    assert!(!run.stderr.contains("`gamma`"), "{}", run.stderr);
}

#[test]
fn prefers_older_version_over_exhaustive_backtracking() {
    // Models `python-dateutil`, `botocore` and `django-ses` in 2026.
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for version in ["1.0", "2.0"] {
        index.add(&Wheel::new("alpha", version));
    }
    for number in 1..80 {
        index.add(&Wheel::new("beta", &format!("1.{number}")).requires("alpha<2"));
    }
    index.add(&Wheel::new("gamma", "0.1"));
    index.add(&Wheel::new("gamma", "4.0").requires("beta"));
    for lines in [["alpha", "gamma"], ["gamma", "alpha"]] {
        sandbox
            .build(&index, &[&lines[..], &["--upgrade"]].concat())
            .assert_success();
        let wheels = tree::wheels(&sandbox.out());
        assert_eq!(
            wheels,
            names(&["alpha-1.0", "beta-1.79", "gamma-4.0"]),
            "{lines:?}"
        );
    }
}

#[test]
fn warns_on_every_run_about_metadata_that_recent_pip_rejects() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0").requires("beta (>dev)"));
    index.add(&Wheel::new("beta", "1.0"));
    for _ in 0..2 {
        let run = sandbox.build(&index, &["alpha"]);
        run.assert_success();
        let warning = "alpha==1.0 requires `beta (>dev)`, which pip 24.1";
        assert!(run.stderr.contains(warning), "{}", run.stderr);
    }
    let targets = [
        "--python-version",
        "3.7",
        "--python-version",
        "3.12",
        "--python-version",
        "3.13",
    ];
    let run = sandbox.download(
        &index,
        &[&["alpha", "--no-bootstrap"][..], &targets].concat(),
    );
    run.assert_success();
    assert_eq!(run.stderr.matches("pip 24.1").count(), 1, "{}", run.stderr);
}

/// Adds wheels given as `name version: requirement, requirement`.
fn add_all(index: &Index, wheels: &[&str]) {
    for wheel in wheels {
        let (wheel, requirements) = wheel.split_once(':').unwrap_or((wheel, ""));
        let (name, version) = wheel.split_once(' ').unwrap();
        let requirements = requirements.split(", ").map(str::trim);
        let requirements = requirements.filter(|requirement| !requirement.is_empty());
        let wheel = requirements.fold(Wheel::new(name, version), Wheel::requires);
        index.add(&wheel);
    }
}

#[test]
fn bounded_requirement_does_not_backtrack_for_unbounded_one() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    // Models `flask<2`, `werkzeug` and `langchain<0.3`, `langchain-openai`.
    add_all(
        &index,
        &[
            "alpha 1.1.2: beta>=0.15",
            "alpha 1.1.4: beta>=0.15, beta<2",
            "alpha 2.0: beta>=2",
            "beta 1.0.1",
            "beta 3.1",
            "gamma 0.0.27",
            "gamma 0.2.17: core<0.3",
            "gamma 0.3.0: core>=0.3",
            "delta 0.1.25: core<0.3",
            "delta 1.7: core>=1",
            "core 0.2.43",
            "core 1.8",
        ],
    );
    for lines in [["alpha<2", "beta"], ["beta", "alpha<2"]] {
        sandbox.build(&index, &lines).assert_success();
        let wheels = tree::wheels(&sandbox.out());
        assert_eq!(wheels, names(&["alpha-1.1.4", "beta-1.0.1"]), "{lines:?}");
    }
    for lines in [["gamma<0.3", "delta"], ["delta", "gamma<0.3"]] {
        sandbox.build(&index, &lines).assert_success();
        let expected = names(&["core-0.2.43", "delta-0.1.25", "gamma-0.2.17"]);
        assert_eq!(tree::wheels(&sandbox.out()), expected, "{lines:?}");
    }
}

#[test]
fn recovers_from_backtracking_to_lax_metadata_in_any_order() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    // Models `boto3` and `s3fs`, and `flask-socketio<5`, `python-socketio` and `python-engineio`.
    add_all(
        &index,
        &[
            "alpha 1.36.3: core>=1.36.3",
            "alpha 1.36.11: core>=1.36.11",
            "beta 0.4.2: core>=1.0",
            "beta 2023.1: core==1.29.0",
            "beta 2024.12: core==1.36.3",
            "core 1.29.0",
            "core 1.36.3",
            "core 1.36.11",
            "gamma 4.3.2: delta>=4.3, delta<5",
            "gamma 5.0: delta>=5",
            "delta 4.6.0: epsilon>=3.13",
            "delta 4.6.1: epsilon>=3.13, epsilon<4",
            "delta 5.12: epsilon>=4.11",
            "epsilon 3.14.2",
            "epsilon 4.11.2",
        ],
    );
    for lines in [["alpha", "beta"], ["beta", "alpha"]] {
        sandbox.build(&index, &lines).assert_success();
        let expected = names(&["alpha-1.36.3", "beta-2024.12", "core-1.36.3"]);
        assert_eq!(tree::wheels(&sandbox.out()), expected, "{lines:?}");
    }
    for lines in [
        ["gamma<5", "delta", "epsilon"],
        ["epsilon", "delta", "gamma<5"],
    ] {
        sandbox.build(&index, &lines).assert_success();
        let expected = names(&["delta-4.6.1", "epsilon-3.14.2", "gamma-4.3.2"]);
        assert_eq!(tree::wheels(&sandbox.out()), expected, "{lines:?}");
    }
}

#[test]
fn first_requirement_does_not_backtrack_for_second() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    add_all(
        &index,
        &[
            "alpha 2.0: beta",
            "alpha 2.1: beta<82",
            "beta 81.0",
            "beta 82.0",
            "beta 84.0",
        ],
    );
    for alpha in ["alpha", "alpha>=2.0"] {
        sandbox.build(&index, &[alpha, "beta"]).assert_success();
        let wheels = tree::wheels(&sandbox.out());
        assert_eq!(wheels, names(&["alpha-2.1", "beta-81.0"]), "{alpha}");
    }
}

#[test]
fn failed_build_of_old_sdist_excludes_only_that_version() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    add_all(&index, &["alpha 2.6: beta==4.3", "beta 4.3", "beta 5.0"]);
    index.add_sdist(&Sdist::new("alpha", "1.10").script("raise SystemExit('not here')"));
    for lines in [["alpha<2.7", "beta"], ["alpha", "beta"], ["beta", "alpha"]] {
        sandbox.build(&index, &lines).assert_success();
        let wheels = tree::wheels(&sandbox.out());
        assert_eq!(wheels, names(&["alpha-2.6", "beta-4.3"]), "{lines:?}");
    }
    sandbox
        .build(&index, &["alpha<2"])
        .assert_exit(5)
        .assert_error_names(&["alpha==1.10", "not here"]);
}

#[test]
fn override_replaces_specifier_that_allows_pre_releases() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    add_all(
        &index,
        &["alpha 1.0", "alpha 2.0rc2", "beta 1.0: alpha<2.0rc4"],
    );
    sandbox.write("overrides.txt", "alpha<2.0.1,!=2.0.0\n");
    let overrides = ["--override", "overrides.txt"];
    for line in ["alpha<2.0rc4", "beta"] {
        sandbox
            .build(&index, &[&[line][..], &overrides].concat())
            .assert_success();
        let wheels = tree::wheels(&sandbox.out());
        assert!(
            wheels.contains(&names(&["alpha-1.0"])[0]),
            "{line}: {wheels:?}"
        );
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
}
