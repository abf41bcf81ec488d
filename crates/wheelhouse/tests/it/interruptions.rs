//! Runs that are killed or interrupted at any moment.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::sandbox::RunningProcess;
use crate::support::{
    Behavior, Index, Member, Random, Sandbox, Sdist, Wheel, process, python_literal, sha256, tree,
};

/// The number of killed runs, unless `WHEELHOUSE_TEST_KILLS` is set.
const KILLS: usize = 25;

/// The seed of the moments, unless `WHEELHOUSE_TEST_SEED` is set.
const SEED: u64 = 20_260_729;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// An index with old and new versions, which serves files slowly enough to be interrupted, and whose sdist takes time
/// to build.
struct Scenario {
    index: Index,
    sandbox: Sandbox,
    /// A wheelhouse of the old versions.
    old: PathBuf,
    /// A wheelhouse of the new versions from an undisturbed run.
    new: PathBuf,
    /// The process ids of all build backends, one per line.
    ids: PathBuf,
    /// The duration of the undisturbed run.
    duration: Duration,
    /// The digests of all files that may exist under a final name.
    known: BTreeSet<String>,
}

const NEW: [&str; 4] = ["alpha==2.0", "beta", "gamma==2.0", "epsilon"];

fn scenario() -> Scenario {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let ids = sandbox.path("ids");
    let quoted = python_literal(&ids);
    let script = format!(
        "with open({quoted}, 'a') as file: file.write('%d\\n' % os.getpid())\n\
         open('half', 'x').close()\ntime.sleep(0.15)\nos.remove('half')"
    );
    for version in ["1.0", "2.0"] {
        index.add(&Wheel::new("alpha", version).padded(400_000));
        index.add_sdist(&Sdist::new("gamma", version).script(&script));
        index.always(
            &format!("/files/alpha-{version}-py3-none-any.whl"),
            Behavior::Drip(50_000, 15),
        );
    }
    index.add(&Wheel::new("beta", "1.0").padded(50_000));
    index.add(&Wheel::new("delta", "1.0"));
    index.add(&Wheel::new("epsilon", "1.0"));
    let (old, new) = (sandbox.path("old"), sandbox.path("new"));
    let run = |out: &Path, cache: &str, wanted: &[&str]| {
        let run = sandbox
            .start_into(&index, out, &sandbox.path(cache), wanted)
            .finish();
        run.assert_success();
        run.took
    };
    run(&old, "cache-old", &["alpha==1.0", "gamma==1.0", "delta"]);
    let duration = run(&new, "cache-new", &NEW);
    let files = tree::read(&old).into_iter().chain(tree::read(&new));
    let known = files
        .filter(|(name, _)| !name.ends_with('/'))
        .map(|(_, bytes)| sha256(&bytes))
        .collect();
    Scenario {
        index,
        sandbox,
        old,
        new,
        ids,
        duration,
        known,
    }
}

impl Scenario {
    /// Checks that every file under a final name is complete, and that the manifest lists no other.
    fn assert_only_complete_files(&self, out: &Path) {
        let files = snapshot(out);
        for (name, bytes) in &files {
            let is_temporary = name.rsplit('/').next().unwrap().starts_with('.');
            let is_state = name == "wheelhouse.json";
            // It contains the time of the build.
            let is_provenance = name.ends_with(".provenance.json")
                && serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
            let is_known = || self.known.contains(&sha256(bytes));
            let is_complete = is_temporary || is_state || is_provenance || is_known();
            assert!(is_complete, "{name} is incomplete: {} bytes", bytes.len());
        }
        let Some((_, manifest)) = files.iter().find(|(name, _)| name == "wheelhouse.json") else {
            return;
        };
        let manifest: serde_json::Value =
            serde_json::from_slice(manifest).expect("a complete manifest");
        for wheel in manifest["wheels"].as_array().unwrap() {
            let name = wheel["filename"].as_str().unwrap();
            let path = out.join(name);
            // A concurrent run may have replaced the manifest since it was read.
            let gone = || {
                let now = std::fs::read(out.join("wheelhouse.json")).unwrap_or_default();
                !String::from_utf8_lossy(&now).contains(name)
            };
            match std::fs::read(&path) {
                Ok(bytes) => assert!(
                    wheel["sha256"] == sha256(&bytes) || gone(),
                    "{name} has another digest"
                ),
                Err(error) => assert!(gone(), "{name} is listed but {error}"),
            }
        }
    }

