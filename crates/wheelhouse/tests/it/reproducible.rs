//! Reproducible builds: equal wheels from different caches, and `wheelhouse rebuild`.

use std::path::Path;

use serde_json::Value;
use wheelhouse_archive::testing::archives::Member;

use crate::support::{Index, Sandbox, Sdist, tree};

/// Compiles an extension with debug information and the absolute path of its source as some build systems do, and ships it in a module.
const COMPILE: &str = "\
import shlex, tempfile
source = os.path.abspath('fast.c')
flags = shlex.split(os.environ.get('CPPFLAGS', ''))
subprocess.check_call(['cc', '-g', '-O1', '-shared', '-fPIC'] + flags + ['-o', 'fast.so', source])
with open('fast.so', 'rb') as file, open('binary.py', 'w') as module:
    module.write('DATA = %r\\n' % file.read())
with open('surroundings.py', 'w') as module:
    name = os.path.basename(tempfile.mkdtemp())
    module.write(repr((os.environ['SOURCE_DATE_EPOCH'], os.environ['TZ'], name)) + '\\n')
";

const SOURCE: &str = "#include <assert.h>\nvoid fast(int i) { assert(i > 0); }\n";

fn extension() -> Sdist {
    let source = Member::file("fast-1.0/fast.c", SOURCE);
    Sdist::new("fast", "1.0").script(COMPILE).member(source)
}

/// Returns the only wheel of `directory`.
fn wheel(directory: &Path) -> Vec<u8> {
    let names = tree::wheels(directory);
    let [name] = &names[..] else {
        panic!("{names:?}");
    };
    std::fs::read(directory.join(name)).unwrap()
}

fn manifest(directory: &Path) -> Value {
    let bytes = std::fs::read(directory.join("wheelhouse.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn wheel_of_c_extension_is_the_same_from_two_caches() {
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&extension());
    sandbox.build(&index, &["fast"]).assert_success();
    let (out, cache) = (
        sandbox.path("other/out"),
        sandbox.path("elsewhere/of/cache"),
    );
    for (name, value) in [("LC_ALL", "POSIX"), ("TZ", "Asia/Tokyo")] {
        sandbox.set(name, value);
    }
    let other = sandbox.start_into(&index, &out, &cache, &["fast"]);
    other.finish().assert_success();
    let (one, other) = (wheel(&sandbox.out()), wheel(&out));
    assert!(one == other, "the wheels differ");
    // The time of the files in the test's archives.
    let inputs = &manifest(&out)["wheels"][0]["built"]["inputs"];
    assert_eq!(inputs["environment"]["SOURCE_DATE_EPOCH"], "1500000000");
    let sdist = &inputs["sdist"];
    assert_eq!(sdist["filename"], "fast-1.0.tar.gz");
    assert_eq!(
        sdist["sha256"],
        crate::support::sha256(&extension().bytes())
    );
}

#[test]
fn variable_of_user_is_the_time_of_files() {
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("alpha", "1.0"));
    sandbox.set("SOURCE_DATE_EPOCH", "1000000000");
    sandbox.build(&index, &["alpha"]).assert_success();
    let bytes = wheel(&sandbox.out());
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let entry = archive.by_index(0).unwrap();
    assert_eq!(entry.last_modified().unwrap().year(), 2001);
}

#[test]
fn rebuild_finds_the_same_wheels_on_another_machine() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("helper", "1.0"));
    index.add_sdist(&Sdist::new("helper", "2.0"));
    index.add_sdist(&Sdist::new("tool", "1.0").requires("helper<2"));
    index.add_sdist(&extension().requires("tool"));
    sandbox.build(&index, &["fast"]).assert_success();
    let out = sandbox.out().display().to_string();

    // The cache has every file, so no index is asked.
    index.forget_requests();
    let cache = sandbox.cache().display().to_string();
    let rebuilt = sandbox.wheelhouse(&["rebuild", &out, "--cache-dir", &cache]);
    rebuilt
        .assert_success()
        .assert_stdout_contains(&["identical"]);
    assert_eq!(index.requests("").len(), 0);

    let cache = sandbox.path("another").display().to_string();
    let url = index.url();
    let arguments = [
        "rebuild",
        &out,
        "--cache-dir",
        &cache,
        "--index-url",
        &url,
        "--json",
    ];
    let rebuilt = sandbox.wheelhouse(&arguments);
    rebuilt.assert_success();
    let document: Value = serde_json::from_str(&rebuilt.stdout).unwrap();
    assert_eq!(document["reproducible"], true);
    assert_eq!(document["wheels"][0]["outcome"], "identical");
    assert_eq!(index.requests("helper-1.0.tar.gz").len(), 1);
    assert_eq!(index.requests("helper-2.0.tar.gz").len(), 0);
}

#[test]
fn rebuild_names_what_differs() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let script = "\
with open('dated.py', 'w') as module:
    module.write('# %s\\n' % time.strftime('%H:%M:%S', time.localtime(time.time_ns() // 1000)))
with open('masked.py', 'w') as module:
    module.write('umask = %d\\n' % os.umask(0o22))
";
    index.add_sdist(&Sdist::new("alpha", "1.0").script(script));
    index.add_sdist(&Sdist::new("beta", "1.0"));
    sandbox.build(&index, &["alpha", "beta"]).assert_success();
    let out = sandbox.out().display().to_string();
    let cache = sandbox.cache().display().to_string();
    let rebuilt = sandbox.wheelhouse(&["rebuild", &out, "--cache-dir", &cache]);
    rebuilt.assert_exit(6).assert_stdout_contains(&[
        "different    alpha-1.0-py3-none-any.whl",
        "dated.py: timestamp: ",
        "masked.py: content: `umask = 18` -> `umask = 2`",
        "identical    beta-1.0-py3-none-any.whl",
        "diffoscope ",
    ]);
    rebuilt.assert_error_names(&["1 of 2 built wheels differ"]);
    let kept = sandbox.path("rebuilt/alpha-1.0-py3-none-any.whl");
    assert!(kept.is_file());

    let one = sandbox.out().join("beta-1.0-py3-none-any.whl");
    let one = one.display().to_string();
    let rebuilt = sandbox.wheelhouse(&["rebuild", &one, "--cache-dir", &cache]);
    rebuilt.assert_success();

    let again = sandbox.build(&index, &["alpha", "--verify-reproducible"]);
    again.assert_exit(6);
}

#[test]
fn rebuild_reports_what_it_cannot_check() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    Sdist::new("alpha", "1.0").write_tree(&sandbox.path("alpha"));
    sandbox.build(&index, &["./alpha"]).assert_success();
    let out = sandbox.out().display().to_string();
    let rebuilt = sandbox.wheelhouse(&["rebuild", &out]);
    rebuilt
        .assert_success()
        .assert_stdout_contains(&["not checked", "it was built from the local tree"]);
    let missing = sandbox.wheelhouse(&["rebuild", "nowhere"]);
    missing.assert_exit(2);
}
