//! Concurrent runs with the same cache and output.

use super::{WANTED, index};
use crate::support::{Behavior, Index, Sandbox, Sdist, tree};

#[test]
fn concurrent_runs_share_cache_and_output() {
    let (index, sandbox) = (index(), Sandbox::new());
    index.always(
        "/files/alpha-1.0-py3-none-any.whl",
        Behavior::Drip(100_000, 10),
    );
    let reference = sandbox.path("reference");
    sandbox
        .start_into(
            &index,
            &reference,
            &sandbox.path("cache-reference"),
            &WANTED,
        )
        .finish()
        .assert_success();
    let runs: Vec<_> = (0..3).map(|_| sandbox.start(&index, &WANTED)).collect();
    for run in runs {
        run.finish().assert_success();
    }
    tree::assert_same(&tree::read(&sandbox.out()), &tree::read(&reference));
}

#[test]
fn concurrent_runs_of_different_sets_leave_one_complete_set() {
    let (index, sandbox) = (index(), Sandbox::new());
    for round in 0..3 {
        let runs = [&["alpha"][..], &["gamma"]].map(|wanted| sandbox.start(&index, wanted));
        for run in runs {
            run.finish().assert_success();
        }
        let wheels = tree::wheels(&sandbox.out());
        assert_eq!(wheels.len(), 1, "round {round}: {wheels:?}");
        let files = tree::read(&sandbox.out());
        let manifest: serde_json::Value =
            serde_json::from_slice(&files["wheelhouse.json"]).unwrap();
        assert_eq!(manifest["wheels"][0]["filename"], wheels[0]);
        assert!(String::from_utf8_lossy(&files["pylock.toml"]).contains(&wheels[0][..5]));
    }
}

#[test]
fn concurrent_runs_build_same_trees_in_any_order() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let mut lines = Vec::new();
    for number in 0..6 {
        let name = format!("tree{number}");
        Sdist::new(&name, "1.0").write_tree(&sandbox.path(&name));
        lines.push(format!("./{name}\n"));
    }
    sandbox.write("forward.txt", &lines.concat());
    lines.reverse();
    sandbox.write("backward.txt", &lines.concat());
    for round in 0..3 {
        let cache = sandbox.path(&format!("cache-{round}"));
        let runs = ["forward", "backward"].map(|name| {
            let (out, lines) = (format!("{name}-{round}"), format!("{name}.txt"));
            sandbox.start_into(&index, &sandbox.path(&out), &cache, &["-r", &lines])
        });
        for run in runs {
            run.finish().assert_success();
        }
    }
}
