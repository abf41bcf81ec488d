//! Which pre-releases are taken, and what is said of a release that is not there.

use crate::support::{Index, Sandbox, Wheel, tree};

/// The versions of `alpha` and `beta` that a run with `arguments` and the file `lines` takes.
fn taken(arguments: &[&str], lines: &str) -> Result<Vec<String>, i32> {
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

/// The file names of wheels.
fn names(wheels: &[&str]) -> Vec<String> {
    let names = wheels
        .iter()
        .map(|wheel| format!("{wheel}-py3-none-any.whl"));
    names.collect()
}

#[test]
fn pre_releases_are_taken_as_asked_for_by_name() {
    let both = "alpha\nbeta\n";
    let final_alpha = Ok(names(&["alpha-1.0", "beta-1.0rc1"]));
    let newest = Ok(names(&["alpha-2.0rc1", "beta-1.0rc1"]));
    assert_eq!(taken(&[], both), final_alpha, "where nothing else fits");
    assert_eq!(taken(&["--pre"], both), newest);
    assert_eq!(taken(&["--all-releases", "alpha"], both), newest);
    assert_eq!(taken(&["--all-releases", "beta"], both), final_alpha);
    let but_alpha = "--pre\n--only-final alpha\nalpha\nbeta\n";
    assert_eq!(taken(&[], but_alpha), final_alpha);
}

#[test]
fn final_releases_alone_may_be_wanted() {
    assert_eq!(taken(&["--only-final", "beta"], "beta\n"), Err(3));
    assert_eq!(taken(&["--only-final", "alpha,beta"], "beta\n"), Err(3));
    let but_beta = ["--only-final", ":all:", "--all-releases", "beta"];
    let expected = Ok(names(&["alpha-1.0", "beta-1.0rc1"]));
    assert_eq!(taken(&but_beta, "alpha\nbeta\n"), expected);
}

#[test]
fn a_version_that_no_index_has_is_named() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let run = sandbox.build(&index, &["alpha==99"]);
    run.assert_exit(3)
        .assert_error_names(&["there is no version of alpha==99 "]);
}
