//! Real Pythons from 2.7 on: those from 3.6 on through uv, older ones through the program itself.

use std::path::Path;
use std::process::Command;

use crate::support::python::{pythons, remove_pip_settings, run};
use crate::support::{Index, Sandbox, Wheel, sha256, tree};

/// A project without a `pyproject.toml`, whose only module is written in C for any Python.
const TINY: [(&str, &str); 2] = [
    (
        "setup.py",
        "from setuptools import Extension, setup\n\
         setup(name='tiny', version='1.0', ext_modules=[Extension('tiny', ['tiny.c'])],\n\
         install_requires=['markupsafe'])\n",
    ),
    (
        "tiny.c",
        r#"#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return Py_BuildValue("i", 42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
#if PY_MAJOR_VERSION >= 3
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tiny", NULL, -1, methods};
PyMODINIT_FUNC PyInit_tiny(void) { return PyModule_Create(&module); }
#else
PyMODINIT_FUNC inittiny(void) { Py_InitModule("tiny", methods); }
#endif
"#,
    ),
];

#[test]
#[cfg_attr(
    not(feature = "test-python2"),
    ignore = "requires Python 2.7, Python 3.6 to 3.9"
)]
fn builds_and_installs_for_every_python_from_2_7() {
    let pythons = pythons();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (name, text) in TINY {
        std::fs::create_dir_all(root.join("tree")).unwrap();
        std::fs::write(root.join("tree").join(name), text).unwrap();
    }
    for (version, python) in pythons {
        let wheels = root.join(&version);
        let mut build = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
        build.current_dir(root);
        build.args(["build", "--cache-dir", "cache", "./tree", "--python"]);
        run(build.arg(&python).arg("-o").arg(&wheels));
        assert_imports(&python, &wheels, &root.join(format!("installed-{version}")));
        let tag = format!("cp{}", version.replace('.', ""));
        let built = tree::wheels(&wheels);
        let tiny = built.iter().find(|name| name.starts_with("tiny-")).unwrap();
        assert!(tiny.starts_with(&format!("tiny-1.0-{tag}-{tag}")), "{tiny}");
    }
}

/// Installs `tiny` with the pip of the Python and runs it.
fn assert_imports(python: &Path, wheels: &Path, into: &Path) {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "-q", "--no-index", "--find-links"]);
    pip.arg(wheels).arg("--target").arg(into).arg("tiny");
    remove_pip_settings(&mut pip);
    run(&mut pip);
    let program = "import tiny, markupsafe; assert tiny.answer() == 42; assert markupsafe.escape('<') == '&lt;'";
    run(Command::new(python)
        .args(["-c", program])
        .env("PYTHONPATH", into));
}

/// Wheel tags of Python 2.7 distinguish narrow and wide Unicode, and pip accepts only its own.
#[test]
#[cfg_attr(
    not(feature = "test-python2"),
    ignore = "requires Python 2.7, Python 3.6 to 3.9"
)]
fn python_2_selects_wheels_by_unicode_width() {
    let python = pythons()["2.7"].clone();
    let widest = run(Command::new(&python).args(["-c", "import sys; print(sys.maxunicode)"]));
    let is_wide = String::from_utf8_lossy(&widest.stdout).trim() == "1114111";
    let (own, other) = if is_wide {
        ("cp27mu", "cp27m")
    } else {
        ("cp27m", "cp27mu")
    };
    let tagged = |name: &str, version: &str, abi: &str| {
        Wheel::new(name, version).tag(&format!("cp27-{abi}-manylinux1_x86_64"))
    };
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&tagged("alpha", "1.0", own));
    index.add(&tagged("alpha", "1.0", other));
    index.add(&tagged("alpha", "2.0", other));
    index.add(&tagged("beta", "1.0", own));
    index.add(&Wheel::new("beta", "1.0").tag("py2.py3-none-any"));
    index.add(&Wheel::new("beta", "2.0"));
    let python = python.to_str().unwrap();
    let wanted = ["alpha", "beta", "--python", python];
    sandbox.build(&index, &wanted).assert_success();
    let wheels = tree::wheels(&sandbox.out());
    let expected = ["alpha", "beta"].map(|name| tagged(name, "1.0", own).filename());
    assert_eq!(wheels, expected);

    let run = sandbox.build(&index, &["alpha>1", "--python", python]);
    run.assert_exit(3).assert_error_names(&["alpha"]);
}

#[test]
#[cfg_attr(
    not(feature = "test-python2"),
    ignore = "requires Python 2.7, Python 3.6 to 3.9"
)]
fn accepts_direct_reference_to_python_2_wheel() {
    let python = pythons()["2.7"].clone();
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for tag in ["py2-none-any", "py27-none-any", "cp27-none-any"] {
        let wheel = Wheel::new("alpha", "1.0").tag(tag);
        let (name, digest) = (wheel.filename(), sha256(&wheel.bytes()));
        std::fs::write(sandbox.path(&name), wheel.bytes()).unwrap();
        index.add(&wheel);
        let url = index.file_url(&name);
        sandbox.write("hashed.txt", &format!("./{name} --hash=sha256:{digest}\n"));
        for wanted in [
            &[&*format!("./{name}")][..],
            &[&*format!("alpha @ {url}")],
            &[&*format!("{url}#sha256={digest}")],
            &["-r", "hashed.txt"],
        ] {
            let _ = std::fs::remove_dir_all(sandbox.out());
            let python = ["--python", python.to_str().unwrap()];
            let run = sandbox.build(&index, &[wanted, &python].concat());
            run.assert_success();
            assert_eq!(tree::wheels(&sandbox.out()), [&*name], "{wanted:?}");
            let manifest = std::fs::read_to_string(sandbox.out().join("wheelhouse.json")).unwrap();
            assert!(!manifest.contains("abi3"), "{manifest}");
        }
        let run = sandbox.build(&index, &[&format!("./{name}")]);
        run.assert_exit(3).assert_error_names(&["alpha==1.0"]);
    }
}

/// Current pip rejects versions from before PEP 440; the last pip for an old Python accepts them.
#[test]
#[cfg_attr(
    not(feature = "test-python2"),
    ignore = "requires Python 2.7, Python 3.6 to 3.9"
)]
fn reads_legacy_metadata_for_old_python() {
    let python = pythons()["2.7"].clone();
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let any = |name: &str| Wheel::new(name, "1.0").tag("py2.py3-none-any");
    index.add(&any("alpha").requires("beta (>=2011k,<2)"));
    index.add(&any("beta"));
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_exit(3).assert_error_names(&["alpha", "2011"]);
    let wanted = ["alpha", "--python", python.to_str().unwrap()];
    sandbox.build(&index, &wanted).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
}