    /// Checks that the digest of every file of the store is its name.
    fn assert_store_is_intact(cache: &Path) {
        for (name, bytes) in snapshot(cache) {
            let file = name.rsplit('/').next().unwrap();
            if name.starts_with("files-v1/") && file.len() == 64 {
                assert_eq!(sha256(&bytes), file, "{name}");
            }
        }
    }
}

/// Returns the files below `directory` while a run changes it.
fn snapshot(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(directory).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .filter_map(|entry| {
            let name = entry
                .path()
                .strip_prefix(directory)
                .ok()?
                .to_string_lossy()
                .into_owned();
            Some((name, std::fs::read(entry.path()).ok()?))
        })
        .collect()
}

#[test]
fn second_run_repairs_state_after_kill() {
    let scenario = scenario();
    let wanted = std::env::var("WHEELHOUSE_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    let kills = wanted.unwrap_or(KILLS);
    let expected = tree::read(&scenario.new);
    let seed = number("WHEELHOUSE_TEST_SEED").unwrap_or(SEED);
    let _ = writeln!(
        std::io::stderr(),
        "{kills} runs are killed at random moments, seed {seed}"
    );
    let mut random = Random(seed);
    let mut killed = 0;
    for round in 0..kills {
        let out = scenario.sandbox.path(&format!("out-{round}"));
        let cache = scenario.sandbox.path(&format!("cache-{round}"));
        if round % 2 == 0 {
            tree::copy(&scenario.old, &out);
        }
        let mut run = scenario
            .sandbox
            .start_into(&scenario.index, &out, &cache, &NEW);
        let moment = scenario.duration * u32::try_from(random.next() % 1200).unwrap() / 1000;
        killed += usize::from(!watch_then_kill(&scenario, &mut run, &out, moment));
        drop(run.finish());
        scenario.assert_only_complete_files(&out);
        Scenario::assert_store_is_intact(&cache);
        let again = scenario
            .sandbox
            .start_into(&scenario.index, &out, &cache, &NEW)
            .finish();
        again.assert_success();
        tree::assert_same(&tree::read(&out), &expected);
        std::fs::remove_dir_all(out).unwrap();
        std::fs::remove_dir_all(cache).unwrap();
    }
    assert!(
        killed > kills / 3,
        "only {killed} of {kills} runs were killed before their end"
    );
    process::assert_dead(&process::ids(&scenario.ids));
}

/// Checks `out` repeatedly until `moment`, then kills the run. Returns whether it had already ended.
fn watch_then_kill(
    scenario: &Scenario,
    run: &mut RunningProcess,
    out: &Path,
    moment: Duration,
) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        scenario.assert_only_complete_files(out);
        std::thread::sleep(Duration::from_millis(10).min(moment.saturating_sub(begun.elapsed())));
    }
    let over = run.is_over();
    if !over {
        run.kill();
    }
    over
}

/// Sends `signal` to a run while its build backend runs; the old wheelhouse must stay.
fn assert_interruptible(signal: Signal) {
    let scenario = scenario();
    let out = scenario.sandbox.out();
    let cache = scenario.sandbox.cache();
    tree::copy(&scenario.old, &out);
    let before = tree::read(&out);
    let ids = scenario.sandbox.path("family");
    let quoted = python_literal(&ids);
    let script = format!(
        "with open({quoted}, 'a') as file: file.write('%d\\n' % os.getpid())\n\
         child = subprocess.Popen(['sleep', '600']).pid\n\
         with open({quoted}, 'a') as file: file.write('%d\\n' % child)\ntime.sleep(600)"
    );
    scenario
        .index
        .add_sdist(&Sdist::new("zeta", "1.0").script(&script));
    let run = scenario
        .sandbox
        .start_into(&scenario.index, &out, &cache, &["zeta", "alpha==2.0"]);
    process::eventually("the back end", || process::ids(&ids).len() >= 2);
    run.signal(signal);
    let run = run.finish();
    run.assert_exit(130);
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    assert!(run.stderr.ends_with("interrupted\n"), "{}", run.stderr);
    process::assert_dead(&process::ids(&ids));
    tree::assert_same(&tree::read(&out), &before);
    scenario
        .sandbox
        .start_into(&scenario.index, &out, &cache, &NEW)
        .finish()
        .assert_success();
    tree::assert_same(&tree::read(&out), &tree::read(&scenario.new));
}

#[test]
fn sigint_terminates_children_and_keeps_old_wheelhouse() {
    assert_interruptible(Signal::INT);
}

#[test]
fn sigterm_terminates_children_and_keeps_old_wheelhouse() {
    assert_interruptible(Signal::TERM);
}

#[test]
fn interrupts_run_that_waits_for_network() {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    for path in ["/simple/alpha/", "/files/alpha-1.0-py3-none-any.whl"] {
        index.script(path, [Behavior::StallAfter(10)]);
        index.forget_requests();
        let sandbox = Sandbox::new();
        let run = sandbox.start(&index, &["alpha"]);
        process::eventually("the request", || !index.requests(path).is_empty());
        run.signal(Signal::INT);
        let run = run.finish();
        run.assert_exit(130);
        assert!(run.took < Duration::from_secs(10), "took {:?}", run.took);
    }
}

#[test]
fn killed_run_leaves_no_build_backend() {
    let index = Index::start();
    let sandbox = Sandbox::unconfined();
    let ids = sandbox.path("ids");
    let quoted = python_literal(&ids);
    let script = format!(
        "with open({quoted}, 'a') as file: file.write('%d\\n' % os.getpid())\n\
         child = subprocess.Popen(['sleep', '600']).pid\n\
         with open({quoted}, 'a') as file: file.write('%d\\n' % child)\ntime.sleep(600)"
    );
    index.add_sdist(&Sdist::new("gamma", "1.0").script(&script));
    let mut run = sandbox.start(&index, &["gamma"]);
    process::eventually("the back end", || process::ids(&ids).len() >= 2);
    run.kill();
    drop(run.finish());
    process::assert_dead(&process::ids(&ids));
}

#[test]
fn reports_and_interrupts_wait_for_another_run() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    sandbox.build(&index, &["alpha"]).assert_success();
    let out = sandbox.out();
    for (lock, what) in [
        (sandbox.cache().join(".lock"), "the cache"),
        (out, "the directory"),
    ] {
        std::fs::remove_file(sandbox.out().join("alpha-1.0-py3-none-any.whl")).unwrap();
        let held = std::fs::File::open(lock).unwrap();
        held.lock().unwrap();
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let run = sandbox.start(&index, &["alpha"]);
            std::thread::sleep(Duration::from_secs(2));
            run.signal(signal);
            let run = run.finish();
            run.assert_exit(130);
            assert!(run.took < Duration::from_secs(10), "took {:?}", run.took);
            let said = format!(
                "waiting for process {}, which uses {what}",
                std::process::id()
            );
            assert_eq!(run.stderr.matches(&said).count(), 1, "{}", run.stderr);
        }
        let run = sandbox.start(&index, &["alpha"]);
        std::thread::sleep(Duration::from_millis(300));
        drop(held);
        run.finish().assert_success();
    }
}

#[test]
fn next_run_removes_files_of_killed_builds() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    index.add(&Wheel::new("alpha", "1.0"));
    let builds = sandbox.cache().join("builds");
    let begun = sandbox.path("begun");
    for name in ["beta", "gamma"] {
        let script = format!(
            "open({}, 'a').close()\ntime.sleep(600)",
            python_literal(&begun)
        );
        index.add_sdist(&Sdist::new(name, "1.0").script(&script));
        let mut run = sandbox.start(&index, &[name]);
        process::eventually("the back end", || begun.exists());
        assert!(std::fs::read_dir(&builds).unwrap().count() > 0);
        run.kill();
        drop(run.finish());
        std::fs::remove_file(&begun).unwrap();
    }
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_eq!(tree::read(&builds).into_keys().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn removes_unpacked_files_of_rejected_sdist() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("gamma", "1.0").member(Member::file("../outside", "")));
    sandbox.build(&index, &["gamma"]).assert_exit(4);
    let builds = tree::read(&sandbox.cache().join("builds"));
    let left: Vec<_> = builds
        .keys()
        .filter(|name| name.contains("gamma"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
